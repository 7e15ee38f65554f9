"""The server lets nobody in for a while, and hangs up on those who are.

Requests fail, wait, or are served by what is left. A backend that counts a connection that was
never opened, or loses one that was, would run out of them; one that tries again in each request
would keep the server from getting up.
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

LOGIN_FAILED = 18456


class RefusedLogins(Scenario):
    needs = (Need.SQL_SERVER, Need.FAULTS)
    statuses = (200, 503)
    share = 0.2

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return work(story)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(work)(story)

    async def visit(self, visit: Visit) -> Reply | None:
        reply = await visit.get(visit.rand.choice(["", "async"]))
        if reply.status == 503:
            await asyncio.sleep(0.2)  # as clients do that mean well
        return reply

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        """Once refused, a backend may wait a second before it asks again, and should."""
        await asyncio.sleep(0.1)
        while not over():
            async with faults.refusing(LOGIN_FAILED):
                await faults.drop("fin")
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.5)


def work(story: Story) -> HttpResponseBase:
    try:
        story.probe()
        with story.transaction():
            story.write()
        story.look()
    except Error:
        return HttpResponse("try again later", status=503)
    return HttpResponse("done")
