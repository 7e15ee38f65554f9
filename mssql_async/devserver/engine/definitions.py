"""CREATE, ALTER, DROP, TRUNCATE: definition statements as edits of the catalog.

Each statement computes the changed tables and hands them to :class:`Change`, which makes
the SQLite file agree (:mod:`.storage`, :mod:`.constraints`) and stores the new catalog,
all in the transaction of the statement. Checks and wording follow the T-SQL reference,
"CREATE TABLE", "ALTER TABLE", "CREATE INDEX", "DROP TABLE", "CREATE VIEW", "CREATE SCHEMA".
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import NotSupportedByStandIn, SqlError, error
from ..results import Command, ResultColumn
from ..schema import (
    Check,
    Column,
    Default,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    IndexKind,
    ObjectName,
    ReferentialAction,
    Table,
    View,
)
from ..sqltypes import MAX, Kind, SqlType
from ..tsql import compiler
from ..tsql import statements as st
from . import catalogstore, clock, constraints, databasedefinitions, storage
from .catalog import (
    DBO,
    Assembly,
    Catalog,
    CatalogEditor,
    ClrFunction,
    fold,
    index_named,
    key_of,
    primary_key,
)
from .databases import TEMPDB, Database
from .frames import Frame
from .outcomes import SeveralErrors
from .runs import Step
from .scope import CompileScope
from .storage import quote

if TYPE_CHECKING:
    from .interpreter import Interpreter
    from .session import EngineSession

_IDENTITY_KINDS = frozenset(
    {Kind.INT, Kind.BIGINT, Kind.SMALLINT, Kind.TINYINT, Kind.DECIMAL, Kind.NUMERIC}
)
_NO_KEYS = frozenset({Kind.TEXT, Kind.NTEXT, Kind.IMAGE, Kind.XML})
_FIRST_ASSEMBLY_ID = 65536
_table_variable_numbers = itertools.count(1)


# --- where a statement works ---------------------------------------------------------------


class Place:
    """A name resolved for a definition statement: its database, schema and table."""

    def __init__(self, session: EngineSession, name: ObjectName) -> None:
        self.session = session
        self.name = name
        self.temporary = name.is_temporary
        self.database: Database | None = None
        self.schema = name.schema or DBO
        if name.name.startswith("##"):
            raise NotSupportedByStandIn("global temporary tables (##)")
        if not self.temporary:
            self.database = session.current_database
            if name.database:
                self.database = session.find_database(name.database)
                if self.database is None:
                    raise error(911, name.database)

    @property
    def home(self) -> Database:
        """The database; there is none for temporary tables."""
        if self.database is None:
            raise ValueError(f"{self.name} is temporary")
        return self.database

    @property
    def catalog(self) -> Catalog:
        return self.session.transaction.catalog(self.home)

    @property
    def table(self) -> Table | None:
        if self.temporary:
            return self.session.transaction.temporary.tables.get(fold(self.name.name))
        return self.catalog.table(self.schema, self.name.name)

    def required(self, number: int = 4902) -> Table:
        """:raises SqlError: 4902 (ALTER TABLE), 1088 … when there is no such table."""
        table = self.table
        if table is None:
            raise error(number, str(self.name))
        return table


def sqlite_name(place: Place, table: Table) -> str:
    schema = "temp" if place.database is None else quote(place.database.schema_name)
    return f"{schema}.{quote(table.storage_name)}"


def expression_compiler(session: EngineSession, database: Database | None) -> storage.Expressions:
    """Compiles the expressions of a table for SQLite's triggers, indexes and columns."""

    def compile_it(text: str, table: Table, row: str, predicate: bool) -> str:
        return compiler.compile_table_expression(text, table, row, predicate)

    return compile_it


def _default_sql(table: Table, column_name: str) -> str:
    column = table.column(column_name)
    if column is None or column.default is None:
        return "NULL"
    return compiler.compile_table_expression(column.default.expression, table, "", False)


# --- carrying out ---------------------------------------------------------------------------


class Change:
    """One definition statement on the tables of one database (or on temporary ones)."""

    def __init__(self, place: Place) -> None:
        self.session = place.session
        self.database = place.database
        self.connection = place.session.connection
        self.schema = "temp" if place.database is None else place.database.schema_name
        self.expressions = expression_compiler(place.session, place.database)
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
            return f"{name}~{next(_table_variable_numbers)}"
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
            after, table, self.schema, self.expressions, _default_sql
        )
        for sql in triggers.values():
            self.connection.execute(sql)

    def _reshape(self, old: Table | None, new: Table | None, sources: dict[str, str]) -> None:
        connection = self.connection
        if old is None and new is not None:
            where = f"{quote(self.schema)}.{quote(new.storage_name)}"
            connection.execute(storage.create_table_sql(new, where, self.expressions))
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
                for sql in storage.create_index_sql(table, index, self.schema, self.expressions):
                    self.connection.execute(sql)
            except sqlite3.IntegrityError:
                raise self._duplicates(table, index) from None

    def _duplicates(self, table: Table, index: Index) -> SqlError:
        condition = ""
        if index.filter is not None:
            condition = self.expressions(index.filter, table, "", True)
        key = constraints.find_duplicate(self.connection, table, index, self.schema, condition)
        text = constraints.format_key(key, table, index) if key is not None else "(unknown)"
        problem = error(1505, f"{table.schema}.{table.name}", index.name, text)
        if index.kind is IndexKind.UNIQUE_INDEX:
            return problem
        return SeveralErrors(problem, error(1750, state=1))

    def _add_columns(self, old: Table, new: Table, sources: dict[str, str]) -> None:
        name = f"{quote(self.schema)}.{quote(new.storage_name)}"
        added = new.columns[len(old.columns) :]
        full = storage.create_table_sql(new, "t", self.expressions)
        definitions = _split_columns(full)
        for definition in definitions[len(old.columns) :]:
            self.connection.execute(f"ALTER TABLE {name} ADD COLUMN {definition}")
        values = [f"{quote(c.name)} = {sources[c.name]}" for c in added if c.name in sources]
        if values:
            self.connection.execute(f"UPDATE {name} SET {', '.join(values)}")

    def _rebuild(self, old: Table, new: Table, sources: dict[str, str]) -> None:
        where = f"{quote(self.schema)}.{quote(new.storage_name)}"
        self.connection.execute(storage.create_table_sql(new, where, self.expressions))
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


def _run(
    interpreter: Interpreter,
    database: Database | None,
    work: Callable[[], object],
) -> Iterator[Step]:
    """Run a definition statement: lock, transaction, all or nothing."""
    session = interpreter.session
    yield from interpreter.begin_implicitly()
    yield from interpreter.may_wait()
    if database is not None:
        if database.options.read_only:
            raise error(3906, database.name)
        yield from interpreter.lock(database)
    interpreter.write(work)
    session.last_error = 0


# --- CREATE TABLE -----------------------------------------------------------------------------


def _auto_name(prefix: str, table: str, object_id: int, column: str = "") -> str:
    """A name as SQL Server makes one up: ``PK__auth_use__3213E83F…``, ``DF__t__a__…``."""
    if column:
        return f"{prefix}__{table[:9]}__{column[:5]}__{object_id:08X}"
    return f"{prefix}__{table[:8]}__{zlib.crc32(table.encode()):08X}{object_id:08X}"


class _Builder:
    """Adds columns and constraints to a table, checking them as SQL Server does."""

    def __init__(self, change: Change, table: Table) -> None:
        self.change = change
        self.table = table
        self.display = table.name
        self.sources: dict[str, str] = {}
        self.new_foreign_keys: list[ForeignKey] = []
        self.new_checks: list[Check] = []

    def check_object_name(self, name: str) -> None:
        """:raises SqlError: 2714 when the schema has an object of that name."""
        if self.change.is_temporary:
            return
        catalog = self.change.editor.before
        taken = catalog.object(self.table.schema, name) is not None
        mine = [i.name for i in self.table.indexes if i.object_id]
        mine += [fk.name for fk in self.table.foreign_keys]
        mine += [check.name for check in self.table.checks]
        if taken or fold(name) in map(fold, mine):
            raise SeveralErrors(error(2714, name, state=5), error(1750))

    def add_column(self, definition: st.ColumnDefinition, key_columns: set[str]) -> None:
        table = self.table
        if table.column(definition.name) is not None:
            raise error(2705, definition.name, self.display, state=4)
        number = max((column.column_id for column in table.columns), default=0) + 1
        identity = None
        if definition.identity is not None:
            if table.identity_column is not None:
                raise error(2744, self.display)
            identity = Identity(*definition.identity)
        nullable = definition.nullable
        if nullable is None:
            in_key = fold(definition.name) in key_columns
            nullable = not (in_key or identity is not None)
        column_type = definition.type
        if column_type is None:
            column_type = self._computed_type(definition.computed or "NULL")
        if column_type.kind is Kind.ROWVERSION:
            nullable = bool(definition.nullable)
        if identity is not None:
            if definition.nullable:
                raise error(8147, definition.name, self.display)
            if column_type.kind not in _IDENTITY_KINDS or column_type.scale:
                raise error(2749, definition.name)
        default = None
        if definition.default is not None:
            default = self._default(definition.default, definition.name)
        column = Column(
            name=definition.name,
            type=column_type,
            nullable=nullable,
            identity=identity,
            default=default,
            computed=None if definition.computed is None else f"({definition.computed})",
            persisted=definition.persisted,
            column_id=number,
        )
        self.table = replace(table, columns=(*table.columns, column))

    def _default(self, definition: st.DefaultDefinition, column: str) -> Default:
        object_id = self.change.new_object_id()
        name = definition.name or _auto_name("DF", self.table.name, object_id, column)
        if definition.name:
            self.check_object_name(name)
        return Default(name, _parenthesized(definition.expression), object_id)

    def _computed_type(self, expression: str) -> SqlType:
        """The type of a computed column: that of its expression over the table."""
        return compiler.type_table_expression(expression, self.table).type

    def add_key(self, definition: st.KeyDefinition) -> None:
        table = self.table
        for key in definition.columns:
            column = table.column(key.name)
            if column is None:
                raise SeveralErrors(error(1911, key.name), error(1750))
            if column.type.kind in _NO_KEYS or column.type.length == MAX:
                raise SeveralErrors(error(1919, column.name, table.name), error(1750))
            if definition.kind is IndexKind.PRIMARY_KEY and column.nullable:
                raise SeveralErrors(error(8111, table.name), error(1750))
        if definition.kind is IndexKind.PRIMARY_KEY and primary_key(table) is not None:
            raise SeveralErrors(error(1779, table.name), error(1750))
        has_clustered = any(index.clustered for index in table.indexes)
        clustered = definition.clustered
        if clustered is None:
            clustered = definition.kind is IndexKind.PRIMARY_KEY and not has_clustered
        elif clustered and has_clustered:
            other = next(index.name for index in table.indexes if index.clustered)
            raise SeveralErrors(error(1902, "table", table.name, other), error(1750))
        object_id = self.change.new_object_id()
        prefix = "PK" if definition.kind is IndexKind.PRIMARY_KEY else "UQ"
        name = definition.name or _auto_name(prefix, table.name, object_id)
        if definition.name:
            self.check_object_name(name)
            if index_named(table, name) is not None:
                raise SeveralErrors(
                    error(1913, name, "table", f"{table.schema}.{table.name}"), error(1750)
                )
        index = Index(
            name=name,
            kind=definition.kind,
            columns=tuple(_real_name(table, key) for key in definition.columns),
            clustered=clustered,
            index_id=_next_index_id(table, clustered),
            object_id=object_id,
        )
        self.table = replace(table, indexes=(*table.indexes, index))

    def add_check(self, definition: st.CheckDefinition, trusted: bool = True) -> None:
        object_id = self.change.new_object_id()
        table = self.table
        column = definition.column or ""
        name = definition.name or _auto_name("CK", table.name, object_id, column or "check")
        if definition.name:
            self.check_object_name(name)
        check = Check(
            name,
            _parenthesized(definition.expression),
            definition.column,
            trusted=trusted,
            object_id=object_id,
        )
        compiler.compile_table_expression(check.expression, table, "NEW", True)
        self.new_checks.append(check)
        self.table = replace(table, checks=(*table.checks, check))

    def add_foreign_key(self, definition: st.ForeignKeyDefinition, trusted: bool = True) -> None:
        if self.change.is_temporary:
            return  # SQL Server skips foreign keys of temporary tables too
        table = self.table
        object_id = self.change.new_object_id()
        column = definition.columns[0]
        name = definition.name or _auto_name("FK", table.name, object_id, column)
        if definition.name:
            self.check_object_name(name)
        parent = self._parent(definition, name)
        keys = definition.referenced_columns
        if not keys:
            key = primary_key(parent)
            if key is None:
                raise SeveralErrors(error(1773 if False else 1776, parent.name, name), error(1750))
            keys = tuple(column.name for column in key.columns)
        self._check_reference(definition.columns, keys, parent, name)
        foreign_key = ForeignKey(
            name=name,
            columns=tuple(_column_name(table, column) for column in definition.columns),
            referenced=ObjectName(parent.name, parent.schema),
            referenced_columns=tuple(_column_name(parent, key) for key in keys),
            on_delete=definition.on_delete,
            on_update=definition.on_update,
            trusted=trusted,
            object_id=object_id,
        )
        self._check_cascades(foreign_key, parent)
        self.new_foreign_keys.append(foreign_key)
        self.table = replace(table, foreign_keys=(*table.foreign_keys, foreign_key))

    def _parent(self, definition: st.ForeignKeyDefinition, name: str) -> Table:
        referenced = definition.referenced
        schema = referenced.schema or DBO
        if key_of(schema, referenced.name) == key_of(self.table.schema, self.table.name):
            return self.table
        parent = self.change.table(schema, referenced.name)
        if parent is None:
            raise SeveralErrors(error(1767, name, str(referenced)), error(1750))
        return parent

    def _check_reference(
        self, columns: tuple[str, ...], keys: tuple[str, ...], parent: Table, name: str
    ) -> None:
        table = self.table
        for column_name in columns:
            if table.column(column_name) is None:
                raise SeveralErrors(error(1769, name, column_name, table.name), error(1750))
        for key_name in keys:
            if parent.column(key_name) is None:
                raise SeveralErrors(error(1770, name, key_name, parent.name), error(1750))
        wanted = {fold(key) for key in keys}
        if len(columns) != len(keys) or not any(
            index.kind.unique
            and index.filter is None
            and {fold(column.name) for column in index.columns} == wanted
            for index in parent.indexes
        ):
            raise SeveralErrors(error(1776, parent.name, name), error(1750))
        for column_name, key_name in zip(columns, keys, strict=True):
            column, key = table.column(column_name), parent.column(key_name)
            if column is None or key is None:
                continue
            if column.type.kind is not key.type.kind:
                raise SeveralErrors(
                    error(1778, parent.name, key.name, table.name, column.name, name),
                    error(1750),
                )

    def _check_cascades(self, foreign_key: ForeignKey, parent: Table) -> None:
        """1785: a row could be reached twice by the cascades of one statement."""
        no_action = ReferentialAction.NO_ACTION
        if foreign_key.on_delete is no_action and foreign_key.on_update is no_action:
            return
        edges: dict[tuple[str, str], list[tuple[str, str]]] = {}
        tables = {**self.change.editor.tables}
        mine = key_of(self.table.schema, self.table.name)
        tables[mine] = replace(self.table, foreign_keys=(*self.table.foreign_keys, foreign_key))
        for key, table in tables.items():
            for other in table.foreign_keys:
                if other.on_delete is not no_action or other.on_update is not no_action:
                    to = key_of(other.referenced.schema or DBO, other.referenced.name)
                    edges.setdefault(to, []).append(key)
        for start in edges:
            reached: set[tuple[str, str]] = {start}
            queue = list(edges[start])
            while queue:
                following = queue.pop()
                if following in reached:
                    raise SeveralErrors(error(1785, foreign_key.name, self.table.name), error(1750))
                reached.add(following)
                queue.extend(edges.get(following, ()))

    def add_default(self, definition: st.DefaultDefinition) -> None:
        column = self.table.column(definition.column)
        if column is None:
            raise error(1911, definition.column)
        if column.default is not None:
            raise SeveralErrors(error(1781), error(1750))
        default = self._default(definition, column.name)
        self.table = _with_column(self.table, replace(column, default=default))

    def add_all(
        self,
        columns: tuple[st.ColumnDefinition, ...],
        table_constraints: tuple[st.ConstraintDefinition, ...],
        trusted: bool = True,
    ) -> None:
        """Columns first, then keys, then what may refer to them."""
        everything = list(table_constraints)
        for definition in columns:
            everything.extend(definition.constraints)
        key_columns = {
            fold(column.name)
            for constraint in everything
            if isinstance(constraint, st.KeyDefinition) and constraint.kind is IndexKind.PRIMARY_KEY
            for column in constraint.columns
        }
        for definition in columns:
            self.add_column(definition, key_columns)
        keys = [c for c in everything if isinstance(c, st.KeyDefinition)]
        for key in sorted(keys, key=lambda key: key.kind is not IndexKind.PRIMARY_KEY):
            self.add_key(key)
        for constraint in everything:
            if isinstance(constraint, st.DefaultDefinition):
                self.add_default(constraint)
            elif isinstance(constraint, st.CheckDefinition):
                self.add_check(constraint, trusted)
            elif isinstance(constraint, st.ForeignKeyDefinition):
                self.add_foreign_key(constraint, trusted)


def _parenthesized(expression: str) -> str:
    """As ``sys.*`` views show expressions: in parentheses."""
    text = expression.strip()
    return f"({text})"


def _real_name(table: Table, key: IndexColumn) -> IndexColumn:
    return replace(key, name=_column_name(table, key.name))


def _column_name(table: Table, name: str) -> str:
    column = table.column(name)
    return column.name if column is not None else name


def _with_column(table: Table, changed: Column) -> Table:
    return replace(
        table,
        columns=tuple(
            changed if column.column_id == changed.column_id else column for column in table.columns
        ),
    )


def _next_index_id(table: Table, clustered: bool) -> int:
    """1 is the clustered index; the others follow from 2."""
    if clustered:
        return 1
    return max((index.index_id for index in table.indexes if index.index_id > 1), default=1) + 1


def _create_table(interpreter: Interpreter, statement: st.CreateTable) -> Iterator[Step]:
    place = Place(interpreter.session, statement.name)
    yield from _run(
        interpreter,
        place.database,
        lambda: _create_table_now(place, statement.columns, statement.constraints),
    )
    yield interpreter.done(Command.CREATE_TABLE)


def _create_table_now(
    place: Place,
    columns: tuple[st.ColumnDefinition, ...],
    table_constraints: tuple[st.ConstraintDefinition, ...],
) -> Table:
    change = Change(place)
    _check_new_name(place)
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
    builder = _Builder(change, table)
    builder.add_all(columns, table_constraints)
    change.create(builder.table)
    change.finish()
    _define_identity(place, builder.table)
    return builder.table


def _check_new_name(place: Place) -> None:
    if place.temporary:
        if place.table is not None:
            raise error(2714, place.name.name, state=6)
    elif place.catalog.object(place.schema, place.name.name) is not None:
        raise error(2714, place.name.name, state=6)


def _define_identity(place: Place, table: Table) -> None:
    column = table.identity_column
    if column is not None and column.identity is not None:
        counters = (
            place.session.temporary_identities
            if place.database is None
            else place.database.identities
        )
        counters.define(table.object_id, column.identity)


def create_from_columns(
    session: EngineSession, place: Place, columns: tuple[ResultColumn, ...]
) -> Table:
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
    return _create_table_now(place, tuple(definitions), ())


def declare_table(session: EngineSession, frame: Frame, statement: st.DeclareTable) -> None:
    """DECLARE @t TABLE: a temporary table of the frame, outside of transactions."""
    place = Place(session, ObjectName("#mssql_variable"))
    change = Change(place)
    table = Table(
        object_id=change.new_object_id(),
        schema=DBO,
        name=statement.name,
        storage_name=f"{statement.name}~{next(_table_variable_numbers)}",
        columns=(),
    )
    builder = _Builder(change, table)
    builder.add_all(statement.columns, statement.constraints)
    ensure_table_variable(session, builder.table)
    frame.tables[statement.name.casefold()] = builder.table
    session.live_table_variables[builder.table.storage_name] = builder.table
    _define_identity(place, builder.table)


def ensure_table_variable(session: EngineSession, table: Table) -> None:
    connection = session.connection
    exists = connection.execute(
        "SELECT 1 FROM temp.sqlite_schema WHERE type = 'table' AND name = ?", (table.storage_name,)
    ).fetchone()
    if exists:
        return
    expressions = expression_compiler(session, None)
    where = f"temp.{quote(table.storage_name)}"
    connection.execute(storage.create_table_sql(table, where, expressions))
    for index in table.indexes:
        for sql in storage.create_index_sql(table, index, "temp", expressions):
            connection.execute(sql)


# --- ALTER TABLE --------------------------------------------------------------------------------


def _add_to_table(interpreter: Interpreter, statement: st.AddColumns) -> Iterator[Step]:
    place = Place(interpreter.session, statement.table)
    yield from _run(interpreter, place.database, lambda: _add_now(place, statement))
    yield interpreter.done(Command.ALTER_TABLE)


def _add_now(place: Place, statement: st.AddColumns) -> None:
    old = place.required()
    change = Change(place)
    builder = _Builder(change, old)
    builder.display = old.name
    builder.add_all(statement.columns, statement.constraints, statement.check)
    new = builder.table
    added = new.columns[len(old.columns) :]
    sources = {}
    has_rows = place.session.connection.execute(
        f"SELECT 1 FROM {sqlite_name(place, old)} LIMIT 1"
    ).fetchone()
    for column in added:
        if column.computed is not None:
            continue
        if column.identity is not None:
            seed, step = column.identity.seed, column.identity.increment
            sources[column.name] = (
                f"({seed} + {step} * ((SELECT count(*) FROM {sqlite_name(place, old)} AS earlier "
                f"WHERE earlier.rowid < {quote(old.storage_name)}.rowid)))"
            )
        elif column.default is not None and not column.nullable:
            sources[column.name] = _assigned_default(new, column)
        elif not column.nullable and has_rows and column.type.kind is not Kind.ROWVERSION:
            raise error(4901, column.name, old.name)
    new = change.alter(old, new, sources)
    catalog = change.finish()
    if any(column.identity for column in added):
        _define_identity(place, new)
        _advance_identity(place, new)
    if catalog is not None and statement.check:
        _validate(place, catalog, new, builder.new_foreign_keys, builder.new_checks, "ALTER TABLE")


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
        counters = (
            place.session.temporary_identities
            if place.database is None
            else place.database.identities
        )
        counters.note(table.object_id, column.identity, int(edge))


def _validate(
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


_VARIABLE = frozenset({Kind.VARCHAR, Kind.NVARCHAR, Kind.VARBINARY})


def _alter_column(interpreter: Interpreter, statement: st.AlterColumn) -> Iterator[Step]:
    place = Place(interpreter.session, statement.table)
    yield from _run(interpreter, place.database, lambda: _alter_column_now(place, statement))
    yield interpreter.done(Command.ALTER_TABLE)


def _alter_column_now(place: Place, statement: st.AlterColumn) -> None:
    old = place.required()
    definition = statement.column
    column = old.column(definition.name)
    if column is None:
        raise error(4924, "ALTER COLUMN", definition.name, old.name)
    if column.computed is not None:
        raise error(4928, column.name, "COMPUTED")
    if definition.type is None:
        raise NotSupportedByStandIn("ALTER COLUMN without a type")
    if definition.default is not None or definition.constraints or definition.identity:
        raise error(156, "CONSTRAINT")
    nullable = True if definition.nullable is None else definition.nullable
    if column.identity is not None:
        nullable = False
    new_type = definition.type
    if new_type.collation is None and column.type.collation and new_type.kind is column.type.kind:
        new_type = new_type.with_collation(None)
    new_column = replace(column, type=new_type, nullable=nullable)
    _check_alterable(old, column, new_column)
    change = Change(place)
    new = _with_column(old, new_column)
    sources = {}
    if new_type != column.type:
        sources[column.name] = compiler.convert_stored(
            quote(column.name), column, replace(new_column, nullable=True), _display(place, old)
        )
    if column.nullable and not nullable:
        query = (
            f"SELECT 1 FROM {sqlite_name(place, old)} WHERE {quote(column.name)} IS NULL LIMIT 1"
        )
        if place.session.connection.execute(query).fetchone():
            raise error(515, column.name, _display(place, old), "UPDATE", state=2)
    if sources and storage.same_shape(old, new):
        # The same kind of value, perhaps of another length or scale: written over in place.
        place.session.connection.execute(
            f"UPDATE {sqlite_name(place, old)} SET {quote(column.name)} = {sources[column.name]} "
            f"WHERE {quote(column.name)} IS NOT {sources[column.name]}"
        )
        sources = {}
    change.alter(old, new, sources)
    change.finish()


def _display(place: Place, table: Table) -> str:
    """A table as messages write it: with its database and schema."""
    database = place.database.name if place.database is not None else TEMPDB
    return f"{database}.{table.schema}.{table.name}"


def _check_alterable(table: Table, old: Column, new: Column) -> None:
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
            if index.filter and _mentions(index.filter, old.name) and not (same_type or grows):
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
                if _mentions(check.expression, old.name)
            )
            if old.default is not None and old.type.kind is not new.type.kind:
                blockers.append(("object", old.default.name))
            blockers.extend(
                ("column", column.name)
                for column in table.columns
                if column.computed and _mentions(column.computed, old.name)
            )
    if blockers:
        raise _dependants("ALTER COLUMN", old.name, blockers)


def _dependants(action: str, column: str, blockers: list[tuple[str, str]]) -> SqlError:
    return SeveralErrors(
        *(error(5074, kind, name, column) for kind, name in blockers),
        error(4922, action, column, state=9),
    )


def _mentions(expression: str, column: str) -> bool:
    """Whether T-SQL text names a column (outside of strings)."""
    text = re.sub(r"'(?:[^']|'')*'", "''", expression)
    name = re.escape(column)
    pattern = rf'\[{name}\]|"{name}"|(?<![\w@#$\[]){name}(?![\w@#$\]])'
    return re.search(pattern, text, re.IGNORECASE) is not None


def _drop_from_table(interpreter: Interpreter, statement: st.DropFromTable) -> Iterator[Step]:
    place = Place(interpreter.session, statement.table)
    yield from _run(interpreter, place.database, lambda: _drop_from_now(place, statement))
    yield interpreter.done(Command.ALTER_TABLE)


def _drop_from_now(place: Place, statement: st.DropFromTable) -> None:
    old = place.required()
    change = Change(place)
    new = old
    for name in statement.constraints:
        new = _without_constraint(place, new, name, statement.if_exists)
    for name in statement.columns:
        column = new.column(name)
        if column is None:
            if statement.if_exists:
                continue
            raise error(4924, "DROP COLUMN", name, old.name)
        _check_droppable(new, column)
        new = replace(new, columns=tuple(c for c in new.columns if c is not column))
        if not change.is_temporary:
            change.editor.forget_properties(old.object_id, column.column_id)
    if not any(column.computed is None for column in new.columns):
        raise error(4923, statement.columns[-1], old.name)
    if new is not old:
        change.alter(old, new)
        change.finish()


def _without_constraint(place: Place, table: Table, name: str, if_exists: bool) -> Table:
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
            return _with_column(table, replace(column, default=None))
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


def _check_droppable(table: Table, column: Column) -> None:
    blockers: list[tuple[str, str]] = []
    for index in table.indexes:
        keys = [*(key.name for key in index.columns), *index.include]
        if fold(column.name) in map(fold, keys) or (
            index.filter and _mentions(index.filter, column.name)
        ):
            blockers.append(("object" if index.object_id else "index", index.name))
    blockers.extend(
        ("object", foreign_key.name)
        for foreign_key in table.foreign_keys
        if fold(column.name) in map(fold, foreign_key.columns)
    )
    blockers.extend(
        ("object", check.name) for check in table.checks if _mentions(check.expression, column.name)
    )
    if column.default is not None:
        blockers.append(("object", column.default.name))
    blockers.extend(
        ("column", other.name)
        for other in table.columns
        if other.computed and _mentions(other.computed, column.name)
    )
    if blockers:
        raise _dependants("DROP COLUMN", column.name, blockers)


def _toggle(interpreter: Interpreter, statement: st.ToggleConstraints) -> Iterator[Step]:
    place = Place(interpreter.session, statement.table)
    yield from _run(interpreter, place.database, lambda: _toggle_now(place, statement))
    yield interpreter.done(Command.ALTER_TABLE)


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
        _validate(place, catalog, new, chosen, rules, "ALTER TABLE")


# --- indexes ------------------------------------------------------------------------------------


def _create_index(interpreter: Interpreter, statement: st.CreateIndex) -> Iterator[Step]:
    place = Place(interpreter.session, statement.table)
    yield from _run(interpreter, place.database, lambda: _create_index_now(place, statement))
    yield interpreter.done(Command.OTHER)


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
        if column.type.kind in _NO_KEYS or column.type.length == MAX:
            raise error(1919, column.name, old.name)
    if statement.clustered:
        for index in old.indexes:
            if index.clustered:
                raise error(1902, "table", f"{old.schema}.{old.name}", index.name, state=3)
    index = Index(
        name=statement.name,
        kind=IndexKind.UNIQUE_INDEX if statement.unique else IndexKind.INDEX,
        columns=tuple(_real_name(old, key) for key in statement.columns),
        include=tuple(_column_name(old, name) for name in statement.include),
        filter=_parenthesized(statement.filter) if statement.filter is not None else None,
        clustered=statement.clustered,
        index_id=_next_index_id(old, statement.clustered),
    )
    change = Change(place)
    change.alter(old, replace(old, indexes=(*old.indexes, index)))
    change.finish()


def _drop_index_now(place: Place, name: str, if_exists: bool) -> None:
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


# --- DROP and TRUNCATE -------------------------------------------------------------------------


def _drop(interpreter: Interpreter, statement: st.Drop) -> Iterator[Step]:
    session = interpreter.session
    if statement.kind is st.ObjectKind.DATABASE:
        for name in statement.names:
            yield from databasedefinitions.drop(interpreter, name.name, statement.if_exists)
        return
    if statement.kind is st.ObjectKind.INDEX:
        (index,) = statement.names
        if statement.table is None:
            raise SqlError(
                159, "Must specify the table name and index name for the DROP INDEX statement.", 15
            )
        place = Place(session, statement.table)
        yield from _run(
            interpreter,
            place.database,
            lambda: _drop_index_now(place, index.name, statement.if_exists),
        )
        yield interpreter.done(Command.OTHER)
        return
    for name in statement.names:
        yield from _drop_one(interpreter, statement, name)
    command = Command.DROP_TABLE if statement.kind is st.ObjectKind.TABLE else Command.OTHER
    yield interpreter.done(command)


def _drop_one(interpreter: Interpreter, statement: st.Drop, name: ObjectName) -> Iterator[Step]:
    place = Place(interpreter.session, name)
    drop_now = {
        st.ObjectKind.TABLE: _drop_table_now,
        st.ObjectKind.VIEW: _drop_view_now,
        st.ObjectKind.SCHEMA: _drop_schema_now,
        st.ObjectKind.FUNCTION: _drop_function_now,
        st.ObjectKind.PROCEDURE: _drop_procedure_now,
    }[statement.kind]
    yield from _run(interpreter, place.database, lambda: drop_now(place, statement.if_exists))


def _drop_table_now(place: Place, if_exists: bool) -> None:
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


def _drop_view_now(place: Place, if_exists: bool) -> None:
    view = None if place.temporary else place.catalog.view(place.schema, place.name.name)
    if view is None:
        if place.table is not None:
            raise error(3705, "VIEW", str(place.name), "table", "TABLE")
        if if_exists:
            return
        raise error(3701, "drop", "view", str(place.name), state=5)
    change = Change(place)
    change.editor.remove_view(view)
    change.finish()


def _drop_schema_now(place: Place, if_exists: bool) -> None:
    name = place.name.name
    schema = place.catalog.schema(name)
    if schema is None:
        if if_exists:
            return
        raise error(15151, "drop", "schema", name)
    for thing in place.catalog.objects():
        if fold(thing.schema) == fold(name):
            raise error(3729, "drop schema", name, thing.name)
    if schema.schema_id < 5:
        raise error(3708, "drop", "schema", name)
    change = Change(place)
    del change.editor.schemas[fold(name)]
    change.finish()


def _drop_function_now(place: Place, if_exists: bool) -> None:
    functions = place.catalog.contents.functions
    function = functions.get(key_of(place.schema, place.name.name))
    if function is None:
        if if_exists:
            return
        raise error(3701, "drop", "function", str(place.name), state=5)
    change = Change(place)
    del change.editor.functions[key_of(place.schema, place.name.name)]
    change.finish()


def _drop_procedure_now(place: Place, if_exists: bool) -> None:
    if not if_exists:
        raise error(3701, "drop", "procedure", str(place.name), state=5)


def _truncate(interpreter: Interpreter, statement: st.TruncateTable) -> Iterator[Step]:
    place = Place(interpreter.session, statement.table)
    yield from _run(interpreter, place.database, lambda: _truncate_now(place))
    yield interpreter.done(Command.OTHER)


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
        counters = (
            session.temporary_identities if place.database is None else place.database.identities
        )
        state = counters.state(table.object_id)
        session.transaction.on_undo(lambda: counters.restore(table.object_id, state))
        counters.define(table.object_id, column.identity)


# --- views and schemas ---------------------------------------------------------------------------


def _create_view(interpreter: Interpreter, statement: st.CreateView) -> Iterator[Step]:
    place = Place(interpreter.session, statement.name)
    yield from _run(interpreter, place.database, lambda: _create_view_now(place, statement))
    yield interpreter.done(Command.OTHER)


def _create_view_now(place: Place, statement: st.CreateView) -> None:
    session = place.session
    if place.temporary:
        raise SqlError(4103, f"'{place.name}': Temporary views are not allowed.", 15)
    change = Change(place)
    schema = place.catalog.schema(place.schema)
    if schema is None:
        raise error(2760, place.schema)
    existing = place.catalog.view(place.schema, place.name.name)
    if existing is None or not statement.replace:
        _check_new_name(place)
    described = compiler.describe_query(statement.definition, CompileScope(session, Frame()))
    names = statement.columns or tuple(column.name for column in described)
    if len(names) != len(described):
        raise SqlError(
            8158,
            f"'{place.name.name}' has more columns than were specified in the column list.",
        )
    columns = []
    for number, (name, column) in enumerate(zip(names, described, strict=True), start=1):
        if not name:
            raise SqlError(
                4511,
                "Create View or Function failed because no column name was specified for "
                f"column {number}.",
            )
        columns.append(Column(name, column.type, column.nullable, column_id=number))
    seen: set[str] = set()
    for name in names:
        if fold(name) in seen:
            raise SqlError(
                4506,
                "Column names in each view or function must be unique. Column name "
                f"'{name}' in view or function '{place.name.name}' is specified more than once.",
                15,
            )
        seen.add(fold(name))
    object_id = existing.object_id if existing is not None else change.new_object_id()
    view = View(object_id, schema.name, place.name.name, statement.definition, tuple(columns))
    change.editor.put_view(view)
    change.finish()


def _create_schema(interpreter: Interpreter, statement: st.CreateSchema) -> Iterator[Step]:
    place = Place(interpreter.session, ObjectName(statement.name))

    def work() -> None:
        if place.catalog.schema(statement.name) is not None:
            raise SeveralErrors(error(2714, statement.name, state=6), error(2759, state=0))
        change = Change(place)
        change.editor.add_schema(statement.name)
        change.finish()

    yield from _run(interpreter, place.database, work)
    yield interpreter.done(Command.OTHER)


# --- CLR: the one assembly that mssql-django installs ---------------------------------------------

_NATIVE_FUNCTIONS = frozenset({"regexp_like"})
"""CLR functions that the stand-in has a native counterpart of."""


def _create_assembly(interpreter: Interpreter, statement: st.CreateAssembly) -> Iterator[Step]:
    place = Place(interpreter.session, ObjectName(statement.name))

    def work() -> None:
        change = Change(place)
        if fold(statement.name) in change.editor.assemblies:
            raise SqlError(
                6246, f'Assembly "{statement.name}" already exists in database "{place.home.name}".'
            )
        number = _FIRST_ASSEMBLY_ID + len(change.editor.assemblies)
        change.editor.assemblies[fold(statement.name)] = Assembly(statement.name, number)
        change.finish()

    yield from _run(interpreter, place.database, work)
    yield interpreter.done(Command.OTHER)


def _drop_assembly(interpreter: Interpreter, statement: st.DropAssembly) -> Iterator[Step]:
    place = Place(interpreter.session, ObjectName(statement.name))

    def work() -> None:
        change = Change(place)
        found = change.editor.assemblies.pop(fold(statement.name), None)
        if found is not None:
            change.finish()
        elif not statement.if_exists:
            raise error(15151, "drop", "assembly", statement.name)

    yield from _run(interpreter, place.database, work)
    yield interpreter.done(Command.OTHER)


def _create_clr_function(
    interpreter: Interpreter, statement: st.CreateClrFunction
) -> Iterator[Step]:
    place = Place(interpreter.session, statement.name)
    name = statement.name.name
    if fold(name) not in _NATIVE_FUNCTIONS:
        raise NotSupportedByStandIn(f"the CLR function {name}", statement.line)

    def work() -> None:
        _check_new_name(place)
        change = Change(place)
        if fold(statement.assembly) not in change.editor.assemblies:
            raise SqlError(
                6528,
                f"Assembly '{statement.assembly}' was not found in the SQL catalog of database "
                f"'{place.home.name}'.",
            )
        function = ClrFunction(change.new_object_id(), place.schema, name)
        change.editor.functions[key_of(place.schema, name)] = function
        change.finish()

    yield from _run(interpreter, place.database, work)
    yield interpreter.done(Command.OTHER)


# --- dispatch -------------------------------------------------------------------------------------

_DEFINITIONS: dict[type, Callable[[Interpreter, Any], Iterator[Step]]] = {
    st.CreateTable: _create_table,
    st.AddColumns: _add_to_table,
    st.AlterColumn: _alter_column,
    st.DropFromTable: _drop_from_table,
    st.ToggleConstraints: _toggle,
    st.CreateIndex: _create_index,
    st.Drop: _drop,
    st.TruncateTable: _truncate,
    st.CreateView: _create_view,
    st.CreateSchema: _create_schema,
    st.CreateAssembly: _create_assembly,
    st.DropAssembly: _drop_assembly,
    st.CreateClrFunction: _create_clr_function,
    st.CreateDatabase: databasedefinitions.create,
    st.AlterDatabase: databasedefinitions.alter,
}
STATEMENTS = tuple(_DEFINITIONS)


def execute(interpreter: Interpreter, frame: Frame, statement: st.Statement) -> Iterator[Step]:
    """Run one definition statement."""
    interpreter.session.statement_command = type(statement).__name__
    yield from _DEFINITIONS[type(statement)](interpreter, statement)
