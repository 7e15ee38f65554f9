"""Asynchronous views read and write by Django's own asynchronous methods, many at a time.

What they await runs in threads that serve other requests in between. A backend that ties a
connection to a thread gives it to whoever comes by; one that ties it to the request may lose it.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class AsyncViews(Scenario):
    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        row = await story.awrite()
        await asyncio.sleep(0)
        await story.alook()
        return HttpResponse(row)

    async def view_transaction(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """As with any backend: a transaction is one of synchronous code."""
        await story.aprobe()
        await sync_to_async(write_twice)(story)
        await story.aprobe()
        return HttpResponse("committed")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "transaction"]))


def write_twice(story: Story) -> None:
    with story.transaction():
        story.write()
        story.probe()
        story.write()
