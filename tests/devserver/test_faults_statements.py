"""Statements that fail on order, chaos under a seed, and what is counted."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop, FaultState, Sessions

from .faulty import ask, connect, errors, rows, spid_of
from .raw_client import RawClient, all_headers

ROWS = "SELECT 1 AS one"


class TestDeadlock:
    def test_the_statement_that_matches_is_the_victim(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            client.batch("CREATE TABLE t (a int)")
            fault = faulty.faults.deadlock("%update t%")
            assert errors(client.batch("SELECT a FROM t")) == []
            (failure,) = [
                token for token in client.batch("UPDATE t SET a = 1") if token[0] == "error"
            ]
            assert errors(client.batch("UPDATE t SET a = 1")) == []
            _name, number, text, severity, state, _line, _procedure = failure
            assert (number, severity, state) == (1205, 13, 51)
            assert text == (
                f"Transaction (Process ID {spid_of(client)}) was deadlocked on lock resources with "
                "another process and has been chosen as the deadlock victim. Rerun the transaction."
            )
        assert (fault.state, fault.fired) == (FaultState.ENDED, 1)

    def test_its_transaction_is_rolled_back_and_its_locks_are_free(self, faulty: DevServer) -> None:
        victim, other = connect(faulty), connect(faulty)
        other.execute("CREATE TABLE t (a int); SET LOCK_TIMEOUT 0")
        victim.autocommit = False
        victim.execute("INSERT INTO t VALUES (1)")
        with faulty.faults.deadlock("UPDATE%"), pytest.raises(pyodbc.Error, match="1205"):
            victim.execute("UPDATE t SET a = 2")
        other.execute("INSERT INTO t VALUES (3)")
        victim.commit()
        assert [tuple(row) for row in other.execute("SELECT a FROM t").fetchall()] == [(3,)]
        victim.close()
        other.close()

    def test_without_it_the_same_work_succeeds(self, faulty: DevServer) -> None:
        """The control of the test above."""
        connection = connect(faulty)
        connection.execute("CREATE TABLE t (a int)")
        connection.autocommit = False
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("UPDATE t SET a = 2")
        connection.commit()
        assert [tuple(row) for row in connection.execute("SELECT a FROM t").fetchall()] == [(2,)]
        connection.close()

    def test_the_rest_of_its_batch_does_not_run(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client, faulty.faults.deadlock("%2%"):
            tokens = client.batch("SELECT 1; SELECT 2; SELECT 3")
            assert (rows(tokens), errors(tokens)) == ([(1,)], [1205])

    def test_a_catch_block_finds_its_transaction_doomed(self, faulty: DevServer) -> None:
        batch = (
            "BEGIN TRY BEGIN TRANSACTION; SELECT 1; COMMIT END TRY "
            "BEGIN CATCH SELECT ERROR_NUMBER(), XACT_STATE(); ROLLBACK END CATCH"
        )
        with RawClient(faulty.port) as client:
            with faulty.faults.deadlock("SELECT 1"):
                assert rows(client.batch(batch)) == [(1205, -1)]
            assert rows(client.batch(batch)) == [(1,)]

    def test_the_nth_and_as_often_as_asked(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            fault = faulty.faults.deadlock("SELECT%", nth=2, times=2)
            assert [errors(client.batch(ROWS)) for _ in range(5)] == [[], [1205], [1205], [], []]
            endless = faulty.faults.deadlock("SELECT%", times=None)
            assert [errors(client.batch(ROWS)) for _ in range(3)] == [[1205]] * 3
            endless.cancel()
            assert errors(client.batch(ROWS)) == []
        assert fault.fired == 2

    def test_only_of_the_chosen_sessions(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as one, RawClient(faulty.port) as two:
            faulty.faults.deadlock(sessions=Sessions.spid(spid_of(two)))
            assert errors(one.batch(ROWS)) == []
            assert errors(two.batch(ROWS)) == [1205]

    def test_patterns_are_likes_in_which_brackets_mean_themselves(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            faulty.faults.deadlock("SELECT [[]x] AS _ne")
            faulty.faults.deadlock("select 1 as [_] -- %")
            faulty.faults.deadlock(re.compile(r"AS tw[o]\b"))
            sent = ["SELECT 1 AS [o] -- of many", "SELECT 1 AS one", "SELECT 1 AS two"]
            assert [errors(client.batch(sql)) for sql in sent] == [[], [], [1205]]

    def test_a_prepared_statement_matches_by_its_text(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        with faulty.faults.deadlock("%@P1%"), pytest.raises(pyodbc.Error, match="1205"):
            connection.execute("SELECT ? + 1", 1)
        assert connection.execute("SELECT ? + 1", 1).fetchval() == 2
        connection.close()

    def test_a_commit_can_be_the_victim(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.execute("CREATE TABLE t (a int)")
        connection.autocommit = False
        connection.execute("INSERT INTO t VALUES (1)")
        with (
            faulty.faults.deadlock("COMMIT TRANSACTION"),
            pytest.raises(pyodbc.Error, match="1205"),
        ):
            connection.commit()
        assert connection.execute("SELECT count(*) FROM t").fetchval() == 0
        connection.close()

    @pytest.mark.parametrize("wrong", [{"nth": 0}, {"times": 0}])
    def test_statements_are_counted_from_one(
        self, faulty: DevServer, wrong: dict[str, int]
    ) -> None:
        with pytest.raises(ValueError, match="counted from 1"):
            faulty.faults.deadlock("%", **wrong)


class TestFailedStatements:
    def test_a_statement_fails_with_the_chosen_error_and_is_not_run(
        self, faulty: DevServer
    ) -> None:
        with RawClient(faulty.port) as client:
            client.batch("CREATE TABLE t (a int)")
            with faulty.faults.fail_statement("INSERT%", 1222):
                tokens = client.batch("INSERT INTO t VALUES (1); SELECT count(*) FROM t")
            assert (errors(tokens), rows(tokens)) == ([1222], [(0,)])

    def test_its_text_takes_arguments_or_is_given(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            faulty.faults.fail_statement("%", 208, "dbo.gone")
            assert client.batch(ROWS)[0][1:3] == (208, "Invalid object name 'dbo.gone'.")
            faulty.faults.fail_statement("%", 47000, text="Odd.")
            assert client.batch(ROWS)[0][1:3] == (47000, "Odd.")
        with pytest.raises(ValueError, match="text of error 47001 is not known"):
            faulty.faults.fail_statement("%", 47001)

    @pytest.mark.parametrize("number", [596, 40501, 10928])
    def test_an_error_of_severity_20_ends_the_connection_and_is_not_caught(
        self, faulty: DevServer, number: int
    ) -> None:
        with RawClient(faulty.port) as client:
            faulty.faults.fail_statement("SELECT%", number)
            tokens = client.batch("BEGIN TRY SELECT 1 END TRY BEGIN CATCH SELECT 2 END CATCH")
            assert (errors(tokens), rows(tokens)) == ([number], [])
            assert client.hung_up()

    def test_a_statement_that_failed_on_order_is_not_seen_by_the_next_order(
        self, faulty: DevServer
    ) -> None:
        with RawClient(faulty.port) as client:
            faulty.faults.fail_statement("%", 1222)
            faulty.faults.deadlock("%")
            assert [errors(client.batch(ROWS)) for _ in range(3)] == [[1222], [1205], []]


class TestDropAtAStatement:
    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_before_the_statement_runs(self, faulty: DevServer, how: Drop) -> None:
        with RawClient(faulty.port) as client, RawClient(faulty.port) as other:
            other.batch("CREATE TABLE t (a int)")
            fault = faulty.faults.drop_at("INSERT%", how)
            ask(client, "SELECT 1; INSERT INTO t VALUES (1); SELECT 2")
            assert client.hung_up()
            assert rows(other.batch("SELECT count(*) FROM t")) == [(0,)]
        assert (fault.state, fault.fired) == (FaultState.ENDED, 1)

    def test_or_inside_its_reply_when_it_has_run(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client, RawClient(faulty.port) as other:
            other.batch("CREATE TABLE t (a int)")
            faulty.faults.drop_at("INSERT%", Drop.MID_REPLY)
            ask(client, "INSERT INTO t VALUES (1)")
            assert len(client.socket.recv(65536)) < 8 + 13
            with pytest.raises(ConnectionResetError):
                client.socket.recv(65536)
            assert rows(other.batch("SELECT count(*) FROM t")) == [(1,)]

    def test_a_commit_that_nobody_hears_of(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.execute("CREATE TABLE t (a int)")
        connection.autocommit = False
        connection.execute("INSERT INTO t VALUES (1)")
        faulty.faults.drop_at("COMMIT TRANSACTION", Drop.MID_REPLY)
        with pytest.raises(pyodbc.OperationalError, match="08S01"):
            connection.commit()
        with RawClient(faulty.port) as client:
            assert rows(client.batch("SELECT a FROM t")) == [(1,)]

    def test_a_commit_that_never_was(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.execute("CREATE TABLE t (a int)")
        connection.autocommit = False
        connection.execute("INSERT INTO t VALUES (1)")
        faulty.faults.drop_at("COMMIT TRANSACTION", Drop.RST)
        with pytest.raises(pyodbc.OperationalError, match="08S01"):
            connection.commit()
        with RawClient(faulty.port) as client:
            assert rows(client.batch("SELECT a FROM t")) == []


class TestChaos:
    def victims(self, seed: int) -> list[object]:
        """Whom 40 statements of four clients in turn see dropped, and how."""
        seen: list[object] = []
        with DevServer() as server, ExitStack() as open_clients:
            clients = [open_clients.enter_context(RawClient(server.port)) for _ in range(4)]
            with server.faults.chaos(seed, every=10, times=3):
                for number in range(10):
                    for position, client in enumerate(clients):
                        try:
                            client.batch(ROWS)
                        except (EOFError, ConnectionError):
                            seen.append((number, position))
                            client = RawClient(server.port)
                            clients[position] = open_clients.enter_context(client)
                            client.batch(ROWS)
            return seen + [event.what for event in server.faults.history]

    def test_the_same_seed_drops_the_same_sessions(self) -> None:
        first = self.victims(42)
        assert len(first) == 6
        assert first == self.victims(42)

    def test_another_seed_drops_others(self) -> None:
        assert len({tuple(self.victims(seed)) for seed in range(4)}) > 1

    def test_the_session_that_runs_the_statement_may_be_hit_itself(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            fault = faulty.faults.chaos(1, every=3, how=[Drop.FIN])
            client.batch("SELECT 1; SELECT 2")
            ask(client, "SELECT 3")
            assert client.hung_up()
        assert fault.fired == 1

    def test_its_numbers_are_checked(self, faulty: DevServer) -> None:
        with pytest.raises(ValueError, match="every"):
            faulty.faults.chaos(1, every=0)


class TestCounters:
    def test_statements_are_counted_for_a_session_and_in_total(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as one, RawClient(faulty.port) as two:
            one.batch("SELECT 1; SELECT 2")
            two.batch("DECLARE @n int = 0; WHILE @n < 3 BEGIN SET @n += 1 END")
            assert faulty.counters.statements == 6
            assert [info.statements for info in faulty.sessions()] == [2, 4]
            faulty.reset_counters()
            one.batch(ROWS)
            assert faulty.counters.statements == 1
            assert [info.statements for info in faulty.sessions()] == [3, 4]

    def test_a_prepared_statement_counts_once_and_its_preparation_not(
        self, faulty: DevServer
    ) -> None:
        connection = connect(faulty)
        faulty.reset_counters()
        connection.execute("SELECT ?", 1).fetchall()
        assert faulty.counters.statements == 1
        connection.close()

    def test_a_drivers_transaction_counts_by_its_requests(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        faulty.reset_counters()
        connection.autocommit = False
        connection.execute("SELECT 1")
        connection.autocommit = True
        assert faulty.counters.messages == {"tran.begin": 1, "batch": 1, "tran.commit": 1}
        assert faulty.counters.statements == 3
        connection.close()

    def test_bytes_are_counted_for_a_session_and_in_total(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            client.batch(ROWS)
            faulty.reset_counters()
            (before,) = faulty.sessions()
            client.batch(ROWS)
            (after,) = faulty.sessions()
        sent = 8 + len(all_headers()) + 2 * len(ROWS)
        assert faulty.counters.bytes_received == sent
        assert after.bytes_received - before.bytes_received == sent
        assert after.bytes_sent - before.bytes_sent == faulty.counters.bytes_sent
        assert after.messages["batch"] - before.messages["batch"] == 1
