"""A deadline ends a nested block, and the block around it goes on and commits.

What the nested one wrote is undone, whatever it was doing when the deadline came; if it was setting
its savepoint, everything is. A backend that loses the savepoint would commit the row, one that
loses the transaction would commit the rest by halves.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class TooLate(Exception):
    """Whoever gets here undoes it all the same."""


class SavepointsCancelled(Scenario):
    needs = (Need.OURS,)
    statuses = (200, 503)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            async with story.atransaction():
                await story.awrite()
                with suppress(TimeoutError, TooLate):
                    async with asyncio.timeout(float(request.GET["within"])):
                        await self.try_in_vain(story)
                await story.awrite()
        except TransactionManagementError:
            return HttpResponse("no savepoint, and so nothing at all", status=503)
        await story.alook()
        return HttpResponse("two rows of three")

    async def try_in_vain(self, story: Story) -> None:
        from mssql_async.transaction import async_atomic

        async with async_atomic(story.alias):
            await story.awrite(Fate.ROLLED_BACK)
            await asyncio.sleep(0.005)
            raise TooLate

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(within=visit.rand.choice([0, 0.001, 0.003, 0.005, 0.008]))
