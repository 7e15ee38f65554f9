"""Logins that are refused for a while, and servers that fail over."""

from __future__ import annotations

import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.engine import clock as engine_clock
from mssql_async.devserver.faults import CONTROL_PROGRAM, FaultState, Kind
from mssql_async.devserver.tds.packets import PacketType

from .faulty import Clock, connect, errors, failure_of, rows, spid_of
from .raw_client import PRELOGIN, RawClient, login7

ERRORS = [4060, 6005, 10928, 10929, 18456, 40197, 40501, 40613, 49918, 49919, 49920]


def log_in(server: DevServer, user: str = "sa", database: str = "app") -> list[int]:
    """The errors that a login is answered with; none when it succeeds."""
    with RawClient(server.port, login=False) as client:
        client.send(PacketType.PRELOGIN, PRELOGIN)
        client.receive()
        client.send(PacketType.LOGIN7, login7(user, database=database))
        return errors(client.tokens())


class TestRefusedLogins:
    @pytest.mark.parametrize("number", ERRORS)
    def test_logins_are_refused_with_the_chosen_error(self, faulty: DevServer, number: int) -> None:
        with faulty.faults.refuse_logins(number) as fault:
            assert log_in(faulty) == [number]
        assert fault.fired == 1
        assert log_in(faulty) == []

    @pytest.mark.parametrize("number", ERRORS)
    def test_the_texts_are_filled_in(self, faulty: DevServer, number: int) -> None:
        with faulty.faults.refuse_logins(number), RawClient(faulty.port) as client:
            text = client.login_reply[0][2]
        assert "%" not in text
        assert "''" not in text

    def test_for_as_long_as_it_was_asked_for(self, faulty: DevServer, clock: Clock) -> None:
        fault = faulty.faults.refuse_logins(40613, for_seconds=5)
        assert log_in(faulty) == [40613]
        clock.advance(4.9)
        assert log_in(faulty) == [40613]
        assert fault.state is FaultState.FIRED
        clock.advance(0.2)
        assert log_in(faulty) == []
        assert (fault.state, fault.fired) == (FaultState.ENDED, 2)

    def test_as_often_as_it_was_asked_for(self, faulty: DevServer) -> None:
        fault = faulty.faults.refuse_logins(10928, times=2)
        assert [log_in(faulty) for _ in range(3)] == [[10928], [10928], []]
        assert fault.state is FaultState.ENDED

    def test_only_of_one_user_or_to_one_database(self, faulty: DevServer) -> None:
        with faulty.faults.refuse_logins(18456, user="SA", database="app"):
            assert log_in(faulty) == [18456]
            assert log_in(faulty, database="master") == []
        with faulty.faults.refuse_logins(18456, user="somebody else"):
            assert log_in(faulty) == []

    def test_sessions_that_are_logged_in_go_on(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client, faulty.faults.refuse_logins():
            assert rows(client.batch("SELECT 1 AS one")) == [(1,)]

    def test_an_error_without_a_known_text_needs_one(self, faulty: DevServer) -> None:
        with pytest.raises(ValueError, match="text of error 47000 is not known"):
            faulty.faults.refuse_logins(47000)
        with (
            faulty.faults.refuse_logins(47000, text="Come back tomorrow."),
            RawClient(faulty.port) as client,
        ):
            assert client.login_reply[0][1:3] == (47000, "Come back tomorrow.")

    def test_refused_logins_are_counted_apart(self, faulty: DevServer) -> None:
        with faulty.faults.refuse_logins():
            log_in(faulty)
        log_in(faulty)
        assert (faulty.counters.logins, faulty.counters.refused_logins) == (1, 1)

    def test_who_orders_faults_gets_in(self, faulty: DevServer) -> None:
        with faulty.faults.refuse_logins():
            connect(faulty, APP=CONTROL_PROGRAM).close()


class TestFailOver:
    def test_everybody_is_torn_down_and_finds_another_instance(self, faulty: DevServer) -> None:
        instance = "SELECT @@SERVERNAME, SERVERPROPERTY('ServerName'), DB_NAME()"
        with RawClient(faulty.port) as one, RawClient(faulty.port) as two:
            before = rows(one.batch(instance))
            two.batch("SELECT 1")
            fault = faulty.faults.fail_over()
            for client in (one, two):
                with pytest.raises(ConnectionResetError):
                    client.socket.recv(1)
        assert faulty.sessions() == []
        with RawClient(faulty.port) as client:
            after = rows(client.batch(instance))
        assert before == [("mssql-async-devserver", "mssql-async-devserver", "app")]
        assert after == [("mssql-async-devserver-2", "mssql-async-devserver-2", "app")]
        assert fault.state is FaultState.ENDED

    def test_the_start_time_is_another(
        self, faulty: DevServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine_clock, "now", lambda: "2100-01-01 00:00:00.0000000")
        faulty.faults.fail_over()
        with RawClient(faulty.port) as client:
            started = rows(client.batch("SELECT sqlserver_start_time FROM sys.dm_os_sys_info"))
        assert started == [("2100-01-01 00:00:00.0000000",)]

    def test_logins_are_refused_while_it_is_down(self, faulty: DevServer, clock: Clock) -> None:
        fault = faulty.faults.fail_over(down_for=3)
        assert log_in(faulty) == [40613]
        clock.advance(3)
        assert log_in(faulty) == []
        assert fault.state is FaultState.ENDED

    def test_or_connections_are(self, faulty: DevServer, clock: Clock) -> None:
        fault = faulty.faults.fail_over(down_for=None, answer=None)
        with (
            pytest.raises(ConnectionResetError),
            RawClient(faulty.port, login=False) as client,
        ):
            client.socket.recv(1)
        clock.advance(1_000_000)
        assert fault.state is FaultState.FIRED
        fault.cancel()
        assert log_in(faulty) == []

    def test_committed_work_is_kept_and_open_work_undone(self, faulty: DevServer) -> None:
        first = connect(faulty)
        first.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        first.autocommit = False
        first.execute("INSERT INTO t VALUES (2)")
        faulty.faults.fail_over()
        with RawClient(faulty.port) as client:
            assert rows(client.batch("SELECT a FROM t")) == [(1,)]

    def test_back_read_only_it_refuses_writes_in_user_databases(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            assert errors(client.batch("CREATE TABLE t (a int)")) == []
        fault = faulty.faults.fail_over(read_only=True)
        with RawClient(faulty.port) as client:
            assert rows(client.batch("SELECT count(*) FROM t")) == [(0,)]
            assert errors(client.batch("INSERT INTO t VALUES (1)")) == [3906]
            assert errors(client.batch("CREATE TABLE u (a int)")) == [3906]
            assert errors(client.batch("CREATE TABLE #mine (a int)")) == []
            assert rows(client.batch("SELECT DATABASEPROPERTYEX('app', 'Updateability')")) == [
                ("READ_ONLY",)
            ]
            assert fault.state is FaultState.FIRED
            fault.cancel()
            assert errors(client.batch("INSERT INTO t VALUES (1)")) == []

    def test_a_database_that_was_read_only_before_stays_so(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            assert errors(client.batch("CREATE TABLE t (a int)")) == []
            assert errors(client.batch("ALTER DATABASE app SET READ_ONLY")) == []
            faulty.faults.fail_over(read_only=True).cancel()
        with RawClient(faulty.port) as client:
            assert errors(client.batch("INSERT INTO t VALUES (1)")) == [3906]

    def test_the_next_failover_makes_it_writable_again(self, faulty: DevServer) -> None:
        first = faulty.faults.fail_over(read_only=True)
        faulty.faults.fail_over()
        assert first.state is FaultState.ENDED
        with RawClient(faulty.port) as client:
            assert errors(client.batch("CREATE TABLE t (a int)")) == []
            assert rows(client.batch("SELECT @@SERVERNAME")) == [("mssql-async-devserver-3",)]

    def test_a_transaction_that_was_open_does_not_survive(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.autocommit = False
        connection.execute("SELECT 1")
        faulty.faults.fail_over()
        kind, state, _text = failure_of(connection.commit)
        assert (kind, state) == ("OperationalError", "08S01")

    def test_the_history_tells_what_happened(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            spid = spid_of(client)
            faulty.faults.fail_over(down_for=1)
            log_in(faulty)
        told = [(event.kind, event.spid, event.what) for event in faulty.faults.history]
        assert told == [
            (Kind.FAIL_OVER, spid, "torn down"),
            (Kind.FAIL_OVER, None, "now mssql-async-devserver-2"),
            (Kind.FAIL_OVER, None, "login of 'sa' to 'app' refused with 40613"),
        ]
