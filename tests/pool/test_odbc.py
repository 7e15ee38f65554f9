"""What a driver's error means: for the connection, for the transaction, for another try.

The texts are the drivers' own: Microsoft's ODBC Driver 18.6 and FreeTDS 1.3 through pyodbc 5.5.
"""

from __future__ import annotations

from types import SimpleNamespace

import pyodbc
import pytest

from mssql_async.pool.odbc import (
    CONFLICTS,
    RETIRING_ERRORS,
    TRANSACTION_ENDING_ERRORS,
    diagnostics,
    ended_transaction,
    ends_connection,
    error_numbers,
    is_conflict,
    is_microsofts,
)

DRIVER = "[Microsoft][ODBC Driver 18 for SQL Server]"


def server(number: int, state: str = "42000", text: str = "Something.") -> pyodbc.Error:
    """An error of the server, as Microsoft's driver reports it."""
    record = f"[{state}] {DRIVER}[SQL Server]{text} ({number}) (SQLExecDirectW)"
    return pyodbc.Error(state, record)


def driver(
    state: str, text: str, number: int = 0, function: str = "SQLExecDirectW"
) -> pyodbc.Error:
    """An error that the driver found itself."""
    return pyodbc.Error(state, f"[{state}] {DRIVER}{text} ({number}) ({function})")


class TestDiagnostics:
    def test_an_error_is_read_record_by_record(self) -> None:
        error = pyodbc.IntegrityError(
            "23000",
            f"[23000] {DRIVER}[SQL Server]Violation of UNIQUE KEY constraint 'u'. Cannot insert "
            "duplicate key in object 'dbo.t'. The duplicate key value is (7). (2627) "
            f"(SQLExecDirectW); [23000] {DRIVER}[SQL Server]The statement has been terminated. "
            "(3621)",
        )
        first, second = diagnostics(error)
        assert (first.state, first.number, first.from_server) == ("23000", 2627, True)
        assert (second.state, second.number, second.from_server) == ("23000", 3621, True)

    @pytest.mark.parametrize(
        "text",
        [
            "Truncated value: 'see (3906)'.",
            "x (3906); y",
            "line one (3906)\nline two (SQLExecDirectW)",
            "(3906) (SQLExecDirectW); [08S01] without a driver's name (3906)",
            "[3906] (3906)",
        ],
    )
    def test_a_number_inside_of_a_text_is_no_error_number(self, text: str) -> None:
        error = server(2628, "22001", text)
        assert error_numbers(error) == {2628}
        assert not ends_connection(error)

    def test_what_the_server_wrote_may_begin_with_brackets(self) -> None:
        for text in ("[Order 5] not found", "[a][SQL Server]", "[", ""):
            (found,) = diagnostics(server(50001, text=text))
            assert (found.number, found.from_server) == (50001, True)
        (found,) = diagnostics(driver("HY000", "[Order 5] not found"))
        assert not found.from_server

    def test_the_same_number_at_the_end_of_a_record_is_one(self) -> None:
        """The control of the test above."""
        assert error_numbers(server(3906, "25000", "x")) == {3906}
        assert ends_connection(server(3906, "25000", "x"))

    def test_the_drivers_numbers_may_be_negative(self) -> None:
        error = driver("08S01", "The connection is no longer usable.", -2147467259, "SQLFetch")
        assert error_numbers(error) == {-2147467259}

    def test_an_error_may_have_a_sqlstate_only(self) -> None:
        (only,) = diagnostics(pyodbc.OperationalError("08S01", "gone"))
        assert (only.state, only.number) == ("08S01", 0)

    @pytest.mark.parametrize(
        "error",
        [
            pyodbc.ProgrammingError("No results.  Previous SQL was not a query."),
            pyodbc.ProgrammingError("Attempt to use a closed connection."),
            ValueError(),
            RuntimeError("[08S01] (3906)"),
        ],
        ids=repr,
    )
    def test_other_errors_have_none_and_mean_nothing(self, error: Exception) -> None:
        assert diagnostics(error) == ()
        assert not ends_connection(error)
        assert not ended_transaction(error, xact_abort=True)
        assert not is_conflict(error)


#: What says that a connection is over. The driver's texts are not looked at: they are translated.
ENDS_THE_CONNECTION = {
    "reset by the peer": driver("08S01", "TCP Provider: Error code 0x2746", 10054),
    "reset on Linux": driver("08S01", "TCP Provider: Error code 0x68", 104),
    "afterwards": driver("08S01", "Communication link failure"),
    "cancel not acknowledged": driver(
        "08S01", "The connection is no longer usable because the server failed to respond to …"
    ),
    "answer not understood": driver("08S01", "… was incorrectly formatted.", -2147467259),
    "no such connection": driver("08003", "Connection does not exist"),
    "not established": driver("08001", "Client unable to establish connection"),
    "SMux": driver("08S02", "SMux Provider: Physical connection is not usable"),
    "not recovered": driver("IMC06", "The connection is broken and recovery is not possible. …"),
    "recovery refused": driver("IMC01", "The server did not preserve the exact client …"),
    "suspended": pyodbc.Error(
        "HY117", "[HY117] [unixODBC][Driver Manager]Connection is suspended … (0) (SQLEndTran)"
    ),
    "FreeTDS": pyodbc.OperationalError(
        "08S01", "[08S01] [FreeTDS][SQL Server]Communication link failure (0) (SQLExecDirectW)"
    ),
    "link failure in the second record": pyodbc.Error(
        "01000",
        "[01000] [Microsoft][ODBC SQL Server Driver][DBNETLIB]ConnectionWrite (send()). (10054) "
        "(SQLExecDirectW); [08S01] [Microsoft][ODBC SQL Server Driver]Communication link failure "
        "(0)",
    ),
    "severity 19 and above": server(50000, "HY000", "Fatal, by RAISERROR … WITH LOG"),
    "severity 24": server(823, "HY000", "The operating system returned error …"),
}

#: What fails a statement and leaves its connection as it was.
KEEPS_THE_CONNECTION = {
    "query time-out": driver("HYT00", "Query timeout expired"),
    "busy": driver("HY000", "Connection is busy with results for another hstmt"),
    "HY000 of FreeTDS": pyodbc.Error(
        "HY000", "[HY000] [FreeTDS][SQL Server]Unknown error (0) (SQLExecDirectW)"
    ),
    "function sequence": driver("HY010", "Function sequence error"),
    "cancelled": driver("HY008", "Operation canceled"),
    "cancelled too late": driver("01S05", "Cancel treated as FreeStmt/Close"),
    "deadlock": server(1205, "40001"),
    "lock time-out": server(1222),
    "snapshot conflict": server(3960),
    "duplicate key": server(2627, "23000"),
    "foreign key": server(547, "23000"),
    "permission": server(229),
    "syntax": server(102),
    "no such table": server(208, "42S02"),
    "conversion": server(245, "22018"),
    "no such handle": server(8179),
    "wrong name in USE": server(911, "08004"),
    "no permission in USE": server(916, "08004"),
    "log full": server(9002),
    "memory": server(701),
    "in transition": server(952),
    "database full": server(40544),
    # Numbers that mean a lost connection where the operating system says them.
    "NOT NULL, 233": server(233, "23000"),
    "column list, 121": server(121, "07008"),
    "raised by the user": server(50000),
}


class TestEndsConnection:
    @pytest.mark.parametrize("error", ENDS_THE_CONNECTION.values(), ids=ENDS_THE_CONNECTION)
    def test_it_is_over(self, error: pyodbc.Error) -> None:
        assert ends_connection(error)

    @pytest.mark.parametrize("error", KEEPS_THE_CONNECTION.values(), ids=KEEPS_THE_CONNECTION)
    def test_it_goes_on(self, error: pyodbc.Error) -> None:
        assert not ends_connection(error)

    @pytest.mark.parametrize("number", sorted(RETIRING_ERRORS))
    def test_some_errors_end_it_whatever_their_sqlstate(self, number: int) -> None:
        assert ends_connection(server(number))
        assert ends_connection(server(number, "25000"))
        assert not ends_connection(driver("HY000", "Not the server's", number))

    def test_among_them_are_those_of_a_failover_a_shutdown_and_a_kill(self) -> None:
        assert {596, 3906, 6005, 40197, 40613} <= RETIRING_ERRORS

    def test_the_driver_is_asked_where_no_text_tells(self) -> None:
        unreadable = driver("HY000", "Unknown token received from SQL Server")
        assert ends_connection(unreadable, SimpleNamespace(closed=True))
        assert not ends_connection(unreadable, SimpleNamespace(closed=False))
        assert not ends_connection(unreadable)


class TestEndedTransaction:
    @pytest.mark.parametrize("number", sorted(TRANSACTION_ENDING_ERRORS))
    def test_the_server_has_rolled_back_or_will(self, number: int) -> None:
        assert ended_transaction(server(number))
        assert not ended_transaction(driver("HY000", "Not the server's", number))

    @pytest.mark.parametrize("number", [102, 208, 220, 229, 242, 515, 547, 1222, 2601, 2627, 2628])
    def test_other_errors_end_their_statement_only(self, number: int) -> None:
        assert not ended_transaction(server(number))

    @pytest.mark.parametrize("number", [8115, 8134, 8152, 8179, 13609, 50000])
    def test_so_do_overflow_and_division_by_zero(self, number: int) -> None:
        assert not ended_transaction(server(number))

    def test_among_the_others_are_deadlocks_and_failed_conversions(self) -> None:
        assert {245, 1205, 3960, 3998} <= TRANSACTION_ENDING_ERRORS

    def test_a_time_out_ends_its_statement_only(self) -> None:
        assert not ended_transaction(driver("HYT00", "Query timeout expired"))

    def test_one_that_a_cancel_has_overwritten_may_have(self) -> None:
        assert ended_transaction(driver("01S05", "Cancel treated as FreeStmt/Close"))

    def test_a_deadlock_is_known_by_its_sqlstate_too(self) -> None:
        assert ended_transaction(server(7112, "40001"))

    def test_under_xact_abort_every_error_of_the_server_does(self) -> None:
        assert ended_transaction(server(2627, "23000"), xact_abort=True)
        assert not ended_transaction(driver("HY000", "Connection is busy"), xact_abort=True)

    @pytest.mark.parametrize("state", ["HYT00", "HY008"])
    def test_and_so_does_the_attention_that_stops_a_statement(self, state: str) -> None:
        assert ended_transaction(driver(state, "It was stopped"), xact_abort=True)


class TestIsConflict:
    @pytest.mark.parametrize("number", sorted(CONFLICTS))
    def test_another_try_may_succeed(self, number: int) -> None:
        assert is_conflict(server(number, "40001" if number == 1205 else "42000"))

    def test_after_all_but_a_lock_time_out_from_the_transactions_beginning(self) -> None:
        conflicts = {1205, 1222, 3960, 3961, 3966, 41301, 41302, 41305, 41325, 41839}
        assert conflicts == CONFLICTS
        assert conflicts - {1222} <= TRANSACTION_ENDING_ERRORS

    def test_a_statement_that_may_have_completed_is_not_tried_again(self) -> None:
        assert not is_conflict(driver("40003", "Statement completion unknown"))

    def test_neither_is_one_whose_text_has_such_a_number(self) -> None:
        assert not is_conflict(server(50000, text="like (1205)"))


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("libmsodbcsql-18.6.so.2.1", True),
        ("libmsodbcsql.17.dylib", True),
        ("msodbcsql18.dll", True),
        ("SQLNCLI11.DLL", True),
        ("libtdsodbc.so", False),
        ("", False),
    ],
)
def test_microsofts_drivers_are_known_by_their_file(name: str, is_one: bool) -> None:
    assert is_microsofts(SimpleNamespace(getinfo={pyodbc.SQL_DRIVER_NAME: name}.get)) is is_one
