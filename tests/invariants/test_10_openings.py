"""Invariant 10: opening connections never blocks those that are merely waiting for one to be
released."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from mssql_async.pool import Pool, PooledConnection, PoolSettings
from mssql_async.pool.runtime import SYSTEM, SystemRuntime
from tests.pool.stubs import StubConnector
from tests.pool.support import until


class Impatient(SystemRuntime):
    """Takes itself for alone, so that whoever needs a connection opens it itself."""

    def alone(self) -> bool:
        return True


def is_served_while_a_login_hangs(runtime: SystemRuntime, *, patience: float) -> bool:
    """Whether somebody who waits gets what is released, although a login is under way that was
    begun for him and does not end."""
    connector = StubConnector()
    pool = Pool(connector, PoolSettings(max_size=2), runtime=runtime)
    held = pool.acquire()
    assert held is not None
    connector.entered.acquire()
    connector.opening.clear()
    served = threading.Event()

    def wait() -> PooledConnection | None:
        connection = pool.acquire()
        served.set()
        return connection

    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(wait)
        connector.entered.acquire()  # the login that hangs
        pool.release(held)
        in_time = served.wait(patience)
        connector.opening.set()
        got = waiter.result()
    assert got is not None
    pool.release(got)
    until(lambda: pool.statistics().opening == 0)
    assert pool.statistics().in_use == 0
    return in_time


def test_who_waits_is_served_by_a_release_while_a_login_hangs() -> None:
    assert is_served_while_a_login_hangs(SYSTEM, patience=30)


def test_a_pool_that_opened_in_the_callers_thread_would_keep_him_waiting() -> None:
    """The control of the test above."""
    assert not is_served_while_a_login_hangs(Impatient(), patience=1)
