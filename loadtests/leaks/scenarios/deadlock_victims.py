"""The server chooses transactions as deadlock victims, and their requests try again.

What the victim has written is gone, and so is its transaction. A backend that goes on in autocommit
would keep the second half of the work; one that gives the session on would give on a doomed
transaction.
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

ATTEMPTS = 4


class DeadlockVictims(Scenario):
    needs = (Need.SQL_SERVER, Need.FAULTS)
    statuses = (200, 503)
    share = 0.5

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return try_again(story)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(try_again)(story)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async"]))

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        while not over():
            fault = await faults.deadlock("%INSERT INTO%leaks%", nth=3)
            await asyncio.sleep(0.02)
            await faults.cancel(fault)


def try_again(story: Story) -> HttpResponseBase:
    for _ in range(ATTEMPTS):
        try:
            with story.transaction():
                story.write()
                story.write()
            story.probe()
        except Error:
            continue
        return HttpResponse("both rows")
    return HttpResponse("always the victim", status=503)
