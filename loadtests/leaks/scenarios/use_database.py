"""A request goes to another database with ``USE``; everybody else stays where they are.

A backend that gives the session on as it is would have the next request read and write tables of
the same name in the wrong database.
"""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class UseDatabase(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        other = connections["other"].settings_dict["NAME"]
        story.probe()
        story.change("database", f"USE [{other}]", other)
        story.probe()
        return HttpResponse(other)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        other = connections["other"].settings_dict["NAME"]
        await story.aprobe()
        await story.achange("database", f"USE [{other}]", other)
        await story.aprobe()
        return HttpResponse(other)

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        story.write()
        return HttpResponse("at home")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async", "plain"]))
