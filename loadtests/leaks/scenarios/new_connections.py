"""``async_new_connection``: parts of one view in parallel, each on a session of its own.

They are outside of the transaction around them, and what they leave open ends with them. A backend
that gives them the view's own session would let them see, commit or roll back its rows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate, Kind

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class NewConnections(Scenario):
    needs = (Need.OURS,)
    # Who holds a connection and waits for a second one needs a pool (20) that has one left.
    most_at_once = 16

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await asyncio.gather(*(apart(story, number) for number in range(3)))
        return HttpResponse("in parallel")

    async def view_in_a_transaction(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with suppress(Refused):
            async with story.atransaction():
                await story.aprobe()
                await apart(story, 0)
                await story.awrite(Fate.ROLLED_BACK)
                await story.aprobe()
                raise Refused
        return HttpResponse("beside it")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "in_a_transaction"]))


async def apart(story: Story, number: int) -> None:
    from mssql_async.aio import async_new_connection

    with story.child(Kind.TASK, f"new connection {number}") as child:
        async with async_new_connection():
            await child.aprobe()
            await child.alook()
            await child.awrite()
