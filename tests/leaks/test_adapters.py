"""What a process knows of its own connections, with this backend and with any other."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper as SqliteWrapper
from mssql.base import DatabaseWrapper as StockWrapper
from pytest_django import DjangoDbBlocker

from loadtests.leaks.adapters import PoolAdapter, WrapperAdapter
from loadtests.leaks.clock import now
from loadtests.leaks.numbers import SessionNumbers
from loadtests.leaks.place import CURRENT
from loadtests.leaks.probe import PROBE, read
from loadtests.leaks.recorder import Recorder
from mssql_async.contrib.leaks.record import Held, Kind, Session, Story
from mssql_async.devserver import DevServer
from mssql_async.driver import find_driver
from mssql_async.pool import Pool
from mssql_async.pool.registry import close_pools
from tests.backend.conftest import server, wrapper_for

__all__ = ["server"]

SESSION = Session(51, "2024-01-01T00:00:00")


@pytest.fixture
def pools() -> Iterator[PoolAdapter]:
    adapter = PoolAdapter()
    yield adapter
    adapter.close()


class TestPools:
    def test_a_statement_runs_on_a_lease_that_has_a_beginning(
        self, server: DevServer, pools: PoolAdapter
    ) -> None:
        adapter, wrapper = pools, wrapper_for(server)
        assert adapter.lease(wrapper) is None
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            first = adapter.lease(wrapper)
            assert first is not None
            assert first[0] in adapter.connections()
        assert adapter.lease(wrapper) is None
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            second = adapter.lease(wrapper)
        assert second is not None
        assert (second[0], second[1] > first[1]) == (first[0], True)
        wrapper.close()

    def test_a_lease_that_is_kept_is_held(
        self, server: DevServer, pools: PoolAdapter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Pool, "notes_in_full", True)
        recorder, adapter, wrapper = Recorder(), pools, wrapper_for(server)
        before = {each.since for each in adapter.held(recorder)}
        cursor = wrapper.cursor()
        cursor.execute("SELECT 1 UNION ALL SELECT 2")
        lease = adapter.lease(wrapper)
        assert lease is not None
        recorder.used(lease[0], SESSION, 17, "x.py:1 in view")
        assert not adapter.is_at_rest()
        (held,) = [each for each in adapter.held(recorder) if each.since not in before]
        assert (held.token, held.session) == (17, SESSION)
        assert "test_adapters.py" in held.place
        assert SESSION in adapter.known(recorder).sessions
        wrapper.close()
        assert held not in adapter.held(recorder)

    def test_one_that_no_story_tells_of_has_its_context_and_its_statement(
        self, server: DevServer, pools: PoolAdapter
    ) -> None:
        recorder, wrapper = Recorder(), wrapper_for(server)
        recorder.adapter = pools
        reset = CURRENT.set(17)
        try:
            cursor = wrapper.cursor()
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
        finally:
            CURRENT.reset(reset)
        (held,) = [each for each in pools.held(recorder) if each.token == 17]
        assert held.statement == "SELECT 1 UNION ALL SELECT 2"
        assert held.session is not None
        wrapper.close()


def print_something(wrapper: Any) -> float:
    """Says since when."""
    before = now()
    with wrapper.cursor() as cursor:
        cursor.execute("PRINT 'x'")
    return before


class TestLeasesThatAreOver:
    """In autocommit a connection is given back with the end of a cursor."""

    def test_are_told_of_with_their_connection_and_their_time(
        self, server: DevServer, pools: PoolAdapter
    ) -> None:
        with closing(wrapper_for(server)) as wrapper:
            before = print_something(wrapper)
            assert pools.lease(wrapper) is None
            over = pools.ended_lease(wrapper, before)
            assert over is not None
            assert over.connection in pools.connections()
            assert before <= over.since <= over.until <= now()

    def test_are_not_another_statement_s_nor_another_wrapper_s(
        self, server: DevServer, pools: PoolAdapter
    ) -> None:
        with closing(wrapper_for(server)) as wrapper, closing(wrapper_for(server)) as other:
            other.ensure_connection()
            before = print_something(wrapper)
            assert pools.ended_lease(other, before) is None
            assert pools.ended_lease(wrapper, now()) is None
            with wrapper.cursor() as cursor:
                cursor.execute("SELECT 1 UNION ALL SELECT 2")
                assert pools.ended_lease(wrapper, before) is None  # it is not over

    def test_are_of_sessions_that_were_asked_for_once(
        self, server: DevServer, pools: PoolAdapter
    ) -> None:
        with closing(wrapper_for(server)) as wrapper:
            over = pools.ended_lease(wrapper, print_something(wrapper))
            assert over is not None
            with wrapper.cursor() as cursor:
                cursor.execute(PROBE, ["x"])
                assert read(cursor.fetchone()).session == pools.session_of(over.connection)
            assert (pools.take_asked(), pools.take_asked()) == (1, 0)

    def test_are_forgotten_with_their_connection(
        self, server: DevServer, pools: PoolAdapter
    ) -> None:
        with closing(wrapper_for(server)) as wrapper:
            over = pools.ended_lease(wrapper, print_something(wrapper))
        assert over is not None
        assert pools.session_of(over.connection) is not None
        close_pools(lambda parameters: parameters.address == (server.host, server.port))
        pools.known(Recorder())
        assert pools.session_of(over.connection) is None


@pytest.fixture
def adapter(django_db_blocker: DjangoDbBlocker) -> Iterator[WrapperAdapter]:
    adapter = WrapperAdapter()
    with django_db_blocker.unblock():
        yield adapter
    adapter.close()


@pytest.fixture
def recorder(adapter: WrapperAdapter) -> Recorder:
    recorder = Recorder()
    recorder.adapter = adapter
    return recorder


def sqlite(path: Path, *, age: int = 0) -> SqliteWrapper:
    settings = {**connections["default"].settings_dict, "NAME": path / "db", "CONN_MAX_AGE": age}
    return SqliteWrapper({**settings, "OPTIONS": {}}, "default")


def open_as(token: int, wrapper: Any) -> None:
    reset = CURRENT.set(token)
    try:
        wrapper.ensure_connection()
    finally:
        CURRENT.reset(reset)


@pytest.fixture
def wrapper(tmp_path: Path, adapter: WrapperAdapter) -> Iterator[SqliteWrapper]:
    wrapper = sqlite(tmp_path)
    yield wrapper
    wrapper.close()


class TestOtherBackends:
    def test_a_connection_has_a_number_that_does_not_come_back(
        self, adapter: WrapperAdapter, wrapper: SqliteWrapper
    ) -> None:
        assert adapter.lease(wrapper) is None
        wrapper.ensure_connection()
        first = adapter.lease(wrapper)
        wrapper.close()
        assert adapter.lease(wrapper) is None
        wrapper.ensure_connection()
        second = adapter.lease(wrapper)
        assert first is not None
        assert second is not None
        assert first[0] != second[0]
        assert adapter.connections() == [second[0]]

    def test_what_a_context_leaves_open_is_held_by_it(
        self, recorder: Recorder, adapter: WrapperAdapter, wrapper: SqliteWrapper
    ) -> None:
        open_as(17, wrapper)
        (held,) = adapter.held(recorder)
        assert (held.token, held.what) == (17, "a connection (unused)")
        assert "test_adapters.py" in held.place
        assert adapter.known(recorder).count == 1
        wrapper.close()
        assert adapter.held(recorder) == []

    def test_what_no_context_has_opened_is_known_and_not_held(
        self, recorder: Recorder, adapter: WrapperAdapter, wrapper: SqliteWrapper
    ) -> None:
        wrapper.ensure_connection()
        assert (adapter.held(recorder), adapter.known(recorder).count) == ([], 1)

    def test_a_connection_outlives_its_thread_until_the_collector_comes(
        self, recorder: Recorder, adapter: WrapperAdapter, tmp_path: Path
    ) -> None:
        gc.collect()
        gc.disable()
        try:
            thread = threading.Thread(target=lambda: open_as(17, sqlite(tmp_path)))
            thread.start()
            thread.join()
            assert [held.what for held in adapter.held(recorder)] == [
                "a connection (of a thread that has ended)"
            ]
        finally:
            gc.enable()
        gc.collect()
        assert adapter.held(recorder) == []

    def test_one_that_conn_max_age_keeps_for_others_is_in_order(
        self, recorder: Recorder, adapter: WrapperAdapter, tmp_path: Path
    ) -> None:
        kept = sqlite(tmp_path, age=600)
        open_as(17, kept)
        lease = adapter.lease(kept)
        assert lease is not None
        recorder.used(lease[0], SESSION, 17, "")
        assert [held.token for held in adapter.held(recorder)] == [17]
        recorder.used(lease[0], SESSION, 18, "")
        assert adapter.held(recorder) == []
        kept.set_autocommit(False)
        assert [held.token for held in adapter.held(recorder)] == [18]
        kept.close()


class Stock(StockWrapper):
    """mssql-django's own, on machines on which its driver is not registered, too."""

    def _build_connection_string(self, conn_params: Any, driver: Any) -> str:
        text: str = super()._build_connection_string(conn_params, driver)
        return find_driver().in_connection_string(text)


@pytest.fixture
def stock(server: DevServer, adapter: WrapperAdapter) -> Iterator[StockWrapper]:
    """As a context has left it open that never looked at its session."""
    wrapper = Stock(wrapper_for(server).settings_dict, "default")
    open_as(17, wrapper)
    yield wrapper
    wrapper.close()


def spid_of(wrapper: StockWrapper) -> int:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT @@SPID")
        return int(cursor.fetchone()[0])


class TestConnectionsThatNobodyHasLookedAt:
    def test_are_asked_which_session_they_have(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper
    ) -> None:
        (held,) = adapter.held(recorder)
        assert held.session == Session(spid_of(stock))
        assert adapter.known(recorder).sessions == (held.session,)

    def test_are_asked_once_and_that_is_counted(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper, server: DevServer
    ) -> None:
        before = server.counters.statements
        for _ in range(3):
            adapter.held(recorder)
        assert server.counters.statements - before == 1
        assert (adapter.take_asked(), adapter.take_asked()) == (1, 0)

    def test_are_left_alone_where_a_context_has_looked_or_is_open(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper, server: DevServer
    ) -> None:
        lease = adapter.lease(stock)
        assert lease is not None
        recorder.began(Story(17, "x", Kind.REQUEST, 0.0, recorder.process))
        before = server.counters.statements
        assert [held.session for held in adapter.held(recorder)] == [None]
        recorder.used(lease[0], SESSION, 18, "")
        assert [held.session for held in adapter.held(recorder)] == [SESSION]
        assert server.counters.statements == before

    def test_are_asked_from_another_thread_and_in_a_transaction_that_goes_on(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper
    ) -> None:
        spid = spid_of(stock)
        stock.set_autocommit(False)
        with stock.cursor() as cursor:
            cursor.execute("CREATE TABLE #t (n int)")
        found: list[Held] = []
        thread = threading.Thread(target=lambda: found.extend(adapter.held(recorder)))
        thread.start()
        thread.join()
        (held,) = found
        assert held.session == Session(spid)
        assert held.what == "a connection with an open transaction (unused)"
        with stock.cursor() as cursor:
            cursor.execute("SELECT @@TRANCOUNT")
            assert cursor.fetchone() == (1,)
        stock.rollback()
        stock.set_autocommit(True)

    def test_begin_no_transaction_by_being_asked(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper, server: DevServer
    ) -> None:
        with stock.cursor() as cursor:
            cursor.execute("SET IMPLICIT_TRANSACTIONS ON")
        (held,) = adapter.held(recorder)
        assert held.session is not None
        with closing(wrapper_for(server)) as other, other.cursor() as cursor:
            cursor.execute(
                "SELECT open_transaction_count FROM sys.dm_exec_sessions WHERE session_id = %s",
                [held.session.spid],
            )
            assert cursor.fetchone() == (0,)

    def test_are_told_of_without_a_session_where_that_has_ended(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper, server: DevServer
    ) -> None:
        spid = spid_of(stock)
        with closing(wrapper_for(server)) as other, other.cursor() as cursor:
            cursor.execute(f"KILL {spid}")
        (held,) = adapter.held(recorder)
        assert (held.session, held.what) == (
            None,
            "a connection (unused, and it does not answer)",
        )

    def test_hold_nothing_up_where_they_do_not_answer(self) -> None:
        class Silent:
            vendor = "microsoft"
            go_on = threading.Event()

            class connection:  # noqa: N801
                @staticmethod
                def cursor() -> None:
                    Silent.go_on.wait(20)

        numbers = SessionNumbers()
        numbers.ask({1: Silent}, patience=0.01)
        assert numbers.is_silent(1)
        assert numbers.take_asked() == 0
        Silent.go_on.set()

    def test_are_told_of_with_the_last_statement_though_no_story_tells_of_it(
        self, recorder: Recorder, adapter: WrapperAdapter, stock: StockWrapper
    ) -> None:
        for statement in ("SELECT 1", "SET DATEFIRST 3"):
            with stock.cursor() as cursor:
                cursor.execute(statement)
        assert [held.statement for held in adapter.held(recorder)] == ["SET DATEFIRST 3"]
        adapter.close()
        assert stock.execute_wrappers == []
