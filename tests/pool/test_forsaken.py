"""A connection whose user does not come back is counted no more."""

from __future__ import annotations

import pytest

from mssql_async.pool import PoolTimeout

from .stubs import StubConnector, StubRuntime
from .support import make_pool, until


def test_its_place_goes_to_whoever_waits(connector: StubConnector, clock: StubRuntime) -> None:
    clock.others = True
    pool = make_pool(connector, clock=clock, max_size=1)
    pool.forsake(pool.acquire())
    another = pool.acquire()
    assert connector.attempts == 2
    assert pool.statistics().in_use == 1
    pool.release(another)


def test_else_nobody_gets_one(connector: StubConnector) -> None:
    """The control of the test above."""
    pool = make_pool(connector, max_size=1, acquire_timeout=0.01)
    pool.acquire()
    with pytest.raises(PoolTimeout, match="in use 1"):
        pool.acquire()


def test_when_it_is_released_after_all_it_is_closed_and_nothing_is_counted_twice(
    connector: StubConnector,
) -> None:
    pool = make_pool(connector, max_size=1)
    forsaken = pool.acquire()
    pool.forsake(forsaken)
    pool.forsake(forsaken)
    pool.release(forsaken)
    assert connector.open_now == 0
    s = pool.statistics()
    assert (s.size, s.opened, s.closed) == (0, 1, 1)
    with pytest.raises(ValueError, match="is not lent"):
        pool.release(forsaken)
    pool.release(pool.acquire())
    assert pool.statistics().idle == 1


def test_when_its_owner_is_collected_it_is_closed(connector: StubConnector) -> None:
    pool = make_pool(connector, max_size=1)
    forsaken = pool.acquire()
    pool.forsake(forsaken)
    pool.abandon(forsaken)
    until(lambda: connector.open_now == 0)
    s = pool.statistics()
    assert (s.size, s.opened, s.closed, s.abandoned) == (0, 1, 1, 1)


def test_its_generation_is_replaced(connector: StubConnector) -> None:
    pool = make_pool(connector, max_size=2)
    frozen, idle = pool.acquire(), pool.acquire()
    pool.release(idle)
    pool.forsake(frozen)
    assert pool.acquire() is not idle


def test_what_came_back_in_time_is_left_alone(connector: StubConnector) -> None:
    pool = make_pool(connector, max_size=1)
    connection = pool.acquire()
    pool.release(connection)
    pool.forsake(connection)
    assert pool.acquire() is connection
