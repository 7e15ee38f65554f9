"""``ATOMIC_REQUESTS`` makes each synchronous view a transaction: an exception undoes all of it.

A backend whose requests share a session would roll back the rows of a request that has succeeded,
or keep those of one that has failed.
"""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class AtomicRequests(Scenario):
    alias = "atomic"
    statuses = (200, 500)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.requested():
            story.probe()
            story.write()
            with transaction.atomic(using=story.alias):
                story.write()
            return HttpResponse("all of it")

    def view_refused(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.requested():
            story.write(Fate.ROLLED_BACK)
            raise Refused

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "", "refused"]))
