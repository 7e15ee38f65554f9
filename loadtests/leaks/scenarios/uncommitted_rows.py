"""While some requests hold rows that they will undo, all others look for them.

Nobody may ever see one. A backend that shares a session with an open transaction, or hands one on,
shows them to whoever comes there.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class UncommittedRows(Scenario):
    needs = (Need.SQL_SERVER,)

    async def view_hold(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            await sync_to_async(hold)(story)
        except Refused:
            return HttpResponse("undone")
        return HttpResponse("never", status=500)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        for _ in range(3):
            await story.alook()
        return HttpResponse("seen nothing")

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        for _ in range(3):
            story.look()
        return HttpResponse("seen nothing")

    async def visit(self, visit: Visit) -> Reply | None:
        if visit.rand.random() < 0.15:
            return await visit.get("hold")
        return await visit.get(visit.rand.choice(["", "sync"]))


def hold(story: Story) -> None:
    """Ten milliseconds, in which others get their turn at the processor and the pool."""
    with story.transaction():
        story.write(Fate.ROLLED_BACK)
        with connections[story.alias].cursor() as cursor:
            cursor.execute("WAITFOR DELAY '00:00:00.010'")
        raise Refused
