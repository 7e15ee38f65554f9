"""Exceptions, in and out of transactions, undo what they should and nothing else.

A view that fails inside of ``atomic`` rolls back, one that fails after it has committed, one that
fails between two statements has written the first. A backend that gives its connection back
without a rollback would let the next request read the row, or commit it.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class Exceptions(Scenario):
    statuses = (200, 500)

    def view_inside(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.transaction():
            story.write(Fate.ROLLED_BACK)
            raise Refused

    def view_after(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.transaction():
            story.write()
        story.probe()
        raise Refused

    def view_without(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.write()
        raise Refused

    def view_caught(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            with story.transaction():
                story.write(Fate.ROLLED_BACK)
                story.error()
        except Exception:
            story.look()
        story.write()
        return HttpResponse("not done, but said so")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        await sync_to_async(self.view_inside)(request, story)
        return HttpResponse("never")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["inside", "after", "without", "caught", "async"]))
