"""What Microsoft's driver says of each fault: the answers that docs/faults.md records."""

from __future__ import annotations

import contextlib
import re
import threading
from pathlib import Path

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop
from mssql_async.devserver.results import Command, Done, Message
from mssql_async.pool.odbc import (
    RETIRING_ERRORS,
    TRANSACTION_ENDING_ERRORS,
    ended_transaction,
    ends_connection,
    error_numbers,
    peer_hung_up,
)

from .fake_engine import PATIENCE, Block, FakeEngine
from .faulty import Clock, connect, connection_string, failure_of
from .garbling import GARBLE, answer, garbling
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
    976: ("ProgrammingError", "42000", False),
    978: ("ProgrammingError", "42000", False),
    983: ("ProgrammingError", "42000", False),
    988: ("ProgrammingError", "42000", False),
    1205: ("Error", "40001", False),
    1222: ("ProgrammingError", "42000", False),
    3906: ("ProgrammingError", "25000", False),
    3971: ("ProgrammingError", "42000", False),
    3989: ("ProgrammingError", "42000", False),
    6005: ("ProgrammingError", "42000", False),
    10928: ("Error", "HY000", True),
    10929: ("Error", "HY000", True),
    37396: ("ProgrammingError", "42000", False),
    40143: ("ProgrammingError", "42000", False),
    40197: ("ProgrammingError", "42000", False),
    40501: ("Error", "HY000", True),
    40540: ("ProgrammingError", "42000", False),
    40549: ("ProgrammingError", "42000", False),
    40550: ("ProgrammingError", "42000", False),
    40551: ("ProgrammingError", "42000", False),
    40552: ("ProgrammingError", "42000", False),
    40553: ("ProgrammingError", "42000", False),
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
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1")
        assert (type(raised.value).__name__, raised.value.args[0]) == (kind, state)
        assert ends_connection(raised.value) == (number in RETIRING_ERRORS)
        assert ended_transaction(raised.value) == (number in TRANSACTION_ENDING_ERRORS)
        if dead:
            assert failure_of(lambda: connection.execute("SELECT 1"))[1] == "08S01"
        else:
            assert not peer_hung_up(connection)
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


class TestSeverities:
    """SQL Server's severity does not reach pyodbc: the SQLSTATE of unknown numbers tells it."""

    @pytest.mark.parametrize("severity", [11, 16, 17, 18, 19, 20, 21, 24, 25])
    def test_from_19_on_it_is_hy000(self, severity: int, caplog: pytest.LogCaptureFixture) -> None:
        failed = [Message(50000, "Broken.", severity), Done(Command.SELECT, None, failed=True)]
        with serving(FakeEngine({"break": [failed]}), caplog) as server:
            connection = connect(server)
            with pytest.raises(pyodbc.Error) as raised:
                connection.execute("break")
            assert raised.value.args[0] == ("HY000" if severity >= 19 else "42000")
            assert ends_connection(raised.value) == (severity >= 19)
            with contextlib.suppress(pyodbc.Error):  # from 20 on the server has hung up
                connection.close()

    @pytest.mark.parametrize("number", [911, 916])
    def test_a_wrong_name_in_use_is_of_class_08_and_keeps_the_connection(
        self, faulty: DevServer, number: int
    ) -> None:
        connection = connect(faulty)
        faulty.faults.fail_statement("SELECT%", number, text="No such database.")
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1")
        assert raised.value.args[0] == "08004"
        assert not ends_connection(raised.value, connection)
        assert connection.execute("SELECT 1").fetchval() == 1
        connection.close()


#: Answers that are no TDS, and what the driver says to them.
GARBAGE = {
    "an unknown token": (answer(b"\x00\x01\x02\x03"), "Unknown token received from SQL Server"),
    "columns of no type": (
        answer(b"\x81\x05\x00\x00\x00\x00\x00\x00\x00\xee\xee"),
        "Protocol error in TDS stream",
    ),
    "an error without a text": (answer(b"\xaa\x05\x00aaaaa"), "Protocol error in TDS stream"),
}


class TestWhatTheDriverKnows:
    @pytest.mark.parametrize("what", GARBAGE)
    def test_it_gives_up_on_answers_that_are_no_tds(self, faulty: DevServer, what: str) -> None:
        garbage, said = GARBAGE[what]
        with garbling(faulty.port, garbage) as port:
            string = connection_string(faulty).replace(f",{faulty.port}", f",{port}")
            connection = pyodbc.connect(string, autocommit=True)
            assert not peer_hung_up(connection)
            with pytest.raises(pyodbc.Error) as raised:
                connection.execute(f"SELECT '{GARBLE}'")
            assert raised.value.args[0] == "HY000"
            assert said in raised.value.args[1]
            assert not ends_connection(raised.value), "no SQLSTATE tells it"
            assert ends_connection(raised.value, connection)
            assert failure_of(lambda: connection.execute("SELECT 1"))[1] == "08S01"
            connection.close()

    def test_a_time_out_whose_cancel_is_not_acknowledged_ends_it(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        connection.timeout = 1
        with faulty.faults.freeze(), pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1")
        assert raised.value.args[0] == "HYT00"
        assert not ends_connection(raised.value)
        assert ends_connection(raised.value, connection)

    def test_one_whose_cancel_is_acknowledged_does_not(self, faulty: DevServer) -> None:
        """The control of the test above."""
        connection = connect(faulty)
        connection.timeout = 1
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("WAITFOR DELAY '01:00:00'")
        assert raised.value.args[0] == "HYT00"
        assert not ends_connection(raised.value, connection)
        connection.timeout = 0
        assert connection.execute("SELECT 1").fetchval() == 1
        connection.close()

    def test_a_statement_that_fails_leaves_it_alive(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1 / 0")
        assert not ends_connection(raised.value, connection)
        connection.close()


@pytest.mark.skipif("FreeTDS" not in pyodbc.drivers(), reason="FreeTDS is not registered")
class TestFreeTds:
    """Another driver: it says less, and remembers what failed (SQL_ATTR_CONNECTION_DEAD)."""

    @pytest.fixture
    def connection(self, faulty: DevServer) -> pyodbc.Connection:
        return pyodbc.connect(
            f"DRIVER={{FreeTDS}};SERVER={faulty.host};PORT={faulty.port};UID={faulty.user};"
            f"PWD={faulty.password};DATABASE={faulty.database};TDS_Version=7.4;Encryption=off",
            autocommit=True,
        )

    def test_a_dropped_connection_is_known_once_a_statement_has_failed(
        self, faulty: DevServer, connection: pyodbc.Connection
    ) -> None:
        assert connection.execute("SELECT 1").fetchval() == 1
        faulty.faults.drop(Drop.FIN)
        assert not peer_hung_up(connection), "it does not look at the socket"
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1")
        assert raised.value.args[0] == "HY000"
        assert not ends_connection(raised.value)
        assert ends_connection(raised.value, connection)

    @pytest.mark.parametrize("number", [1205, 2627, 3906, 40613])
    def test_the_servers_numbers_mean_what_they_mean_elsewhere(
        self, faulty: DevServer, connection: pyodbc.Connection, number: int
    ) -> None:
        faulty.faults.fail_statement("SELECT%", number, text="It failed.")
        with pytest.raises(pyodbc.Error) as raised:
            connection.execute("SELECT 1")
        assert error_numbers(raised.value) == {number}
        assert ends_connection(raised.value, connection) == (number in RETIRING_ERRORS)
        assert connection.execute("SELECT 1").fetchval() == 1
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
