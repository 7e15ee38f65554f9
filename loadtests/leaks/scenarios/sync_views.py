"""Synchronous views read and write, in autocommit and in transactions, many at a time.

Django runs each in a thread. A backend that leaves a connection in that thread, or lends one that
is in use, would have the next request on it see this one's transaction, state or rows.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class SyncViews(Scenario):
    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        row = story.write()
        story.look()
        return HttpResponse(row)

    def view_transaction(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.transaction():
            story.probe()
            story.write()
            story.probe()
        story.probe()
        return HttpResponse("committed")

    def view_refused(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            with story.transaction():
                story.write(Fate.ROLLED_BACK)
                raise Refused
        except Refused:
            story.look()
        return HttpResponse("rolled back")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "transaction", "refused"]))
