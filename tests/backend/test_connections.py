"""What the server sees of the backend: logins, messages and what a session was left with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyodbc
import pytest
from django.db import Error, InterfaceError, OperationalError
from django.db.utils import ProgrammingError

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.errors import PoolTimeout, error_number
from mssql_async.pool.registry import pool_statistics
from mssql_async.session.lease import LeasedConnection, LeaseState

from .conftest import wrapper_for


def ask(wrapper: DatabaseWrapper, sql: str, params: list[Any] | None = None) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()


def do(wrapper: DatabaseWrapper, sql: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(sql)


def messages_of(server: DevServer, work: Callable[[], Any]) -> dict[str, int]:
    """How many messages of each kind ``work`` sends."""
    server.reset_counters()
    work()
    return dict(server.counters.messages)


class TestPooling:
    def test_a_hundred_requests_log_in_once(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        for _ in range(100):
            assert ask(wrapper, "SELECT 1") == (1,)
            wrapper.close_if_unusable_or_obsolete()
        assert server.counters.logins == 1

    def test_threads_share_the_connections(self, server: DevServer) -> None:
        def request() -> None:
            own = wrapper_for(server)
            ask(own, "SELECT 1")
            own.close()

        for _ in range(10):
            thread = threading.Thread(target=request)
            thread.start()
            thread.join()
        assert server.counters.logins == 1

    def test_without_pooling_every_request_logs_in_and_really_closes(
        self, server: DevServer, wrapper: DatabaseWrapper, settings: Any
    ) -> None:
        settings.DATABASE_CONNECTION_POOLING = False
        for _ in range(3):
            ask(wrapper, "SELECT 1")
            wrapper.close_if_unusable_or_obsolete()
        assert server.counters.logins == 3

    @pytest.mark.parametrize("change", ["the database", "what is beneath OPTIONS"])
    def test_settings_that_change_in_place_decide_about_the_next_connection(
        self, server: DevServer, wrapper: DatabaseWrapper, change: str
    ) -> None:
        asking = "SELECT DB_NAME(), APP_NAME()"
        _, program = ask(wrapper, asking)
        wrapper.close_if_unusable_or_obsolete()
        if change == "the database":
            wrapper.settings_dict["NAME"] = "master"
            expected = ("master", program)
        else:
            wrapper.settings_dict["OPTIONS"]["extra_params"] += ";APP=renamed"
            expected = (server.database, "renamed")
        assert ask(wrapper, asking) == expected

    def test_the_request_that_finds_the_pool_exhausted_is_told_the_numbers(
        self, server: DevServer
    ) -> None:
        pool = {"max_size": 1, "acquire_timeout": 0.05}
        holder = wrapper_for(server, OPTIONS={"pool": pool})
        holder.ensure_connection()
        with ThreadPoolExecutor(1) as another:
            asking = another.submit(
                lambda: ask(wrapper_for(server, OPTIONS={"pool": pool}), "SELECT 1")
            )
            with pytest.raises(PoolTimeout, match=r"size 1 of 1, in use 1, idle 0"):
                asking.result()
        holder.close()

    def test_a_wrapper_that_is_collected_gives_its_place_back(self, server: DevServer) -> None:
        pool = {"max_size": 1, "acquire_timeout": 5}
        forgotten = wrapper_for(server, OPTIONS={"pool": pool})
        forgotten.connect()
        forgotten.connection = None  # as when a thread dies with its wrapper
        assert ask(wrapper_for(server, OPTIONS={"pool": pool}), "SELECT 1") == (1,)
        assert server.counters.logins == 2

    def test_a_cursor_kept_beyond_its_request_is_refused(self, wrapper: DatabaseWrapper) -> None:
        wrapper.ensure_connection()
        lease: LeasedConnection = wrapper.connection
        cursor = lease.cursor()
        wrapper.close()
        with pytest.raises(pyodbc.ProgrammingError, match="its lease ended"):
            cursor.execute("SELECT 1")


class TestRoundTrips:
    def test_a_query_without_parameters_is_one_message(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        ask(wrapper, "SELECT 1")
        assert messages_of(server, lambda: ask(wrapper, "SELECT 1")) == {"batch": 1}

    def test_a_lease_inside_the_window_costs_nothing(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        long_window = wrapper_for(server, OPTIONS={"pool": {"health_check_window": 600}})
        ask(long_window, "SELECT 1")
        long_window.close()
        assert messages_of(server, lambda: ask(long_window, "SELECT 1")) == {"batch": 1}
        long_window.close()

    def test_a_lease_past_the_window_costs_one_message_that_proves_it(
        self, server: DevServer
    ) -> None:
        no_window = wrapper_for(server, OPTIONS={"pool": {"health_check_window": 0}})
        ask(no_window, "SELECT 1")
        no_window.close()
        # Nothing in the session has changed, so it is not reset: prepared statements live on.
        assert messages_of(server, lambda: ask(no_window, "SELECT 1")) == {"batch": 2}
        no_window.close()

    def test_atomic_with_two_statements_is_begin_statements_commit(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        ask(wrapper, "SELECT 1")

        def work() -> None:
            wrapper.set_autocommit(False)
            ask(wrapper, "SELECT 1")
            ask(wrapper, "SELECT 2")
            wrapper.commit()
            wrapper.set_autocommit(True)

        assert messages_of(server, work) == {"tran.begin": 1, "batch": 2, "tran.commit": 1}

    def test_a_transaction_without_a_statement_sends_nothing(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        ask(wrapper, "SELECT 1")

        def work() -> None:
            wrapper.set_autocommit(False)
            wrapper.commit()
            wrapper.set_autocommit(True)

        assert messages_of(server, work) == {}


class TestHost:
    def test_an_empty_host_is_this_machine(self, server: DevServer) -> None:
        wrapper = wrapper_for(server, HOST="")
        assert ask(wrapper, "SELECT 1") == (1,)
        wrapper.close()


class TestProof:
    def test_a_session_killed_between_two_queries_is_replaced_unseen(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        (victim,) = ask(wrapper, "SELECT @@SPID")
        server.kill(victim)
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == 2

    def test_a_session_killed_in_a_transaction_fails_that_transaction_and_no_other(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        wrapper.ensure_connection()
        wrapper.set_autocommit(False)
        (victim,) = ask(wrapper, "SELECT @@SPID")
        server.kill(victim)
        with pytest.raises(OperationalError):
            ask(wrapper, "SELECT 1")
        wrapper.close_if_unusable_or_obsolete()
        assert ask(wrapper, "SELECT 1") == (1,)

    def test_after_a_failover_one_login_replaces_them_all(self, server: DevServer) -> None:
        wrappers = [wrapper_for(server) for _ in range(5)]
        for one in wrappers:
            one.ensure_connection()
        for one in wrappers:
            one.close()
        assert server.kill() == 5
        server.reset_counters()
        for one in wrappers:
            assert ask(one, "SELECT 1") == (1,)
            one.close()
        assert server.counters.logins == 1


class TestLeases:
    def test_in_autocommit_a_connection_is_held_no_longer_than_its_cursor(
        self, wrapper: DatabaseWrapper
    ) -> None:
        wrapper.ensure_connection()
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert wrapper.connection.state is LeaseState.HELD
        assert wrapper.connection.state is LeaseState.FREE

    def test_a_transaction_keeps_its_connection_to_its_end(self, wrapper: DatabaseWrapper) -> None:
        wrapper.ensure_connection()
        wrapper.set_autocommit(False)
        spids = {ask(wrapper, "SELECT @@SPID") for _ in range(3)}
        assert len(spids) == 1
        assert wrapper.connection.state is LeaseState.HELD
        wrapper.commit()
        assert wrapper.connection.state is LeaseState.FREE

    def test_a_session_with_state_of_its_own_stays_with_its_context(
        self, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE #mine (a int)")
        assert wrapper.connection.pinned
        do(wrapper, "INSERT INTO #mine VALUES (1)")
        assert ask(wrapper, "SELECT a FROM #mine") == (1,)

    def test_whatever_a_request_still_holds_goes_back_when_it_ends(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE #mine (a int)")
        wrapper.cursor().execute("SELECT 1")
        wrapper.set_autocommit(False)
        do(wrapper, "INSERT INTO #mine VALUES (1)")
        held = [pool for pool in pool_statistics() if pool.in_use]
        assert len(held) == 1
        wrapper.close_if_unusable_or_obsolete()  # what Django calls when a request ends
        assert [pool for pool in pool_statistics() if pool.in_use] == []

    def test_with_a_maximum_age_the_lease_outlives_the_request_and_holds_nothing(
        self, server: DevServer
    ) -> None:
        wrapper = wrapper_for(server, CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)

        def request() -> LeasedConnection:
            ask(wrapper, "SELECT 1")
            wrapper.close_if_unusable_or_obsolete()
            return wrapper.connection

        first = request()
        assert first.state is LeaseState.FREE
        again: list[LeasedConnection] = []
        assert messages_of(server, lambda: again.append(request())) == {"batch": 1}
        assert again == [first]

    def test_but_not_one_that_still_holds_something(self, server: DevServer) -> None:
        wrapper = wrapper_for(server, CONN_MAX_AGE=None)
        do(wrapper, "CREATE TABLE #t (id int)")
        wrapper.close_if_unusable_or_obsolete()
        assert wrapper.connection is None

    def test_it_is_usable_where_the_pool_can_lend_and_no_longer(self, server: DevServer) -> None:
        wrapper = wrapper_for(server, OPTIONS={"connection_timeout": 1})
        ask(wrapper, "SELECT 1")
        server.kill()
        assert wrapper.is_usable()
        server.kill()
        server.close()
        assert not wrapper.is_usable()

    def test_a_lease_may_be_held_to_the_contexts_end_on_request(self, server: DevServer) -> None:
        whole = wrapper_for(server, OPTIONS={"pool": {"lease": "context"}})
        ask(whole, "SELECT 1")
        assert whole.connection.state is LeaseState.HELD
        whole.close()

    def test_a_time_limit_set_by_one_context_is_not_the_next_ones(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        wrapper.ensure_connection()
        wrapper.connection.timeout = 7
        ask(wrapper, "SELECT 1")
        other = wrapper_for(server)
        other.ensure_connection()
        assert other.connection.timeout == 0
        other.close()

    def test_a_connection_whose_decoding_was_changed_is_lent_to_nobody_else(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        wrapper.ensure_connection()
        wrapper.connection.add_output_converter(pyodbc.SQL_INTEGER, lambda raw: "changed")
        assert ask(wrapper, "SELECT 1") == ("changed",)
        wrapper.close()
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == 2


class TestOwner:
    """A connection is used by one context at a time."""

    def in_another_thread(self, work: Callable[[], Any]) -> Any:
        outcome: list[Any] = []

        def call() -> None:
            try:
                outcome.append(work())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return outcome[0]

    def test_a_cursor_that_another_thread_got_hold_of_is_refused_before_anything_is_sent(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            server.reset_counters()
            for use in (cursor.fetchall, lambda: cursor.execute("SELECT 3")):
                error = self.in_another_thread(use)
                assert isinstance(error, ProgrammingError)
                assert "A connection serves one context at a time" in str(error)
            assert server.counters.total_messages == 0
            assert cursor.fetchall() == [(1,), (2,)]

    def test_django_may_share_a_connection_between_threads_as_its_live_server_tests_do(
        self, wrapper: DatabaseWrapper
    ) -> None:
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            wrapper.inc_thread_sharing()
            assert self.in_another_thread(lambda: ask(wrapper, "SELECT 3")) == (3,)
            assert self.in_another_thread(cursor.fetchone) == (1,)
            wrapper.dec_thread_sharing()
            assert isinstance(self.in_another_thread(cursor.fetchone), ProgrammingError)
            assert cursor.fetchone() == (2,)

    def test_one_that_was_shared_stays_its_own_threads_whoever_connected_it(
        self, wrapper: DatabaseWrapper
    ) -> None:
        wrapper.inc_thread_sharing()
        other = threading.Thread(target=ask, args=(wrapper, "SELECT 1"))
        other.start()
        other.join()
        wrapper.dec_thread_sharing()
        assert ask(wrapper, "SELECT 2") == (2,)


#: SQL that changes a session -> SQL that shows it.
BLEEDS = {
    "SET DATEFIRST 3": "SELECT @@DATEFIRST",
    "SET LOCK_TIMEOUT 1234": "SELECT @@LOCK_TIMEOUT",
    "SET LANGUAGE Deutsch": "SELECT @@LANGUAGE",
    "BEGIN TRANSACTION": "SELECT @@TRANCOUNT",
    "USE master": "SELECT DB_NAME()",
    "CREATE TABLE #mine (a int)": "SELECT OBJECT_ID('tempdb..#mine')",
    "EXEC sp_set_session_context 'who', 'me'": "SELECT SESSION_CONTEXT(N'who')",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE": (
        "SELECT transaction_isolation_level FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
    ),
}


class TestNothingBleeds:
    @pytest.mark.parametrize("change", BLEEDS)
    def test_what_one_request_changed_the_next_does_not_see(
        self, server: DevServer, wrapper: DatabaseWrapper, change: str
    ) -> None:
        before = ask(wrapper, BLEEDS[change])
        (spid,) = ask(wrapper, "SELECT @@SPID")
        do(wrapper, change)
        assert ask(wrapper, BLEEDS[change]) != before
        wrapper.close()
        assert ask(wrapper, "SELECT @@SPID") == (spid,)
        assert ask(wrapper, BLEEDS[change]) == before

    def test_a_lease_that_forgot_to_say_it_is_dirty_would_bleed(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        """The positive control of the test above."""
        ask(wrapper, "SELECT 1")
        do(wrapper, "SET DATEFIRST 3")
        wrapper.connection._dirty = False
        wrapper.close()
        assert ask(wrapper, "SELECT @@DATEFIRST") == (3,)

    def test_a_transaction_left_open_is_rolled_back_when_the_request_ends(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE ledger (id int)")
        wrapper.set_autocommit(False)
        do(wrapper, "INSERT INTO ledger VALUES (1)")
        wrapper.close()
        wrapper.ensure_connection()
        assert ask(wrapper, "SELECT COUNT(*) FROM ledger") == (0,)

    def test_rows_left_unread_do_not_reach_the_next_request(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        cursor = wrapper.cursor()
        cursor.execute("SELECT 1 UNION ALL SELECT 2; SELECT 3")
        wrapper.close()
        assert ask(wrapper, "SELECT 4") == (4,)
        assert server.counters.logins == 1


class TestErrors:
    def test_a_wrong_password_is_one_clear_error_without_the_password(
        self, server: DevServer
    ) -> None:
        with pytest.raises(InterfaceError) as raised:
            wrapper_for(server, PASSWORD="hunter2!").ensure_connection()
        state, text = raised.value.args
        assert state == "28000"
        assert "Login failed for user 'sa'" in text
        assert "Check USER and PASSWORD" in text
        assert "hunter2" not in "".join(map(str, _chain(raised.value)))

    def test_a_missing_database_is_named(self, server: DevServer) -> None:
        with pytest.raises((InterfaceError, ProgrammingError, OperationalError)) as raised:
            wrapper_for(server, NAME="nowhere").ensure_connection()
        text = raised.value.args[1]
        assert 'Cannot open database "nowhere"' in text
        assert "Check NAME" in text

    def test_a_closed_port_is_named_at_once(self, server: DevServer) -> None:
        closed = server.port
        server.close()
        with pytest.raises(OperationalError) as raised:
            wrapper_for(server, PORT=str(closed)).ensure_connection()
        assert raised.value.args[0] == "08001"
        assert f"Nothing listens on port {closed}" in raised.value.args[1]
        assert "Check HOST and PORT" in raised.value.args[1]

    def test_trusting_a_certificate_does_not_keep_a_closed_port_from_being_named(
        self, server: DevServer
    ) -> None:
        closed = server.port
        server.close()
        options = {"extra_params": "Encrypt=no;TrustServerCertificate=yes"}
        with pytest.raises(OperationalError, match=f"Nothing listens on port {closed}"):
            wrapper_for(server, PORT=str(closed), OPTIONS=options).ensure_connection()

    @pytest.mark.parametrize(
        "limits", [{"connection_timeout": 2}, {"pool": {"acquire_timeout": 2}}]
    )
    def test_a_server_that_does_not_accept_costs_no_more_than_a_login_may(
        self, monkeypatch: pytest.MonkeyPatch, server: DevServer, limits: dict[str, Any]
    ) -> None:
        patience: list[float | None] = []
        logins: list[int] = []
        connect = pyodbc.connect

        def log_in(*arguments: Any, timeout: int, **options: Any) -> pyodbc.Connection:
            logins.append(timeout)
            return connect(*arguments, timeout=timeout, **options)

        class Attempt(socket.socket):
            def settimeout(self, seconds: float | None) -> None:
                patience.append(seconds)
                super().settimeout(seconds)

        with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:
            port = busy.getsockname()[1]
            fill = [socket.socket() for _ in range(4)]
            for one in fill:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            monkeypatch.setattr(socket, "socket", Attempt)
            monkeypatch.setattr(pyodbc, "connect", log_in)
            with pytest.raises(OperationalError):
                wrapper_for(server, PORT=str(port), OPTIONS=limits).ensure_connection()
            for one in fill:
                one.close()
        (seconds,) = patience  # for the question whether anybody listens: it was five, once
        assert seconds is not None
        assert seconds <= 1  # the other half is for the login
        assert logins
        assert all(1 <= timeout <= 2 for timeout in logins)  # 0 is fifteen, the driver's own

    @pytest.mark.parametrize(
        "settings", [{"driver": "ODBC Driver 1 for SQL Server"}, {"dsn": "nowhere"}]
    )
    def test_a_missing_driver_is_an_error_that_says_what_to_install(
        self, server: DevServer, settings: dict[str, str]
    ) -> None:
        with pytest.raises(Error) as raised:
            wrapper_for(server, OPTIONS=settings).ensure_connection()
        assert raised.value.args[0] in ("01000", "IM002", "IM003")
        assert "OPTIONS['driver']" in raised.value.args[1]
        assert "msodbcsql18" in raised.value.args[1]

    @pytest.mark.parametrize("number", [18456, 4060])
    def test_the_number_of_a_refused_login_is_known(self, server: DevServer, number: int) -> None:
        with server.faults.refuse_logins(number, times=None), pytest.raises(Error) as raised:
            wrapper_for(server, OPTIONS={"connection_retries": 0}).ensure_connection()
        assert error_number(raised.value) == number
        with pytest.raises(OperationalError) as other:
            raise OperationalError("somebody's own") from raised.value
        assert error_number(other.value) is None

    def test_an_unknown_host_is_named_at_once(self, server: DevServer) -> None:
        with pytest.raises(OperationalError, match=r"'no\.such\.host\.invalid' has no address"):
            wrapper_for(server, HOST="no.such.host.invalid").ensure_connection()

    def test_no_repr_and_no_statistics_show_a_secret(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        ask(wrapper, "SELECT 1")
        parameters = wrapper._connect_parameters(wrapper.get_connection_params())
        shown = f"{wrapper.connection!r} {parameters!r} {pool_statistics()!r}"
        assert server.password not in shown


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    def sessions(self, server: DevServer, *arguments: str) -> list[str]:
        process = subprocess.run(
            [sys.executable, "-m", "tests.backend.forking", str(server.port), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return process.stdout.split()

    def test_a_forked_child_starts_empty_and_leaves_the_parents_connection_alone(
        self, server: DevServer
    ) -> None:
        before, in_child, after = self.sessions(server)
        assert in_child != before
        assert after == before

    def test_a_child_that_did_not_disown_the_lease_would_use_the_parents_session(
        self, server: DevServer
    ) -> None:
        """The positive control of the test above."""
        before, in_child, _ = self.sessions(server, "broken")
        assert in_child == before


def _chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
