"""Requests leave raw cursors open with rows unread; some are even kept when the request is over.

The session is free again all the same, and a cursor that was kept gives nothing any more. A backend
that waits for the cursor to be closed keeps the session for ever; one that does not clear what is
left on the wire reads it as the answer to the next statement.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._rows import ROWS, joined

_kept: deque[tuple[Any, str]] = deque(maxlen=40)
"""What an application does that has forgotten cursors in a cache."""


class OpenCursors(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        leave_open(story, kept="kept" in request.GET)
        return HttpResponse("left open")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await sync_to_async(leave_open)(story, kept="kept" in request.GET)
        return HttpResponse("left open")

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        word = f"mine is {story.token}"
        story.ask("SELECT %s", [word], word)
        story.probe()
        return HttpResponse("nothing of others")

    def view_find(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """Reads on in what another request has left: its own rows, or none at all."""
        if _kept:
            cursor, word = _kept.popleft()
            try:
                rows = cursor.fetchmany(3)
            except (Error, AttributeError):
                return HttpResponse("of no use any more")
            joined(rows, word)
        story.probe()
        return HttpResponse("found something")

    async def visit(self, visit: Visit) -> Reply | None:
        kept = {"kept": "yes"} if visit.rand.random() < 0.5 else {}
        return await visit.get(visit.rand.choice(["", "async", "plain", "find"]), **kept)


def leave_open(story: Story, *, kept: bool) -> None:
    """Begun, and read as far as anybody was interested."""
    word = f"row of {story.token}"
    story.probe()
    cursor = connections[story.alias].cursor()
    cursor.execute(ROWS, [word])
    joined([cursor.fetchone()], word)
    joined(cursor.fetchmany(3), word)
    if kept:
        _kept.append((cursor, word))
