"""ALTER TABLE: ADD, ALTER COLUMN, DROP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...errors import error
from ...results import Command
from ...schema import Column, Table
from ...sqltypes import Kind
from ...tsql import compiler
from ...tsql import statements as st
from ...tsql.plan import NEXT_ROWVERSION
from .. import storage
from ..execution import Execution
from ..steps import Step
from ..storage import quote
from .change import Change
from .dependants import check_alterable, check_droppable
from .place import Place, define_identity, display, identity_counters, sqlite_name
from .tablebuilder import TableBuilder, with_column
from .tableconstraints import validate, without_constraint


def add_to_table(execution: Execution, statement: st.AddColumns) -> Iterator[Step]:
    place = Place(execution.session, statement.table)
    yield from execution.define(place.database, lambda: _add_now(place, statement))
    yield execution.done(Command.ALTER_TABLE)


def _add_now(place: Place, statement: st.AddColumns) -> None:
    old = place.required()
    change = Change(place)
    builder = TableBuilder(change, old)
    builder.display = old.name
    builder.add_all(statement.columns, statement.constraints, statement.check)
    new = builder.table
    added = new.columns[len(old.columns) :]
    sources = {}
    has_rows = place.session.connection.execute(
        f"SELECT 1 FROM {sqlite_name(place, old)} LIMIT 1"
    ).fetchone()
    with_values = {
        definition.name.casefold()
        for definition in statement.columns
        if definition.default is not None and definition.default.with_values
    }
    for column in added:
        if column.computed is not None:
            continue
        if column.identity is not None:
            seed, step = column.identity.seed, column.identity.increment
            sources[column.name] = (
                f"({seed} + {step} * ((SELECT count(*) FROM {sqlite_name(place, old)} AS earlier "
                f"WHERE earlier.rowid < {quote(old.storage_name)}.rowid)))"
            )
        elif column.default is not None and (
            not column.nullable or column.name.casefold() in with_values
        ):
            sources[column.name] = _assigned_default(new, column)
        elif column.type.kind is Kind.ROWVERSION:
            place.session.identity_counters = identity_counters(place)
            sources[column.name] = NEXT_ROWVERSION
        elif not column.nullable and has_rows:
            raise error(4901, column.name, old.name)
    new = change.alter(old, new, sources)
    catalog = change.finish()
    if any(column.identity for column in added):
        define_identity(place, new)
        _advance_identity(place, new)
    if catalog is not None and statement.check:
        validate(place, catalog, new, builder.new_foreign_keys, builder.new_checks, "ALTER TABLE")


def _assigned_default(table: Table, column: Column) -> str:
    """A default as SQLite SQL, converted to the column's type."""
    expression = column.default.expression if column.default is not None else "NULL"
    converted = f"CAST({expression} AS {column.type})"
    return compiler.compile_table_expression(converted, replace(table, columns=()), "", False)


def _advance_identity(place: Place, table: Table) -> None:
    column = table.identity_column
    if column is None or column.identity is None:
        return
    aggregate = "max" if column.identity.increment > 0 else "min"
    (edge,) = place.session.connection.execute(
        f"SELECT {aggregate}({quote(column.name)}) FROM {sqlite_name(place, table)}"
    ).fetchone()
    if edge is not None:
        identity_counters(place).note(table.object_id, column.identity, int(edge))


def alter_column(execution: Execution, statement: st.AlterColumn) -> Iterator[Step]:
    place = Place(execution.session, statement.table)
    yield from execution.define(place.database, lambda: _alter_column_now(place, statement))
    yield execution.done(Command.ALTER_TABLE)


def _alter_column_now(place: Place, statement: st.AlterColumn) -> None:
    old = place.required()
    definition = statement.column
    column = old.column(definition.name)
    if column is None:
        raise error(4924, "ALTER COLUMN", definition.name, old.name)
    if column.computed is not None:
        raise error(4928, column.name, "COMPUTED")
    if definition.type is None:
        raise error(102, definition.name)
    if definition.default is not None or definition.constraints or definition.identity:
        raise error(156, "CONSTRAINT")
    nullable = True if definition.nullable is None else definition.nullable
    if column.identity is not None:
        nullable = False
    new_type = definition.type
    if new_type.collation is None and column.type.collation and new_type.kind is column.type.kind:
        new_type = new_type.with_collation(None)
    new_column = replace(column, type=new_type, nullable=nullable)
    check_alterable(old, column, new_column)
    change = Change(place)
    new = with_column(old, new_column)
    sources = {}
    if new_type != column.type:
        sources[column.name] = compiler.convert_stored(
            quote(column.name), column, replace(new_column, nullable=True), display(place, old)
        )
    if column.nullable and not nullable:
        query = (
            f"SELECT 1 FROM {sqlite_name(place, old)} WHERE {quote(column.name)} IS NULL LIMIT 1"
        )
        if place.session.connection.execute(query).fetchone():
            raise error(515, column.name, display(place, old), "UPDATE", state=2)
    if sources and storage.same_shape(old, new):
        # The same kind of value, perhaps of another length or scale: written over in place.
        place.session.connection.execute(
            f"UPDATE {sqlite_name(place, old)} SET {quote(column.name)} = {sources[column.name]} "
            f"WHERE {quote(column.name)} IS NOT {sources[column.name]}"
        )
        sources = {}
    change.alter(old, new, sources)
    change.finish()


def drop_from_table(execution: Execution, statement: st.DropFromTable) -> Iterator[Step]:
    place = Place(execution.session, statement.table)
    yield from execution.define(place.database, lambda: _drop_from_now(place, statement))
    yield execution.done(Command.ALTER_TABLE)


def _drop_from_now(place: Place, statement: st.DropFromTable) -> None:
    old = place.required()
    change = Change(place)
    new = old
    for name in statement.constraints:
        new = without_constraint(place, new, name, statement.if_exists)
    for name in statement.columns:
        column = new.column(name)
        if column is None:
            if statement.if_exists:
                continue
            raise error(4924, "DROP COLUMN", name, old.name)
        check_droppable(new, column)
        new = replace(new, columns=tuple(c for c in new.columns if c is not column))
        if not change.is_temporary:
            change.editor.forget_properties(old.object_id, column.column_id)
    if not any(column.computed is None for column in new.columns):
        raise error(4923, statement.columns[-1], old.name)
    if new is not old:
        change.alter(old, new)
        change.finish()
