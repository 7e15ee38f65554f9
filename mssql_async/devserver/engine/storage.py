"""The SQLite side of a table: CREATE TABLE, indexes, and bringing a file in line with a
changed catalog.

Everything here is derived from the catalog. A definition statement computes a new
catalog; :func:`reconcile` then makes the file match it, within the SQLite transaction
of the statement.

Source for what is mimicked: "CREATE INDEX (Transact-SQL)": a unique index takes NULL
for a value like others (SQLite does not, hence the second index on expressions).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator

from ..schema import Column, Index, IndexKind, Table
from ..sqltypes import INTEGER_KINDS, Kind
from ..tsql import types
from ..tsql.compiler import column_definition
from .catalog import Catalog, fold

Expressions = Callable[[str, Table, str, bool], str]
"""Compiles T-SQL text of a table: (text, table, row, predicate) -> SQLite SQL."""


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def rowid_alias(table: Table) -> Column | None:
    """The column that can be SQLite's ``INTEGER PRIMARY KEY``: a primary key of one
    integer column."""
    for index in table.indexes:
        if index.kind is IndexKind.PRIMARY_KEY and len(index.columns) == 1:
            column = table.column(index.columns[0].name)
            if (
                column is not None
                and column.type.kind in INTEGER_KINDS
                and column.type.kind is not Kind.BIT
                and column.computed is None
                and not index.columns[0].descending
            ):
                return column
    return None


def create_table_sql(table: Table, where: str, compile_expression: Expressions) -> str:
    """``CREATE TABLE`` for ``where``, the qualified and quoted name."""
    alias = rowid_alias(table)
    parts = []
    for column in table.columns:
        text = column_definition(column)
        if column is alias:
            text = f"{quote(column.name)} INTEGER PRIMARY KEY"
        elif column.computed is not None:
            expression = compile_expression(column.computed, table, "", False)
            kind = "STORED" if column.persisted else "VIRTUAL"
            text += f" GENERATED ALWAYS AS ({expression}) {kind}"
        parts.append(text)
    return f"CREATE TABLE {where} ({', '.join(parts)})"


_ONLY_NOT_NULLS = re.compile(r"\s+and\s+", re.IGNORECASE)


def _filter_excludes_nulls(text: str, columns: list[Column]) -> bool:
    """Whether a filter is a conjunction that says IS NOT NULL of every column.

    Django's unique indexes are written like that; they need no index for NULLs.
    """
    found = set()
    for part in _ONLY_NOT_NULLS.split(text.strip().strip("()")):
        match = re.fullmatch(r"[(\s]*\[?([^\]]+?)\]?\s+is\s+not\s+null[)\s]*", part, re.IGNORECASE)
        if match is None:
            return False
        found.add(fold(match.group(1)))
    return all(fold(column.name) in found for column in columns)


def index_name(table: Table, index: Index) -> str:
    """An index's name in SQLite, where names are unique within the file."""
    return f"ix_{table.object_id}_{index.index_id}"


def create_index_sql(
    table: Table, index: Index, schema: str, compile_expression: Expressions
) -> Iterator[str]:
    """The SQLite indexes behind an index of SQL Server."""
    alias = rowid_alias(table)
    if index.kind is IndexKind.PRIMARY_KEY and alias is not None:
        return
    condition = ""
    if index.filter is not None:
        condition = f" WHERE {compile_expression(index.filter, table, '', True)}"
    columns = ", ".join(
        quote(column.name) + (" DESC" if column.descending else "") for column in index.columns
    )
    unique = "UNIQUE " if index.kind.unique else ""
    name = index_name(table, index)
    storage = quote(table.storage_name)
    yield (
        f"CREATE {unique}INDEX {quote(schema)}.{quote(name)} ON {storage} ({columns}){condition}"
    )
    if not index.kind.unique:
        return
    key = [table.column(column.name) for column in index.columns]
    nullable = [column for column in key if column is not None and column.nullable]
    if not nullable or (index.filter and _filter_excludes_nulls(index.filter, nullable)):
        return
    terms = []
    for column in key:
        if column is None:
            continue
        collation = types.collation(column.type)
        suffix = f" COLLATE {collation.value}" if collation else ""
        name_of = quote(column.name)
        if column.nullable:
            terms.append(f"{name_of} IS NULL")
            terms.append(f"ifnull({name_of}, 0){suffix}")
        else:
            terms.append(f"{name_of}{suffix}")
    nulls = " OR ".join(f"{quote(column.name)} IS NULL" for column in nullable)
    nulls = f"{condition} AND ({nulls})" if condition else f" WHERE {nulls}"
    yield (
        f"CREATE UNIQUE INDEX {quote(schema)}.{quote(name + '_nulls')} "
        f"ON {storage} ({', '.join(terms)}){nulls}"
    )


def drop_index_sql(table: Table, index: Index, schema: str) -> Iterator[str]:
    for suffix in ("", "_nulls"):
        yield f"DROP INDEX IF EXISTS {quote(schema)}.{quote(index_name(table, index) + suffix)}"


def free_storage_name(catalog: Catalog, schema: str, name: str) -> str:
    """A table name that SQLite does not know yet."""
    taken = {fold(table.storage_name) for table in catalog.contents.tables.values()}
    base = name if fold(schema) == "dbo" else f"{schema}.{name}"
    if fold(base).startswith(("sqlite_", "mssql_")):
        base = f"dbo.{base}"
    candidate, number = base, 1
    while fold(candidate) in taken:
        number += 1
        candidate = f"{base}~{number}"
    return candidate


def same_shape(old: Table, new: Table) -> bool:
    """Whether two versions of a table can live in the same SQLite table."""
    return (
        old.storage_name == new.storage_name
        and [
            (c.name, c.type.kind, types.collation(c.type), c.computed, c.persisted)
            for c in old.columns
        ]
        == [
            (c.name, c.type.kind, types.collation(c.type), c.computed, c.persisted)
            for c in new.columns
        ]
        and (old_alias.name if (old_alias := rowid_alias(old)) else None)
        == (new_alias.name if (new_alias := rowid_alias(new)) else None)
    )


def create_storage(
    connection: sqlite3.Connection, table: Table, schema: str, compile_expression: Expressions
) -> None:
    where = f"{quote(schema)}.{quote(table.storage_name)}"
    connection.execute(create_table_sql(table, where, compile_expression))
    for index in table.indexes:
        for sql in create_index_sql(table, index, schema, compile_expression):
            connection.execute(sql)


def drop_storage(connection: sqlite3.Connection, table: Table, schema: str) -> None:
    connection.execute(f"DROP TABLE {quote(schema)}.{quote(table.storage_name)}")
