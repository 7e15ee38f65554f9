"""Table variables: temporary tables of a scope, which no rollback touches."""

from __future__ import annotations

from collections.abc import Callable

from ...schema import ObjectName, Table
from ...sqltypes import StorageValue
from ...tsql import statements as st
from .. import storage
from ..catalog import DBO
from ..frames import Frame
from ..sessionstate import SessionState
from ..storage import quote
from .change import Change, compile_expression, temporary_storage_name
from .place import Place, define_identity
from .tablebuilder import TableBuilder


def declare_table(session: SessionState, frame: Frame, statement: st.DeclareTable) -> None:
    """DECLARE @t TABLE: a temporary table of the frame, outside of transactions."""
    place = Place(session, ObjectName("#mssql_variable"))
    change = Change(place)
    table = Table(
        object_id=change.new_object_id(),
        schema=DBO,
        name=statement.name,
        storage_name=temporary_storage_name(statement.name),
        columns=(),
    )
    builder = TableBuilder(change, table)
    builder.add_all(statement.columns, statement.constraints)
    ensure_table_variable(session, builder.table)
    frame.tables[statement.name.casefold()] = builder.table
    session.live_table_variables[builder.table.storage_name] = builder.table
    define_identity(place, builder.table)


def ensure_table_variable(session: SessionState, table: Table) -> None:
    connection = session.connection
    exists = connection.execute(
        "SELECT 1 FROM temp.sqlite_schema WHERE type = 'table' AND name = ?", (table.storage_name,)
    ).fetchone()
    if exists:
        return
    where = f"temp.{quote(table.storage_name)}"
    connection.execute(storage.create_table_sql(table, where, compile_expression))
    for index in table.indexes:
        for sql in storage.create_index_sql(table, index, "temp", compile_expression):
            connection.execute(sql)


def keep(session: SessionState, undo: Callable[[], None]) -> None:
    """Roll back everything but table variables, which T-SQL's rollback leaves alone."""
    if not session.live_table_variables:
        undo()
        return
    contents = [
        (table, session.connection.execute(f"SELECT * FROM temp.{quote(name)}").fetchall())
        for name, table in session.live_table_variables.items()
    ]
    undo()
    for table, rows in contents:
        _restore(session, table, rows)


def _restore(session: SessionState, table: Table, rows: list[tuple[StorageValue, ...]]) -> None:
    ensure_table_variable(session, table)
    name = f"temp.{quote(table.storage_name)}"
    session.connection.execute(f"DELETE FROM {name}")
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        session.connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
