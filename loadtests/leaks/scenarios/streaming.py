"""Responses that are streamed read from the database while they are sent, to their end.

The rows come from a cursor that is open all the time, or from one query for each part. A backend
that ends the request's connections when the view returns pulls them away from under the response;
one that does not may never end them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._rows import lines, lines_awaited


class Streaming(Scenario):
    needs = (Need.SQL_SERVER,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return StreamingHttpResponse(lines_awaited(story))

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return StreamingHttpResponse(lines(story))

    async def view_questions(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return StreamingHttpResponse(questions(story))

    async def view_objects(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.awrite()
        return StreamingHttpResponse(objects(story))

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "sync", "questions", "objects"]))


async def questions(story: Story) -> AsyncIterator[bytes]:
    for number in range(3):
        await story.aprobe()
        yield b"%d\n" % number


async def objects(story: Story) -> AsyncIterator[bytes]:
    from ..subject.models import Note

    mine = Note.objects.using(story.alias).filter(token=story.token)
    async for note in mine.aiterator():
        await story.aprobe()
        yield note.row.encode()
