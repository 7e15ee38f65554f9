"""The pools that are measured, each reduced to what a measurement calls."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from mssql_async.pool.connection import PooledConnection
from mssql_async.pool.pool import Pool
from mssql_async.pool.settings import PoolSettings

from .stubs import StubConnection, StubConnector, StubServer

OURS = "mssql_async"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pool, open.

    ``acquire`` and ``release`` are the pool's own functions, so that nothing of ours is
    measured with them; those of an asynchronous one are awaited.
    """

    name: str
    acquire: Callable[[], Any]
    release: Callable[[Any], Any]
    waiting: Callable[[], int]
    """How many callers wait in its queue."""
    close: Callable[[], Awaitable[None]]
    execute: Callable[[Any], Any] = lambda connection: connection.execute("SELECT 1")
    """A caller's round trip on a connection it has acquired."""
    asynchronous: bool = False


class Make(Protocol):
    """Makes a candidate. ``size`` is in connections, at most. ``checked``: every connection
    is proved before it is lent, as far as the pool can do that."""

    async def __call__(self, server: StubServer, size: int, checked: bool) -> Candidate: ...


async def make_ours(server: StubServer, size: int, checked: bool) -> Candidate:
    """This project's pool with its defaults; those include the checks."""
    return ours(Pool(StubConnector(server), PoolSettings(max_size=size), name="bench"))


async def make_ours_watching(server: StubServer, size: int, checked: bool) -> Candidate:
    """The same, told to report leases held for long: it notes each one's whole stack."""
    settings = PoolSettings(max_size=size, leak_threshold=60.0)
    return replace(
        ours(Pool(StubConnector(server), settings, name="bench")), name=f"{OURS}, leak_threshold"
    )


def ours(pool: Pool) -> Candidate:
    async def close() -> None:
        pool.close()

    def execute(connection: PooledConnection) -> None:
        try:
            connection.raw.execute("SELECT 1")
        except Exception:
            pool.condemn(connection)  # as a lease does with a connection that fails it
            raise

    return Candidate(
        name=OURS,
        acquire=pool.acquire,
        release=pool.release,
        waiting=lambda: pool.statistics().waiting,
        close=close,
        execute=execute,
    )


class _LockAndDeque:
    """The least that a pool can do: it has no limit, no queue, and asks nothing."""

    def __init__(self, server: StubServer) -> None:
        self._lock = threading.Lock()
        self._idle: deque[StubConnection] = deque()
        self._server = server

    def acquire(self) -> StubConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return StubConnection(self._server)

    def release(self, connection: StubConnection) -> None:
        with self._lock:
            self._idle.append(connection)


async def make_floor(server: StubServer, size: int, checked: bool) -> Candidate:
    """A lock and a deque: the floor for a pool that nobody waits for."""
    pool = _LockAndDeque(server)
    return Candidate(
        name="floor: lock and deque",
        acquire=pool.acquire,
        release=pool.release,
        waiting=lambda: 0,
        close=_nothing_to_close,
    )


async def make_floor_with_queue(server: StubServer, size: int, checked: bool) -> Candidate:
    """A queue written in C, filled with all connections: the floor where callers wait."""
    pool: queue.SimpleQueue[StubConnection] = queue.SimpleQueue()
    for _ in range(size):
        pool.put(StubConnection(server))
    return Candidate(
        name="floor: SimpleQueue",
        acquire=pool.get,
        release=pool.put,
        waiting=lambda: 0,
        close=_nothing_to_close,
    )


async def _nothing_to_close() -> None:
    """Its connections go with it."""
