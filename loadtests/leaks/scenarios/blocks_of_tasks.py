"""Transaction blocks of tasks beside each other, and tasks within one block.

Two blocks of one view are two transactions on two sessions; tasks of one block take turns in it. A
backend whose transaction belongs to the request, or to a thread, would roll back the one with the
other, or let savepoints of two tasks interleave.
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


class BlocksOfTasks(Scenario):
    needs = (Need.OURS,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await asyncio.gather(*(block(story, number) for number in range(3)))
        return HttpResponse("beside each other")

    async def view_within(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        async with story.atransaction():
            await asyncio.gather(*(nested(story, number) for number in range(3)))
        return HttpResponse("one after the other")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "within"]))


async def block(story: Story, number: int) -> None:
    """The second one fails, the others do not."""
    fate = Fate.ROLLED_BACK if number == 1 else Fate.COMMITTED
    with story.child(Kind.TASK, f"block {number}") as child, suppress(Refused):
        async with child.atransaction():
            await child.aprobe()
            await child.awrite(fate)
            if number == 1:
                raise Refused


async def nested(story: Story, number: int) -> None:
    from mssql_async.transaction import async_atomic

    fate = Fate.ROLLED_BACK if number == 1 else Fate.COMMITTED
    with suppress(Refused):
        async with async_atomic(story.alias):
            await story.awrite(fate)
            await asyncio.sleep(0)
            if number == 1:
                raise Refused
