"""A task is cancelled while its statement runs, or in its transaction; the request goes on.

The statement has to be stopped at the server, and nothing of it may be read by whoever comes next.
A backend that only stops to wait gives a session away that is still busy, whose answer is then
somebody else's, or loses a session that nobody comes back for.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class TooLate(Exception):
    """Whoever gets here after the task was cancelled undoes it all the same."""


class Cancellation(Scenario):
    needs = (Need.SQL_SERVER,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await give_up(asyncio.create_task(sync_to_async(wait)(story)), request)
        word = f"after {story.token}"
        await story.aask("SELECT %s", [word], word)
        return HttpResponse("given up")

    async def view_in_a_transaction(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await give_up(asyncio.create_task(sync_to_async(write_and_wait)(story)), request)
        await story.aprobe()
        await story.alook()
        return HttpResponse("given up")

    async def visit(self, visit: Visit) -> Reply | None:
        pause = visit.rand.choice([0, 0.001, 0.005, 0.01])
        return await visit.get(visit.rand.choice(["", "in_a_transaction"]), pause=pause)


async def give_up(task: asyncio.Task[None], request: HttpRequest) -> None:
    """Somewhere in the middle: where, is left to chance."""
    await asyncio.sleep(float(request.GET["pause"]))
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


def wait(story: Story) -> None:
    with connections[story.alias].cursor() as cursor:
        cursor.execute("WAITFOR DELAY '00:00:00.020'")


def write_and_wait(story: Story) -> None:
    with story.transaction():
        story.write(Fate.ROLLED_BACK)
        wait(story)
        raise TooLate
