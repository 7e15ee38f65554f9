"""CREATE TABLE, DROP TABLE, TRUNCATE TABLE, and the table of SELECT … INTO."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import SqlError, error
from ...results import Command, ResultColumn
from ...schema import Table
from ...tsql import statements as st
from ..execution import Execution
from ..steps import Step
from .change import Change
from .place import Place, check_new_name, define_identity, identity_counters, sqlite_name
from .tablebuilder import TableBuilder


def create_table(execution: Execution, statement: st.CreateTable) -> Iterator[Step]:
    place = Place(execution.session, statement.name)
    yield from execution.define(
        place.database,
        lambda: create_table_now(place, statement.columns, statement.constraints),
    )
    yield execution.done(Command.CREATE_TABLE)


def create_table_now(
    place: Place,
    columns: tuple[st.ColumnDefinition, ...],
    table_constraints: tuple[st.ConstraintDefinition, ...],
) -> Table:
    change = Change(place)
    check_new_name(place)
    schema = place.schema
    if not change.is_temporary:
        found = place.catalog.schema(schema)
        if found is None:
            raise error(2760, schema)
        schema = found.name
    name = place.name.name
    table = Table(
        object_id=change.new_object_id(),
        schema=schema,
        name=name,
        storage_name=change.free_storage_name(schema, name),
        columns=(),
    )
    builder = TableBuilder(change, table)
    builder.add_all(columns, table_constraints)
    change.create(builder.table)
    change.finish()
    define_identity(place, builder.table)
    return builder.table


def create_from_columns(place: Place, columns: tuple[ResultColumn, ...]) -> Table:
    """The table of SELECT … INTO."""
    definitions = []
    for column in columns:
        if not column.name:
            raise SqlError(
                1038,
                "An object or column name is missing or empty. For SELECT INTO statements, verify "
                "each column has a name.",
                15,
            )
        definitions.append(
            st.ColumnDefinition(
                name=column.name,
                type=column.type,
                nullable=column.nullable and not column.identity,
                identity=(1, 1) if column.identity else None,
            )
        )
    return create_table_now(place, tuple(definitions), ())


def drop_table_now(place: Place, if_exists: bool) -> None:
    table = place.table
    if table is None:
        if not place.temporary and place.catalog.view(place.schema, place.name.name):
            raise error(3705, "TABLE", str(place.name), "view", "VIEW")
        if if_exists:
            return
        raise error(3701, "drop", "table", str(place.name), state=5)
    if not place.temporary:
        for child, _ in place.catalog.references_to(table):
            if child.object_id != table.object_id:
                raise error(3726, str(place.name))
    change = Change(place)
    change.drop(table)
    change.finish()
    session = place.session
    if session.identity_insert_on(table):
        session.identity_insert = None


def truncate(execution: Execution, statement: st.TruncateTable) -> Iterator[Step]:
    place = Place(execution.session, statement.table)
    yield from execution.define(place.database, lambda: _truncate_now(place))
    yield execution.done(Command.OTHER)


def _truncate_now(place: Place) -> None:
    table = place.required(1088 if place.temporary else 4701)
    session = place.session
    if not place.temporary:
        for child, _ in place.catalog.references_to(table):
            if child.object_id != table.object_id:
                raise error(4712, str(place.name))
    session.connection.execute(f"DELETE FROM {sqlite_name(place, table)}")
    session.pending.clear()
    column = table.identity_column
    if column is not None and column.identity is not None:
        counters = identity_counters(place)
        state = counters.state(table.object_id)
        session.transaction.on_undo(lambda: counters.restore(table.object_id, state))
        counters.define(table.object_id, column.identity)
