"""A request makes a temporary table and leaves it; no other one ever finds it.

As long as the request goes on it finds its table again, although it asks in autocommit. A backend
that gives the session back as it is would let the next request find the table, or fail to make its
own; one that takes the session away too early would lose it.
"""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

MAKE = "CREATE TABLE #leaks (word nvarchar(40))"


class TemporaryTables(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        word = f"kept for {story.token}"
        story.probe()
        story.change("temporary table", MAKE, "there")
        with connections[story.alias].cursor() as cursor:
            cursor.execute("INSERT INTO #leaks VALUES (%s)", [word])
        story.ask("SELECT word FROM #leaks", [], word)
        story.probe()
        return HttpResponse("left behind")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        await story.achange("temporary table", MAKE, "there")
        await story.aprobe()
        return HttpResponse("left behind")

    async def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """Everybody else."""
        await story.aprobe()
        return HttpResponse("found nothing")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async", "plain"]))
