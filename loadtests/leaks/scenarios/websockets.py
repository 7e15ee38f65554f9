"""A WebSocket asks, writes and undoes for as long as it is open, and is left in every way.

It is one context from its acceptance to its end, with nothing held between two messages. A backend
that ends connections with HTTP requests only would keep those of every socket that closes, or
vanishes in the middle of a transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from asgiref.sync import sync_to_async
from django.db import connections

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class WebSockets(Scenario):
    share = 0.5

    async def websocket(
        self,
        story: Story,
        receive: Callable[[], Awaitable[str | None]],
        send: Callable[[str], Awaitable[None]],
    ) -> None:
        while (asked := await receive()) is not None:
            if asked == "read":
                await asyncio.gather(story.aprobe(), story.alook())
            elif asked == "dirty":
                await dirty(story)
            elif asked == "undo":
                await sync_to_async(undo)(story)
            elif asked == "fail":
                raise Refused
            await send(f"{asked}: done")

    async def visit(self, visit: Visit) -> Reply | None:
        talks = visit.rand.choices(["read", "undo", "read", "dirty", "fail"], k=3)
        leaves = visit.rand.choice(["closes", "vanishes", "vanishes early"])
        async with visit.websocket() as talk:
            for place, asked in enumerate(talks):
                await talk.send(asked)
                if leaves == "vanishes early" and place == len(talks) - 1:
                    break  # without the answer
                if await talk.receive() is None:
                    return None
            if leaves == "closes":
                await talk.close()
            else:
                talk.vanish()
        return None


async def dirty(story: Story) -> None:
    if connections[story.alias].vendor == "microsoft":
        await story.achange("lock timeout", "SET LOCK_TIMEOUT 4321", 4321)
    else:
        await story.atable()
    await story.aprobe()


def undo(story: Story) -> None:
    try:
        with story.transaction():
            story.write(Fate.ROLLED_BACK)
            story.probe()
            raise Refused
    except Refused:
        pass
