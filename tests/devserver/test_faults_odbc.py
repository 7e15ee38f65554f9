"""What Microsoft's driver says of each fault: the answers that docs/faults.md records."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop
from mssql_async.pool.odbc import ends_connection, peer_hung_up

from .fake_engine import PATIENCE, Block, FakeEngine
from .faulty import Clock, connect, failure_of
from .serving import serving

ENDED = {
    Drop.FIN: r"TCP Provider: Error code 0x2746 \(10054\)",
    Drop.RST: r"TCP Provider: Error code 0x68 \(104\)",
    Drop.MID_REPLY: r"TCP Provider: Error code 0x68 \(104\)",
}


def assert_link_failure(failure: tuple[str, str, str], how: Drop) -> None:
    kind, state, text = failure
    assert (kind, state) == ("OperationalError", "08S01")
    assert re.search(ENDED[how], text)


class TestDrop:
    @pytest.mark.parametrize("how", list(Drop))
    def test_the_next_statement_of_an_idle_connection_fails(
        self, faulty: DevServer, how: Drop
    ) -> None:
        connection = connect(faulty)
        assert connection.execute("SELECT 1").fetchval() == 1
        faulty.faults.drop(how)
        assert_link_failure(failure_of(lambda: connection.execute("SELECT 1")), how)
        _kind, state, text = failure_of(lambda: connection.execute("SELECT 1"))
        assert state == "08S01"
        assert "Communication link failure" in text

    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_the_driver_knows_of_a_drop_before_it_sends_anything(
        self, faulty: DevServer, how: Drop
    ) -> None:
        connection = connect(faulty)
        assert not peer_hung_up(connection)
        faulty.faults.drop(how)
        assert peer_hung_up(connection)
        assert faulty.counters.messages.get("batch", 0) == 0

    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_a_running_statement_fails(self, how: Drop, caplog: pytest.LogCaptureFixture) -> None:
        failures: list[tuple[str, str, str]] = []
        with serving(FakeEngine({"wait": [block := Block()]}), caplog) as server:
            connection = connect(server)

            def wait() -> None:
                failures.append(failure_of(lambda: connection.execute("wait")))

            thread = threading.Thread(target=wait)
            thread.start()
            assert block.entered.wait(PATIENCE)
            server.faults.drop(how)
            thread.join()
        assert_link_failure(failures[0], how)


class TestHalfOpen:
    def test_a_frozen_peer_is_seen_only_by_a_query_timeout(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        with faulty.faults.freeze():
            assert not peer_hung_up(connection)
            connection.timeout = 1
            kind, state, text = failure_of(lambda: connection.execute("SELECT 1"))
            assert (kind, state) == ("OperationalError", "HYT00")
            assert "Query timeout expired" in text
        # The driver gave up on the connection when its cancel was not acknowledged either.
        _kind, state, text = failure_of(lambda: connection.execute("SELECT 1"))
        assert state == "08S01"
        assert "failed to respond to a command cancellation" in text

    def test_a_peer_that_thaws_in_time_is_none_the_worse(self, faulty: DevServer) -> None:
        """The control of the test above."""
        connection = connect(faulty)
        connection.timeout = 60
        fault = faulty.faults.freeze()
        answer: list[object] = []
        thread = threading.Thread(
            target=lambda: answer.append(connection.execute("SELECT 1").fetchval())
        )
        thread.start()
        fault.cancel()
        thread.join()
        assert answer == [1]
        connection.close()

    def test_a_login_whose_answers_are_late_times_out(self, faulty: DevServer) -> None:
        with faulty.faults.delay(3600):
            kind, state, text = failure_of(lambda: connect(faulty, timeout=1))
        assert (kind, state) == ("OperationalError", "HYT00")
        assert "Login timeout expired" in text
        connect(faulty, timeout=60).close()


#: Error -> class and SQLSTATE of a login that is refused with it.
LOGINS = {
    4060: ("ProgrammingError", "42000"),
    6005: ("ProgrammingError", "42000"),
    10928: ("Error", "HY000"),
    10929: ("Error", "HY000"),
    18456: ("InterfaceError", "28000"),
    40197: ("ProgrammingError", "42000"),
    40501: ("Error", "HY000"),
    40613: ("ProgrammingError", "42000"),
    49918: ("ProgrammingError", "42000"),
    49919: ("ProgrammingError", "42000"),
    49920: ("ProgrammingError", "42000"),
}


class TestLogins:
    @pytest.mark.parametrize("number", LOGINS)
    def test_a_refused_login_carries_the_errors_number(
        self, faulty: DevServer, number: int
    ) -> None:
        with faulty.faults.refuse_logins(number):
            kind, state, text = failure_of(lambda: connect(faulty))
        assert (kind, state) == LOGINS[number]
        assert f"({number})" in text
        connect(faulty).close()

    def test_a_refused_connection_is_08001(self, faulty: DevServer, clock: Clock) -> None:
        faulty.faults.fail_over(down_for=5, answer=None)
        kind, state, _text = failure_of(lambda: connect(faulty))
        assert (kind, state) == ("OperationalError", "08001")
        clock.advance(5)
        connect(faulty).close()


#: Error of a statement -> class, SQLSTATE, and whether the connection is used up.
STATEMENTS = {
    596: ("Error", "HY000", True),
    1205: ("Error", "40001", False),
    1222: ("ProgrammingError", "42000", False),
    3906: ("ProgrammingError", "25000", False),
    10928: ("Error", "HY000", True),
    10929: ("Error", "HY000", True),
    40197: ("ProgrammingError", "42000", False),
    40501: ("Error", "HY000", True),
    40613: ("ProgrammingError", "42000", False),
}


class TestStatements:
    @pytest.mark.parametrize("number", STATEMENTS)
    def test_a_failed_statement_carries_the_errors_number(
        self, faulty: DevServer, number: int
    ) -> None:
        kind, state, dead = STATEMENTS[number]
        connection = connect(faulty)
        faulty.faults.fail_statement("SELECT%", number)
        assert failure_of(lambda: connection.execute("SELECT 1"))[:2] == (kind, state)
        if dead:
            assert failure_of(lambda: connection.execute("SELECT 1"))[1] == "08S01"
        else:
            assert connection.execute("SELECT 1").fetchval() == 1

    def test_a_deadlock_victim_is_a_bare_error_with_40001(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.autocommit = False
        faulty.faults.deadlock("SELECT 1")
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1")
        assert type(raised.value) is pyodbc.Error
        assert raised.value.args[0] == "40001"
        assert "(1205)" in raised.value.args[1]
        assert not ends_connection(raised.value)
        connection.rollback()
        assert connection.execute("SELECT 2").fetchval() == 2
        connection.close()

    def test_a_write_to_a_read_only_secondary_is_25000(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.execute("CREATE TABLE t (a int)")
        faulty.faults.fail_over(read_only=True)
        connection = connect(faulty)
        kind, state, text = failure_of(lambda: connection.execute("INSERT INTO t VALUES (1)"))
        assert (kind, state) == ("ProgrammingError", "25000")
        assert 'Failed to update database "app" because the database is read-only. (3906)' in text
        connection.close()


@pytest.mark.parametrize("encrypt", ["no", "yes", "strict"])
class TestBehindTls:
    """Faults act below the encryption: they neither see nor disturb it."""

    def connect(self, faulty: DevServer, encrypt: str, folder: Path) -> pyodbc.Connection:
        trusted = folder / "server.pem"
        trusted.write_text(faulty.certificate_pem or "")
        # Strict takes no trust without proof.
        trust = {"ServerCertificate": str(trusted)} if encrypt == "strict" else {}
        return connect(faulty, Encrypt=encrypt, TrustServerCertificate="yes", **trust)

    @pytest.mark.parametrize("how", list(Drop))
    def test_drops_are_link_failures(
        self, faulty: DevServer, tmp_path: Path, encrypt: str, how: Drop
    ) -> None:
        connection = self.connect(faulty, encrypt, tmp_path)
        assert connection.execute("SELECT 1").fetchval() == 1
        fault = faulty.faults.drop(how)
        assert failure_of(lambda: connection.execute("SELECT 1"))[:2] == (
            "OperationalError",
            "08S01",
        )
        assert fault.fired == 1

    def test_what_was_held_back_is_read_afterwards(
        self, faulty: DevServer, tmp_path: Path, encrypt: str
    ) -> None:
        with faulty.faults.delay(0.01):
            connection = self.connect(faulty, encrypt, tmp_path)
            fault = faulty.faults.freeze()
            answer: list[object] = []
            thread = threading.Thread(
                target=lambda: answer.append(connection.execute("SELECT 1").fetchval())
            )
            thread.start()
            fault.cancel()
            thread.join()
        assert answer == [1]
        assert connection.execute("SELECT 2").fetchval() == 2
        connection.close()
