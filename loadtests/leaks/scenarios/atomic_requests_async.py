"""``ATOMIC_REQUESTS`` with asynchronous views: everything awaited in one is one transaction.

A backend that ties the transaction to a thread would let the statements of other requests run in
it, or leave it open in a thread that nobody comes back to.
"""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class AtomicRequestsAsync(Scenario):
    needs = (Need.OURS,)
    alias = "atomic"
    statuses = (200, 500)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.requested():
            await story.aprobe()
            await asyncio.gather(story.awrite(), story.awrite())
            return HttpResponse("all of it")

    async def view_refused(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.requested():
            await story.awrite(Fate.ROLLED_BACK)
            await asyncio.sleep(0)
            raise Refused

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "", "refused"]))
