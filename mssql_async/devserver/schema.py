"""The catalog's model: what a database contains, as immutable values.

Names keep the spelling they were created with and are compared without case, as
under SQL Server's default collation. Expressions (defaults, checks, filters,
computed columns) are kept as T-SQL text in parentheses, as ``sys.*`` views show them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .sqltypes import Kind, SqlType


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A possibly qualified name. Empty parts were not given."""

    name: str
    schema: str = ""
    database: str = ""

    def __str__(self) -> str:
        return ".".join(part for part in (self.database, self.schema, self.name) if part)

    @property
    def is_temporary(self) -> bool:
        return self.name.startswith("#")


@dataclass(frozen=True, slots=True)
class Identity:
    seed: int = 1
    increment: int = 1


@dataclass(frozen=True, slots=True)
class Default:
    """A DEFAULT constraint."""

    name: str
    expression: str
    object_id: int = 0


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``column_id`` is 1-based and never reused within its table."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: Identity | None = None
    default: Default | None = None
    computed: str | None = None
    persisted: bool = False
    column_id: int = 0


@dataclass(frozen=True, slots=True)
class IndexColumn:
    name: str
    descending: bool = False


class IndexKind(enum.Enum):
    PRIMARY_KEY = "PRIMARY KEY"
    UNIQUE_CONSTRAINT = "UNIQUE KEY"
    UNIQUE_INDEX = "unique index"
    INDEX = "index"

    @property
    def unique(self) -> bool:
        return self is not IndexKind.INDEX


@dataclass(frozen=True, slots=True)
class Index:
    """An index or a key constraint. ``filter`` is T-SQL text or ``None``."""

    name: str
    kind: IndexKind
    columns: tuple[IndexColumn, ...]
    include: tuple[str, ...] = ()
    filter: str | None = None
    clustered: bool = False
    index_id: int = 0
    object_id: int = 0


class ReferentialAction(enum.Enum):
    NO_ACTION = "NO_ACTION"
    CASCADE = "CASCADE"
    SET_NULL = "SET_NULL"
    SET_DEFAULT = "SET_DEFAULT"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    name: str
    columns: tuple[str, ...]
    referenced: ObjectName
    referenced_columns: tuple[str, ...]
    on_delete: ReferentialAction = ReferentialAction.NO_ACTION
    on_update: ReferentialAction = ReferentialAction.NO_ACTION
    enabled: bool = True
    trusted: bool = True
    object_id: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A CHECK constraint. ``column`` is set where it was declared on a column."""

    name: str
    expression: str
    column: str | None = None
    enabled: bool = True
    trusted: bool = True
    object_id: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``storage_name`` is the table's name in SQLite."""

    object_id: int
    schema: str
    name: str
    storage_name: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)

    def column(self, name: str) -> Column | None:
        """The column of that name, compared without case."""
        folded = name.casefold()
        for column in self.columns:
            if column.name.casefold() == folded:
                return column
        return None

    @property
    def identity_column(self) -> Column | None:
        return next((column for column in self.columns if column.identity), None)

    @property
    def rowversion_column(self) -> Column | None:
        return next((c for c in self.columns if c.type.kind is Kind.ROWVERSION), None)


@dataclass(frozen=True, slots=True)
class View:
    """A view; ``definition`` is its SELECT in T-SQL."""

    object_id: int
    schema: str
    name: str
    definition: str
    columns: tuple[Column, ...] = ()
