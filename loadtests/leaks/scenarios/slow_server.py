"""Every answer of the server is late, and some clients go before they have theirs.

Between a request's cancellation and the server's last word on it, its session belongs to nobody
else. A backend that looks only at its own side would lend it meanwhile.
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


class SlowServer(Scenario):
    needs = (Need.SQL_SERVER, Need.FAULTS)
    statuses = (0, 200, 503)
    share = 0.2

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        word = str(story.token)
        await story.aask("SELECT %s", [word], word)
        await sync_to_async(commit)(story)
        return HttpResponse("done")

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            commit(story)
        except Error:
            return HttpResponse("try again later", status=503)
        return HttpResponse("done")

    async def visit(self, visit: Visit) -> Reply | None:
        part = visit.rand.choice(["", "sync"])
        if visit.rand.random() < 0.3:
            return await visit.hang_up_after(visit.rand.uniform(0.001, 0.08), part)
        return await visit.get(part)

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        while not over():
            async with faults.delayed(0.005):
                await asyncio.sleep(0.2)


def commit(story: Story) -> None:
    with story.transaction():
        story.write()
        story.probe()
