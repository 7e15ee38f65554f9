"""The server stops to answer while clients come, lose their patience and go.

Their statements hang, and nobody knows what became of them. A backend that gives such a session to
the next request would deliver the late answer to it; one that waits in the loop would stop all
other requests, one that abandons threads would grow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..faults import Faults
from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class FrozenPeers(Scenario):
    needs = (Need.SQL_SERVER, Need.FAULTS)
    statuses = (0, 200, 503)
    share = 0.2

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            word = str(story.token)
            await story.aask("SELECT %s", [word], word)
            await sync_to_async(undo)(story)
            await story.aprobe()
        except Error:
            return HttpResponse("try again later", status=503)
        return HttpResponse("done")

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            undo(story)
            story.probe()
        except Error:
            return HttpResponse("try again later", status=503)
        return HttpResponse("done")

    async def visit(self, visit: Visit) -> Reply | None:
        part = visit.rand.choice(["", "sync"])
        if visit.rand.random() < 0.3:
            return await visit.hang_up_after(visit.rand.uniform(0.001, 0.05), part)
        return await visit.get(part)

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        while not over():
            await asyncio.sleep(0.05)
            async with faults.frozen():
                await asyncio.sleep(0.1)


def undo(story: Story) -> None:
    try:
        with story.transaction():
            story.write(Fate.ROLLED_BACK)
            raise Refused
    except Refused:
        pass
