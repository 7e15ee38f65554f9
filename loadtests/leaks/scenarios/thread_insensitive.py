"""Synchronous calls of a view in threads of asyncio's, which belong to no request.

``sync_to_async(thread_sensitive=False)`` and ``asyncio.to_thread`` run in a thread that serves
another request right afterwards. A backend that keeps a connection for each thread leaves it there
when the request has ended, with whatever state the request gave it.
"""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._threads import answer, ask, dirty


class ThreadInsensitive(Scenario):
    needs = (Need.SQL_SERVER,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await answer(request, story, dirty_and_closed)

    async def visit(self, visit: Visit) -> Reply | None:
        return await ask(visit)


def dirty_and_closed(story: Story) -> None:
    """Whoever manages threads has to close their connections, as Django documents it: the thread
    itself goes on."""
    try:
        dirty(story)
    finally:
        connections[story.alias].close()
