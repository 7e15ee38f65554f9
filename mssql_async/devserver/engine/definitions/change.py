"""Carrying out a definition statement: the changed tables become SQLite's and the catalog's.

A statement computes the changed tables and hands them to :class:`Change`, which makes the
SQLite file agree (:mod:`mssql_async.devserver.engine.storage`) and stores the new catalog, all
in the transaction of the statement.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...errors import SqlError, error
from ...schema import Index, IndexKind, Table
from ...tsql import compiler
from .. import catalogstore, clock, constraints, storage
from ..catalog import Catalog, CatalogEditor, fold, key_of
from ..outcomes import SeveralErrors
from ..storage import quote
from .place import Place

_temporary_names = itertools.count(1)


def temporary_storage_name(name: str) -> str:
    """Temporary tables and table variables of one name can live side by side."""
    return f"{name}~{next(_temporary_names)}"


def compile_expression(text: str, table: Table, row: str, predicate: bool) -> str:
    """Compile an expression of a table for SQLite's triggers, indexes and columns."""
    return compiler.compile_table_expression(text, table, row, predicate)


def default_sql(table: Table, column_name: str) -> str:
    column = table.column(column_name)
    if column is None or column.default is None:
        return "NULL"
    return compiler.compile_table_expression(column.default.expression, table, "", False)


class Change:
    """One definition statement on the tables of one database (or on temporary ones)."""

    def __init__(self, place: Place) -> None:
        self.session = place.session
        self.database = place.database
        self.connection = place.session.connection
        self.schema = "temp" if place.database is None else place.database.schema_name
        self._editor = (
            CatalogEditor(place.catalog, clock.now()) if place.database is not None else None
        )
        self._temporary = dict(place.session.transaction.temporary.tables)
        self._touched: list[tuple[Table | None, Table | None, dict[str, str]]] = []

    @property
    def editor(self) -> CatalogEditor:
        if self._editor is None:
            raise ValueError("temporary tables have no catalog")
        return self._editor

    @property
    def is_temporary(self) -> bool:
        return self._editor is None

    def new_object_id(self) -> int:
        if self._editor is None:
            return next(self.session.temporary_ids)
        return self._editor.new_object_id()

    def table(self, schema: str, name: str) -> Table | None:
        """A table as the statement has left it so far."""
        if self._editor is None:
            return self._temporary.get(fold(name))
        return self._editor.tables.get(key_of(schema, name))

    def free_storage_name(self, schema: str, name: str) -> str:
        if self._editor is None:
            return temporary_storage_name(name)
        return storage.free_storage_name(self._editor.before, schema, name)

    def create(self, table: Table) -> None:
        self._put(None, table)
        self._touched.append((None, table, {}))

    def alter(self, old: Table, new: Table, sources: dict[str, str] | None = None) -> Table:
        """Replace a table. ``sources`` says, for a table whose rows must be copied, where
        the new columns come from (by default the column of the same name)."""
        if not storage.same_shape(old, new) and not _only_adds(old, new):
            new = replace(new, storage_name=self.free_storage_name(new.schema, new.name))
        self._put(old, new)
        self._touched.append((old, new, sources or {}))
        return new

    def drop(self, table: Table) -> None:
        if self._editor is None:
            del self._temporary[fold(table.name)]
        else:
            self._editor.remove(table)
        self._touched.append((table, None, {}))

    def _put(self, old: Table | None, new: Table) -> None:
        if self._editor is None:
            if old is not None:
                self._temporary.pop(fold(old.name), None)
            self._temporary[fold(new.name)] = new
        else:
            self._editor.put(new, instead_of=old)

    def finish(self) -> Catalog | None:
        """Make SQLite agree, and store the catalog."""
        transaction = self.session.transaction
        if self._editor is None or self.database is None:
            for old, new, sources in self._touched:
                self._reshape(old, new, sources)
            transaction.temporary = type(transaction.temporary)(self._temporary)
            return None
        before = self._editor.before
        after = self._editor.finish()
        affected = self._constrained_tables(before, after)
        for table in affected:
            self._drop_triggers(before, table)
        for old, new, sources in self._touched:
            self._reshape(old, new, sources)
        for table in affected:
            self._create_triggers(after, table)
        catalogstore.store(self.connection, quote(self.schema), before, after)
        transaction.catalogs[self.database] = after
        return after

    def _constrained_tables(self, before: Catalog, after: Catalog) -> list[int]:
        """Tables whose triggers may be different afterwards: the ones with another shape
        or other constraints, and those that reference them."""
        affected: dict[int, None] = {}
        for old, new, _ in self._touched:
            if (
                old is not None
                and new is not None
                and storage.same_shape(old, new)
                and old.foreign_keys == new.foreign_keys
                and old.checks == new.checks
                and old.columns == new.columns
            ):
                continue
            for catalog, table in ((before, old), (after, new)):
                if table is not None:
                    affected[table.object_id] = None
                    for child, _ in catalog.references_to(table):
                        affected[child.object_id] = None
        return list(affected)

    def _drop_triggers(self, before: Catalog, object_id: int) -> None:
        table = before.table_by_id(object_id)
        if table is None:
            return
        names = [
            f"fk_{foreign_key.object_id}_{suffix}"
            for foreign_key in table.foreign_keys
            if foreign_key.enabled
            for suffix in ("ci", "cu", "pd", "pu")
        ]
        names += [
            f"ck_{check.object_id}_{suffix}"
            for check in table.checks
            if check.enabled
            for suffix in ("i", "u")
        ]
        for name in names:
            self.connection.execute(f"DROP TRIGGER IF EXISTS {quote(self.schema)}.{quote(name)}")

    def _create_triggers(self, after: Catalog, object_id: int) -> None:
        table = after.table_by_id(object_id)
        if table is None:
            return
        triggers = constraints.all_triggers(
            after, table, self.schema, compile_expression, default_sql
        )
        for sql in triggers.values():
            self.connection.execute(sql)

    def _reshape(self, old: Table | None, new: Table | None, sources: dict[str, str]) -> None:
        connection = self.connection
        if old is None and new is not None:
            where = f"{quote(self.schema)}.{quote(new.storage_name)}"
            connection.execute(storage.create_table_sql(new, where, compile_expression))
            self._create_indexes(new, new.indexes)
        elif new is None and old is not None:
            storage.drop_storage(connection, old, self.schema)
        elif old is not None and new is not None:
            if storage.same_shape(old, new):
                self._change_indexes(old, new)
            elif old.storage_name == new.storage_name:
                self._add_columns(old, new, sources)
                self._change_indexes(old, new)
            else:
                self._rebuild(old, new, sources)

    def _change_indexes(self, old: Table, new: Table) -> None:
        kept = {self._index_key(old, index): index for index in old.indexes}
        wanted = {self._index_key(new, index): index for index in new.indexes}
        for key, index in kept.items():
            if key not in wanted:
                for sql in storage.drop_index_sql(old, index, self.schema):
                    self.connection.execute(sql)
        self._create_indexes(new, (index for key, index in wanted.items() if key not in kept))

    @staticmethod
    def _index_key(table: Table, index: Index) -> tuple[Any, ...]:
        """What an SQLite index depends on."""
        nullable = tuple(
            column.nullable
            for key in index.columns
            if (column := table.column(key.name)) is not None
        )
        columns = tuple((key.name, key.descending) for key in index.columns)
        return (index.index_id, index.kind.unique, columns, index.filter, nullable)

    def _create_indexes(self, table: Table, indexes: Iterable[Index]) -> None:
        for index in indexes:
            try:
                for sql in storage.create_index_sql(table, index, self.schema, compile_expression):
                    self.connection.execute(sql)
            except sqlite3.IntegrityError:
                raise self._duplicates(table, index) from None

    def _duplicates(self, table: Table, index: Index) -> SqlError:
        condition = ""
        if index.filter is not None:
            condition = compile_expression(index.filter, table, "", True)
        key = constraints.find_duplicate(self.connection, table, index, self.schema, condition)
        text = constraints.format_key(key, table, index) if key is not None else "(unknown)"
        problem = error(1505, f"{table.schema}.{table.name}", index.name, text)
        if index.kind is IndexKind.UNIQUE_INDEX:
            return problem
        return SeveralErrors(problem, error(1750, state=1))

    def _add_columns(self, old: Table, new: Table, sources: dict[str, str]) -> None:
        name = f"{quote(self.schema)}.{quote(new.storage_name)}"
        added = new.columns[len(old.columns) :]
        full = storage.create_table_sql(new, "t", compile_expression)
        definitions = _split_columns(full)
        for definition in definitions[len(old.columns) :]:
            self.connection.execute(f"ALTER TABLE {name} ADD COLUMN {definition}")
        values = [f"{quote(c.name)} = {sources[c.name]}" for c in added if c.name in sources]
        if values:
            self.connection.execute(f"UPDATE {name} SET {', '.join(values)}")

    def _rebuild(self, old: Table, new: Table, sources: dict[str, str]) -> None:
        where = f"{quote(self.schema)}.{quote(new.storage_name)}"
        self.connection.execute(storage.create_table_sql(new, where, compile_expression))
        stored = [column for column in new.columns if column.computed is None]
        names = ", ".join(quote(column.name) for column in stored)
        values = ", ".join(sources.get(column.name, quote(column.name)) for column in stored)
        source = f"{quote(self.schema)}.{quote(old.storage_name)}"
        self.connection.execute(
            f"INSERT INTO {where} ({names}) SELECT {values} FROM {source} ORDER BY rowid"
        )
        storage.drop_storage(self.connection, old, self.schema)
        self._create_indexes(new, new.indexes)


def _only_adds(old: Table, new: Table) -> bool:
    """Whether SQLite's ALTER TABLE ADD COLUMN does for the change."""
    count = len(old.columns)
    if len(new.columns) <= count:
        return False
    same = replace(new, columns=new.columns[:count])
    added = new.columns[count:]
    return storage.same_shape(old, same) and not any(
        column.persisted or column is storage.rowid_alias(new) for column in added
    )


def _split_columns(create_table: str) -> list[str]:
    """The column definitions of a CREATE TABLE made by :mod:`.storage`."""
    body = create_table[create_table.index("(") + 1 : create_table.rindex(")")]
    parts, depth, start = [], 0, 0
    quoted = ""
    for position, char in enumerate(body):
        if quoted:
            quoted = "" if char == quoted else quoted
        elif char in "\"'":
            quoted = char
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(body[start:position].strip())
            start = position + 1
    parts.append(body[start:].strip())
    return parts
