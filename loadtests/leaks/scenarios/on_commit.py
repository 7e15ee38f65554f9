"""``on_commit`` functions run once the rows are there for everybody, and never after a roll-back.

They run in autocommit, on a session that has no transaction any more. A backend that calls them
too early, on another session's transaction or after somebody else's commit would have them see an
open transaction, or write a row that was to be undone.
"""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class OnCommit(Scenario):
    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.transaction():
            story.write()
            transaction.on_commit(story.probe, using=story.alias)
            transaction.on_commit(story.write, using=story.alias)
        return HttpResponse("written twice")

    def view_refused(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            with story.transaction():
                story.write(Fate.ROLLED_BACK)
                transaction.on_commit(lambda: story.write(Fate.ROLLED_BACK), using=story.alias)
                raise Refused
        except Refused:
            story.look()
        return HttpResponse("written nothing")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "refused"]))
