"""Contexts that are held open: many event streams of one site, and requests beside them.

Two ways to the same application. ``python -m loadtests.bench.scale_contexts PORT`` goes to a
site over sockets, one a stream; :mod:`loadtests.bench.waiting.inmemory` calls the application
itself, for as many streams as no process may have sockets. Both read orders, one JSON object a
line, and answer each with a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from .requests_load import MILLISECONDS, PATIENCE, Answers, Order, carry_out

OPENING = 32
"""Streams that are being opened at a time."""
REQUEST = "/one-query/{pk}"


@dataclass(frozen=True, slots=True)
class Opened:
    """How many streams are open, and how many ended or never began; since the start."""

    open: int
    failed: int


class Way(Protocol):
    """To the application."""

    async def stream(self, path: str, ended: Callable[[], None]) -> bool:
        """Open a stream and leave it open; whether its first event came. ``ended`` is called
        when one that had begun ends."""
        ...

    async def requests(self, path: str, number: int) -> Answers:
        """Make requests, one after the other."""
        ...


class Contexts:
    """The streams of one site."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._open = self._failed = 0

    async def open(self, streams: int, milliseconds: int) -> Opened:
        """Open so many more; each has an event every ``milliseconds``."""
        free = asyncio.Semaphore(OPENING)

        async def one() -> None:
            async with free:
                try:
                    begun = await asyncio.wait_for(
                        self._way.stream(f"/stream/{milliseconds}", self._ended), PATIENCE
                    )
                except (OSError, TimeoutError):
                    begun = False
                if begun:
                    self._open += 1
                else:
                    self._failed += 1

        await asyncio.gather(*(one() for _ in range(streams)))
        return Opened(self._open, self._failed)

    def _ended(self) -> None:
        self._open -= 1
        self._failed += 1

    async def requests(self, number: int) -> Answers:
        return await self._way.requests(REQUEST, number)


async def follow_orders(contexts: Contexts) -> None:
    """Until there are none any more."""
    print("ready", flush=True)
    orders: dict[str, Callable[..., Awaitable[Any]]] = {
        "open": contexts.open,
        "requests": contexts.requests,
    }
    # A thread for what would otherwise need a pipe of the event loop, which Windows lacks.
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        print(json.dumps(asdict(await orders[order.pop("do")](**order))), flush=True)


# --- over sockets --------------------------------------------------------------------------


class OverSockets:
    """HTTP, each stream on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def stream(self, path: str, ended: Callable[[], None]) -> bool:
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[bool] = loop.create_future()
        await loop.create_connection(lambda: _Reader(path, begun, ended), "127.0.0.1", self._port)
        return await begun

    async def requests(self, path: str, number: int) -> Answers:
        return await carry_out(Order(self._port, path, clients=1, requests=number))


class _Reader(asyncio.Protocol):
    """Keeps nothing of what it reads but that it has begun."""

    def __init__(self, path: str, begun: asyncio.Future[bool], ended: Callable[[], None]) -> None:
        self._path = path
        self._begun = begun
        self._ended = ended
        self._head = b""

    def connection_made(self, transport: Any) -> None:
        transport.write(f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        if self._begun.done():
            return
        self._head += data
        if not self._head.startswith(b"HTTP/1.1 200"[: len(self._head)]):
            self._begun.set_result(False)
        elif b"data: " in self._head:
            self._begun.set_result(True)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._begun.done():
            self._begun.set_result(False)
        elif not self._begun.cancelled() and self._begun.result():
            self._ended()


# --- in memory -----------------------------------------------------------------------------

Application = Callable[[Any, Any, Any], Awaitable[None]]


class InMemory:
    """Calls the application as a server would, each time on a task of its own."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._tasks: set[asyncio.Task[None]] = set()

    async def stream(self, path: str, ended: Callable[[], None]) -> bool:
        begun: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            if begun.done():
                return
            if message["type"] == "http.response.start" and message["status"] != 200:
                begun.set_result(False)
            elif message.get("body"):
                begun.set_result(True)

        task = asyncio.create_task(_run(self._application, _scope(path), _receiver(), send))
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            if not begun.done():
                begun.set_result(False)
            elif not begun.cancelled() and begun.result():
                ended()

        task.add_done_callback(over)
        return await begun

    async def requests(self, path: str, number: int) -> Answers:
        latencies: list[float] = []
        failed = 0
        start = time.perf_counter()
        for n in range(number):
            statuses: list[int] = []

            async def send(message: Any, statuses: list[int] = statuses) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])

            began = time.perf_counter()
            scope = _scope(path.replace("{pk}", str(n + 1)))
            await asyncio.create_task(_run(self._application, scope, _receiver(), send))
            if statuses == [200]:
                latencies.append((time.perf_counter() - began) * MILLISECONDS)
            else:
                failed += 1
        took = time.perf_counter() - start
        return Answers(len(latencies), len(latencies), failed, took, latencies)


async def _run(application: Application, scope: Any, receive: Any, send: Any) -> None:
    await application(scope, receive, send)


def _receiver() -> Callable[[], Awaitable[Any]]:
    """A client that has sent all, and stays."""
    asked = False

    async def receive() -> Any:
        nonlocal asked
        if asked:
            await asyncio.get_running_loop().create_future()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


if __name__ == "__main__":
    asyncio.run(follow_orders(Contexts(OverSockets(int(sys.argv[1])))))
