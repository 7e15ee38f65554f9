"""A client hangs up while its asynchronous view is in a transaction block of its own.

The block is left by cancellation in whatever it awaits: a statement, or something else altogether.
It is rolled back before anybody else gets the session. A backend that waits for the view to come
back, or for its thread, would leave the transaction open.
"""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

PATIENCE = 2.0
"""Seconds until the view rolls back by itself."""


class TooLate(Exception):
    """Nobody has hung up: undone all the same."""


class HangUpInAnAsyncBlock(Scenario):
    needs = (Need.OURS,)
    statuses = (0, 500)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """The connection is idle meanwhile."""
        async with story.atransaction():
            await story.awrite(Fate.ROLLED_BACK)
            await story.atell("written")
            await asyncio.sleep(PATIENCE)
            raise TooLate

    async def view_nested(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """In a savepoint, in a task."""
        async with story.atransaction():
            await story.awrite(Fate.ROLLED_BACK)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.write_and_wait(story))
            raise TooLate

    async def write_and_wait(self, story: Story) -> None:
        from mssql_async.transaction import async_atomic

        async with async_atomic(story.alias):
            await story.awrite(Fate.ROLLED_BACK)
            await story.atell("written")
            await asyncio.sleep(PATIENCE)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.hang_up_once("written", visit.rand.choice(["", "nested"]))
