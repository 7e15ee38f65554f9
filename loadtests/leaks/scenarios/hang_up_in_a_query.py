"""A client hangs up while the server works on a statement of its request.

The statement is stopped, or runs to its end for nobody; either way the session is free only after
that. A backend that gives it to the next request at once would have two of them on it, or deliver
the late answer to the wrong one.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class HangUpInAQuery(Scenario):
    needs = (Need.SQL_SERVER,)
    statuses = (0, 200)

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return HttpResponse(ask_slowly(story))

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return HttpResponse(await sync_to_async(ask_slowly)(story))

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.hang_up_once("asking", visit.rand.choice(["", "", "sync"]))


def ask_slowly(story: Story) -> str:
    story.probe()
    story.tell("asking")
    with connections[story.alias].cursor() as cursor:
        cursor.execute("WAITFOR DELAY '00:00:00.030'; SELECT %s", [str(story.token)])
        found: str = cursor.fetchone()[0]
    return found
