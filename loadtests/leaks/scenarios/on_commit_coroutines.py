"""Coroutine functions of ``on_commit`` are awaited after the commit, in the request's own context.

They may begin transactions themselves. A backend that runs them on a loop or thread of its own
would give them somebody else's session, or keep theirs.
"""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class OnCommitCoroutines(Scenario):
    needs = (Need.OURS,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        async def write_more() -> None:
            async with story.atransaction():
                await story.awrite()

        async with story.atransaction():
            await story.awrite()
            transaction.on_commit(story.aprobe, using=story.alias)
            transaction.on_commit(write_more, using=story.alias)
        return HttpResponse("written twice")

    async def view_refused(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        try:
            async with story.atransaction():
                await story.awrite(Fate.ROLLED_BACK)
                transaction.on_commit(lambda: story.awrite(Fate.ROLLED_BACK), using=story.alias)
                raise Refused
        except Refused:
            await story.alook()
        return HttpResponse("written nothing")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "refused"]))
