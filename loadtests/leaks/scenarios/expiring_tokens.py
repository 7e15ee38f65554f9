"""Access tokens expire one after the other, and connections with them, while requests are at work.

No connection is lent whose token is too old; those that are out come back and are replaced. A
backend that replaces a connection which somebody uses would cut a transaction in two; one that
forgets those it has replaced would leave their sessions at the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..faults import Faults
from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

MARGIN = 60.0
"""Seconds before its expiry from which on a token is good for nothing here (docs/settings.md)."""
LONG = 86_400.0


class ExpiringTokens(Scenario):
    needs = (Need.OURS, Need.FAULTS)
    alias = "token"
    statuses = (200, 503)
    share = 0.3

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return work(story)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        return await sync_to_async(work)(story)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async"]))

    async def disturb(self, faults: Faults, over: Callable[[], bool]) -> None:
        try:
            await faults.issue_token(MARGIN + 0.3)
            await faults.drop("fin")  # or else those of the token that lasts would stay
            while not over():
                await asyncio.sleep(0.2)
                await faults.issue_token(MARGIN + 0.3)
        finally:
            await faults.issue_token(LONG)


def work(story: Story) -> HttpResponseBase:
    try:
        story.probe()
        with story.transaction():
            story.write()
            story.probe()
        story.look()
    except Error:
        return HttpResponse("try again later", status=503)
    return HttpResponse("done")
