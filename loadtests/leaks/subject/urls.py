"""One route for each view of each scenario; synchronous views stay synchronous."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path

from ..catalogue import catalogue
from ..scenario import Scenario
from ..story import Story

STORY = "leaks.story"
"""Where the scope of a request has its :class:`~loadtests.leaks.story.Story`."""


def parts_of(scenario: Scenario, prefix: str) -> Iterator[tuple[str, str]]:
    """Part of the path, and the method for it: ``view`` and each ``view_<part>``."""
    for name in dir(scenario):
        if name == prefix:
            yield "", name
        elif name.startswith(f"{prefix}_"):
            yield name.removeprefix(f"{prefix}_"), name


def _synchronous(scenario: Scenario, method: str) -> Callable[[HttpRequest], HttpResponseBase]:
    def view(request: HttpRequest) -> HttpResponseBase:
        story = _story(request)
        try:
            # Looked up now: a control may have put another in its place.
            response: HttpResponseBase = getattr(scenario, method)(request, story)
        except BaseException as error:
            story.failed(error)
            raise
        return response

    return view


def _asynchronous(
    scenario: Scenario, method: str
) -> Callable[[HttpRequest], Awaitable[HttpResponseBase]]:
    async def view(request: HttpRequest) -> HttpResponseBase:
        story = _story(request)
        try:
            response: HttpResponseBase = await getattr(scenario, method)(request, story)
        except BaseException as error:
            story.failed(error)
            raise
        return response

    return view


def _story(request: HttpRequest) -> Story:
    scope: dict[str, Any] = getattr(request, "scope")  # noqa: B009 - requests of ASGI have one
    story: Story = scope[STORY]
    return story


def _routes() -> Iterator[URLPattern]:
    for name, scenario in catalogue().items():
        for part, method in parts_of(scenario, "view"):
            is_async = iscoroutinefunction(getattr(scenario, method))
            view: Any = (_asynchronous if is_async else _synchronous)(scenario, method)
            for alias, settings in connections.settings.items():
                if settings["ATOMIC_REQUESTS"] and alias != scenario.alias:
                    view = transaction.non_atomic_requests(using=alias)(view)
            yield path(f"{name}/{part}/" if part else f"{name}/", view)


def server_error(request: HttpRequest) -> HttpResponse:
    """Says what it was: nothing is secret here, and the harness counts errors by their text."""
    error = sys.exc_info()[1]
    text = "" if error is None else f"{type(error).__name__}: {error}"
    return HttpResponse(text, status=500, content_type="text/plain")


handler500 = server_error
urlpatterns = list(_routes())
