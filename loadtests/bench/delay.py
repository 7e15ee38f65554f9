"""A relay that adds network delay: ``python -m loadtests.bench.delay HOST PORT MILLISECONDS``.

It stands between the sites and their database, one process for all connections, and hands on
every piece of bytes in both directions a fixed time after it arrived: in order, whole, and as
many at a time as come, so it limits nobody's throughput. The handshake of TCP itself is not
delayed, so a new connection costs one round trip less here than over a real network.

It prints its own port, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from .ending import APART
from .peers import ROOT

MILLISECONDS = 1000
BACKLOG = 1024


class Clock(Protocol):
    """The part of an event loop that a line needs."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], None], /) -> object: ...


class Line:
    """What is on its way, for all connections and directions of a relay.

    As all of it takes the same time, first in is first out, and one timer is enough.
    """

    def __init__(self, delay: float, clock: Clock) -> None:
        """``delay`` is in seconds."""
        self._delay = delay
        self._clock = clock
        self._under_way: deque[tuple[float, Callable[[], None]]] = deque()
        self._awaited = False
        """Whether a timer is set for the first of them."""

    def send(self, deliver: Callable[[], None]) -> None:
        """Call ``deliver`` when the delay has passed."""
        due = self._clock.time() + self._delay
        self._under_way.append((due, deliver))
        self._wait()

    def _wait(self) -> None:
        if self._under_way and not self._awaited:
            self._awaited = True
            self._clock.call_at(self._under_way[0][0], self._arrive)

    def _arrive(self) -> None:
        self._awaited = False
        now = self._clock.time()
        while self._under_way and self._under_way[0][0] <= now:
            self._under_way.popleft()[1]()
        self._wait()


class _End(asyncio.Protocol):
    """One end of a connection: what it receives goes to the other end."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._transport: asyncio.Transport | None = None
        self._other: _End | None = None
        self._has_heard_all = self._has_said_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def join(self, other: _End) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        assert self._other is not None
        other = self._other
        self._line.send(lambda: other.write(data))

    def eof_received(self) -> bool:
        self._has_heard_all = True
        if self._other is not None:
            self._line.send(self._other.write_eof)
        return not self._has_said_all  # the other direction stays open

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._other is not None:
            self._line.send(self._other.close)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        self._has_said_all = True
        if self._has_heard_all:
            self.close()
        elif self._transport is not None:
            self._transport.write_eof()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Caller(_End):
    """The end of who connected to the relay."""

    def __init__(self, line: Line, host: str, port: int) -> None:
        super().__init__(line)
        self._address = host, port
        self._joining: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._transport is not None
        self._transport.pause_reading()
        self._joining = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, server = await loop.create_connection(lambda: _End(self._line), *self._address)
        except OSError as failure:
            print(f"the relay cannot reach {self._address}: {failure}", file=sys.stderr)
            self.close()
            return
        server.join(self)
        self.join(server)
        if self._transport is None:  # gone in the meantime
            server.close()
        else:
            self._transport.resume_reading()


async def open_relay(host: str, port: int, delay: float) -> asyncio.Server:
    """A relay on a free port of this machine. ``delay`` is in seconds, each way."""
    loop = asyncio.get_running_loop()
    line = Line(delay, loop)
    return await loop.create_server(
        lambda: _Caller(line, host, port), "127.0.0.1", 0, backlog=BACKLOG
    )


class _PunctualSelector(selectors.DefaultSelector):
    """epoll waits for whole milliseconds, rounded up, which would double a delay of one.
    ``select`` waits for microseconds, for epoll's own descriptor too."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0 and hasattr(select, "epoll"):
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        return found


def punctual_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose timers are as good as the system's."""
    return asyncio.SelectorEventLoop(_PunctualSelector())


async def _serve(host: str, port: int, delay: float) -> None:
    server = await open_relay(host, port, delay)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()  # and not waited for: connections may stay open for as long as they like


@contextmanager
def relay_process(host: str, port: int, milliseconds: float) -> Iterator[int]:
    """A relay in a process of its own; yields its port."""
    command = [sys.executable, "-m", __name__, host, str(port), str(milliseconds)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=APART,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.terminate()


def main(arguments: list[str]) -> None:
    host, port, milliseconds = arguments
    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        runner.run(_serve(host, int(port), float(milliseconds) / MILLISECONDS))


if __name__ == "__main__":
    main(sys.argv[1:])
