"""A client hangs up while an asynchronous transaction block commits.

The commit is completed or the whole block rolled back, also where the task is cancelled in between.
A backend that abandons the commit would leave it to the next user of the session.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story


class HangUpInAnAsyncCommit(Scenario):
    needs = (Need.OURS,)
    statuses = (0, 200)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        async with story.atransaction():
            await story.aprobe()
            await story.awrite(Fate.OPEN)
            await story.atell("committing")
        return HttpResponse("committed")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.hang_up_once("committing")
