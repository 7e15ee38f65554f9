"""What a name means at some place of a statement.

Source: T-SQL reference, "FROM clause", "Column aliases", "Subqueries" (name resolution).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import error
from ..schema import ObjectName
from ..sqltypes import SqlType
from .typed import Typed


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of something in FROM. ``sql`` reads it; ``base`` says that it is a bare
    column of a SQLite table with its declared collation; ``computed`` is T-SQL to expand."""

    name: str
    type: SqlType
    sql: str
    nullable: bool = True
    base: bool = False
    identity: bool = False
    computed: str | None = None
    implicit: bool = True
    """Whether it has a collation of its own: not what a derived table made of constants."""


@dataclass(slots=True)
class Source:
    """Something in FROM under its exposed name; ``table`` is its full name, if it is one."""

    alias: str
    columns: list[SourceColumn]
    table: ObjectName | None = None
    aliased: bool = False
    depth: str = ""
    """Reads how deep a row of a recursive table was found, inside of that table itself."""
    _index: dict[str, SourceColumn] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self.columns:
            self._index.setdefault(column.name.casefold(), column)

    def replace_columns(self, columns: list[SourceColumn]) -> None:
        self.columns = columns
        self._index = {}
        self.__post_init__()

    def find(self, name: str) -> SourceColumn | None:
        return self._index.get(name.casefold())

    def answers_to(self, qualifiers: list[str]) -> bool:
        """Whether ``[database.][schema.]table`` means this source; nearest name first."""
        if qualifiers[0].casefold() != self.alias.casefold():
            return False
        if len(qualifiers) == 1:
            return True
        if self.aliased or self.table is None:
            return False
        schema = self.table.schema or "dbo"
        if qualifiers[1] and qualifiers[1].casefold() != schema.casefold():
            return False
        return len(qualifiers) < 3 or (
            not self.table.database or qualifiers[2].casefold() == self.table.database.casefold()
        )


class Names:
    """The sources of one query, inside those of the queries around it."""

    def __init__(self, parent: Names | None = None) -> None:
        self.parent = parent
        self.sources: list[Source] = []
        #: What this place does not allow: the number of the error for aggregates.
        self.aggregates: int | None = None
        self.windows = False
        #: Whether an aggregate was met at this level.
        self.aggregated = False
        #: The pseudo tables of OUTPUT.
        self.output = False

    def require_aggregates(self) -> None:
        """An aggregate of this query's rows was met.

        :raises SqlError: this place does not allow it.
        """
        if self.aggregates is not None:
            raise error(self.aggregates)
        self.aggregated = True

    def add(self, source: Source) -> None:
        folded = source.alias.casefold()
        for other in self.sources:
            if other.alias.casefold() == folded:
                if source.aliased and other.aliased:
                    raise error(1011, source.alias)
                raise error(1013, other.alias, source.alias)
        self.sources.append(source)

    def find(self, name: str, qualifiers: list[str]) -> tuple[Source, SourceColumn]:
        """The column a name means, here or further out.

        :raises SqlError: 207 unknown, 209 ambiguous, 4104 not bound.
        """
        level: Names | None = self
        while level is not None:
            found = level.find_here(name, qualifiers)
            if found is not None:
                return found
            level = level.parent
        if qualifiers:
            written = ".".join([*reversed(qualifiers), name])
            if self._knows(qualifiers):
                raise error(207, name)
            raise error(4104, written)
        raise error(207, name)

    def find_here(self, name: str, qualifiers: list[str]) -> tuple[Source, SourceColumn] | None:
        matches: list[tuple[Source, SourceColumn]] = []
        for source in self.sources:
            if qualifiers and not source.answers_to(qualifiers):
                continue
            column = source.find(name)
            if column is not None:
                matches.append((source, column))
        if len(matches) > 1:
            raise error(209, name)
        return matches[0] if matches else None

    def _knows(self, qualifiers: list[str]) -> bool:
        level: Names | None = self
        while level is not None:
            if any(source.answers_to(qualifiers) for source in level.sources):
                return True
            level = level.parent
        return False

    def source_named(self, qualifiers: list[str]) -> Source:
        """The source of ``alias.*``. Error 107 where there is none."""
        for source in self.sources:
            if source.answers_to(qualifiers):
                return source
        raise error(107, qualifiers[0])


def column_value(column: SourceColumn) -> Typed:
    """A column as an expression."""
    return Typed(
        column.sql,
        column.type,
        nullable=column.nullable,
        column=column.base,
        implicit=column.implicit,
        identity=column.identity,
    )
