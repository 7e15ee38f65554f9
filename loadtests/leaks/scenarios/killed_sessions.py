"""Sessions are killed from outside while requests use them, or have them idle in the pool.

A request may fail, with the transaction that it was in. It never goes on half-way, and no later one
gets the dead session, or the other half. A backend that begins anew where the connection broke
would commit the second statement of a transaction without the first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..faults import Faults
from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class KilledSessions(Scenario):
    needs = (Need.SQL_SERVER, Need.KILL)
    statuses = (200, 503)
    share = 0.3

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return work(story)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(work)(story)

    def view_undo(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            with story.transaction():
                story.write(Fate.ROLLED_BACK)
                story.probe()
                raise Refused
        except Refused:
            return HttpResponse("undone")
        except Error:
            return HttpResponse("undone by others", status=503)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async", "undo"]))

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        rand = random.Random(self.name)
        while not over():
            await faults.kill_random(rand)
            await asyncio.sleep(rand.uniform(0.01, 0.05))


def work(story: Story) -> HttpResponseBase:
    try:
        story.probe()  # a dead session cannot be asked any more which one it was
        story.look()
        with story.transaction():
            story.write()
            with connections[story.alias].cursor() as cursor:
                cursor.execute("WAITFOR DELAY '00:00:00.002'")
            story.write()
    except Error:
        return HttpResponse("try again later", status=503)
    return HttpResponse("done")
