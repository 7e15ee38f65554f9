"""The load: clients that each keep one HTTP connection and send one request after the other.

A process of its own, with nothing but asyncio, so that it takes little from those it measures:
``python -m loadtests.bench.requests_load`` reads orders, one JSON object a line, and answers
each with a line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from .ending import APART
from .peers import ROOT
from .project import ROWS

MILLISECONDS = 1000
DIGITS = 3
"""Of a latency, after the point: its answers go through a pipe as text."""
PATIENCE = 20.0
"""Seconds after which clients that still wait for an answer are given up."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: ``clients`` at a time, for ``seconds`` after ``warm_up`` seconds; or, with
    ``requests``, so many in all. ``{pk}`` in the path runs through the rows.

    Where answers take long, a turn goes on until ``at_least`` have come to what was sent after
    the warm-up, or for ``patience`` seconds more.
    """

    port: int
    path: str
    clients: int
    seconds: float = 0.0
    warm_up: float = 0.0
    requests: int | None = None
    at_least: int = 0
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back."""

    served: int
    """Answers with status 200 after the warm-up and in time."""
    received: int
    """All answers with status 200."""
    failed: int
    """Other answers, and connections that broke or were refused."""
    seconds: float
    latencies: Sequence[float]
    """Milliseconds of every answered request that was sent after the warm-up."""

    @property
    def per_second(self) -> float:
        return self.served / self.seconds if self.seconds else 0.0

    @property
    def p50(self) -> float | None:
        return percentile(self.latencies, 0.5)

    @property
    def p99(self) -> float | None:
        return percentile(self.latencies, 0.99)


class _Clients:
    """All clients of one order."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.latencies: list[float] = []
        self.served = self.received = self.failed = 0
        start = time.perf_counter()
        self._counts_from = start + order.warm_up
        self._until = self._counts_from + order.seconds
        self._stopped: float | None = None
        self._numbers = itertools.count()
        self._left = order.requests
        self._started = start

    def next_request(self) -> bytes | None:
        """What a client sends next; ``None``: nothing more."""
        if self._left is not None:
            if not self._left:
                return None
            self._left -= 1
        elif self._is_over(time.perf_counter()):
            return None
        path = self.order.path.replace("{pk}", str(next(self._numbers) % ROWS + 1))
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    def _is_over(self, now: float) -> bool:
        if self._stopped is None and (
            now >= self._until + self.order.patience
            or (now >= self._until and len(self.latencies) >= self.order.at_least)
        ):
            self._stopped = now
        return self._stopped is not None

    def answered(self, sent_at: float, well: bool) -> None:
        now = time.perf_counter()
        if not well:
            self.failed += 1
            return
        self.received += 1
        if sent_at >= self._counts_from:
            self.latencies.append(round((now - sent_at) * MILLISECONDS, DIGITS))
        if self._left is not None or (now >= self._counts_from and self._stopped is None):
            self.served += 1

    def answers(self) -> Answers:
        ended = time.perf_counter()
        if self._left is not None:
            took = ended - self._started
        else:
            took = (self._stopped or ended) - self._counts_from
        return Answers(self.served, self.received, self.failed, took, self.latencies)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share is not above; ``None``: there are none."""
    if not values:
        return None
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


class _Client(asyncio.Protocol):
    def __init__(self, clients: _Clients, over: asyncio.Future[None]) -> None:
        self._clients = clients
        self._over = over
        self._buffer = b""
        self._sent_at: float | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._clients.next_request()
        self._sent_at = None
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or self._sent_at is None or not _is_whole(head, body):
            return
        self._buffer = b""
        self._clients.answered(self._sent_at, head.startswith(b"HTTP/1.1 200"))
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._sent_at is not None:
            self._clients.answered(self._sent_at, False)
        if not self._over.done():
            self._over.set_result(None)


def _is_whole(head: bytes, body: bytes) -> bool:
    """Whether the body has arrived. Uvicorn sends it in chunks unless Django's middleware says
    how long it is."""
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    if length:
        return len(body) >= int(length)
    return body.endswith(b"0\r\n\r\n")


async def carry_out(order: Order) -> Answers:
    loop = asyncio.get_running_loop()
    clients = _Clients(order)
    ends: list[asyncio.Future[None]] = []

    def client(over: asyncio.Future[None]) -> Callable[[], _Client]:
        return lambda: _Client(clients, over)

    for _ in range(order.clients):
        over: asyncio.Future[None] = loop.create_future()
        try:
            await loop.create_connection(client(over), "127.0.0.1", order.port)
        except OSError:  # nobody listens there any more
            clients.failed += 1
        else:
            ends.append(over)
    if not ends:
        return clients.answers()
    _, waiting = await asyncio.wait(
        ends, timeout=order.warm_up + order.seconds + order.patience + PATIENCE
    )
    clients.failed += len(waiting)
    return clients.answers()


class Load:
    """The process, seen from the benchmark."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, order: Order) -> Answers:
        """
        :raises RuntimeError: the process has ended; it has said why.
        """
        orders, answers = self._process.stdin, self._process.stdout
        assert orders is not None
        assert answers is not None
        orders.write(json.dumps(asdict(order)) + "\n")
        orders.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError("The process that makes the load has ended, see above.")
        return Answers(**json.loads(line))


@contextmanager
def load_process() -> Iterator[Load]:
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=APART,
    ) as process:
        try:
            yield Load(process)
        finally:
            process.terminate()


def main() -> None:
    for line in sys.stdin:
        answers = asyncio.run(carry_out(Order(**json.loads(line))))
        print(json.dumps(asdict(answers)), flush=True)


if __name__ == "__main__":
    main()
