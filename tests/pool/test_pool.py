"""The pool through its public door, on stub connections."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mssql_async.pool import (
    NullPool,
    Pool,
    PoolClosed,
    PooledConnection,
    PoolSettings,
    PoolTimeout,
    TooManyWaiters,
)

from .stubs import StubConnector, StubRuntime
from .support import acquire_in_thread, make_pool, until


class TestLending:
    def test_the_first_acquire_opens_a_connection(self, connector: StubConnector) -> None:
        pool = make_pool(connector)
        assert pool.acquire().raw is connector.opened[0]

    def test_a_released_connection_is_lent_again_instead_of_opening_another(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        for _ in range(100):
            pool.release(pool.acquire())
        assert len(connector.opened) == 1

    def test_two_lenders_never_get_the_same_connection(self, connector: StubConnector) -> None:
        pool = make_pool(connector)
        assert pool.acquire() is not pool.acquire()

    def test_the_newest_idle_connection_is_lent_first(self, connector: StubConnector) -> None:
        pool = make_pool(connector)
        first, second = pool.acquire(), pool.acquire()
        pool.release(first)
        pool.release(second)
        assert pool.acquire() is second

    def test_releasing_twice_is_refused(self, connector: StubConnector) -> None:
        pool = make_pool(connector)
        connection = pool.acquire()
        pool.release(connection)
        with pytest.raises(ValueError, match="not lent by the pool 'test'"):
            pool.release(connection)
        assert pool.statistics().idle == 1

    def test_a_connection_may_be_released_by_another_thread(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector)
        threads.submit(pool.release, pool.acquire()).result()
        assert pool.statistics().idle == 1


class TestBound:
    def test_no_more_than_max_size_are_ever_open(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=3)
        most = 0

        def use_one() -> None:
            nonlocal most
            connection = pool.acquire()
            most = max(most, connector.open_now)
            pool.release(connection)

        for future in [threads.submit(use_one) for _ in range(2000)]:
            future.result()
        assert most <= 3
        assert len(connector.opened) <= 3

    def test_a_waiter_gets_the_connection_that_is_released(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1)
        connection = pool.acquire()
        waiter = acquire_in_thread(threads, pool)
        pool.release(connection)
        assert waiter.result() is connection

    def test_waiters_are_served_in_the_order_of_their_arrival(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1)
        connection = pool.acquire()
        waiters = [acquire_in_thread(threads, pool) for _ in range(8)]
        for served, waiter in enumerate(waiters):
            pool.release(connection)
            connection = waiter.result()
            assert not any(later.done() for later in waiters[served + 1 :])

    def test_waiting_too_long_raises_an_error_with_the_numbers(
        self, connector: StubConnector
    ) -> None:
        connector.failures.append(ConnectionError("login refused"))
        pool = make_pool(connector, max_size=1, acquire_timeout=0.01)
        with pytest.raises(ConnectionError, match="login refused"):
            pool.acquire()
        held = pool.acquire()
        with pytest.raises(PoolTimeout) as raised:
            pool.acquire()
        assert "size 1 of 1, in use 1, idle 0, opening 0, waiting 0" in str(raised.value)
        assert "Last connect error: ConnectionError: login refused" in str(raised.value)
        pool.release(held)
        assert pool.acquire() is held

    def test_the_caller_that_would_be_one_waiter_too_many_is_refused_at_once(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1, max_waiting=1)
        connection = pool.acquire()
        waiter = acquire_in_thread(threads, pool)
        with pytest.raises(TooManyWaiters, match="max_waiting is 1"):
            pool.acquire()
        pool.release(connection)
        assert waiter.result() is connection

    def test_a_failed_login_gives_its_place_to_the_next_waiter(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1)
        connector.failures.append(ConnectionError("refused"))
        connector.opening.clear()
        failing = threads.submit(pool.acquire)
        connector.entered.acquire()
        waiter = acquire_in_thread(threads, pool)
        connector.opening.set()
        with pytest.raises(ConnectionError):
            failing.result()
        assert waiter.result().raw is connector.opened[0]

    def test_a_waiter_takes_what_comes_first_a_released_connection_or_a_new_one(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=2)
        first = pool.acquire()
        connector.entered.acquire()
        connector.opening.clear()
        waiter = acquire_in_thread(threads, pool)
        connector.entered.acquire()  # its login is under way, and hangs
        pool.release(first)
        assert waiter.result() is first
        connector.opening.set()
        until(lambda: pool.statistics().idle == 1)
        assert pool.acquire().raw is connector.opened[1]


class TestProof:
    def test_inside_the_window_nothing_is_sent(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, health_check_window=0.5)
        pool.release(pool.acquire())
        clock.advance(0.4)
        assert pool.acquire().raw.proofs == 0

    def test_past_the_window_one_round_trip_proves_it_and_leaves_the_session_alone(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, health_check_window=0.5)
        pool.release(pool.acquire())
        clock.advance(0.6)
        raw = pool.acquire().raw
        assert (raw.proofs, raw.resets) == (1, 0)

    def test_a_connection_that_hung_up_is_replaced_unseen_even_inside_the_window(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire())
        connector.opened[0].alive = False
        assert pool.acquire().raw is connector.opened[1]
        assert connector.opened[0].closed

    def test_ten_stale_connections_cost_one_failed_proof_and_one_login(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        for connection in [pool.acquire() for _ in range(10)]:
            pool.release(connection)
        for raw in connector.opened:
            raw.frozen = True
        clock.advance(60)
        assert pool.acquire().raw is connector.opened[10]
        statistics = pool.statistics()
        assert statistics.proofs_failed == 1
        pool.acquire()
        assert pool.statistics().proofs_failed == 1
        assert connector.open_now == 2

    def test_a_pool_that_forgot_generations_would_pay_for_each_stale_connection(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        """The positive control of the test above."""

        class Forgetful(Pool):
            def _is_lendable(self, connection: PooledConnection, *args: Any, **kwargs: Any) -> bool:
                self._generation = connection.generation
                return super()._is_lendable(connection, *args, **kwargs)

        pool = Forgetful(connector, PoolSettings(), runtime=clock)
        for connection in [pool.acquire() for _ in range(3)]:
            pool.release(connection)
        for raw in connector.opened:
            raw.frozen = True
        clock.advance(60)
        for _ in range(3):
            pool.acquire()
        assert pool.statistics().proofs_failed == 3

    def test_a_broken_connection_is_closed_and_retires_its_siblings(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        broken, sibling = pool.acquire(), pool.acquire()
        pool.release(sibling)
        broken.broken = True
        pool.release(broken)
        assert pool.acquire().raw is connector.opened[2]
        assert connector.opened[0].closed
        assert connector.opened[1].closed

    def test_a_dirty_session_is_reset_before_anybody_else_gets_it(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        connection = pool.acquire()
        pool.release(connection, reset=True)
        assert connection.raw.resets == 1
        assert pool.acquire() is connection

    def test_a_session_that_cannot_be_reset_is_never_lent_again(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        connection = pool.acquire()
        connection.raw.frozen = True
        pool.release(connection, reset=True)
        assert connection.raw.closed
        assert pool.acquire().raw is connector.opened[1]


class TestLife:
    def test_a_connection_past_its_lifetime_is_replaced(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, max_lifetime=100, health_check_window=1000)
        pool.release(pool.acquire())
        clock.advance(101)
        assert pool.acquire().raw is connector.opened[1]
        assert connector.opened[0].closed

    def test_connections_opened_together_do_not_expire_together(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, max_lifetime=100)
        expiries = {pool.acquire().expires_at for _ in range(10)}
        assert len(expiries) == 10
        assert all(clock.time + 90 <= expiry <= clock.time + 100 for expiry in expiries)

    def test_a_connection_idle_for_too_long_is_closed_instead_of_being_lent(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, max_idle=60)
        pool.release(pool.acquire())
        clock.advance(61)
        assert pool.acquire().raw is connector.opened[1]

    def test_closing_closes_idle_connections_now_and_lent_ones_when_they_come_back(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        idle, lent = pool.acquire(), pool.acquire()
        pool.release(idle)
        pool.close()
        assert idle.raw.closed
        assert not lent.raw.closed
        pool.release(lent)
        assert lent.raw.closed
        with pytest.raises(PoolClosed, match="'test' is closed"):
            pool.acquire()

    def test_closing_wakes_those_who_wait(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1)
        pool.acquire()
        waiter = acquire_in_thread(threads, pool)
        pool.close()
        with pytest.raises(PoolClosed, match="while waiting"):
            waiter.result()

    def test_an_abandoned_connection_is_closed_and_its_place_given_on(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1)
        connection = pool.acquire()
        waiter = acquire_in_thread(threads, pool)
        pool.abandon(connection)
        assert waiter.result().raw is connector.opened[1]
        assert connection.raw.closed
        assert pool.statistics().abandoned == 1

    def test_abandoning_while_the_lock_is_held_does_not_deadlock(
        self, connector: StubConnector
    ) -> None:
        """Finalizers run at any instruction, also inside the pool's own critical sections."""
        pool = make_pool(connector)
        connection = pool.acquire()
        with pool._guard:
            pool.abandon(connection)
            assert not connection.raw.closed
        assert connection.raw.closed
        assert pool.statistics().size == 0


class TestAccounts:
    def test_the_numbers_add_up_after_sixty_four_threads_have_used_the_pool(
        self, connector: StubConnector, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=7)
        users: set[int] = set()
        shared: list[int] = []

        def work(turn: int) -> None:
            connection = pool.acquire()
            if connection.number in users:
                shared.append(connection.number)
            users.add(connection.number)
            connection.broken = turn % 97 == 0
            users.discard(connection.number)
            pool.release(connection, reset=turn % 13 == 0)

        for future in [threads.submit(work, turn) for turn in range(5000)]:
            future.result()
        statistics = pool.statistics()
        assert not shared
        assert statistics.in_use == statistics.opening == statistics.waiting == 0
        assert statistics.size == statistics.idle == connector.open_now <= 7
        assert statistics.acquired == 5000
        assert statistics.opened - statistics.closed == statistics.size

    def test_repr_says_how_it_stands_and_nothing_secret(self, connector: StubConnector) -> None:
        pool = make_pool(connector, max_size=2)
        pool.acquire()
        assert repr(pool) == (
            "<Pool 'test' open: 1 of 2 connections, 1 in use, 0 idle, 0 opening, 0 waiting, "
            "breaker closed>"
        )


class TestNullPool:
    def test_every_acquire_opens_and_every_release_really_closes(
        self, connector: StubConnector
    ) -> None:
        pool = NullPool(connector)
        for _ in range(3):
            pool.release(pool.acquire())
        assert len(connector.opened) == 3
        assert connector.open_now == 0

    @pytest.mark.parametrize("kind", [NullPool, Pool])
    @pytest.mark.parametrize("cancels_wait", [True, False])
    def test_what_the_connector_knows_of_the_driver_is_known_of_each_connection(
        self, connector: StubConnector, kind: type[NullPool | Pool], cancels_wait: bool
    ) -> None:
        connector.cancels_wait = cancels_wait
        assert kind(connector).acquire().cancels_wait is cancels_wait

    def test_a_pool_is_collected_with_its_connections(self, connector: StubConnector) -> None:
        pool = NullPool(connector)
        pool.abandon(pool.acquire())
        del pool
        gc.collect()
        assert connector.open_now == 0
