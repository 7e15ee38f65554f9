"""A caller that would wait for what only it could give back is told at once."""

from __future__ import annotations

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import pytest

from mssql_async.pool import PooledConnection, PoolTimeout, WaitsForItself

from .stubs import StubConnector
from .support import make_pool, until

#: Seconds that nobody waits for unless something is broken.
LONG = 60
SHORT = 0.05


class TestRefused:
    @pytest.mark.parametrize("size", [1, 2, 5])
    def test_who_holds_the_whole_pool_is_told_with_the_numbers(
        self, connector: StubConnector, size: int
    ) -> None:
        pool = make_pool(connector, max_size=size, acquire_timeout=LONG)
        mine = [pool.acquire() for _ in range(size)]
        with pytest.raises(WaitsForItself, match=rf"size {size} of {size}, in use {size}"):
            pool.acquire(held=lambda: mine)
        assert pool.statistics().waiting == 0
        assert pool.statistics().refused == 1

    def test_the_message_says_where_they_were_acquired(self, connector: StubConnector) -> None:
        pool = make_pool(connector, max_size=1, acquire_timeout=LONG)
        mine = [pool.acquire()]
        with pytest.raises(WaitsForItself, match=r"test_waits_for_itself\.py:\d+"):
            pool.acquire(held=lambda: mine)

    def test_the_pool_serves_on_afterwards(self, connector: StubConnector) -> None:
        pool = make_pool(connector, max_size=1, acquire_timeout=LONG)
        mine = [pool.acquire()]
        with pytest.raises(WaitsForItself):
            pool.acquire(held=lambda: mine)
        pool.release(mine[0])
        assert pool.acquire() is mine[0]

    def test_a_twin_that_says_nothing_waits_until_its_time_is_over(
        self, connector: StubConnector
    ) -> None:
        """The control: so it would be without the question."""
        pool = make_pool(connector, max_size=1, acquire_timeout=SHORT)
        pool.acquire()
        with pytest.raises(PoolTimeout):
            pool.acquire()


class TestNotRefused:
    def test_with_room_another_one_is_opened_and_nobody_is_asked(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector, max_size=2)
        first = pool.acquire()
        assert pool.acquire(held=_must_not_be_asked) is not first

    def test_without_waiting_nobody_is_asked(self, connector: StubConnector) -> None:
        pool = make_pool(connector, max_size=1)
        pool.acquire()
        assert pool.acquire(wait=False, held=_must_not_be_asked) is None

    def test_who_holds_all_but_one_waits_for_that(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=2, acquire_timeout=LONG)
        mine, anothers = [pool.acquire()], pool.acquire()
        waiting = threads.submit(pool.acquire, held=lambda: mine)
        until(lambda: pool.statistics().waiting == 1)
        pool.release(anothers)
        assert waiting.result() is anothers

    def test_who_holds_nothing_waits(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1, acquire_timeout=LONG)
        anothers = pool.acquire()
        waiting = threads.submit(pool.acquire, held=set)
        until(lambda: pool.statistics().waiting == 1)
        pool.release(anothers)
        assert waiting.result() is anothers

    def test_one_that_is_being_opened_is_waited_for(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=2, acquire_timeout=LONG)
        mine = [pool.acquire()]
        connector.opening.clear()
        another = threads.submit(pool.acquire)
        until(lambda: pool.statistics().opening == 1)
        waiting = threads.submit(pool.acquire, held=lambda: mine)
        until(lambda: pool.statistics().waiting == 2)
        connector.opening.set()
        pool.release(another.result())
        assert waiting.result() is another.result()

    def test_one_that_went_to_another_while_it_was_asked_is_not_its_own_any_more(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1, acquire_timeout=LONG)
        once_mine = pool.acquire()

        def passed_on_meanwhile() -> Collection[PooledConnection]:
            said = [once_mine]
            pool.release(once_mine)
            assert threads.submit(pool.acquire).result() is once_mine
            return said

        waiting = threads.submit(pool.acquire, held=passed_on_meanwhile)
        until(lambda: pool.statistics().waiting == 1)
        pool.release(once_mine)
        assert waiting.result() is once_mine

    def test_it_is_asked_without_the_lock(self, connector: StubConnector) -> None:
        """What it does may take locks of its own, and even use the pool."""
        pool = make_pool(connector, max_size=1, acquire_timeout=LONG)
        mine = [pool.acquire()]
        seen: list[int] = []

        def held() -> Collection[PooledConnection]:
            watcher = threading.Thread(target=lambda: seen.append(pool.statistics().in_use))
            watcher.start()
            watcher.join()
            return mine

        with pytest.raises(WaitsForItself):
            pool.acquire(held=held)
        assert seen == [1]


def _must_not_be_asked() -> Collection[PooledConnection]:
    raise AssertionError("nobody had to wait")
