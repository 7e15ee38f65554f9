"""The server as Microsoft's ODBC driver and pyodbc see it, over real sockets."""

from __future__ import annotations

import datetime
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from decimal import Decimal

import pyodbc
import pytest

from mssql_async.devserver import sqltypes as t
from mssql_async.devserver.errors import error
from mssql_async.devserver.protocols import TransactionOperation, TransactionRequest
from mssql_async.devserver.results import Command, Done, Message
from mssql_async.devserver.server import DevServer
from mssql_async.devserver.sqltypes import Kind, SqlType, StorageValue
from mssql_async.driver import find_driver

from .fake_engine import PATIENCE, Block, FakeEngine, message_of, result
from .serving import serving

RESET_CONNECTION = 116
DEAD = "08S01"
GUID = "6F9619FF-8B86-D011-B42D-00C04FC964FF"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def server(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> Iterator[DevServer]:
    with serving(engine, caplog) as running:
        yield running


def connection_string(server: DevServer, **changes: str) -> str:
    driver = find_driver()
    string = server.connection_string(driver=str(driver.library or driver.name))
    # The driver takes the first of two that have the same name.
    return "".join(f"{name}={value};" for name, value in changes.items()) + string


@pytest.fixture
def connection(server: DevServer) -> Iterator[pyodbc.Connection]:
    connected = pyodbc.connect(connection_string(server), autocommit=True)
    yield connected
    connected.close()


# --- results -----------------------------------------------------------------------------


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("sql_type", "stored", "seen"),
    [
        (t.BIT, 1, True),
        (t.TINYINT, 200, 200),
        (t.SMALLINT, -5, -5),
        (t.INT, 7, 7),
        (t.BIGINT, 9_000_000_000, 9_000_000_000),
        (t.FLOAT, 1.5, 1.5),
        (t.REAL, 0.25, 0.25),
        (t.decimal(18, 4), "12.3400", Decimal("12.3400")),
        (
            t.numeric(38, 10),
            "-" + "9" * 28 + ".0123456789",
            Decimal("-" + "9" * 28 + ".0123456789"),
        ),
        (t.MONEY, "-1.2500", Decimal("-1.2500")),
        (t.SMALLMONEY, "214748.3647", Decimal("214748.3647")),
        (t.char(5), "ab   ", "ab   "),
        (t.varchar(20), "naïve € 5", "naïve € 5"),
        (t.nchar(5), "ż    ", "ż    "),
        (t.nvarchar(20), "żółć 🐘", "żółć 🐘"),
        (t.nvarchar(20), "", ""),
        (t.nvarchar(t.MAX), "🐘" * 70_000, "🐘" * 70_000),
        (t.varchar(t.MAX), "x" * 100_000, "x" * 100_000),
        (SqlType(Kind.TEXT), "tekst", "tekst"),
        (SqlType(Kind.NTEXT), "żółć" * 5000, "żółć" * 5000),
        (SqlType(Kind.IMAGE), b"\x00\xff" * 5000, b"\x00\xff" * 5000),
        (SqlType(Kind.XML), "<a>é</a>", "<a>é</a>"),
        (t.binary(4), b"\x01\x02\x03\x04", b"\x01\x02\x03\x04"),
        (t.varbinary(20), b"", b""),
        (t.varbinary(t.MAX), bytes(range(256)) * 500, bytes(range(256)) * 500),
        (SqlType(Kind.ROWVERSION), b"\x00" * 7 + b"\x01", b"\x00" * 7 + b"\x01"),
        (t.DATE, "2026-11-23", datetime.date(2026, 11, 23)),
        (t.time(7), "12:34:56.1234560", datetime.time(12, 34, 56, 123456)),
        (t.SMALLDATETIME, "2026-11-23 12:34:00.0000000", at("2026-11-23 12:34")),
        (t.DATETIME, "2026-11-23 12:34:56.1233333", at("2026-11-23 12:34:56.123")),
        (t.datetime2(7), "9999-12-31 23:59:59.1234560", at("9999-12-31 23:59:59.123456")),
        (t.datetime2(3), "0001-01-01 00:00:00.1230000", at("0001-01-01 00:00:00.123")),
        (t.UNIQUEIDENTIFIER, GUID, GUID),
        (t.SQL_VARIANT, "wariant", "wariant"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_values_arrive(
    connection: pyodbc.Connection,
    engine: FakeEngine,
    sql_type: SqlType,
    stored: StorageValue,
    seen: object,
) -> None:
    engine.script["scripted"] = [result([("c", sql_type)], (stored,))]
    ((value,),) = connection.execute("scripted").fetchall()
    assert value == seen
    assert type(value) is type(seen)


def test_null_arrives_in_every_type(connection: pyodbc.Connection, engine: FakeEngine) -> None:
    types = [t.BIT, t.INT, t.FLOAT, t.decimal(9, 2), t.MONEY, t.char(3), t.varchar(3)]
    types += [t.nvarchar(3), t.nvarchar(t.MAX), t.varbinary(3), t.varbinary(t.MAX), t.DATE]
    types += [t.time(7), t.DATETIME, t.datetime2(7), t.UNIQUEIDENTIFIER, SqlType(Kind.NTEXT)]
    columns = [(f"c{position}", sql_type) for position, sql_type in enumerate(types)]
    engine.script["nulls"] = [result(columns, [None] * len(types))]
    ((*values,),) = connection.execute("nulls").fetchall()
    assert values == [None] * len(types)


def test_a_datetimeoffset_arrives_with_its_offset(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    engine.script["when"] = [
        result([("c", t.datetimeoffset(7))], ("2026-11-23 10:34:56.1234560+02:00",))
    ]
    connection.add_output_converter(-155, lambda raw: struct.unpack("<6hI2h", raw))
    ((value,),) = connection.execute("when").fetchall()
    assert value == (2026, 11, 23, 12, 34, 56, 123456000, 2, 0)


def test_columns_are_described(connection: pyodbc.Connection, engine: FakeEngine) -> None:
    engine.script["described"] = [result([("id", t.INT), ("name", t.nvarchar(30))])]
    cursor = connection.execute("described")
    assert [(name, kind, size) for name, kind, _, size, *_ in cursor.description] == [
        ("id", int, 10),
        ("name", str, 30),
    ]
    assert cursor.fetchall() == []


def test_many_rows_arrive_in_order(connection: pyodbc.Connection, engine: FakeEngine) -> None:
    chunks = [result([("n", t.INT), ("s", t.nvarchar(50))])[:1]]
    for start in range(0, 50_000, 1000):
        rows = [(n, f"row {n}") for n in range(start, start + 1000)]
        chunks.append(result([], *rows)[1:2])
    engine.script["many"] = [*chunks, [Done(Command.SELECT, 50_000)]]
    rows = connection.execute("many").fetchall()
    assert len(rows) == 50_000
    assert all(tuple(row) == (n, f"row {n}") for n, row in enumerate(rows))


def test_small_packets_carry_everything_too(server: DevServer, engine: FakeEngine) -> None:
    text = "żółć " * 3000
    with pyodbc.connect(connection_string(server, PacketSize="512"), autocommit=True) as small:
        assert small.execute("SELECT ?", text).fetchval() == text
    assert engine.session.login.packet_size == 512


def test_several_results_follow_each_other(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    engine.script["several"] = [
        [Done(Command.INSERT, 2)],
        result([("n", t.INT)], (1,), (2,)),
        [Message(0, "hello"), Done(Command.UPDATE, 3)],
        result([("s", t.nvarchar(5))], ("end",)),
    ]
    cursor = connection.execute("several")
    assert cursor.rowcount == 2
    assert cursor.nextset()
    assert [tuple(row) for row in cursor.fetchall()] == [(1,), (2,)]
    assert cursor.nextset()
    assert cursor.rowcount == 3
    assert cursor.nextset()
    assert cursor.fetchval() == "end"
    assert not cursor.nextset()


# --- parameters --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "sql_type", "stored"),
    [
        (True, t.BIT, 1),
        (1, t.INT, 1),
        (-3, t.INT, -3),
        (1 << 40, t.BIGINT, 1 << 40),
        (1.5, t.FLOAT, 1.5),
        (Decimal("12.34"), t.numeric(4, 2), "12.34"),
        (Decimal("-" + "9" * 38), t.numeric(38, 0), "-" + "9" * 38),
        (Decimal("0.001"), t.numeric(3, 3), "0.001"),
        ("abc", t.nvarchar(6), "abc"),
        ("żółć 🐘", t.nvarchar(14), "żółć 🐘"),
        ("", t.nvarchar(1), ""),
        (b"\x01\x02", t.varbinary(2), b"\x01\x02"),
        (datetime.date(2026, 11, 23), t.DATE, "2026-11-23"),
        (datetime.time(1, 2, 3), t.time(0), "01:02:03.0000000"),
        (at("2026-11-23 12:34:56.123456"), t.datetime2(7), "2026-11-23 12:34:56.1234560"),
        (uuid.UUID(GUID), t.UNIQUEIDENTIFIER, GUID),
        (None, t.nvarchar(1), None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_parameters_reach_the_engine_in_storage_form(
    connection: pyodbc.Connection,
    engine: FakeEngine,
    sent: object,
    sql_type: SqlType,
    stored: StorageValue,
) -> None:
    connection.execute("SELECT ? AS c", sent).fetchall()
    calls = [request for request in engine.session.requests if isinstance(request, tuple)]
    prepared = next(parameters for name, parameters in calls if name == "sp_prepexec")
    assert prepared[3].value == stored
    if sent is not None:
        assert prepared[3].type.kind is sql_type.kind
        assert (prepared[3].type.precision, prepared[3].type.scale) == (
            sql_type.precision,
            sql_type.scale,
        )


@pytest.mark.parametrize(
    "value",
    [
        0,
        -(2**63),
        "x" * 5000,
        "🐘" * 5000,
        b"\x01" * 9000,
        Decimal("123.4500"),
        at("0001-01-01 00:00:00"),
        datetime.date.max,
        False,
        None,
    ],
    ids=lambda value: str(value)[:20],
)
def test_parameters_come_back_as_they_went(connection: pyodbc.Connection, value: object) -> None:
    assert connection.execute("SELECT ? AS c", value).fetchval() == value


FAST_CLIENT = """
import sys, pyodbc
cursor = pyodbc.connect(sys.argv[1], autocommit=True).cursor()
cursor.fast_executemany = True
cursor.executemany("INSERT INTO t VALUES (?)", [(f"row {n}",) for n in range(100)])
"""


def test_many_rows_of_parameters_are_sent_in_few_messages(
    server: DevServer, engine: FakeEngine
) -> None:
    engine.script["INSERT INTO t VALUES (@P1)"] = [[Done(Command.INSERT, 1)]]
    # In a process of its own: pyodbc waits here without releasing the interpreter, so a
    # server on a thread of the same one could never answer.
    subprocess.run([sys.executable, "-c", FAST_CLIENT, connection_string(server)], check=True)
    executed = [
        call[1][-1].value
        for call in engine.session.requests
        if isinstance(call, tuple) and call[0] in ("sp_execute", "sp_prepexec")
    ]
    assert executed == [f"row {n}" for n in range(100)]
    assert server.counters.total_messages < 20


def test_a_prepared_statement_is_executed_and_released_by_its_handle(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    cursor = connection.cursor()
    for value in ("x" * 5000, "y" * 5000):
        assert cursor.execute("SELECT ? AS c", value).fetchval() == value
    cursor.close()
    names = [request[0] for request in engine.session.requests if isinstance(request, tuple)]
    assert names[-1] == "sp_unprepare"
    assert "sp_execute" in names


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "arguments", "sqlstate", "raised"),
    [
        (102, ("x",), "42000", pyodbc.ProgrammingError),
        (207, ("x",), "42S22", pyodbc.ProgrammingError),
        (208, ("x",), "42S02", pyodbc.ProgrammingError),
        (245, ("varchar", "x", "int"), "22018", pyodbc.DataError),
        (515, ("c", "t", "INSERT"), "23000", pyodbc.IntegrityError),
        (547, ("INSERT", "FK", "c", "app", "t", "."), "23000", pyodbc.IntegrityError),
        (1205, (51, "lock"), "40001", pyodbc.Error),
        (1222, (), "42000", pyodbc.ProgrammingError),
        (2627, ("PRIMARY KEY", "pk", "t", "(1)"), "23000", pyodbc.IntegrityError),
        (2714, ("t",), "42S01", pyodbc.ProgrammingError),
        (8134, (), "22012", pyodbc.DataError),
    ],
)
def test_errors_have_sql_servers_number_and_sqlstate(
    connection: pyodbc.Connection,
    engine: FakeEngine,
    number: int,
    arguments: tuple[object, ...],
    sqlstate: str,
    raised: type[Exception],
) -> None:
    failure = error(number, *arguments)
    engine.script["fails"] = [[message_of(failure), Done(Command.SELECT, failed=True)]]
    with pytest.raises(raised) as caught:
        connection.execute("fails")
    assert caught.value.args[0] == sqlstate
    assert f"[SQL Server]{failure.text} ({number})" in caught.value.args[1]
    assert connection.execute("SELECT 1").fetchval() == 1


def test_an_error_with_parameters_leaves_the_connection_usable(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    failure = message_of(error(8134))
    engine.script["SELECT 1/@P1"] = [[failure, Done(Command.SELECT, failed=True)]]
    with pytest.raises(pyodbc.DataError, match="Divide by zero"):
        connection.execute("SELECT 1/?", 0)
    assert connection.execute("SELECT 1").fetchval() == 1


def test_an_error_in_the_middle_of_the_rows_arrives_at_its_row(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    columns, rows, _done = result([("n", t.INT)], (1,), (2,))
    engine.script["breaks"] = [
        [columns, rows],
        [message_of(error(8134)), Done(Command.SELECT, failed=True)],
    ]
    cursor = connection.execute("breaks")
    assert [tuple(row) for row in cursor.fetchmany(2)] == [(1,), (2,)]
    with pytest.raises(pyodbc.DataError, match="Divide by zero"):
        cursor.fetchone()


def test_messages_of_low_severity_are_no_errors(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    engine.script["prints"] = [[Message(0, "hello"), Message(50000, "mild", severity=10), Done()]]
    cursor = connection.execute("prints")
    assert [text.rpartition("]")[2] for _state, text in cursor.messages] == ["hello", "mild"]


# --- login -------------------------------------------------------------------------------


def test_the_login_tells_the_engine_who_connects(server: DevServer, engine: FakeEngine) -> None:
    string = connection_string(server, APP="shop", WSID="till", ApplicationIntent="ReadOnly")
    with pyodbc.connect(string) as connected:
        login = engine.session.login
        assert (login.user, login.database) == ("sa", "app")
        assert (login.program_name, login.host_name) == ("shop", "till")
        assert login.read_only_intent
        assert connected.getinfo(pyodbc.SQL_DBMS_NAME) == "Microsoft SQL Server"
        assert connected.getinfo(pyodbc.SQL_DBMS_VER) == "16.00.4165"
        assert connected.getinfo(pyodbc.SQL_DATABASE_NAME) == "app"


def test_a_wrong_password_is_28000(server: DevServer) -> None:
    with pytest.raises(pyodbc.InterfaceError, match=r"Login failed for user 'sa'. \(18456\)") as e:
        pyodbc.connect(connection_string(server).replace("Passw0rd", "wrong"))
    assert e.value.args[0] == "28000"


def test_an_unknown_database_is_4060(server: DevServer) -> None:
    with pytest.raises(pyodbc.ProgrammingError, match=r'"missing".*\(4060\)'):
        pyodbc.connect(connection_string(server).replace("=app", "=missing"))


# --- transactions and reset --------------------------------------------------------------


def test_transactions_go_through_the_transaction_manager(
    connection: pyodbc.Connection, engine: FakeEngine, server: DevServer
) -> None:
    del engine.session.requests[:]
    connection.autocommit = False
    assert connection.execute("SELECT 1").fetchval() == 1
    assert [session.in_transaction for session in server.sessions()] == [True]
    connection.commit()
    connection.autocommit = True
    assert connection.execute("SELECT 1").fetchval() == 1
    assert engine.session.requests == [
        TransactionRequest(TransactionOperation.BEGIN),
        "SELECT 1",
        TransactionRequest(TransactionOperation.COMMIT, begin=True),
        TransactionRequest(TransactionOperation.ROLLBACK),
        "SELECT 1",
    ]
    assert [session.in_transaction for session in server.sessions()] == [False]


def test_the_reset_rides_on_the_next_request(
    connection: pyodbc.Connection, engine: FakeEngine, server: DevServer
) -> None:
    server.reset_counters()
    connection.set_attr(RESET_CONNECTION, 1)
    assert server.counters.total_messages == 0
    assert connection.execute("SELECT 1").fetchval() == 1
    assert connection.execute("SELECT 1").fetchval() == 1
    assert server.counters.messages == {"batch+reset": 1, "batch": 1}
    assert engine.session.resets == [False]


def test_the_reset_rides_on_a_call_too(
    connection: pyodbc.Connection, engine: FakeEngine, server: DevServer
) -> None:
    connection.set_attr(RESET_CONNECTION, 1)
    assert connection.execute("SELECT ? AS c", 5).fetchval() == 5
    assert server.counters.messages["rpc.sp_prepexec+reset"] == 1


# --- attention ---------------------------------------------------------------------------


def test_cancel_from_another_thread_stops_the_statement(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    block = Block()
    engine.script["wait"] = [block]
    cursor = connection.cursor()

    def cancel() -> None:
        assert block.entered.wait(PATIENCE)
        cursor.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(pyodbc.Error) as caught:
        cursor.execute("wait")
    canceller.join()
    assert caught.value.args[0] == "HY008"
    assert block.interrupted
    assert connection.execute("SELECT 1").fetchval() == 1


def test_a_query_timeout_stops_the_statement(
    connection: pyodbc.Connection, engine: FakeEngine, server: DevServer
) -> None:
    block = Block()
    engine.script["wait"] = [block]
    connection.timeout = 1
    with pytest.raises(pyodbc.OperationalError) as caught:
        connection.execute("wait")
    assert caught.value.args[0] == "HYT00"
    assert block.interrupted
    assert server.counters.messages["attention"] == 1
    assert connection.execute("SELECT 1").fetchval() == 1


def test_rows_that_nobody_reads_are_cancelled(
    connection: pyodbc.Connection, engine: FakeEngine
) -> None:
    columns, rows, done = result([("n", t.nvarchar(100))], *[("x" * 100,)] * 1000)
    engine.script["many"] = [[columns], *[[rows]] * 1000, [done]]
    cursor = connection.execute("many")
    assert cursor.fetchone()[0] == "x" * 100
    cursor.close()
    assert connection.execute("SELECT 1").fetchval() == 1


# --- endings -----------------------------------------------------------------------------


def test_closing_a_connection_closes_its_session(server: DevServer, engine: FakeEngine) -> None:
    connected = pyodbc.connect(connection_string(server))
    connected.close()
    assert engine.session.closed.wait(PATIENCE)


def test_a_killed_session_is_a_broken_connection(
    connection: pyodbc.Connection, engine: FakeEngine, server: DevServer
) -> None:
    assert server.kill(engine.session.spid) == 1
    with pytest.raises(pyodbc.Error) as caught:
        connection.execute("SELECT 1")
    assert caught.value.args[0] == DEAD


def test_a_session_killed_in_the_middle_of_a_statement_is_a_broken_connection(
    connection: pyodbc.Connection, engine: FakeEngine, server: DevServer
) -> None:
    block = Block()
    engine.script["wait"] = [block]

    def kill() -> None:
        assert block.entered.wait(PATIENCE)
        server.kill(engine.session.spid)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(pyodbc.Error) as caught:
        connection.execute("wait")
    killer.join()
    assert caught.value.args[0] == DEAD


def test_a_closed_server_is_a_broken_connection(
    connection: pyodbc.Connection, server: DevServer
) -> None:
    server.close()
    with pytest.raises(pyodbc.Error) as caught:
        connection.execute("SELECT 1")
    assert caught.value.args[0] == DEAD


def test_many_connections_work_at_the_same_time(server: DevServer, engine: FakeEngine) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with pyodbc.connect(connection_string(server), autocommit=True) as connected:
                for value in range(50):
                    assert connected.execute("SELECT ? AS c", value).fetchval() == value
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(engine.sessions) == 8
