"""Views that hold a connection and want a second one, where there are two for everybody.

Most of them cannot get it: each ends, with an error, and gives back what it held. A backend that
forgets the one or the other would be out of connections for good.
"""

from __future__ import annotations

from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate, Kind

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class WaitingForItself(Scenario):
    needs = (Need.OURS,)
    alias = "small"
    statuses = (200, 503)
    share = 0.02
    most_at_once = 6

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            async with story.atransaction():
                await story.aprobe()
                await apart(story)
                await story.awrite(Fate.ROLLED_BACK)
                raise Refused
        except Refused:
            return HttpResponse("got it")
        except Error:
            return HttpResponse("try again later", status=503)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get()


class Refused(Exception):
    """What the application does not want."""


async def apart(story: Story) -> None:
    from mssql_async.aio import async_new_connection

    with story.child(Kind.TASK, "the second connection") as child:
        async with async_new_connection():
            await child.aprobe()
