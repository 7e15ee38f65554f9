"""Nulls whose type is known, through the real driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.driver import find_driver
from mssql_async.session.nulls import TypedNull, input_sizes, null_of, plain_rows

INT = TypedNull(pyodbc.SQL_INTEGER)
DESCRIBE = "rpc.sp_describe_undeclared_parameters"

COLUMN_TYPES = [
    *("bigint", "int", "smallint", "tinyint", "bit"),
    *("nvarchar(1)", "nvarchar(40)", "nvarchar(4000)", "nvarchar(max)", "nchar(5)"),
    *("varchar(40)", "varchar(max)", "char(32)", "varbinary(16)", "varbinary(max)", "binary(8)"),
    *("numeric(8, 2)", "numeric(38, 10)", "decimal(18,0)", "money", "smallmoney"),
    *("double precision", "float", "real", "uniqueidentifier"),
    *("date", "time", "time(0)", "time(3)", "datetime", "smalldatetime"),
    *("datetime2", "datetime2(0)", "datetime2(3)", "datetimeoffset", "datetimeoffset(0)"),
]


@pytest.fixture
def server() -> Iterator[DevServer]:
    with DevServer() as own:
        yield own


@pytest.fixture
def connection(server: DevServer) -> Iterator[pyodbc.Connection]:
    driver = find_driver()
    string = server.connection_string(driver=str(driver.library or driver.name))
    connected = pyodbc.connect(string, autocommit=True)
    yield connected
    connected.close()


def execute(connection: pyodbc.Connection, sql: str, params: list[Any]) -> None:
    values, sizes = input_sizes(params)
    with connection.cursor() as cursor:
        cursor.setinputsizes(sizes)
        cursor.execute(sql, values)


def rows_of(connection: pyodbc.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute("SELECT * FROM t")]


@pytest.mark.parametrize("column_type", COLUMN_TYPES)
def test_a_null_of_a_known_type_is_stored_without_a_question(
    server: DevServer, connection: pyodbc.Connection, column_type: str
) -> None:
    null = null_of(column_type)
    connection.execute(f"CREATE TABLE t (id int, c {column_type} NULL)")
    server.reset_counters()
    execute(connection, "INSERT INTO t VALUES (?, ?)", [1, null])
    execute(connection, "UPDATE t SET c = ? WHERE id = ?", [null, 1])
    assert DESCRIBE not in server.counters.messages
    stored = connection.execute("SELECT COUNT(*) FROM t WHERE id = 1 AND c IS NULL").fetchval()
    assert stored == 1


def test_the_server_is_asked_for_the_type_of_a_plain_none(
    server: DevServer, connection: pyodbc.Connection
) -> None:
    """What the others save; and that a statement may have nulls of both kinds."""
    connection.execute("CREATE TABLE t (a int, b nvarchar(5), c varbinary(9))")
    server.reset_counters()
    execute(connection, "INSERT INTO t VALUES (?, ?, ?)", [INT, None, null_of("varbinary(9)")])
    assert server.counters.messages[DESCRIBE] == 1
    assert rows_of(connection) == [(None, None, None)]


def test_values_beside_a_null_go_as_ever(connection: pyodbc.Connection) -> None:
    connection.execute("CREATE TABLE t (a int, b nvarchar(max), c varbinary(max), d datetime2)")
    long = "żółć" * 3000
    execute(connection, "INSERT INTO t VALUES (?, ?, ?, ?)", [INT, long, b"\x00", None])
    assert rows_of(connection) == [(None, long, b"\x00", None)]


def test_parameters_without_such_a_null_are_left_alone() -> None:
    for params in ([], [1, None, "x"], (b"", 2.5)):
        assert input_sizes(params) == (params, None)
        assert input_sizes(params)[0] is params


def test_sizes_name_the_nulls_and_leave_the_rest_to_the_driver() -> None:
    values, sizes = input_sizes([1, null_of("nvarchar(40)"), None])
    assert sizes == [None, (pyodbc.SQL_WVARCHAR, 40, 0), None]
    assert list(values) == [1, pyodbc.BinaryNull, None]


def test_many_rows_leave_the_question_to_the_driver() -> None:
    rows = [(1, INT), (2, 3)]
    assert [tuple(row) for row in plain_rows(rows)] == [(1, None), (2, 3)]


@pytest.mark.parametrize(
    "column_type",
    ["xml", "geography", "sql_variant", "hierarchyid", "dbo.mine", "int; DROP TABLE t", "", "json"],
)
def test_a_type_that_is_not_known_has_no_null(column_type: str) -> None:
    assert null_of(column_type) is None


@pytest.mark.parametrize(
    ("column_type", "sizes"),
    [
        ("NVARCHAR ( 40 ) COLLATE Latin1_General_CI_AS", (pyodbc.SQL_WVARCHAR, 40, 0)),
        ("numeric(8, 2)", (pyodbc.SQL_NUMERIC, 8, 2)),
        ("time(0)", (-154, 8, 0)),
        ("datetime2", (pyodbc.SQL_TYPE_TIMESTAMP, 27, 7)),
        ("datetimeoffset(3)", (-155, 30, 3)),
    ],
)
def test_sizes_are_those_of_the_column(column_type: str, sizes: tuple[int, int, int]) -> None:
    null = null_of(column_type)
    assert null is not None
    assert null.input_size == sizes


def test_it_reads_as_sql() -> None:
    assert repr(INT) == "NULL"
    assert f"VALUES ({INT})" == "VALUES (NULL)"  # as Django shows a query
    assert null_of("int") == INT
