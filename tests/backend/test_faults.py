"""The pool on a bad day, through Django's wrapper: what is replaced unseen, what is retried,
and what reaches the caller."""

from __future__ import annotations

import contextlib
import threading

import pytest
from django.db import Error, InterfaceError, OperationalError
from django.db.transaction import TransactionManagementError
from django.db.utils import ProgrammingError

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop, Sessions
from mssql_async.pool import odbc
from mssql_async.pool.statistics import PoolStatistics

from .conftest import wrapper_for
from .test_connections import ask, do

#: What SQL Server and Azure say of themselves when it is worth asking again.
TRANSIENT = [4060, 10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920]

BOUND = 6
"""Seconds: the time-out of one, what the driver then grants its cancel, and some."""

PATIENT = {"connection_retries": 3, "connection_retry_backoff_time": 0.01}


def idle_connections(server: DevServer, count: int) -> list[DatabaseWrapper]:
    """Wrappers that share a pool with ``count`` idle connections."""
    wrappers = [wrapper_for(server) for _ in range(count)]
    for one in wrappers:
        one.ensure_connection()
    for one in wrappers:
        one.close()
    assert len(server.sessions()) == count
    return wrappers


def the_pool(wrapper: DatabaseWrapper) -> PoolStatistics:
    return wrapper._connection_source(wrapper.get_connection_params()).statistics()


def in_transaction(wrapper: DatabaseWrapper, *statements: str) -> None:
    wrapper.ensure_connection()
    wrapper.set_autocommit(False)
    for statement in statements:
        do(wrapper, statement)


class TestDroppedConnections:
    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_an_idle_connection_that_was_dropped_is_replaced_unseen(
        self, server: DevServer, wrapper: DatabaseWrapper, how: Drop
    ) -> None:
        (spid,) = ask(wrapper, "SELECT @@SPID")
        server.faults.drop(how, Sessions.spid(spid))
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == 2

    def test_without_the_drop_it_is_used_again(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        """The control of the test above."""
        ask(wrapper, "SELECT 1")
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == 1

    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_a_connection_dropped_in_a_transaction_fails_that_transaction_and_no_other(
        self, server: DevServer, wrapper: DatabaseWrapper, how: Drop
    ) -> None:
        in_transaction(wrapper, "SELECT 1")
        server.faults.drop(how)
        with pytest.raises(OperationalError, match="08S01"):
            ask(wrapper, "SELECT 1")
        wrapper.close_if_unusable_or_obsolete()
        assert ask(wrapper, "SELECT 1") == (1,)

    def test_a_statement_whose_answer_was_cut_off_is_not_run_again(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE ledger (id int)")
        server.faults.drop_at("INSERT%", Drop.MID_REPLY)
        with pytest.raises(OperationalError, match="08S01"):
            do(wrapper, "INSERT INTO ledger VALUES (1)")
        wrapper.close_if_unusable_or_obsolete()
        assert ask(wrapper, "SELECT count(*) FROM ledger") == (1,)

    def test_a_commit_whose_answer_was_cut_off_is_an_error_and_may_have_happened(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE ledger (id int)")
        in_transaction(wrapper, "INSERT INTO ledger VALUES (1)")
        server.faults.drop_at("COMMIT TRANSACTION", Drop.MID_REPLY)
        with pytest.raises(OperationalError, match="08S01"):
            wrapper.commit()
        wrapper.close_if_unusable_or_obsolete()
        wrapper.ensure_connection()
        assert ask(wrapper, "SELECT count(*) FROM ledger") == (1,)

    def test_a_hundred_requests_under_chaos_fail_no_oftener_than_a_session_was_dropped(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        chaos = server.faults.chaos(2026, every=7)
        failures = 0
        for number in range(100):
            try:
                assert ask(wrapper, f"SELECT {number}") == (number,)
            except OperationalError:
                failures += 1
            wrapper.close_if_unusable_or_obsolete()
        chaos.cancel()
        assert 0 < failures <= chaos.fired
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == chaos.fired + 1
        wrapper.close()
        assert the_pool(wrapper).in_use == 0


class TestFailOver:
    def test_ten_stale_connections_cost_one_login(self, server: DevServer) -> None:
        wrappers = idle_connections(server, 10)
        server.faults.fail_over()
        server.reset_counters()
        for one in wrappers:
            assert ask(one, "SELECT @@SERVERNAME") == ("mssql-async-devserver-2",)
            one.close()
        assert server.counters.logins == 1

    def test_without_it_they_cost_none(self, server: DevServer) -> None:
        """The control of the test above."""
        wrappers = idle_connections(server, 10)
        server.reset_counters()
        for one in wrappers:
            assert ask(one, "SELECT @@SERVERNAME") == ("mssql-async-devserver",)
            one.close()
        assert server.counters.logins == 0

    def test_a_caller_waits_for_a_server_that_is_coming_back(self, server: DevServer) -> None:
        patient = wrapper_for(server, OPTIONS={**PATIENT, "connection_retries": 1000})
        ask(patient, "SELECT 1")
        patient.close()
        fault = server.faults.fail_over(down_for=0.1)
        assert ask(patient, "SELECT @@SERVERNAME") == ("mssql-async-devserver-2",)
        assert server.counters.refused_logins >= 1
        assert not fault.in_force
        patient.close()

    def test_a_write_to_a_read_only_secondary_retires_its_connection(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE ledger (id int)")
        wrapper.close()
        fault = server.faults.fail_over(read_only=True)
        wrapper.ensure_connection()
        with pytest.raises(ProgrammingError, match="3906") as raised:
            do(wrapper, "INSERT INTO ledger VALUES (1)")
        assert raised.value.args[0] == "25000"
        wrapper.close_if_unusable_or_obsolete()
        assert server.wait_for_sessions(0)
        fault.cancel()
        server.reset_counters()
        do(wrapper, "INSERT INTO ledger VALUES (1)")
        assert server.counters.logins == 1

    def test_and_with_it_every_idle_connection_to_that_secondary(self, server: DevServer) -> None:
        do(wrapper_for(server), "CREATE TABLE ledger (id int)")
        fault = server.faults.fail_over(read_only=True)
        first, *others = idle_connections(server, 5)
        with pytest.raises(ProgrammingError, match="3906"):
            do(first, "INSERT INTO ledger VALUES (1)")
        fault.cancel()
        first.close()
        server.reset_counters()
        for one in others:
            do(one, "INSERT INTO ledger VALUES (1)")
            one.close()
        assert server.counters.logins == 1


class TestRefusedLogins:
    @pytest.mark.parametrize("number", TRANSIENT)
    def test_logins_that_are_refused_for_a_while_are_tried_again(
        self, server: DevServer, number: int
    ) -> None:
        fault = server.faults.refuse_logins(number, times=2)
        patient = wrapper_for(server, OPTIONS=PATIENT)
        assert ask(patient, "SELECT 1") == (1,)
        assert (server.counters.refused_logins, fault.fired) == (2, 2)
        patient.close()

    def test_but_no_oftener_than_asked_for(self, server: DevServer) -> None:
        server.faults.refuse_logins(40613)
        impatient = wrapper_for(
            server, OPTIONS={"connection_retries": 1, "connection_retry_backoff_time": 0}
        )
        with pytest.raises(ProgrammingError, match=r"after 2 attempts.*40613"):
            impatient.ensure_connection()
        assert server.counters.refused_logins == 2

    def test_a_wrong_password_is_not_tried_again(self, server: DevServer) -> None:
        server.faults.refuse_logins(18456)
        with pytest.raises(InterfaceError, match="Check USER and PASSWORD"):
            wrapper_for(server, OPTIONS=PATIENT).ensure_connection()
        assert server.counters.refused_logins == 1

    def test_the_pool_remembers_why_and_keeps_no_place_for_it(self, server: DevServer) -> None:
        with server.faults.refuse_logins(49918, times=None):
            impatient = wrapper_for(
                server, OPTIONS={"connection_retries": 0, "pool": {"max_size": 1}}
            )
            with pytest.raises(ProgrammingError):
                impatient.ensure_connection()
        statistics = the_pool(impatient)
        assert (statistics.size, statistics.connect_errors) == (0, 1)
        assert "49918" in (statistics.last_connect_error or "")
        assert ask(impatient, "SELECT 1") == (1,)
        impatient.close()


class TestHalfOpenPeers:
    def test_a_frozen_idle_peer_is_replaced_after_a_bounded_proof(
        self, server: DevServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(odbc, "PROOF_TIMEOUT", 1)
        wrapper = wrapper_for(server, OPTIONS={"pool": {"health_check_window": 0}})
        (spid,) = ask(wrapper, "SELECT @@SPID")
        wrapper.close()
        with server.faults.freeze(Sessions.spid(spid)):
            (replaced_by,) = ask(wrapper, "SELECT @@SPID")
            assert replaced_by != spid
            assert [info.state for info in server.sessions()] == ["frozen", "ready"]
        assert the_pool(wrapper).proofs_failed == 1
        wrapper.close()

    def test_a_context_with_a_transaction_at_a_frozen_peer_ends_in_bounded_time(
        self, server: DevServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(odbc, "PROOF_TIMEOUT", 1)
        wrapper = wrapper_for(server)
        wrapper.inc_thread_sharing()
        in_transaction(wrapper, "SELECT 1")
        ended = threading.Event()

        def end_context() -> None:
            wrapper.close()
            ended.set()

        thread = threading.Thread(target=end_context)
        with server.faults.freeze():
            thread.start()
            in_time = ended.wait(BOUND)
        thread.join()
        assert in_time

    @pytest.mark.parametrize("end", ["close", "commit"])
    def test_with_a_query_timeout_it_does(self, server: DevServer, end: str) -> None:
        wrapper = wrapper_for(server, OPTIONS={"query_timeout": 1})
        in_transaction(wrapper, "SELECT 1")
        with server.faults.freeze(), contextlib.suppress(Error):
            getattr(wrapper, end)()
        wrapper.close()
        assert ask(wrapper, "SELECT 1") == (1,)
        wrapper.close()

    def test_a_peer_that_answers_is_kept(self, server: DevServer) -> None:
        """The control of the test above."""
        wrapper = wrapper_for(server, OPTIONS={"pool": {"health_check_window": 0}})
        (spid,) = ask(wrapper, "SELECT @@SPID")
        wrapper.close()
        assert ask(wrapper, "SELECT @@SPID") == (spid,)
        wrapper.close()


class TestFailedStatements:
    def test_a_deadlock_victim_is_an_operational_error_and_its_connection_is_kept(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE ledger (id int)")
        in_transaction(wrapper, "INSERT INTO ledger VALUES (1)")
        with server.faults.deadlock("UPDATE%"), pytest.raises(OperationalError) as raised:
            do(wrapper, "UPDATE ledger SET id = 2")
        state, text = raised.value.args
        assert state == "40001"
        assert "has been chosen as the deadlock victim. Rerun the transaction. (1205)" in text
        wrapper.rollback()
        wrapper.set_autocommit(True)
        assert ask(wrapper, "SELECT count(*) FROM ledger") == (0,)
        assert server.counters.logins == 1

    def test_a_block_that_goes_on_after_a_deadlock_commits_no_second_half(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        do(wrapper, "CREATE TABLE ledger (id int)")
        in_transaction(wrapper, "INSERT INTO ledger VALUES (1)")
        wrapper.in_atomic_block = True
        with server.faults.deadlock("UPDATE%"), pytest.raises(OperationalError):
            do(wrapper, "UPDATE ledger SET id = 2")
        with pytest.raises(TransactionManagementError):
            do(wrapper, "INSERT INTO ledger VALUES (3)")
        wrapper.in_atomic_block = wrapper.needs_rollback = False
        wrapper.rollback()
        wrapper.set_autocommit(True)
        assert ask(wrapper, "SELECT count(*) FROM ledger") == (0,)

    def test_what_did_not_deadlock_commits(
        self, server: DevServer, wrapper: DatabaseWrapper
    ) -> None:
        """The control of the test above."""
        do(wrapper, "CREATE TABLE ledger (id int)")
        in_transaction(wrapper, "INSERT INTO ledger VALUES (1)", "UPDATE ledger SET id = 2")
        wrapper.commit()
        wrapper.set_autocommit(True)
        assert ask(wrapper, "SELECT id FROM ledger") == (2,)

    @pytest.mark.parametrize("number", [596, 10928, 10929, 40197, 40501, 40613])
    def test_an_error_after_which_the_server_serves_no_more_retires_the_connection(
        self, server: DevServer, wrapper: DatabaseWrapper, number: int
    ) -> None:
        ask(wrapper, "SELECT 0")
        server.faults.fail_statement("SELECT 1", number)
        with pytest.raises(Error, match=str(number)):
            ask(wrapper, "SELECT 1")
        wrapper.close_if_unusable_or_obsolete()
        server.reset_counters()
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == 1

    def test_any_other_error_keeps_it(self, server: DevServer, wrapper: DatabaseWrapper) -> None:
        """The control of the test above."""
        ask(wrapper, "SELECT 1")
        server.faults.fail_statement("SELECT 1", 1222)
        with pytest.raises(Error, match="1222"):
            ask(wrapper, "SELECT 1")
        wrapper.close_if_unusable_or_obsolete()
        assert ask(wrapper, "SELECT 1") == (1,)
        assert server.counters.logins == 1
