"""Prepared statements and calls: their handles, their output, and their end with a reset."""

from __future__ import annotations

from collections.abc import Iterator

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.engine import SqlEngine

from .engine_door import Door, integer, numbers, opened, text
from .faulty import connect, failure_of

RESET_CONNECTION = 116  # SQL_ATTR_RESET_CONNECTION
YES = 1


@pytest.fixture
def door() -> Iterator[Door]:
    with opened() as engine:
        yield Door(engine)


@pytest.fixture
def engine() -> Iterator[SqlEngine]:
    with opened() as engine:
        yield engine


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    with DevServer() as running:
        yield running


@pytest.fixture
def connection(server: DevServer) -> Iterator[pyodbc.Connection]:
    connected = connect(server)
    server.reset_counters()
    yield connected
    connected.close()


class TestHandles:
    def test_a_handle_passed_in_is_let_go(self, door: Door) -> None:
        prepexec = ("sp_prepexec", text(""), text("SELECT 1"))
        first = door.call(prepexec[0], integer(None, output=True), *prepexec[1:])
        second = door.call(prepexec[0], integer(first.outputs[0], output=True), *prepexec[1:])
        assert second.value == 1
        assert numbers(door.call("sp_execute", integer(first.outputs[0]))) == [8179]
        assert door.call("sp_execute", integer(second.outputs[0])).value == 1

    @pytest.mark.parametrize("procedure", ["sp_prepexec", "sp_prepexecrpc"])
    def test_one_that_does_not_exist_is_8179_and_nothing_runs(
        self, door: Door, procedure: str
    ) -> None:
        door.run("CREATE TABLE t (n int)")
        statement = {
            "sp_prepexec": [text(""), text("INSERT t VALUES (1)")],
            "sp_prepexecrpc": [text("sp_executesql"), text("INSERT t VALUES (1)")],
        }[procedure]
        (refused,) = door.call(procedure, integer(41, output=True), *statement).errors
        assert (refused.number, refused.text) == (
            8179,
            "Could not find prepared statement with handle 41.",
        )
        assert door.value("SELECT COUNT(*) FROM t") == 0
        assert numbers(door.call(procedure, integer(None, output=True), *statement)) == []
        assert door.value("SELECT COUNT(*) FROM t") == 1

    def test_a_reset_takes_every_handle(self, door: Door) -> None:
        (old,) = door.call(
            "sp_prepexec", integer(None, output=True), text(""), text("SELECT 1")
        ).outputs
        door.session.reset(keep_transaction=False)
        again = door.call("sp_prepexec", integer(old, output=True), text(""), text("SELECT 1"))
        assert numbers(again) == [8179]
        assert numbers(door.call("sp_unprepare", integer(old))) == [8179]

    def test_another_sessions_handle_is_none(self, engine: SqlEngine) -> None:
        mine, other = Door(engine), Door(engine)
        (handle,) = mine.call(
            "sp_prepare", integer(None, output=True), text(""), text("SELECT 1")
        ).outputs
        assert numbers(other.call("sp_execute", integer(handle))) == [8179]
        assert mine.call("sp_execute", integer(handle)).value == 1


class TestPreparedCalls:
    def test_a_call_is_prepared_and_run(self, door: Door) -> None:
        outcome = door.call(
            "sp_prepexecrpc",
            integer(None, output=True),
            text("sp_executesql"),
            text("SELECT @a + 1"),
            text("@a int"),
            integer(4),
        )
        assert outcome.value == 5
        assert outcome.status == 0

    def test_output_parameters_come_back_after_the_handle(self, door: Door) -> None:
        outcome = door.call(
            "sp_prepexecrpc",
            integer(None, output=True),
            text("sp_executesql"),
            text("SET @x = @x * 3"),
            text("@x int OUTPUT"),
            integer(7, output=True),
        )
        handle, tripled = outcome.outputs
        assert tripled == 21
        again = door.call(
            "sp_execute",
            integer(handle),
            text("SET @x = 5"),
            text("@x int OUTPUT"),
            integer(None, output=True),
        )
        assert again.outputs == [5]

    def test_the_return_status_is_the_procedures(self, door: Door) -> None:
        lock = [text("job"), text("Exclusive"), text("Session"), integer(0)]
        call = [integer(None, output=True), text("sp_getapplock")]
        assert door.call("sp_prepexecrpc", *call, *lock).status == 0
        wrong = [text("job"), text("no such mode"), text("Session"), integer(0)]
        assert door.call("sp_prepexecrpc", *call, *wrong).status == -999

    @pytest.mark.parametrize(
        "written",
        [
            "{call sp_executesql(?)}",
            "{ CALL [sys].[sp_executesql] ( ? ) }",
            "{?=call sp_executesql(?)}",
        ],
    )
    def test_odbcs_canonical_syntax_names_the_procedure_too(self, door: Door, written: str) -> None:
        call = [integer(None, output=True), text(written)]
        assert door.call("sp_prepexecrpc", *call, text("SELECT 1")).value == 1

    def test_an_unknown_procedure_is_2812(self, door: Door) -> None:
        outcome = door.call("sp_prepexecrpc", integer(None, output=True), text("nowhere"))
        assert numbers(outcome) == [2812]

    def test_a_call_with_literals_is_refused_by_name(self, door: Door) -> None:
        call = [integer(None, output=True), text("{call sp_executesql(N'SELECT 1', ?)}")]
        assert numbers(door.call("sp_prepexecrpc", *call, text(""))) == [40517]


class TestThroughTheDriver:
    def test_a_call_with_parameters_is_prepared_once_a_cursor(
        self, server: DevServer, connection: pyodbc.Connection
    ) -> None:
        cursor = connection.cursor()
        for number in (5, 6):
            cursor.execute("{CALL sp_executesql(?, ?, ?)}", "SELECT @a", "@a int", number)
            assert cursor.fetchval() == number
        cursor.close()
        assert server.counters.messages == {"rpc.sp_prepexecrpc": 2, "rpc.sp_unprepare": 1}

    def test_an_unknown_procedure_is_named(self, connection: pyodbc.Connection) -> None:
        _kind, state, said = failure_of(lambda: connection.execute("{CALL nowhere(?)}", 1))
        assert state == "42000"
        assert "Could not find stored procedure 'nowhere'. (2812)" in said

    def test_a_cursor_that_outlives_a_reset_asks_for_a_handle_that_is_gone(
        self, connection: pyodbc.Connection
    ) -> None:
        cursor = connection.cursor()
        assert cursor.execute("SELECT ?", 1).fetchval() == 1
        connection.set_attr(RESET_CONNECTION, YES)
        _kind, state, said = failure_of(lambda: cursor.execute("SELECT ?", 2))
        assert state == "42000"
        assert "(8179)" in said
        assert connection.execute("SELECT ?", 3).fetchval() == 3
