"""DROP, whatever it drops."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import SqlError, error
from ...results import Command
from ...schema import ObjectName
from ...tsql import statements as st
from ..execution import Execution
from ..steps import Step
from . import databases
from .assemblies import drop_function_now
from .indexes import drop_index_now
from .place import Place
from .schemas import drop_schema_now
from .tables import drop_table_now
from .views import drop_view_now


def drop(execution: Execution, statement: st.Drop) -> Iterator[Step]:
    session = execution.session
    if statement.kind is st.ObjectKind.DATABASE:
        for name in statement.names:
            yield from databases.drop_database(execution, name.name, statement.if_exists)
        return
    if statement.kind is st.ObjectKind.INDEX:
        (index,) = statement.names
        if statement.table is None:
            raise SqlError(
                159, "Must specify the table name and index name for the DROP INDEX statement.", 15
            )
        place = Place(session, statement.table)
        yield from execution.define(
            place.database,
            lambda: drop_index_now(place, index.name, statement.if_exists),
        )
        yield execution.done(Command.OTHER)
        return
    for name in statement.names:
        yield from _drop_one(execution, statement, name)
    command = Command.DROP_TABLE if statement.kind is st.ObjectKind.TABLE else Command.OTHER
    yield execution.done(command)


def _drop_one(execution: Execution, statement: st.Drop, name: ObjectName) -> Iterator[Step]:
    place = Place(execution.session, name)
    drop_now = {
        st.ObjectKind.TABLE: drop_table_now,
        st.ObjectKind.VIEW: drop_view_now,
        st.ObjectKind.SCHEMA: drop_schema_now,
        st.ObjectKind.FUNCTION: drop_function_now,
        st.ObjectKind.PROCEDURE: drop_procedure_now,
    }[statement.kind]
    yield from execution.define(place.database, lambda: drop_now(place, statement.if_exists))


def drop_procedure_now(place: Place, if_exists: bool) -> None:
    if not if_exists:
        raise error(3701, "drop", "procedure", str(place.name), state=5)
