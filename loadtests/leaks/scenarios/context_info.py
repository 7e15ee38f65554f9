"""A request says who it is in its session; nobody else is ever taken for it.

Row-level security and audit triggers go by ``CONTEXT_INFO`` and ``SESSION_CONTEXT``. A backend
that gives the session on as it is would have the next request read another tenant's rows.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

SET_TENANT = "EXEC sp_set_session_context N'leaks', N'{}'"


class ContextInfo(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        info, tenant = who(story)
        story.change("context info", f"SET CONTEXT_INFO 0x{info}", info)
        story.change("session context", SET_TENANT.format(tenant), tenant)
        story.probe()
        return HttpResponse(tenant)

    async def view_async(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        await story.aprobe()
        info, tenant = who(story)
        await story.achange("context info", f"SET CONTEXT_INFO 0x{info}", info)
        await story.achange("session context", SET_TENANT.format(tenant), tenant)
        await story.aprobe()
        return HttpResponse(tenant)

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        return HttpResponse("nobody in particular")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "async", "plain"]))


def who(story: Story) -> tuple[str, str]:
    """In hexadecimal for the one, as text for the other. Ends in no zero byte, which would be
    lost among those that the server appends."""
    return f"{story.token:08x}ff", f"tenant {story.token}"
