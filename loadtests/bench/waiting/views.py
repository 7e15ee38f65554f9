"""What is measured, written as each backend's users would write it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from ..project import ROWS
from ..project.models import Item

AT_ONCE = 8
"""Statements of one request that could run beside one another."""
EACH = 0.1
"""Seconds that each of them takes at the server."""


# --- an event stream -----------------------------------------------------------------------


async def stream(request: HttpRequest, milliseconds: int) -> StreamingHttpResponse:
    """An event now, and one every so many milliseconds; each costs a query."""
    return StreamingHttpResponse(
        _events(milliseconds / 1000), content_type="text/event-stream; charset=utf-8"
    )


async def _events(period: float) -> AsyncIterator[bytes]:
    pause = random.uniform(0, period)  # streams opened together don't stay together
    while True:
        item = await Item.objects.aget(pk=random.randint(1, ROWS))
        yield f"data: {item.name}\n\n".encode()
        await asyncio.sleep(pause)
        pause = period


# --- statements beside one another ---------------------------------------------------------


def _wait_at_the_server(seconds: float = EACH) -> None:
    # Text of our own; WAITFOR takes no parameters that are prepared.
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    with connection.cursor() as cursor:
        cursor.execute(f"WAITFOR DELAY '00:00:{whole:02}.{milliseconds:03}'")


async def turns(request: HttpRequest) -> HttpResponse:
    """What ``gather`` does by itself: Django's thread takes one after the other."""
    await asyncio.gather(*(sync_to_async(_wait_at_the_server)() for _ in range(AT_ONCE)))
    return HttpResponse("ok")


async def threads(request: HttpRequest) -> HttpResponse:
    """On the event loop's threads, each of which has a connection of its own."""
    wait = sync_to_async(_wait_at_the_server, thread_sensitive=False)
    await asyncio.gather(*(wait() for _ in range(AT_ONCE)))
    return HttpResponse("ok")


if settings.SERVED_BY_OURS:
    from mssql_async.aio import async_new_connection

    async def beside(request: HttpRequest) -> HttpResponse:
        wait = sync_to_async(_wait_at_the_server)
        await asyncio.gather(*(async_new_connection(wait()) for _ in range(AT_ONCE)))
        return HttpResponse("ok")

else:

    async def beside(request: HttpRequest) -> HttpResponse:
        return HttpResponse("this backend has nothing for it", status=501)


# --- a statement whose client hangs up -----------------------------------------------------

_ended: list[float] = []


async def long(request: HttpRequest, milliseconds: int) -> HttpResponse:
    """One statement; ``how-long-ended`` tells when the view was left, however it was."""
    try:
        await sync_to_async(_wait_at_the_server)(milliseconds / 1000)
    finally:
        _ended.append(time.monotonic())
    return HttpResponse("ok")


async def how_long_ended(request: HttpRequest) -> JsonResponse:
    """The clock's readings at which ``long`` was left; it is the whole machine's clock."""
    return JsonResponse({"at": _ended})
