"""A request asks further questions while it reads the rows of a cursor.

They get a session of their own, or the rows that are left are read first; in a transaction it is
always the latter. A backend that asks on the busy session would mix up the answers, one that takes
a second session and forgets it would run out of them.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._rows import ROWS, joined


class QueriesInALoop(Scenario):
    needs = (Need.OURS,)  # without MARS, others say that the connection is busy

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        read(story)
        return HttpResponse("read")

    def view_in_a_transaction(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with story.transaction():
            read(story)
            story.write()
        return HttpResponse("read")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        from mssql_async.aio import async_connections

        word = f"row of {story.token}"
        async with async_connections[story.alias].cursor() as cursor:
            await cursor.execute(ROWS, [word])
            joined(await cursor.fetchmany(30), word)
            await story.aprobe()
            joined(await cursor.fetchmany(30), word)
            await story.alook()
        return HttpResponse("read")

    async def view_threads(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await sync_to_async(read)(story)
        return HttpResponse("read")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "in_a_transaction", "async", "threads"]))


def read(story: Story) -> None:
    word = f"row of {story.token}"
    with story.cursor_unit() as cursor:
        cursor.execute(ROWS, [word])
        while rows := cursor.fetchmany(40):
            joined(rows, word)
            story.ask("SELECT %s", [word], word)
            story.probe()
