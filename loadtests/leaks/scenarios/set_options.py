"""A request changes ``SET`` options of its session; they are its own and end with it.

Language, formats of dates, lock timeout, priority in deadlocks, ``XACT_ABORT``. A backend that
gives the session on as it is would have other requests read dates the wrong way round, or give up
waiting for a lock too early.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

Changes = list[tuple[str, str, object]]
CHOICES: dict[str, Changes] = {
    "language": [
        ("language", "SET LANGUAGE German", "Deutsch"),
        ("date format", "SET DATEFORMAT dmy", "dmy"),
        ("date first", "SET DATEFIRST 1", 1),
    ],
    "dates": [("date format", "SET DATEFORMAT ymd", "ymd"), ("date first", "SET DATEFIRST 3", 3)],
    "locks": [
        ("lock timeout", "SET LOCK_TIMEOUT 4321", 4321),
        ("deadlock priority", "SET DEADLOCK_PRIORITY LOW", -5),
    ],
}
XACT_ABORT = 16384
"""The bit of ``@@OPTIONS``."""


class SetOptions(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        for name, sql, value in CHOICES[request.GET["choice"]]:
            story.change(name, sql, value)
        story.probe()
        return HttpResponse("changed")

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        for name, sql, value in CHOICES[request.GET["choice"]]:
            await story.achange(name, sql, value)
        await story.aprobe()
        return HttpResponse("changed")

    def view_xact_abort(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        options = int(dict(story.probe().state.settings)["options"])
        story.change("options", "SET XACT_ABORT ON", options | XACT_ABORT)
        story.probe()
        return HttpResponse("changed")

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        return HttpResponse("as always")

    async def visit(self, visit: Visit) -> Reply | None:
        choice = visit.rand.choice(sorted(CHOICES))
        part = visit.rand.choice(["", "async", "xact_abort", "plain"])
        return await visit.get(part, choice=choice)
