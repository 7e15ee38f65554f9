"""What becomes of connections and leases in time: sizes, limits, leaks, profiles, fork."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from mssql_async.pool import PoolTimeout, Replay
from mssql_async.pool.maintenance import Maintenance
from mssql_async.pool.runtime import SYSTEM

from .stubs import StubConnector, StubRuntime
from .support import make_pool, until


class TestMaintenance:
    def test_idle_connections_are_closed_when_their_time_has_come(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, max_idle=60)
        for connection in [pool.acquire() for _ in range(3)]:
            pool.release(connection)
        clock.advance(59)
        assert connector.open_now == 3
        clock.advance(1)
        assert connector.open_now == 0

    def test_connections_past_their_lifetime_are_closed_although_nobody_asks(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, max_idle=10_000, max_lifetime=100)
        pool.release(pool.acquire())
        clock.advance(100)
        assert connector.open_now == 0

    def test_the_smallest_size_is_opened_once_the_pool_is_used_and_kept(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, min_size=3, max_idle=60)
        assert connector.attempts == 0
        pool.release(pool.acquire())
        clock.advance(0)
        until(lambda: connector.open_now == 3)
        clock.advance(1000)
        until(lambda: connector.open_now == 3)
        assert pool.statistics().idle == 3

    def test_what_the_smallest_size_keeps_is_lent_however_long_it_was_idle(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, min_size=3, max_idle=60)
        pool.warm()
        clock.advance(1000)
        lent = [pool.acquire() for _ in range(3)]
        assert {connection.raw.proofs for connection in lent} == {1}
        assert connector.attempts == 3
        assert connector.open_now == 3

    def test_of_them_one_that_has_died_meanwhile_is_replaced_unseen(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, min_size=1, max_idle=60)
        pool.warm()
        connector.opened[0].frozen = True
        clock.advance(1000)
        assert pool.acquire().raw is connector.opened[1]

    def test_beyond_the_smallest_size_nothing_is_lent_that_was_idle_for_too_long(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock, min_size=1, max_idle=60)
        for connection in [pool.acquire() for _ in range(3)]:
            pool.release(connection)
        clock.time += 61  # and maintenance has not come yet
        assert pool.acquire().raw is connector.opened[0]
        assert connector.open_now == 1

    def test_after_a_quiet_time_a_burst_is_shrunk_to_the_smallest_size_again(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, min_size=3, max_idle=60)
        pool.warm()
        clock.advance(1000)
        for connection in [pool.acquire() for _ in range(5)]:
            pool.release(connection)
        assert connector.open_now == 5
        clock.advance(60)
        assert connector.open_now == 3

    def test_warming_opens_the_smallest_size_and_waits_for_it(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, min_size=3)
        pool.warm()
        assert connector.attempts == pool.statistics().idle == 3

    def test_what_dies_of_the_smallest_size_is_replaced(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock, min_size=2)
        pool.release(pool.acquire())
        clock.advance(0)
        until(lambda: pool.statistics().idle == 2)
        connection = pool.acquire()
        connection.broken = True
        pool.release(connection)
        clock.advance(0)
        until(lambda: connector.open_now == 2)
        assert connection.raw.closed

    def test_a_pool_is_not_kept_alive_by_what_becomes_due(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        clock.others = True
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire())
        seen = weakref.ref(pool)
        del pool
        gc.collect()
        assert seen() is None
        clock.advance(10_000)

    def test_one_thread_serves_all_pools_and_sleeps_when_nothing_is_due(self) -> None:
        class Asked:
            def __init__(self) -> None:
                self.by: list[threading.Thread] = []
                self.done = threading.Event()

            def maintain(self) -> None:
                self.by.append(threading.current_thread())
                self.done.set()

        maintenance = Maintenance()
        first, second, never = Asked(), Asked(), Asked()
        now = SYSTEM.now()
        maintenance.call_at(now + 3600, weakref.ref(never))
        maintenance.call_at(now, weakref.ref(second))
        maintenance.call_at(now, weakref.ref(first))
        assert first.done.wait(10)
        assert second.done.wait(10)
        assert first.by == second.by
        assert first.by[0].name == "mssql_async-maintenance"
        assert not never.by


class TestLeaks:
    def test_a_lease_held_too_long_is_reported_once_with_the_place_that_acquired_it(
        self, connector: StubConnector, clock: StubRuntime, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = make_pool(connector, clock=clock, leak_threshold=5)

        def forgetful_view() -> object:
            return pool.acquire()

        held = forgetful_view()
        with caplog.at_level(logging.WARNING, "mssql_async.pool"):
            clock.advance(4.9)
            assert not caplog.records
            clock.advance(0.1)
            clock.advance(100)
        assert len(caplog.records) == 1
        assert "has been held for 5.0 s (leak_threshold: 5 s)" in caplog.text
        assert "test_life.py" in caplog.text
        assert "forgetful_view" in caplog.text
        assert pool.statistics().leaks == 1
        assert held is not None

    def test_and_again_when_it_comes_back(
        self, connector: StubConnector, clock: StubRuntime, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = make_pool(connector, clock=clock, leak_threshold=5)
        held = pool.acquire()
        clock.advance(6)
        caplog.clear()
        pool.release(held)
        assert "came back after 6.0 s" in caplog.text
        caplog.clear()
        pool.release(pool.acquire())
        assert not caplog.records

    def test_a_lease_that_comes_back_in_time_is_not_reported(
        self, connector: StubConnector, clock: StubRuntime, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = make_pool(connector, clock=clock, leak_threshold=5)
        for _ in range(10):
            held = pool.acquire()
            clock.advance(4)
            pool.release(held)
            clock.advance(4)
        assert not caplog.records
        assert pool.statistics().leaks == 0

    def test_who_waits_in_vain_is_told_who_holds_longest_and_where_it_was_acquired(
        self, connector: StubConnector, clock: StubRuntime, threads: ThreadPoolExecutor
    ) -> None:
        pool = make_pool(connector, max_size=1, acquire_timeout=0.01)

        def greedy_view() -> object:
            return pool.acquire()

        held = greedy_view()
        with pytest.raises(PoolTimeout) as raised:
            pool.acquire()
        assert "Held longest: connection #" in str(raised.value)
        assert "greedy_view" in str(raised.value)
        assert held is not None


class TestProfiles:
    SPANISH = (Replay("SET LANGUAGE Spanish"),)

    def test_a_session_is_taken_to_the_profile_that_is_asked_for(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        connection = pool.acquire(self.SPANISH)
        assert connection.raw.profile == self.SPANISH
        assert connection.raw.resets == 1

    def test_where_it_stands_there_already_nothing_is_sent(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire(self.SPANISH))
        assert pool.acquire(self.SPANISH).raw.resets == 1

    def test_another_profile_never_sees_it(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire(self.SPANISH))
        connection = pool.acquire()
        assert connection.raw.profile == ()
        assert connection.raw.resets == 2

    def test_a_dirty_session_is_reset_to_the_profile_it_had(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire(self.SPANISH), reset=True)
        assert pool.acquire(self.SPANISH).raw.resets == 2

    def test_a_profile_that_fails_is_its_own_callers_error_and_costs_no_connection(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire())
        connector.refused.add(self.SPANISH)
        for _ in range(3):
            with pytest.raises(LookupError, match="no such language"):
                pool.acquire(self.SPANISH)
        assert pool.acquire().raw is connector.opened[0]
        assert connector.attempts == 1
        assert pool.statistics().generation == 0

    def test_a_session_whose_profile_fails_at_its_return_goes_back_without(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        connection = pool.acquire(self.SPANISH)
        connector.refused.add(self.SPANISH)
        pool.release(connection, reset=True)
        assert pool.acquire() is connection
        assert connection.raw.profile == ()
        assert connector.attempts == 1

    def test_what_lives_in_the_session_is_told_that_it_was_reset(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        class Statements:
            forgotten = 0

            def session_was_reset(self) -> None:
                self.forgotten += 1

        pool = make_pool(connector, clock=clock)
        connection = pool.acquire()
        connection.statements = statements = Statements()
        pool.release(connection)
        clock.advance(60)
        pool.release(pool.acquire(), reset=False)
        assert statements.forgotten == 0
        pool.release(pool.acquire(), reset=True)
        assert statements.forgotten == 1


class TestCondemned:
    def test_a_connection_found_dead_while_lent_retires_the_others_at_once(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        dead, idle = pool.acquire(), pool.acquire()
        pool.release(idle)
        pool.condemn(dead)
        assert pool.acquire().raw is connector.opened[2]
        assert idle.raw.closed
        assert not dead.raw.closed  # it is still in somebody's hands
        pool.release(dead)
        assert dead.raw.closed


class TestCredentials:
    def test_connections_of_an_older_credential_are_replaced(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        pool.release(pool.acquire())
        connector.credential = 1
        assert pool.acquire().raw is connector.opened[1]

    def test_a_connection_whose_token_comes_near_its_end_is_lent_to_nobody(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        connector.expires_at = clock.now() + 50
        pool = make_pool(connector, clock=clock)
        pool.release(pool.acquire())
        clock.advance(49)
        pool.release(pool.acquire())
        assert connector.attempts == 1
        clock.advance(1)
        connector.expires_at = None
        assert pool.acquire().raw is connector.opened[1]


class TestHistograms:
    def test_times_are_counted_where_they_belong(
        self, connector: StubConnector, clock: StubRuntime
    ) -> None:
        pool = make_pool(connector, clock=clock)
        for seconds in (0.001, 0.001, 1.0):
            held = pool.acquire()
            clock.advance(seconds)
            pool.release(held)
        use = pool.statistics().use_time
        assert use.count == 3
        assert use.total == pytest.approx(1.002)
        assert 0.001 <= use.quantile(0.5) <= 0.0021
        assert 1.0 <= use.quantile(1.0) <= 2.1
        assert sum(count for _, count in use.buckets()) == 3
        assert pool.statistics().create_time.count == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestFork:
    def test_the_child_starts_empty_and_closes_nothing_of_the_parent(
        self, connector: StubConnector
    ) -> None:
        pool = make_pool(connector)
        idle, held = pool.acquire(), pool.acquire()
        pool.release(idle)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            # Nothing of pytest may run in here.
            try:
                was_empty = pool.statistics().size == 0
                own = pool.acquire()
                pool.release(own)
                untouched = not idle.raw.closed and not held.raw.closed
                verdict = was_empty and own is not idle and untouched
                os.write(writer, b"y" if verdict else b"n")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 1) == b"y"
        os.close(reader)
        os.close(writer)
        assert pool.statistics().in_use == 1

    def test_also_when_the_lock_was_held_at_that_moment(self, connector: StubConnector) -> None:
        pool = make_pool(connector)
        with pool._guard:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    pool.release(pool.acquire())
                    code = 0
                finally:
                    os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
