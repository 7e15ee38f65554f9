"""Constraints of existing tables: validated, switched on and off, dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ...errors import error
from ...results import Command
from ...schema import Check, ForeignKey, Index, Table
from ...tsql import compiler
from ...tsql import statements as st
from .. import constraints
from ..catalog import Catalog, fold
from ..execution import Execution
from ..outcomes import SeveralErrors
from ..steps import Step
from .change import Change
from .place import Place, sqlite_name
from .tablebuilder import with_column


def validate(
    place: Place,
    catalog: Catalog,
    table: Table,
    foreign_keys: Iterable[ForeignKey],
    checks: Iterable[Check],
    statement: str,
) -> None:
    """Look at the existing rows. :raises SqlError: 547."""
    connection, schema = place.session.connection, place.home.schema_name
    for foreign_key in foreign_keys:
        parent = catalog.referenced_table(foreign_key)
        if parent is None:
            continue
        query = constraints.orphan_query(table, foreign_key, parent, schema)
        if connection.execute(f"{query} LIMIT 1").fetchone():
            raise constraints.foreign_key_conflict(
                catalog,
                place.home.name,
                statement,
                table,
                foreign_key,
                from_parent=False,
            )
    for check in checks:
        condition = compiler.compile_table_expression(check.expression, table, "", True)
        query = f"SELECT 1 FROM {sqlite_name(place, table)} WHERE NOT ({condition}) LIMIT 1"
        if connection.execute(query).fetchone():
            raise constraints.check_conflict(place.home.name, statement, table, check)


def without_constraint(place: Place, table: Table, name: str, if_exists: bool) -> Table:
    folded = fold(name)
    for index in table.indexes:
        if fold(index.name) == folded and index.object_id:
            if not place.temporary:
                _check_unreferenced(place, table, index)
            return replace(table, indexes=tuple(i for i in table.indexes if i is not index))
    for foreign_key in table.foreign_keys:
        if fold(foreign_key.name) == folded:
            rest = tuple(fk for fk in table.foreign_keys if fk is not foreign_key)
            return replace(table, foreign_keys=rest)
    for check in table.checks:
        if fold(check.name) == folded:
            return replace(table, checks=tuple(c for c in table.checks if c is not check))
    for column in table.columns:
        if column.default is not None and fold(column.default.name) == folded:
            return with_column(table, replace(column, default=None))
    if if_exists:
        return table
    raise SeveralErrors(error(3728, name), error(3727, state=0))


def _check_unreferenced(place: Place, table: Table, index: Index) -> None:
    """3725: a foreign key relies on the key."""
    wanted = {fold(column.name) for column in index.columns}
    for child, foreign_key in place.catalog.references_to(table):
        if {fold(name) for name in foreign_key.referenced_columns} == wanted:
            others = [
                other
                for other in table.indexes
                if other is not index
                and other.kind.unique
                and other.filter is None
                and {fold(column.name) for column in other.columns} == wanted
            ]
            if not others:
                raise SeveralErrors(
                    error(3725, index.name, child.name, foreign_key.name, state=0),
                    error(3727, state=0),
                )


def toggle(execution: Execution, statement: st.ToggleConstraints) -> Iterator[Step]:
    place = Place(execution.session, statement.table)
    yield from execution.define(place.database, lambda: _toggle_now(place, statement))
    yield execution.done(Command.ALTER_TABLE)


def _toggle_now(place: Place, statement: st.ToggleConstraints) -> None:
    table = place.required()
    names = {fold(name) for name in statement.names}
    known = {fold(foreign_key.name) for foreign_key in table.foreign_keys}
    known |= {fold(check.name) for check in table.checks}
    for name in statement.names:
        if fold(name) not in known:
            raise error(4917, name)
    validated = statement.enable and statement.validate

    def changed(constraint: Any) -> Any:
        if names and fold(constraint.name) not in names:
            return constraint
        trusted = validated or (statement.enable and constraint.enabled and constraint.trusted)
        if constraint.enabled == statement.enable and constraint.trusted == trusted:
            return constraint
        return replace(constraint, enabled=statement.enable, trusted=trusted)

    foreign_keys = tuple(map(changed, table.foreign_keys))
    checks = tuple(map(changed, table.checks))
    catalog = None if place.temporary else place.catalog
    new = table
    if foreign_keys != table.foreign_keys or checks != table.checks:
        new = replace(table, foreign_keys=foreign_keys, checks=checks)
        change = Change(place)
        change.alter(table, new)
        catalog = change.finish()
    if validated and catalog is not None:
        chosen = [fk for fk in new.foreign_keys if not names or fold(fk.name) in names]
        rules = [check for check in new.checks if not names or fold(check.name) in names]
        validate(place, catalog, new, chosen, rules, "ALTER TABLE")
