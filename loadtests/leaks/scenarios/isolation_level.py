"""A request sets its session's isolation level; the level does not outlive it.

SQL Server keeps the level over the reset of a connection: a backend that trusts the reset has the
next request read uncommitted rows, or lock what it only reads.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

LEVELS = ("READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT")


class IsolationLevel(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        level = LEVELS[int(request.GET["level"])]
        story.probe()
        story.change("isolation level", f"SET TRANSACTION ISOLATION LEVEL {level}", level)
        story.probe()
        return HttpResponse(level)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        level = LEVELS[int(request.GET["level"])]
        await story.aprobe()
        await story.achange("isolation level", f"SET TRANSACTION ISOLATION LEVEL {level}", level)
        await story.aprobe()
        return HttpResponse(level)

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        story.look()
        return HttpResponse("as configured")

    async def visit(self, visit: Visit) -> Reply | None:
        level = visit.rand.randrange(len(LEVELS))
        return await visit.get(visit.rand.choice(["", "async", "plain"]), level=level)
