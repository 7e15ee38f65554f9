"""``asyncio.timeout`` in a view ends a statement, or a transaction, that takes too long.

What was begun within the deadline is undone, what comes after it works at once. A backend whose
connection is busy with the late statement would make the rest of the view wait for it, or mix up
the two.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class TooLate(Exception):
    """Whoever gets here after the deadline undoes it all the same."""


class Deadlines(Scenario):
    needs = (Need.SQL_SERVER,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with suppress(TimeoutError, TooLate, Error):
            async with asyncio.timeout(float(request.GET["within"])):
                await sync_to_async(take_long)(story)
        word = f"after {story.token}"
        await story.aask("SELECT %s", [word], word)
        await story.alook()
        return HttpResponse("in time")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(within=visit.rand.choice([0.001, 0.005, 0.01, 0.02]))


def take_long(story: Story) -> None:
    with story.transaction():
        story.write(Fate.ROLLED_BACK)
        with connections[story.alias].cursor() as cursor:
            cursor.execute("WAITFOR DELAY '00:00:00.020'")
        raise TooLate
