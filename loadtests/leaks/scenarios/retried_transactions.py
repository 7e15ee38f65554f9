"""``retry`` runs a transaction again that was a deadlock victim, synchronous or not.

Each attempt is a transaction of its own. A backend that gives the next attempt what is left of the
one before would keep a part of its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..faults import Faults
from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class RetriedTransactions(Scenario):
    needs = (Need.OURS, Need.FAULTS)
    statuses = (200, 503)
    share = 0.5

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        from mssql_async.transaction import retry

        @retry(backoff=0.005)
        async def write_two() -> None:
            async with story.atransaction():
                await story.awrite()
                await story.awrite()

        try:
            await write_two()
        except Error:
            return HttpResponse("always the victim", status=503)
        await story.aprobe()
        return HttpResponse("both rows")

    async def view_in_threads(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(self.view_sync)(request, story)

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        from mssql_async.transaction import retry

        @retry(backoff=0.005)
        def write_two() -> None:
            with story.transaction():
                story.write()
                story.write()

        try:
            write_two()
        except Error:
            return HttpResponse("always the victim", status=503)
        story.probe()
        return HttpResponse("both rows")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "sync", "in_threads"]))

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        while not over():
            fault = await faults.deadlock("%INSERT INTO%leaks%", nth=3)
            await asyncio.sleep(0.02)
            await faults.cancel(fault)
