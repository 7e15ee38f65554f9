"""A client hangs up before anything of the response is there; its view had nothing open.

The asynchronous view is cancelled while it awaits something else, the synchronous one does its
work for nobody. A backend that cleans up only after a response that was sent would keep the
connection of every client that has lost its patience.
"""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Reply, Scenario, Visit
from ..story import Story

PATIENCE = 2.0
"""Seconds until the view answers all the same."""


class HangUpBeforeTheBody(Scenario):
    statuses = (0, 200)

    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        await story.awrite()
        await story.atell("thinking")
        await asyncio.sleep(PATIENCE)
        return HttpResponse("too late")

    def view_sync(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        story.tell("thinking")
        story.write()
        story.look()
        return HttpResponse("for nobody")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.hang_up_once("thinking", visit.rand.choice(["", "sync"]))
