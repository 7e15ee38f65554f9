"""The server fails over while requests are at work: every connection is gone at once.

What was not committed is lost, and nothing goes on half-way on the new server. A backend that opens
a connection anew in the middle of a transaction would commit its second half alone; one that keeps
dead connections would count them as in use for ever.
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


class Failover(Scenario):
    needs = (Need.SQL_SERVER, Need.FAULTS)
    statuses = (200, 503)
    share = 0.2

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return work(story)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(work)(story)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async"]))

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        while not over():
            await asyncio.sleep(0.2)
            await faults.fail_over()


def work(story: Story) -> HttpResponseBase:
    try:
        story.look()
        with story.transaction():
            story.write()
            story.probe()
            story.write()
    except Error:
        return HttpResponse("try again later", status=503)
    return HttpResponse("done")
