"""What the tests of the pool do again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mssql_async.pool import Pool, PooledConnection, PoolSettings
from mssql_async.pool.runtime import SYSTEM

from .stubs import StubConnector, StubRuntime


def make_pool(
    connector: StubConnector, *, clock: StubRuntime | None = None, **settings: Any
) -> Pool:
    return Pool(connector, PoolSettings(**settings), name="test", runtime=clock or SYSTEM)


def until(condition: Callable[[], bool]) -> None:
    """Let other threads run until they have got where the test needs them."""
    deadline = threading.Event()
    for _ in range(10_000):
        if condition():
            return
        deadline.wait(0.001)
    raise AssertionError("the other threads never got there")


def acquire_in_thread(threads: ThreadPoolExecutor, pool: Pool) -> Future[PooledConnection]:
    waiting = pool.statistics().waiting
    future = threads.submit(pool.acquire)
    until(lambda: pool.statistics().waiting > waiting)
    return future
