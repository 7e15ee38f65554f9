"""Who opens connections, how often it is tried again, and when callers are told at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mssql_async.pool import NullPool, Pool, PoolSettings, PoolTimeout, RetryPolicy

from .stubs import StubConnector, StubRuntime, Transient
from .support import acquire_in_thread, make_pool, until


class Refused(Exception):
    """A definite answer: the login is wrong."""


class TestWhoOpens:
    def test_a_process_without_other_threads_opens_in_the_calling_one(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        before = threading.active_count()
        pool = make_pool(connector, clock=clock)
        for _ in range(2):
            pool.release(pool.acquire())
        assert connector.threads == [threading.current_thread()]
        assert threading.active_count() == before

    def test_such_a_process_asks_for_no_maintenance_while_it_is_young(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        for _ in range(2):
            pool.release(pool.acquire())
        assert not clock.wanted

    def test_but_it_does_once_it_is_older(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, max_idle=60)
        pool.release(pool.acquire())
        clock.advance(6)
        pool.release(pool.acquire())
        clock.advance(60)
        assert connector.open_now == 0

    def test_beside_other_threads_a_thread_of_the_pool_opens(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock)
        pool.acquire()
        assert connector.threads[0] is not threading.current_thread()
        assert connector.threads[0].name.startswith("mssql_async-")
        assert connector.threads[0].daemon

    def test_so_many_logins_run_at_once_and_no_more(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=10, max_opening=3)
        connector.opening.clear()
        waiters = [acquire_in_thread(threads, pool) for _ in range(10)]
        for _ in range(3):
            connector.entered.acquire()
        assert connector.attempts == pool.statistics().opening == 3
        connector.opening.set()
        assert len({waiter.result() for waiter in waiters}) == 10

    def test_a_login_that_nobody_waits_for_any_more_is_kept(
        self, connector: StubConnector, clock: StubRuntime, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1, acquire_timeout=0.01)
        connector.opening.clear()
        with pytest.raises(PoolTimeout, match="opening 1, waiting 0"):
            threads.submit(pool.acquire).result()
        connector.opening.set()
        until(lambda: pool.statistics().idle == 1)

    def test_who_may_not_wait_opens_where_there_is_room(self, connector: StubConnector) -> None:
        pool = make_pool(connector, max_size=2)
        assert pool.acquire(wait=False) is not pool.acquire(wait=False)

    def test_and_gets_nothing_from_a_full_pool(self, connector: StubConnector) -> None:
        pool = make_pool(connector, max_size=1)
        held = pool.acquire()
        assert pool.acquire(wait=False) is None
        pool.release(held)
        assert pool.acquire(wait=False) is held


class TestRetries:
    def test_a_transient_error_is_tried_again_so_often_and_so_far_apart(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        retry = RetryPolicy(retries=3, backoff=1.0, jitter=0.0)
        pool = NullPool(connector, PoolSettings(retry=retry), runtime=clock)
        connector.failures += [Transient("busy")] * 3
        started = clock.now()
        pool.acquire()
        assert connector.attempts == 4
        assert clock.now() - started == 1 + 2 + 4

    def test_no_pause_is_shorter_than_the_setting_and_a_spread_keeps_processes_apart(
        self, connector: StubConnector
    ) -> None:
        retry = RetryPolicy(retries=1, backoff=2.0)
        pauses = set()
        for _ in range(20):
            clock = StubRuntime()
            connector.failures.append(Transient("busy"))
            started = clock.now()
            NullPool(connector, PoolSettings(retry=retry), runtime=clock).acquire()
            pauses.add(clock.now() - started)
        assert all(2.0 <= pause <= 2.5 for pause in pauses)
        assert len(pauses) > 1

    def test_retries_end_with_their_number_and_the_error_says_so(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        retry = RetryPolicy(retries=2, backoff=0.1)
        pool = NullPool(connector, PoolSettings(retry=retry), runtime=clock)
        connector.failures += [Transient("busy")] * 9
        with pytest.raises(Transient, match=r"busy \(after 3 attempts\)"):
            pool.acquire()
        assert connector.attempts == 3

    def test_or_with_the_time_that_the_caller_has(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        retry = RetryPolicy(retries=1000, backoff=1.0)
        pool = NullPool(connector, PoolSettings(retry=retry, acquire_timeout=30), runtime=clock)
        connector.failures += [Transient("busy")] * 1000
        started = clock.now()
        with pytest.raises(Transient):
            pool.acquire()
        assert 25 < clock.now() - started <= 30

    def test_a_definite_error_is_an_answer(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        retry = RetryPolicy(retries=5, backoff=0.0)
        pool = make_pool(connector, clock=clock, retry=retry)
        connector.failures.append(Refused("wrong password"))
        with pytest.raises(Refused, match=r"wrong password \(after 1 attempts\)"):
            pool.acquire()
        assert connector.attempts == 1

    def test_a_waiter_gets_a_released_connection_while_a_retry_is_still_to_come(
        self, connector: StubConnector, threads: ThreadPoolExecutor, clock: StubRuntime
    ) -> None:
        clock.others = True
        retry = RetryPolicy(retries=5, backoff=10.0)
        pool = make_pool(connector, clock=clock, retry=retry)
        held = pool.acquire()
        connector.failures.append(Transient("busy"))
        waiter = acquire_in_thread(threads, pool)
        until(lambda: pool.statistics().connect_errors == 1)
        pool.release(held)
        assert waiter.result() is held

    def test_the_retry_comes_by_itself_when_its_time_has_come(
        self, connector: StubConnector, threads: ThreadPoolExecutor, clock: StubRuntime
    ) -> None:
        clock.others = True
        retry = RetryPolicy(retries=5, backoff=10.0, jitter=0.0)
        pool = make_pool(connector, clock=clock, retry=retry)
        connector.failures.append(Transient("busy"))
        waiter = acquire_in_thread(threads, pool)
        until(lambda: pool.statistics().connect_errors == 1)
        assert "breaker retrying" in repr(pool)
        clock.advance(9.9)
        assert connector.attempts == 1
        clock.advance(0.1)
        assert waiter.result().raw is connector.opened[0]
        assert pool.statistics().breaker == "closed"

    def test_one_retry_serves_all_who_wait(
        self, connector: StubConnector, threads: ThreadPoolExecutor, clock: StubRuntime
    ) -> None:
        clock.others = True
        retry = RetryPolicy(retries=5, backoff=10.0, jitter=0.0)
        # Longer than both retries take: nobody's time may be over in the moment of the second.
        pool = make_pool(connector, clock=clock, retry=retry, acquire_timeout=100.0)
        connector.opening.clear()
        waiters = [acquire_in_thread(threads, pool) for _ in range(4)]
        for _ in waiters:
            connector.entered.acquire()
        connector.failures += [Transient("busy")] * 4
        connector.opening.set()
        until(lambda: pool.statistics().connect_errors == 4)
        connector.failures += [Transient("still busy")]
        clock.advance(10)
        until(lambda: pool.statistics().connect_errors == 5)
        clock.advance(20)
        assert len({waiter.result() for waiter in waiters}) == 4
        assert connector.attempts == 4 + 1 + 4


class TestBreaker:
    def fail(self, pool: Pool, times: int) -> None:
        for _ in range(times):
            with pytest.raises(Refused):
                pool.acquire()

    def test_after_three_failures_callers_get_the_last_error_without_a_login(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        connector.failures += [Refused("down")] * 3
        self.fail(pool, 3)
        assert pool.statistics().breaker == "open"
        with pytest.raises(Refused, match="down"):
            pool.acquire()
        assert connector.attempts == 3
        assert pool.statistics().refused == 1

    def test_after_a_pause_one_caller_tries_and_the_others_still_get_the_error(
        self, connector: StubConnector, clock: StubRuntime, threads: ThreadPoolExecutor
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock)
        connector.failures += [Refused("down")] * 3
        self.fail(pool, 3)
        clock.advance(2)
        connector.opening.clear()
        for _ in range(3):
            connector.entered.acquire()
        trying = acquire_in_thread(threads, pool)
        connector.entered.acquire()
        assert pool.statistics().breaker == "half open"
        self.fail(pool, 5)
        assert connector.attempts == 4
        connector.opening.set()
        assert trying.result().raw is connector.opened[0]
        assert pool.statistics().breaker == "closed"

    def test_a_failed_try_opens_it_again_for_longer(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        connector.failures += [Refused("down")] * 4
        self.fail(pool, 3)
        clock.advance(1.3)
        self.fail(pool, 1)
        assert connector.attempts == 4
        clock.advance(1.3)
        self.fail(pool, 1)
        assert connector.attempts == 4
        clock.advance(1.3)
        assert pool.acquire().raw is connector.opened[0]

    def test_it_never_stays_open_for_longer_than_its_bound(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        connector.failures += [Refused("down")] * 50
        for _ in range(50):
            clock.advance(40)
            self.fail(pool, 1)
        clock.advance(40)
        assert pool.acquire().raw is connector.opened[0]

    def test_who_can_still_be_served_by_a_release_waits_for_it(
        self, connector: StubConnector, clock: StubRuntime, threads: ThreadPoolExecutor
    ) -> None:
        """A server that takes no more logins may serve the connections it has."""
        clock.others = True
        pool = make_pool(connector, clock=clock)
        held = pool.acquire()
        connector.failures += [Refused("no more logins")] * 20
        waiter = acquire_in_thread(threads, pool)
        until(lambda: pool.statistics().breaker == "open")
        pool.release(held)
        assert waiter.result() is held

    def test_who_cannot_any_more_is_told_at_once(
        self, connector: StubConnector, clock: StubRuntime, threads: ThreadPoolExecutor
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock)
        held = pool.acquire()
        connector.failures += [Refused("no more logins")] * 20
        waiters = [acquire_in_thread(threads, pool) for _ in range(2)]
        until(lambda: pool.statistics().breaker == "open")
        held.broken = True
        pool.release(held)
        for waiter in waiters:
            with pytest.raises(Refused, match="no more logins"):
                waiter.result()

    def test_callers_get_exceptions_of_their_own(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        """One shared instance would gather the tracebacks of all who raise it."""
        pool = make_pool(connector, clock=clock)
        connector.failures += [Refused("down")] * 3
        self.fail(pool, 3)
        errors = []
        for _ in range(2):
            with pytest.raises(Refused) as raised:
                pool.acquire()
            errors.append(raised.value)
        assert errors[0] is not errors[1]


class TestInterruption:
    def test_an_interrupted_login_gives_its_place_back(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, max_size=1)
        connector.failures.append(KeyboardInterrupt())  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            pool.acquire()
        statistics = pool.statistics()
        assert (statistics.opening, statistics.waiting) == (0, 0)
        assert pool.acquire().raw is connector.opened[0]
