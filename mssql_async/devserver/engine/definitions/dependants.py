"""What depends on a column and stands in the way of its change: 5074, 4922."""

from __future__ import annotations

import re

from ...errors import SqlError, error
from ...schema import Column, IndexKind, Table
from ...sqltypes import MAX, Kind
from ..catalog import fold
from ..outcomes import SeveralErrors

_VARIABLE = frozenset({Kind.VARCHAR, Kind.NVARCHAR, Kind.VARBINARY})


def check_alterable(table: Table, old: Column, new: Column) -> None:
    """5074 and 4922 for what depends on the column and stands in the way."""
    same_type = old.type == new.type
    grows = (
        old.type.kind is new.type.kind
        and old.type.kind in _VARIABLE
        and (
            new.type.length == MAX
            or (old.type.length != MAX and (new.type.length or 0) >= (old.type.length or 0))
        )
    )
    if same_type and old.nullable == new.nullable:
        return
    blockers: list[tuple[str, str]] = []
    for index in table.indexes:
        if not any(fold(key.name) == fold(old.name) for key in index.columns):
            if index.filter and mentions(index.filter, old.name) and not (same_type or grows):
                blockers.append(("index", index.name))
            continue
        if index.kind is IndexKind.PRIMARY_KEY:
            blockers.append(("object", index.name))
        elif not (same_type or grows):
            kind = "object" if index.object_id else "index"
            blockers.append((kind, index.name))
        elif not old.nullable and new.nullable and not index.object_id:
            blockers.append(("index", index.name))
    if not same_type:
        blockers.extend(
            ("object", foreign_key.name)
            for foreign_key in table.foreign_keys
            if fold(old.name) in map(fold, foreign_key.columns)
        )
        if not grows:
            blockers.extend(
                ("object", check.name)
                for check in table.checks
                if mentions(check.expression, old.name)
            )
            if old.default is not None and old.type.kind is not new.type.kind:
                blockers.append(("object", old.default.name))
            blockers.extend(
                ("column", column.name)
                for column in table.columns
                if column.computed and mentions(column.computed, old.name)
            )
    if blockers:
        raise _dependants("ALTER COLUMN", old.name, blockers)


def check_droppable(table: Table, column: Column) -> None:
    blockers: list[tuple[str, str]] = []
    for index in table.indexes:
        keys = [*(key.name for key in index.columns), *index.include]
        if fold(column.name) in map(fold, keys) or (
            index.filter and mentions(index.filter, column.name)
        ):
            blockers.append(("object" if index.object_id else "index", index.name))
    blockers.extend(
        ("object", foreign_key.name)
        for foreign_key in table.foreign_keys
        if fold(column.name) in map(fold, foreign_key.columns)
    )
    blockers.extend(
        ("object", check.name) for check in table.checks if mentions(check.expression, column.name)
    )
    if column.default is not None:
        blockers.append(("object", column.default.name))
    blockers.extend(
        ("column", other.name)
        for other in table.columns
        if other.computed and mentions(other.computed, column.name)
    )
    if blockers:
        raise _dependants("DROP COLUMN", column.name, blockers)


def _dependants(action: str, column: str, blockers: list[tuple[str, str]]) -> SqlError:
    return SeveralErrors(
        *(error(5074, kind, name, column) for kind, name in blockers),
        error(4922, action, column, state=9),
    )


def mentions(expression: str, column: str) -> bool:
    """Whether T-SQL text names a column (outside of strings)."""
    text = re.sub(r"'(?:[^']|'')*'", "''", expression)
    name = re.escape(column)
    pattern = rf'\[{name}\]|"{name}"|(?<![\w@#$\[]){name}(?![\w@#$\]])'
    return re.search(pattern, text, re.IGNORECASE) is not None
