"""Clients that call the ASGI application in memory, in the loop that runs it.

What an application is told, and when, is as under Uvicorn: the request is there at once, then
comes nothing until the client hangs up (``http.disconnect``); what it sends after that is lost. A
WebSocket's messages are lost with an ``OSError``, as the specification asks for since its 2.4.
The application's task runs in a context of its own and is not cancelled by a client that is gone.
Source: asgi.readthedocs.io, "HTTP & WebSocket ASGI Message Format".
"""

from __future__ import annotations

import asyncio
import random
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from mssql_async.contrib.leaks.record import Token

from .scenario import Reply, Scenario
from .signals import GONE, SIGNALS, Signals

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

TOKEN_HEADER = b"x-leaks-token"
BUFFERED = 16
"""Messages that a client has not read yet before the application has to wait: the socket's
buffer, as it were."""
NORMAL, GOING_AWAY, ABNORMAL = 1000, 1001, 1006
"""Codes of closed WebSockets: done, going away, and nothing was said."""
LOOP_PATIENCE = 5.0
"""Seconds that the tasks of a loop have to end."""
_SERVER = ("127.0.0.1", 80)


class ClientDisconnected(OSError):
    """The application has sent something to a client that is gone."""


class Refused(ConnectionError):
    """The application does not accept this WebSocket."""


def target(scenario: str, part: str, query: Mapping[str, object]) -> str:
    """Path and query of a scenario's view."""
    path = f"/{scenario}/{part}{'/' if part else ''}"
    return f"{path}?{urlencode(query)}" if query else path


class InProcess:
    """Clients of one application in this process."""

    def __init__(self, application: Application, signals: Signals = SIGNALS) -> None:
        self._application = application
        self._signals = signals
        self._running: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def visit(
        self, scenario: Scenario, number: int, token: Token, rand: random.Random
    ) -> AsyncIterator[InProcessVisit]:
        yield InProcessVisit(self, scenario.name, number, token, rand)

    def call(self, scope: Message, exchange: Exchange) -> None:
        """Begin to serve; in a context that has nothing of the client's."""
        task = asyncio.get_running_loop().create_task(
            self._serve(scope, exchange), context=Context()
        )
        # A loop keeps no task alive; nor does a client that is gone.
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, scope: Message, exchange: Exchange) -> None:
        try:
            await self._application(scope, exchange.receive, exchange.send)
        except Exception as error:
            exchange.application_ended(error)
        else:
            exchange.application_ended(None)

    @property
    def signals(self) -> Signals:
        return self._signals


class Exchange:
    """One request or WebSocket: what goes to the application, and what comes from it.

    Of one loop; nothing here is called from another thread.
    """

    def __init__(self, first: Message, farewell: str, left: Callable[[], None]) -> None:
        """``left`` is called once the client is gone before the end."""
        self._inbox: deque[Message] = deque([first])
        self._outbox: deque[Message] = deque()
        self._farewell = farewell
        self._left = left
        self._changed = asyncio.Event()
        self._is_gone = False
        self._code = ABNORMAL
        self.is_over = False
        """Whether the application is done with it."""
        self.error: Exception | None = None

    # --- the application's side

    async def receive(self) -> Message:
        await self._until(lambda: self._inbox or self._is_gone or self.is_over)
        if self._inbox:
            return self._inbox.popleft()
        if self._farewell == "websocket.disconnect":
            return {"type": self._farewell, "code": self._code, "reason": ""}
        return {"type": self._farewell}

    async def send(self, message: Message) -> None:
        await self._until(lambda: self._is_gone or len(self._outbox) < BUFFERED)
        if self._is_gone:
            if self._farewell == "websocket.disconnect":
                raise ClientDisconnected("The client is gone.")
            return
        if message["type"] == "websocket.close" or (
            message["type"] == "http.response.body" and not message.get("more_body", False)
        ):
            self.is_over = True  # from now on receive() tells that the client is gone
        self._outbox.append(message)
        self._stir()

    def application_ended(self, error: Exception | None) -> None:
        self.error = self.error or error
        self.is_over = True
        self._stir()

    # --- the client's side

    async def next(self) -> Message | None:
        """What the application sends next; ``None``: nothing more."""
        await self._until(lambda: self._outbox or self.is_over)
        if not self._outbox:
            return None
        message = self._outbox.popleft()
        self._stir()
        return message

    def tell(self, message: Message) -> None:
        self._inbox.append(message)
        self._stir()

    def leave(self, code: int = ABNORMAL) -> None:
        """Be gone: what was not read yet is lost."""
        if not self._is_gone:
            self._is_gone = True
            self._code = code
            self._inbox.clear()
            self._outbox.clear()
            self._stir()
            if not self.is_over:
                self._left()

    # --- both

    def _stir(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, holds: Callable[[], object]) -> None:
        while not holds():
            await self._changed.wait()


class InProcessVisit:
    """See :class:`.scenario.Visit`."""

    def __init__(
        self,
        clients: InProcess,
        scenario: str,
        number: int,
        token: Token,
        rand: random.Random,
    ) -> None:
        self.number = number
        self.rand = rand
        self._clients = clients
        self._scenario = scenario
        self._token = token

    async def get(self, part: str = "", **query: object) -> Reply:
        with self._request(part, query) as stream:
            return await stream.whole()

    async def hang_up_after(self, seconds: float, part: str = "", **query: object) -> Reply:
        with self._request(part, query) as stream:
            return await whole_or_until(asyncio.sleep(seconds), stream)

    async def hang_up_once(self, waiting: str, part: str = "", **query: object) -> Reply:
        told = self._clients.signals.wait(self._token, waiting)
        with self._request(part, query) as stream:
            return await whole_or_until(told, stream)

    @asynccontextmanager
    async def stream(self, part: str = "", **query: object) -> AsyncIterator[InProcessStream]:
        with self._request(part, query) as stream:
            await stream.begin()
            yield stream

    @contextmanager
    def _request(self, part: str, query: dict[str, object]) -> Iterator[InProcessStream]:
        exchange = Exchange(
            {"type": "http.request", "body": b"", "more_body": False},
            "http.disconnect",
            self._tell_gone,
        )
        scope = self._scope("http", part, query)
        scope |= {"http_version": "1.1", "method": "GET", "scheme": "http"}
        scope["asgi"]["spec_version"] = "2.3"
        self._clients.call(scope, exchange)
        try:
            yield InProcessStream(exchange)
        finally:
            exchange.leave()

    @asynccontextmanager
    async def websocket(self, part: str = "", **query: object) -> AsyncIterator[InProcessTalk]:
        exchange = Exchange({"type": "websocket.connect"}, "websocket.disconnect", self._tell_gone)
        scope = self._scope("websocket", part, query)
        scope |= {"http_version": "1.1", "scheme": "ws", "subprotocols": []}
        self._clients.call(scope, exchange)
        try:
            answer = await exchange.next()
            if answer is None or answer["type"] != "websocket.accept":
                raise Refused("The application does not accept this WebSocket.")
            yield InProcessTalk(exchange)
        finally:
            exchange.leave(GOING_AWAY)

    def _tell_gone(self) -> None:
        self._clients.signals.tell(self._token, GONE)

    def _scope(self, kind: str, part: str, query: dict[str, object]) -> dict[str, Any]:
        path, _, asked = target(self._scenario, part, query).partition("?")
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "path": path,
            "raw_path": path.encode(),
            "query_string": asked.encode(),
            "root_path": "",
            "headers": [(b"host", b"leaks"), (TOKEN_HEADER, str(self._token).encode())],
            "client": ("127.0.0.1", 1024 + self._token % 60_000),
            "server": _SERVER,
            "state": {},
        }


class Reading(ABC):
    """A :class:`.scenario.Stream`, wherever it comes from."""

    def __init__(self) -> None:
        self.status = 0
        self.came = bytearray()
        """What has been read of the body."""

    @abstractmethod
    async def begin(self) -> None:
        """Until status and headers are there, or will never be."""

    @abstractmethod
    async def read(self) -> bytes | None:
        """What comes next; ``None``: the end."""

    @abstractmethod
    def vanish(self) -> None:
        """Hang up."""

    async def whole(self) -> Reply:
        await self.begin()
        while await self.read() is not None:
            pass
        return self.reply()

    def reply(self) -> Reply:
        """By now."""
        return Reply(self.status, bytes(self.came))


class InProcessStream(Reading):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._has_ended = False

    async def begin(self) -> None:
        """Until status and headers are there, or will never be. An application that fails
        before has answered with 500, as a server does for it."""
        message = await self._exchange.next()
        if message is not None:
            self.status = message["status"]
            return
        self._has_ended = True
        if self._exchange.error is not None:
            self.status = 500
            self.came += type(self._exchange.error).__name__.encode()

    async def read(self) -> bytes | None:
        while not self._has_ended:
            message = await self._exchange.next()
            if message is None:
                # It was cut short, which a client sees by the missing end.
                self._has_ended, self.status = True, 0
                break
            if message["type"] != "http.response.body":
                continue
            self._has_ended = not message.get("more_body", False)
            if body := message.get("body", b""):
                self.came += body
                return bytes(body)
        return None

    def vanish(self) -> None:
        self._has_ended = True
        self._exchange.leave()


class InProcessTalk:
    """See :class:`.scenario.Talk`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def send(self, text: str) -> None:
        self._exchange.tell({"type": "websocket.receive", "text": text})

    async def receive(self) -> str | None:
        message = await self._exchange.next()
        if message is None or message["type"] == "websocket.close":
            return None
        text = message.get("text")
        return str(text if text is not None else message["bytes"].decode())

    async def close(self) -> None:
        self._exchange.leave(NORMAL)

    def vanish(self) -> None:
        self._exchange.leave()


async def whole_or_until(moment: Awaitable[object], stream: Reading) -> Reply:
    """The reply, or what there is of it when the moment has come and the client vanishes.

    :raises TimeoutError: the moment does not come.
    """
    leaving = asyncio.ensure_future(moment)
    reading = asyncio.ensure_future(stream.whole())
    try:
        await asyncio.wait({leaving, reading}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            return reading.result()
        leaving.result()
        stream.vanish()
        return stream.reply()
    finally:
        leaving.cancel()
        reading.cancel()
        await asyncio.wait({leaving, reading})


class LoopThreads:
    """Further event loops, each in a thread of its own for the time of the ``with`` block."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._threads: list[threading.Thread] = []
        self.loops: list[asyncio.AbstractEventLoop] = []

    def __enter__(self) -> Self:
        for number in range(self._count):
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=_run, args=(loop,), name=f"leaks-loop-{number + 2}", daemon=True
            )
            thread.start()
            self.loops.append(loop)
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for loop in self.loops:
            loop.call_soon_threadsafe(loop.stop)
        for thread in self._threads:
            thread.join(LOOP_PATIENCE)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=LOOP_PATIENCE))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
