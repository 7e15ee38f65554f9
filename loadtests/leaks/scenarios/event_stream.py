"""An event stream asks the database for each event, until its client has had enough and goes.

Between two events it holds nothing. A backend that ends connections when a response has been sent
to its end never ends those of a stream that has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from ..scenario import Reply, Scenario, Visit
from ..story import Story

MOST = 200
"""Events; enough for a client to go before the last one."""


class EventStream(Scenario):
    share = 0.5

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return StreamingHttpResponse(events(story), content_type="text/event-stream")

    async def visit(self, visit: Visit) -> Reply | None:
        enough = visit.rand.randint(1, 4)
        async with visit.stream() as stream:
            for _ in range(enough):
                if await stream.read() is None:
                    break
            stream.vanish()
        return Reply(stream.status)


async def events(story: Story) -> AsyncIterator[bytes]:
    for number in range(MOST):
        await (story.aprobe() if number % 2 else story.alook())
        yield b"id: %d\ndata: news\n\n" % number
        await asyncio.sleep(0.002)
