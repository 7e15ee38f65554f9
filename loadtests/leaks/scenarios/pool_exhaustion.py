"""Many more requests than connections: each waits for its turn, or is told that there is none.

Some clients go while they wait in line. A backend that hands a connection to somebody who has gone
would lose it, and in the end all of them; one that gives it to two would have them share a session.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class PoolExhaustion(Scenario):
    needs = (Need.SQL_SERVER,)
    alias = "small"
    statuses = (0, 200, 503)
    share = 0.5

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(work)(story)

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return work(story)

    async def visit(self, visit: Visit) -> Reply | None:
        part = visit.rand.choice(["", "sync"])
        if visit.rand.random() < 0.3:
            return await visit.hang_up_after(visit.rand.uniform(0.001, 0.05), part)
        return await visit.get(part)


def work(story: Story) -> HttpResponseBase:
    try:
        with story.transaction():
            story.probe()
            with connections[story.alias].cursor() as cursor:
                cursor.execute("WAITFOR DELAY '00:00:00.002'")
            story.write(Fate.ROLLED_BACK)
            raise Refused
    except Refused:
        story.look()
    except Error:
        return HttpResponse("try again later", status=503)
    return HttpResponse("had its turn")
