"""A caller whose work nobody wants any more does not stay in the queue."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mssql_async.pool import NullPool, PoolSettings, WaitCalledOff

from .stubs import StubConnector
from .support import acquire_in_thread, make_pool, until


def test_it_is_told_and_those_behind_it_move_up(
    connector: StubConnector, threads: ThreadPoolExecutor
) -> None:
    pool = make_pool(connector, max_size=1)
    lent = pool.acquire()
    idents: list[int] = []

    def acquire() -> None:
        idents.append(threading.get_ident())
        pool.acquire()

    first = threads.submit(acquire)
    until(lambda: pool.statistics().waiting == 1)
    second = acquire_in_thread(threads, pool)
    pool.call_off(idents[0])
    with pytest.raises(WaitCalledOff, match=r"pool 'test' was cancelled after \d"):
        first.result(10)
    assert pool.statistics().waiting == 1
    pool.release(lent)
    assert second.result(10) is lent
    assert pool.statistics().timeouts == 0


def test_what_was_handed_to_it_already_is_its_own(
    connector: StubConnector, threads: ThreadPoolExecutor
) -> None:
    pool = make_pool(connector, max_size=1)
    lent = pool.acquire()
    waiting = acquire_in_thread(threads, pool)
    pool.release(lent)
    assert waiting.result(10) is lent
    pool.call_off(lent.holder)
    pool.release(lent)
    assert pool.statistics().idle == 1


def test_a_thread_that_does_not_wait_is_not_touched(connector: StubConnector) -> None:
    pool = make_pool(connector, max_size=1)
    pool.call_off(threading.get_ident())
    pool.release(pool.acquire())
    NullPool(connector, PoolSettings(), name="none").call_off(threading.get_ident())
    assert pool.statistics().idle == 1
