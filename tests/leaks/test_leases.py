"""What the pools tell of who holds a lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from mssql_async.pool import NullPool, Pool
from tests.pool.stubs import StubConnector

Source = Pool | NullPool


@pytest.fixture(params=[Pool, NullPool])
def source(request: pytest.FixtureRequest) -> Source:
    make: Callable[[StubConnector], Source] = request.param
    return make(StubConnector())


def test_nobody_holds_any(source: Source) -> None:
    assert source.leases() == []


def test_each_is_told_with_its_number_place_time_and_thread(source: Source) -> None:
    before = time.monotonic()
    first, second = source.acquire(), source.acquire()
    assert first is not None
    assert second is not None
    leases = source.leases()
    assert [lease.number for lease in leases] == [first.number, second.number]
    for lease in leases:
        assert before <= lease.lent_at <= time.monotonic()
        assert lease.holder == threading.get_ident()
        assert lease.place().startswith(f"{__file__}:")
        assert lease.place().endswith("in test_each_is_told_with_its_number_place_time_and_thread")
    source.release(first)
    assert [lease.number for lease in source.leases()] == [second.number]
    source.release(second)
    assert source.leases() == []


def test_the_whole_stack_is_noted_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(StubConnector())
    depths = []
    for whole in (False, True):
        monkeypatch.setattr(Pool, "notes_in_full", whole)
        connection = pool.acquire()
        assert connection is not None
        [lease] = pool.leases()
        depths.append(len(lease.origin))
        pool.release(connection)
    assert depths[0] == 2
    assert depths[1] > 2
