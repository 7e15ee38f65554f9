"""Nested ``atomic`` blocks: what the inner one undoes is gone, what the outer one keeps is there.

Each block is a savepoint of one transaction on one session. A backend that lets another request
onto the session between two blocks, or loses count of them, would commit rows of a block that was
rolled back, or lose those of the outer one.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class NestedBlocks(Scenario):
    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return HttpResponse(book(story, whole=request.GET["whole"] == "yes"))

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return HttpResponse(await sync_to_async(book)(story, whole=request.GET["whole"] == "yes"))

    async def visit(self, visit: Visit) -> Reply | None:
        whole = visit.rand.choice(["yes", "no"])
        return await visit.get(visit.rand.choice(["", "async"]), whole=whole)


def book(story: Story, *, whole: bool) -> str:
    fate = Fate.COMMITTED if whole else Fate.ROLLED_BACK
    try:
        with story.transaction():
            story.write(fate)
            try:
                with transaction.atomic(using=story.alias):
                    story.write(Fate.ROLLED_BACK)
                    raise Refused
            except Refused:
                pass
            with transaction.atomic(using=story.alias):
                story.write(fate)
            if not whole:
                raise Refused
    except Refused:
        story.look()
        return "nothing"
    return "two rows"
