"""Requests leave raw cursors open with rows unread; some are even kept when the request is over.

The session is free again all the same, and a cursor that was kept gives nothing any more. A backend
that waits for the cursor to be closed keeps the session for ever; one that does not clears what is
left on the wire reads it as the answer to the next statement.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._rows import ROWS, joined

_kept: deque[Any] = deque(maxlen=40)
"""What an application does that has forgotten a cursor in a cache."""


class OpenCursors(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        cursor = begin(story)
        joined([cursor.fetchone()], word_of(story))
        story.ask("SELECT %s", ["beside it"], "beside it")
        joined(cursor.fetchmany(3), word_of(story))
        if "kept" in request.GET:
            _kept.append(cursor)
        return HttpResponse("left open")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        cursor = await sync_to_async(begin)(story)
        joined([await sync_to_async(cursor.fetchone)()], word_of(story))
        await story.aprobe()
        if "kept" in request.GET:
            _kept.append(cursor)
        return HttpResponse("left open")

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        word = f"mine is {story.token}"
        story.ask("SELECT %s", [word], word)
        story.probe()
        return HttpResponse("nothing of others")

    async def visit(self, visit: Visit) -> Reply | None:
        kept = {"kept": "yes"} if visit.rand.random() < 0.3 else {}
        return await visit.get(visit.rand.choice(["", "async", "plain"]), **kept)


def word_of(story: Story) -> str:
    return f"row of {story.token}"


def begin(story: Story) -> Any:
    cursor = connections[story.alias].cursor()
    cursor.execute(ROWS, [word_of(story)])
    return cursor
