"""A client hangs up while its request commits: all of it is there afterwards, or none.

Which of the two, the client cannot know. A backend that stops half-way would leave the transaction
open on a session that goes on to others, who then commit it or roll it back.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class HangUpInTheCommit(Scenario):
    statuses = (0, 200)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await sync_to_async(write)(story)
        return HttpResponse("committed")

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        write(story)
        return HttpResponse("committed")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.hang_up_once("committing", visit.rand.choice(["", "", "sync"]))


def write(story: Story) -> None:
    with story.transaction():
        story.probe()
        story.write(Fate.OPEN)
        story.tell("committing")
