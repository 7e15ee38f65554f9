"""ASGI applications and a server that says nothing but what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from mssql_async.asgi import get_asgi_application
from tests.context.project import ask, do

LONG = "WAITFOR DELAY '00:00:30'"
background: set[asyncio.Task[Any]] = set()


async def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing")


async def one_query(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await sync_to_async(ask)("SELECT 1")))


def sync_query(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(ask("SELECT 1")))


async def long_async(request: HttpRequest) -> HttpResponse:
    await sync_to_async(do)(LONG)
    return HttpResponse("done")


def long_sync(request: HttpRequest) -> HttpResponse:
    do(LONG)
    return HttpResponse("done")


async def long_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> Any:
        yield b"first "
        await sync_to_async(do)(LONG)
        yield b"last"

    return StreamingHttpResponse(parts())


async def leave_transaction_open(request: HttpRequest) -> HttpResponse:
    def begin() -> None:
        connection.set_autocommit(False)
        do("CREATE TABLE left_behind (id int)")

    await sync_to_async(begin)()
    return HttpResponse("open")


async def leave_state(request: HttpRequest) -> HttpResponse:
    await sync_to_async(do)("CREATE TABLE #t (id int)")
    return HttpResponse("pinned")


async def depth(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await sync_to_async(ask)("SELECT @@TRANCOUNT")))


async def language(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await sync_to_async(ask)("SELECT @@LANGUAGE"))


async def language_of_another(request: HttpRequest) -> HttpResponse:
    """That of a request which this one makes of the application, with a copy of its scope."""
    await sync_to_async(do)("SET LANGUAGE French")
    another = Request(get_asgi_application(), "language", request.scope)  # type: ignore[attr-defined]
    await another.task
    return HttpResponse(another.body)


async def fail(request: HttpRequest) -> HttpResponse:
    await sync_to_async(ask)("SELECT 1")
    raise ValueError("the view's own")


async def leave_task(request: HttpRequest) -> HttpResponse:
    await sync_to_async(ask)("SELECT 1")
    gate: asyncio.Event = asyncio.Event()

    async def outlive() -> int:
        await gate.wait()
        return sum([await sync_to_async(ask)("SELECT 2") for _ in range(2)])

    task = asyncio.create_task(outlive())
    background.add(task)
    asyncio.get_running_loop().call_later(0.001, gate.set)
    return HttpResponse("gone")


urlpatterns = [
    path("nothing", nothing),
    path("one", one_query),
    path("sync", sync_query),
    path("long/async", long_async),
    path("long/sync", long_sync),
    path("long/stream", long_stream),
    path("open", leave_transaction_open),
    path("state", leave_state),
    path("depth", depth),
    path("language", language),
    path("language/another", language_of_another),
    path("fail", fail),
    path("task", leave_task),
]


class Client:
    """A client of one application, as a server would call it."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def get(self, address: str) -> tuple[int, bytes]:
        """Status and body."""
        request = Request(self.app, address)
        await asyncio.wait_for(request.task, 30)
        return request.status, b"".join(request.body)


class Request:
    """One request that the test may hang up."""

    def __init__(
        self, app: Callable[..., Any], address: str, around: dict[str, Any] | None = None
    ) -> None:
        """``around``: the scope of the request that makes this one."""
        self.status = 0
        self.body: list[bytes] = []
        self.began = asyncio.Event()
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {**(around or {}), **_scope(address)}
        self.task = asyncio.create_task(app(scope, self._messages.get, self._send))

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body.append(message.get("body", b""))
            self.began.set()

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})


def _scope(address: str) -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": f"/{address}", "raw_path": f"/{address}".encode(),
        "root_path": "", "query_string": b"", "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Knows HTTP and nothing of Django's handlers."""
    assert scope["type"] == "http"
    body = str(await sync_to_async(ask)("SELECT 1")).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def mounted(django_app: Callable[..., Any], prefix: str = "/django") -> Callable[..., Any]:
    """A router with Django mounted, as Starlette does it."""

    async def router(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(prefix):
            rest = scope["path"].removeprefix(prefix)
            await django_app({**scope, "path": rest}, receive, send)
        else:
            await plain(scope, receive, send)

    return router


async def consumer(scope: Any, receive: Any, send: Any) -> None:
    """A WebSocket that asks the database for each message, as Channels' consumers do with
    ``database_sync_to_async``."""

    def asking(text: str) -> int:
        close_old_connections()
        try:
            return int(ask("SELECT %s", int(text)))
        finally:
            close_old_connections()

    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        answer = await sync_to_async(asking)(message["text"])
        await send({"type": "websocket.send", "text": str(answer)})
