"""Calls in threads of asyncio's change their session and do not take it back.

The thread serves another request right afterwards, perhaps while the first one goes on, and a
backend that takes the thread for the owner of the session gives that request what is left there.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story
from ._threads import answer, ask, dirty


class ThreadsLeftDirty(Scenario):
    needs = (Need.SQL_SERVER,)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await answer(request, story, dirty)

    async def visit(self, visit: Visit) -> Reply | None:
        return await ask(visit)
