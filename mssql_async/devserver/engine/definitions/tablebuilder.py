"""Columns and constraints as CREATE TABLE and ALTER TABLE … ADD describe them.

Checks and wording follow the T-SQL reference, "CREATE TABLE", "ALTER TABLE".
"""

from __future__ import annotations

import zlib
from dataclasses import replace

from ...errors import error
from ...schema import (
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
)
from ...sqltypes import MAX, Kind, SqlType
from ...tsql import compiler
from ...tsql import statements as st
from ..catalog import DBO, fold, index_named, key_of, primary_key
from ..outcomes import SeveralErrors
from .change import Change

_IDENTITY_KINDS = frozenset(
    {Kind.INT, Kind.BIGINT, Kind.SMALLINT, Kind.TINYINT, Kind.DECIMAL, Kind.NUMERIC}
)


NO_KEYS = frozenset({Kind.TEXT, Kind.NTEXT, Kind.IMAGE, Kind.XML})


def auto_name(prefix: str, table: str, object_id: int, column: str = "") -> str:
    """A name as SQL Server makes one up: ``PK__auth_use__3213E83F…``, ``DF__t__a__…``."""
    if column:
        return f"{prefix}__{table[:9]}__{column[:5]}__{object_id:08X}"
    return f"{prefix}__{table[:8]}__{zlib.crc32(table.encode()):08X}{object_id:08X}"


class TableBuilder:
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
        name = definition.name or auto_name("DF", self.table.name, object_id, column)
        if definition.name:
            self.check_object_name(name)
        return Default(name, parenthesized(definition.expression), object_id)

    def _computed_type(self, expression: str) -> SqlType:
        """The type of a computed column: that of its expression over the table."""
        return compiler.type_table_expression(expression, self.table).type

    def add_key(self, definition: st.KeyDefinition) -> None:
        table = self.table
        for key in definition.columns:
            column = table.column(key.name)
            if column is None:
                raise SeveralErrors(error(1911, key.name), error(1750))
            if column.type.kind in NO_KEYS or column.type.length == MAX:
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
        name = definition.name or auto_name(prefix, table.name, object_id)
        if definition.name:
            self.check_object_name(name)
            if index_named(table, name) is not None:
                raise SeveralErrors(
                    error(1913, name, "table", f"{table.schema}.{table.name}"), error(1750)
                )
        index = Index(
            name=name,
            kind=definition.kind,
            columns=tuple(real_name(table, key) for key in definition.columns),
            clustered=clustered,
            index_id=next_index_id(table, clustered),
            object_id=object_id,
        )
        self.table = replace(table, indexes=(*table.indexes, index))

    def add_check(self, definition: st.CheckDefinition, trusted: bool = True) -> None:
        object_id = self.change.new_object_id()
        table = self.table
        column = definition.column or ""
        name = definition.name or auto_name("CK", table.name, object_id, column or "check")
        if definition.name:
            self.check_object_name(name)
        check = Check(
            name,
            parenthesized(definition.expression),
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
        name = definition.name or auto_name("FK", table.name, object_id, column)
        if definition.name:
            self.check_object_name(name)
        parent = self._parent(definition, name)
        keys = definition.referenced_columns
        if not keys:
            key = primary_key(parent)
            if key is None:
                raise SeveralErrors(error(1776, parent.name, name), error(1750))
            keys = tuple(column.name for column in key.columns)
        self._check_reference(definition.columns, keys, parent, name)
        foreign_key = ForeignKey(
            name=name,
            columns=tuple(column_name(table, column) for column in definition.columns),
            referenced=ObjectName(parent.name, parent.schema),
            referenced_columns=tuple(column_name(parent, key) for key in keys),
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
        self.table = with_column(self.table, replace(column, default=default))

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


def parenthesized(expression: str) -> str:
    """As ``sys.*`` views show expressions: in parentheses."""
    text = expression.strip()
    return f"({text})"


def real_name(table: Table, key: IndexColumn) -> IndexColumn:
    return replace(key, name=column_name(table, key.name))


def column_name(table: Table, name: str) -> str:
    column = table.column(name)
    return column.name if column is not None else name


def with_column(table: Table, changed: Column) -> Table:
    return replace(
        table,
        columns=tuple(
            changed if column.column_id == changed.column_id else column for column in table.columns
        ),
    )


def next_index_id(table: Table, clustered: bool) -> int:
    """1 is the clustered index; the others follow from 2."""
    if clustered:
        return 1
    return max((index.index_id for index in table.indexes if index.index_id > 1), default=1) + 1
