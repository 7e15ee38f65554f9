"""Sessions of the engine as Microsoft's ODBC driver and pyodbc see them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pyodbc
import pytest

from mssql_async.devserver.server import DevServer
from mssql_async.driver import find_driver

RESET_CONNECTION = 116  # SQL_ATTR_RESET_CONNECTION
YES = 1
DEAD = "08S01"

Connect = Callable[..., pyodbc.Connection]


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer() as running:
        yield running


@pytest.fixture
def connect(server: DevServer) -> Iterator[Connect]:
    made: list[pyodbc.Connection] = []

    def connect(*, autocommit: bool = True, **words: str) -> pyodbc.Connection:
        driver = find_driver()
        string = server.connection_string(driver=str(driver.library or driver.name))
        string = "".join(f"{name}={value};" for name, value in words.items()) + string
        made.append(pyodbc.connect(string, autocommit=autocommit))
        return made[-1]

    setup = connect()
    setup.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, n int)")
    setup.execute("INSERT t VALUES (1, 0), (2, 0)")
    yield connect
    for connection in made:
        connection.close()


def value(connection: pyodbc.Connection, sql: str, *parameters: Any) -> Any:
    return connection.execute(sql, *parameters).fetchval()


def failure(connection: pyodbc.Connection, sql: str, *parameters: Any) -> tuple[str, str]:
    """The SQLSTATE and the text of the error that ``sql`` must have."""
    with pytest.raises(pyodbc.Error) as caught:
        connection.execute(sql, *parameters)
    return str(caught.value.args[0]), str(caught.value.args[1])


def test_a_setting_of_a_batch_stays_and_one_with_parameters_does_not(connect: Connect) -> None:
    connection = connect()
    connection.execute("SET DATEFIRST 3")
    assert value(connection, "SELECT @@DATEFIRST") == 3
    connection.execute("SET DATEFIRST 5; SELECT ?", 1).fetchall()
    assert value(connection, "SELECT @@DATEFIRST") == 3


def test_a_temporary_table_made_with_parameters_is_gone_afterwards(connect: Connect) -> None:
    connection = connect()
    connection.execute("SELECT id INTO #plain FROM t WHERE id = 1")
    assert value(connection, "SELECT COUNT(*) FROM #plain") == 1
    connection.execute("SELECT id INTO #prepared FROM t WHERE id = ?", 1)
    assert "(208)" in failure(connection, "SELECT COUNT(*) FROM #prepared")[1]


def test_the_drivers_transactions_are_begun_by_the_first_statement(connect: Connect) -> None:
    connection, other = connect(autocommit=False), connect()
    connection.execute("UPDATE t SET n = ? WHERE id = ?", 7, 1)
    assert value(connection, "SELECT @@TRANCOUNT") == 1
    assert value(other, "SELECT n FROM t WHERE id = 1") == 0
    connection.commit()
    assert value(other, "SELECT n FROM t WHERE id = 1") == 7


WAITS_FOR_A_LOCK = "SELECT COUNT(*) FROM sys.dm_tran_locks WHERE request_status = 'WAIT'"
ENDLESS = (
    "(SELECT COUNT(*) FROM GENERATE_SERIES(1, 5000) AS a "
    "CROSS JOIN GENERATE_SERIES(1, 100000) AS b)"
)
SILENT_LOOPS = {
    "a loop that says nothing": "DECLARE @i int = 0; WHILE 1 = 1 IF @i = 7 SET @i = 2",
    "an assignment that reads on and on": f"DECLARE @i bigint; SET @i = {ENDLESS}",
    "a declaration that reads on and on": f"DECLARE @i bigint = {ENDLESS}",
    "a condition that reads on and on": f"IF {ENDLESS} > 0 PRINT 'x'",
}


@pytest.mark.parametrize("sql", SILENT_LOOPS.values(), ids=SILENT_LOOPS.keys())
def test_a_query_timeout_ends_what_says_nothing_and_others_are_served(
    connect: Connect, sql: str
) -> None:
    connection, other = connect(), connect()
    connection.timeout = 1
    failures: list[tuple[str, str]] = []
    looping = threading.Thread(target=lambda: failures.append(failure(connection, sql)))
    looping.start()
    assert value(other, "SELECT 1") == 1
    looping.join()
    assert failures[0][0] == "HYT00"
    assert value(connection, "SELECT 1") == 1


def test_a_cancel_ends_a_loop_that_says_something_all_the_time(connect: Connect) -> None:
    connection, other = connect(), connect()
    spid = value(connection, "SELECT @@SPID")
    cursor = connection.cursor()
    failures: list[pyodbc.Error] = []

    def loop() -> None:
        try:
            cursor.execute("DECLARE @i bigint = 0; WHILE 1 = 1 SET @i = @i + 1")
        except pyodbc.Error as problem:
            failures.append(problem)

    looping = threading.Thread(target=loop)
    looping.start()
    while not value(other, "SELECT 1 FROM sys.dm_exec_requests WHERE session_id = ?", spid):
        pass
    while looping.is_alive():  # the driver heeds no cancel before it has sent the request
        cursor.cancel()
        looping.join(0.05)
    assert failures[0].args[0] == "HY008"
    assert value(connection, "SELECT 1") == 1


def test_a_reset_leaves_the_isolation_level_and_nothing_else(connect: Connect) -> None:
    connection = connect()
    connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET DATEFIRST 2")
    connection.execute("CREATE TABLE #mine (n int); USE master")
    connection.set_attr(RESET_CONNECTION, YES)
    row = connection.execute(
        "SELECT @@DATEFIRST, DB_NAME(), OBJECT_ID('tempdb..#mine'), transaction_isolation_level "
        "FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
    ).fetchone()
    assert row is not None
    assert tuple(row) == (7, "app", None, 4)


def test_a_query_timeout_ends_the_wait_and_the_connection_goes_on(connect: Connect) -> None:
    connection = connect()
    connection.timeout = 1
    assert failure(connection, "WAITFOR DELAY '00:00:30'")[0] == "HYT00"
    assert value(connection, "SELECT 1") == 1


def test_cancel_ends_a_lock_wait_and_leaves_the_transaction(connect: Connect) -> None:
    one, other, operator = connect(autocommit=False), connect(autocommit=False), connect()
    one.execute("UPDATE t SET n = 1 WHERE id = 1")
    other.execute("SELECT n FROM t").fetchall()
    cursor = other.cursor()

    def cancel() -> None:
        while not value(operator, WAITS_FOR_A_LOCK):
            time.sleep(0.01)
        cursor.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(pyodbc.Error) as caught:
        cursor.execute("UPDATE t SET n = 2 WHERE id = 1")
    canceller.join()  # the driver may still be at it, and what it is about must stay
    assert caught.value.args[0] == "HY008"
    assert value(other, "SELECT @@TRANCOUNT") == 1
    one.rollback()
    other.rollback()


def test_lock_timeout_is_error_1222(connect: Connect) -> None:
    one, other = connect(autocommit=False), connect()
    one.execute("UPDATE t SET n = 1 WHERE id = 1")
    other.execute("SET LOCK_TIMEOUT 0")
    assert "(1222)" in failure(other, "UPDATE t SET n = ? WHERE id = 1", 2)[1]
    one.rollback()


def test_a_deadlock_is_sqlstate_40001(connect: Connect) -> None:
    one, other, operator = connect(autocommit=False), connect(autocommit=False), connect()
    other.execute("SET DEADLOCK_PRIORITY LOW; EXEC sp_getapplock 'a', 'Exclusive'")
    one.execute("UPDATE t SET n = 1 WHERE id = 1")
    waiting = threading.Thread(target=one.execute, args=("EXEC sp_getapplock 'a', 'Exclusive'",))
    waiting.start()
    while not value(operator, WAITS_FOR_A_LOCK):
        time.sleep(0.01)
    state, text = failure(other, "UPDATE t SET n = 2 WHERE id = 1")
    assert (state, "(1205)" in text) == ("40001", True)
    assert value(other, "SELECT APPLOCK_MODE('public', 'a', 'Transaction')") == "NoLock"
    waiting.join(5)
    assert not waiting.is_alive()
    one.rollback()


def test_the_connection_string_may_choose_the_language(connect: Connect) -> None:
    connection = connect(Language="British")
    row = connection.execute("SELECT @@LANGUAGE, MONTH(CAST('01/02/2024' AS datetime))").fetchone()
    assert row is not None
    assert tuple(row) == ("British", 2)
    connection.execute("SET LANGUAGE us_english")
    connection.set_attr(RESET_CONNECTION, YES)
    assert value(connection, "SELECT @@LANGUAGE") == "British"


def test_a_killed_connection_is_dead_and_its_work_undone(connect: Connect) -> None:
    victim, operator = connect(autocommit=False), connect()
    victim.execute("UPDATE t SET n = 9")
    spid = value(victim, "SELECT @@SPID")
    operator.execute(f"KILL {spid}")
    assert failure(victim, "SELECT 1")[0] == DEAD
    assert value(operator, "SELECT SUM(n) FROM t") == 0


def test_the_connection_string_is_shown_to_operators(connect: Connect) -> None:
    connection = connect(APP="shop", WSID="web-1")
    row = connection.execute(
        "SELECT program_name, host_name, IIF(host_process_id > 0, 1, 0), client_interface_name "
        "FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
    ).fetchone()
    assert row is not None
    assert tuple(row) == ("shop", "web-1", 1, "ODBC")
    who = connection.execute("EXEC sp_who2").fetchall()
    assert "shop" in [each.ProgramName for each in who]
