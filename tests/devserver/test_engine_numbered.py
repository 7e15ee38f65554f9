"""Numbered parameters of SQLite, which some releases of Python 3.12 warn of."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.engine.numbered import CONNECTION, MappingConnection

from .faulty import connect


@pytest.mark.parametrize("factory", [MappingConnection, CONNECTION])
@pytest.mark.filterwarnings("error")
def test_values_come_where_their_numbers_are(factory: type[sqlite3.Connection]) -> None:
    with closing(sqlite3.connect(":memory:", factory=factory)) as connection:
        many = ", ".join(f"?{number}" for number in range(12, 0, -1))
        assert connection.execute(f"SELECT {many}", range(12)).fetchone() == (*range(11, -1, -1),)
        assert connection.execute("SELECT ?2, ?1, ?2", ["a", None]).fetchone() == (None, "a", None)
        assert connection.execute("SELECT ?, ?", (1, 2)).fetchone() == (1, 2)
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.filterwarnings("error")
def test_a_suite_that_takes_warnings_for_errors_can_use_the_server() -> None:
    with DevServer() as server, closing(connect(server)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, name nvarchar(9))")
        cursor.execute("INSERT INTO t VALUES (?, ?)", 1, "one")
        cursor.execute("UPDATE t SET name = ? WHERE id = ?", "two", 1)
        assert cursor.execute("SELECT name FROM t WHERE id = ?", 1).fetchval() == "two"
