"""A request takes an application lock for its session and never gives it back.

The lock is released when the request ends. A backend that keeps the session would hold the lock
for ever, and everybody who wants it would wait.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

TAKE = "EXEC sp_getapplock @Resource = 'leaks', @LockMode = 'Shared', @LockOwner = 'Session'"
"""Shared, so that requests need not wait for each other."""


class ApplicationLocks(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        story.change("application lock", TAKE, "Shared")
        story.probe()
        return HttpResponse("locked")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        await story.achange("application lock", TAKE, "Shared")
        await story.aprobe()
        return HttpResponse("locked")

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        return HttpResponse("no lock")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async", "plain"]))
