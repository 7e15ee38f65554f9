"""A client hangs up in the middle of a response that is made of an open cursor's rows.

The cursor is closed and its session free again, with the rest of the rows read by nobody. A backend
that gives the session on as it is would have the next request read them, or be told that the
connection is busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._rows import lines, lines_awaited

PATIENCE = 2.0
"""Seconds until the response goes on all the same."""


class HangUpInAStream(Scenario):
    needs = (Need.SQL_SERVER,)
    statuses = (0, 200)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return StreamingHttpResponse(slowly(story))

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return StreamingHttpResponse(lines(story))

    async def visit(self, visit: Visit) -> Reply | None:
        async with visit.stream(visit.rand.choice(["", "", "sync"])) as stream:
            await stream.read()
            stream.vanish()
        return Reply(stream.status)


async def slowly(story: Story) -> AsyncIterator[bytes]:
    """After the first rows it waits for something else, with the cursor open."""
    number = 0
    async for part in lines_awaited(story):
        yield part
        number += 1
        if number == 1:
            await asyncio.sleep(PATIENCE)
