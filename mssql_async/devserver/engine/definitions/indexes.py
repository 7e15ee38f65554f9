"""CREATE INDEX and DROP INDEX."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...errors import NotSupportedByStandIn, error
from ...results import Command
from ...schema import Index, IndexKind
from ...sqltypes import MAX
from ...tsql import statements as st
from ..catalog import index_named
from ..execution import Execution
from ..steps import Step
from .change import Change
from .place import Place
from .tablebuilder import NO_KEYS, column_name, next_index_id, parenthesized, real_name


def create_index(execution: Execution, statement: st.CreateIndex) -> Iterator[Step]:
    place = Place(execution.session, statement.table)
    yield from execution.define(place.database, lambda: _create_index_now(place, statement))
    yield execution.done(Command.OTHER)


def _create_index_now(place: Place, statement: st.CreateIndex) -> None:
    if not place.temporary and place.catalog.view(place.schema, place.name.name) is not None:
        raise NotSupportedByStandIn("indexed views")
    old = place.required(1088)
    if index_named(old, statement.name) is not None:
        raise error(1913, statement.name, "table", f"{old.schema}.{old.name}")
    for name in statement.include:
        if old.column(name) is None:
            raise error(1911, name)
    for key in statement.columns:
        column = old.column(key.name)
        if column is None:
            raise error(1911, key.name)
        if column.type.kind in NO_KEYS or column.type.length == MAX:
            raise error(1919, column.name, old.name)
    if statement.clustered:
        for index in old.indexes:
            if index.clustered:
                raise error(1902, "table", f"{old.schema}.{old.name}", index.name, state=3)
    index = Index(
        name=statement.name,
        kind=IndexKind.UNIQUE_INDEX if statement.unique else IndexKind.INDEX,
        columns=tuple(real_name(old, key) for key in statement.columns),
        include=tuple(column_name(old, name) for name in statement.include),
        filter=parenthesized(statement.filter) if statement.filter is not None else None,
        clustered=statement.clustered,
        index_id=next_index_id(old, statement.clustered),
    )
    change = Change(place)
    change.alter(old, replace(old, indexes=(*old.indexes, index)))
    change.finish()


def drop_index_now(place: Place, name: str, if_exists: bool) -> None:
    table = place.table
    index = index_named(table, name) if table is not None else None
    if table is None or index is None:
        if if_exists:
            return
        raise error(3701, "drop", "index", f"{place.name}.{name}", state=7)
    if index.object_id:
        raise error(3723, f"{table.schema}.{table.name}.{index.name}", index.kind.value, state=4)
    change = Change(place)
    change.alter(table, replace(table, indexes=tuple(i for i in table.indexes if i is not index)))
    change.finish()
