"""Clients of a real server's processes, over real sockets.

Each process has a port of its own; which one a context asks its number decides. Whoever only asks
shares kept-alive connections, as behind a proxy; whoever may vanish has a connection of its own,
which then ends with a reset (``abort``), in the middle of whatever was on its way.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from loadtests.bench.peers import ROOT
from mssql_async.contrib.leaks.record import Token

from .inprocess import TOKEN_HEADER, Reading, Refused, target, whole_or_until
from .scenario import Reply, Scenario
from .signals import GONE, SIGNALS, Signals

START_PATIENCE = 60.0
"""Seconds that a process has to say its port."""
STOP_PATIENCE = 10.0
"""Seconds that it has to end."""
COMMAND = (sys.executable, "-m", "loadtests.leaks.subject")
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_HEADER = TOKEN_HEADER.decode()


class NotServed(Exception):
    """A process under test did not start; it has said why on its standard error."""


class _KnownConnector(aiohttp.TCPConnector):
    """Knows the transport of its connection, which can then be aborted."""

    transport: asyncio.Transport | None = None

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        self.transport = connection.transport
        return connection

    def vanish(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class OverSockets:
    """Clients of several processes; of one event loop, between :func:`serving`'s ends."""

    def __init__(self, ports: Sequence[int], signals: Signals = SIGNALS) -> None:
        self.ports = tuple(ports)
        self.signals = signals
        self._shared: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._shared = _session_of_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shared is not None:
            await self._shared.close()

    async def hang_up(self) -> None:
        """Let go of the connections that are kept alive. Their number is that of the most who
        have ever asked at once: to the processes they are descriptors that only become more."""
        before, self._shared = self.shared, _session_of_all()
        await before.close()

    @asynccontextmanager
    async def visit(
        self, scenario: Scenario, number: int, token: Token, rand: random.Random
    ) -> AsyncIterator[SocketVisit]:
        yield SocketVisit(self, scenario.name, number, token, rand)

    def address(self, number: int, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[number % len(self.ports)]}{path}"

    @property
    def shared(self) -> aiohttp.ClientSession:
        assert self._shared is not None, "only within its async with block"
        return self._shared

    async def ask(self, port: int, path: str, patience: float) -> Any:
        """JSON of one process.

        :raises aiohttp.ClientError: it does not answer as it should.
        :raises TimeoutError: it does not answer in time.
        """
        timeout = aiohttp.ClientTimeout(total=patience)
        address = f"http://127.0.0.1:{port}{path}"
        async with self.shared.get(address, timeout=timeout) as response:
            response.raise_for_status()
            return await response.json()


def _session_of_all() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_NO_TIMEOUT)


class SocketVisit:
    """See :class:`.scenario.Visit`."""

    def __init__(
        self, clients: OverSockets, scenario: str, number: int, token: Token, rand: random.Random
    ) -> None:
        self.number = number
        self.rand = rand
        self._clients = clients
        self._scenario = scenario
        self._token = token
        self._headers = {_HEADER: str(token)}

    async def get(self, part: str = "", **query: object) -> Reply:
        address = self._address(part, query)
        stream = SocketStream(self._clients.shared.get(address, headers=self._headers), None)
        try:
            return await stream.whole()
        finally:
            stream.close()

    async def hang_up_after(self, seconds: float, part: str = "", **query: object) -> Reply:
        async with self._request(part, query) as stream:
            return await whole_or_until(asyncio.sleep(seconds), stream)

    async def hang_up_once(self, waiting: str, part: str = "", **query: object) -> Reply:
        told = self._clients.signals.wait(self._token, waiting)
        async with self._request(part, query) as stream:
            return await whole_or_until(told, stream)

    @asynccontextmanager
    async def stream(self, part: str = "", **query: object) -> AsyncIterator[SocketStream]:
        async with self._request(part, query) as stream:
            await stream.begin()
            yield stream

    @asynccontextmanager
    async def _request(self, part: str, query: dict[str, object]) -> AsyncIterator[SocketStream]:
        async with self._own_session() as (session, connector):
            address = self._address(part, query)
            stream = SocketStream(session.get(address, headers=self._headers), connector)
            try:
                yield stream
            finally:
                stream.close()
                connector.vanish()
                if not stream.has_ended:
                    self._tell_gone()

    @asynccontextmanager
    async def websocket(self, part: str = "", **query: object) -> AsyncIterator[SocketTalk]:
        async with self._own_session() as (session, connector):
            address = self._address(part, query)
            try:
                socket = await session.ws_connect(address, headers=self._headers)
            except aiohttp.WSServerHandshakeError as error:
                raise Refused(f"The application does not accept this WebSocket: {error}") from None
            talk = SocketTalk(socket, connector)
            try:
                yield talk
            finally:
                if not talk.was_closed:
                    self._tell_gone()
                connector.vanish()

    @asynccontextmanager
    async def _own_session(self) -> AsyncIterator[tuple[aiohttp.ClientSession, _KnownConnector]]:
        connector = _KnownConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=_NO_TIMEOUT) as session:
            yield session, connector

    def _address(self, part: str, query: dict[str, object]) -> str:
        return self._clients.address(self.number, target(self._scenario, part, query))

    def _tell_gone(self) -> None:
        self._clients.signals.tell(self._token, GONE)


class SocketStream(Reading):
    def __init__(
        self, asking: Awaitable[aiohttp.ClientResponse], connector: _KnownConnector | None
    ) -> None:
        super().__init__()
        self.has_ended = False
        """Whether the response was read to its end, or there is none."""
        self._asking = asking
        self._connector = connector
        self._response: aiohttp.ClientResponse | None = None

    async def begin(self) -> None:
        try:
            self._response = await self._asking
        except aiohttp.ClientError:
            self.has_ended = True
        else:
            self.status = self._response.status

    async def read(self) -> bytes | None:
        if self.has_ended or self._response is None:
            return None
        try:
            data = await self._response.content.readany()
        except aiohttp.ClientError:
            self.status = 0
            data = b""
        self.came += data
        self.has_ended = not data
        return data or None

    def vanish(self) -> None:
        if self._connector is not None:
            self._connector.vanish()

    def close(self) -> None:
        if self._response is not None:
            if self.has_ended:
                self._response.release()
            else:
                self._response.close()


class SocketTalk:
    """See :class:`.scenario.Talk`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, connector: _KnownConnector) -> None:
        self._socket = socket
        self._connector = connector
        self.was_closed = False
        """By the application."""

    async def send(self, text: str) -> None:
        await self._socket.send_str(text)

    async def receive(self) -> str | None:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data)
        self.was_closed = True
        return None

    async def close(self) -> None:
        await self._socket.close()

    def vanish(self) -> None:
        self._connector.vanish()


class Served:
    """A process under test."""

    def __init__(self, process: Process, ports: Sequence[int]) -> None:
        self.process = process
        self.ports = tuple(ports)


@asynccontextmanager
async def serving(
    server: str, environment: Mapping[str, str], processes: int, forks: int = 0
) -> AsyncIterator[list[Served]]:
    """So many processes, for the time of the block; with ``forks``, each forks so many workers.

    :param server: the package that serves, one of :data:`.subject.servers.SERVERS`.
    :raises NotServed: it is not installed, or a process does not start.
    """
    if find_spec(server) is None:
        raise NotServed(f"There is no {server} here: pip install {server}.")
    started: list[Process] = []
    try:
        for _ in range(processes):
            command = [*COMMAND, "--server", server, *(["--fork", str(forks)] if forks else [])]
            started.append(
                await asyncio.create_subprocess_exec(
                    *command, env={**os.environ, **environment}, cwd=ROOT, stdout=PIPE
                )
            )
        served = []
        for process in started:
            ports = [await _port(process) for _ in range(max(1, forks))]
            served.append(Served(process, ports))
        yield served
    finally:
        await asyncio.gather(*map(_stop, started))


async def _port(process: Process) -> int:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_PATIENCE):
            line = await process.stdout.readline()
        return int(line)
    except (TimeoutError, ValueError):
        raise NotServed("A process under test did not start, see above.") from None


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
