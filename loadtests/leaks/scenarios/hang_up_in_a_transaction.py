"""A client hangs up while its request has written something that is not committed.

Everything is rolled back, and nobody ever sees it. A backend that leaves the transaction open on a
session that goes on to others would have them commit it, read it, or wait for its locks.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class TooLate(Exception):
    """Nobody has hung up: undone all the same."""


class HangUpInATransaction(Scenario):
    """The default view's transaction is one of synchronous code, which has to come to its end."""

    needs = (Need.SQL_SERVER,)
    statuses = (0, 500)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        await sync_to_async(write_and_wait)(story)
        return HttpResponse("never")

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        write_and_wait(story)
        return HttpResponse("never")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.hang_up_once("written", visit.rand.choice(["", "sync"]))


def write_and_wait(story: Story) -> None:
    with story.transaction():
        story.write(Fate.ROLLED_BACK)
        story.tell("written")
        with connections[story.alias].cursor() as cursor:
            cursor.execute("WAITFOR DELAY '00:00:00.010'")
        raise TooLate
