"""A request works on several databases at once, each with a transaction of its own.

What happens to the one is nothing to the other. A backend that mixes up pools, or ends only one of
a request's connections, would leave the second behind.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate, Kind

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class SeveralAliases(Scenario):
    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        work(story)
        return HttpResponse("one of two")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await asyncio.gather(story.aprobe(), story.aprobe(alias="other"))
        await sync_to_async(work)(story)
        return HttpResponse("one of two")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async"]))


def work(story: Story) -> None:
    """One transaction within the other, and only the inner one is kept."""
    with story.child(Kind.TASK, "the other database", alias="other") as elsewhere:
        try:
            with elsewhere.transaction():
                elsewhere.probe()
                with story.transaction():
                    story.probe()
                    story.write()
                elsewhere.write(Fate.ROLLED_BACK)
                raise Refused
        except Refused:
            story.look()
            elsewhere.look()
