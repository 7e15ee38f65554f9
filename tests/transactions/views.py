"""Asynchronous views that write a row and say in what transaction they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.db import connection, connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View

from tests.context.project import do
from tests.shop.models import Tag

from .conftest import OTHER
from .support import add, depth

seen: list[tuple[str, int]] = []
"""Who looked, and how many transactions were open then."""


class Middleware:
    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> Any:
        seen.append(("before", await depth()))
        response = await self.get_response(request)
        seen.append(("after", await depth()))
        return response


async def work() -> HttpResponse:
    await add("a")
    return HttpResponse(str(await depth()))


async def succeeds(request: HttpRequest) -> HttpResponse:
    return await work()


async def fails(request: HttpRequest) -> HttpResponse:
    await work()
    raise ValueError("on purpose")


async def is_not_there(request: HttpRequest) -> HttpResponse:
    await work()
    raise Http404


@transaction.non_atomic_requests
async def is_not_atomic(request: HttpRequest) -> HttpResponse:
    return await work()


@transaction.non_atomic_requests(using=OTHER)
async def is_not_atomic_elsewhere(request: HttpRequest) -> HttpResponse:
    return await work()


class OfAClass(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await work()


@method_decorator(transaction.non_atomic_requests, name="dispatch")
class OfAClassNotAtomic(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return await work()


def is_synchronous(request: HttpRequest) -> HttpResponse:
    Tag.objects.create(name="a")
    return HttpResponse(str(int(connection.in_atomic_block)))


async def is_rendered_later(request: HttpRequest) -> TemplateResponse:
    await add("a")

    def look() -> str:
        seen.append(("template", int(connection.in_atomic_block)))
        return "rendered"

    template = engines["django"].from_string("{{ look }}")
    return TemplateResponse(request, template, {"look": look})  # type: ignore[arg-type]


async def streams(request: HttpRequest) -> StreamingHttpResponse:
    await add("a")

    async def parts() -> AsyncIterator[str]:
        yield str(await depth())
        yield f" {await Tag.objects.acount()}"

    return StreamingHttpResponse(parts())


async def never_ends(request: HttpRequest) -> HttpResponse:
    await add("a")
    await sync_to_async(do)("WAITFOR DELAY '00:05:00'")
    raise AssertionError("It was not stopped.")


async def nests(request: HttpRequest) -> HttpResponse:
    def both() -> list[bool]:
        return [connections[alias].in_atomic_block for alias in ("default", OTHER)]

    return HttpResponse(str(await sync_to_async(both)()))


async def in_parallel(request: HttpRequest) -> HttpResponse:
    await asyncio.gather(*map(add, "abc"))
    return HttpResponse(str(await depth()))


urlpatterns = [
    path("succeeds", succeeds),
    path("fails", fails),
    path("is_not_there", is_not_there),
    path("is_not_atomic", is_not_atomic),
    path("is_not_atomic_elsewhere", is_not_atomic_elsewhere),
    path("of_a_class", OfAClass.as_view()),
    path("of_a_class_not_atomic", OfAClassNotAtomic.as_view()),
    path("is_synchronous", is_synchronous),
    path("is_rendered_later", is_rendered_later),
    path("streams", streams),
    path("never_ends", never_ends),
    path("nests", nests),
    path("in_parallel", in_parallel),
]
