"""One compilation: the state that its parts share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import NotSupportedByStandIn, error
from ..sqltypes import BINARY_KINDS, SqlType
from . import types
from .plan import Bind, LockIntent, Scope, SystemRowsBind, SystemView, VariableBind
from .typed import Typed, quote

_LOCKING = frozenset({"UPDLOCK", "XLOCK", "TABLOCKX"})
_INTENTS = (
    LockIntent.NONE,
    LockIntent.UPDATE,
    LockIntent.UPDATE_SKIP,
    LockIntent.UPDATE_NOWAIT,
)


#: A parameter; strings and quoted names are stepped over.
_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?(\d+)""")


@dataclass(slots=True)
class Job:
    """What one statement's compilation gathers. ``scope`` is None for expressions of a
    table (CHECK, computed columns, filters), which know nothing beyond their row."""

    scope: Scope | None
    binds: list[Bind] = field(default_factory=list)
    #: The statement's WITH: name in SQLite to its definition.
    tables: dict[str, str] = field(default_factory=dict)
    recursive: bool = False
    #: OPTION (MAXRECURSION n); 0 is any number.
    most_recursions: int = 100
    lock: LockIntent = LockIntent.NONE
    uses_system_views: bool = False
    views: list[str] = field(default_factory=list)
    _positions: dict[str, int] = field(default_factory=dict)

    def require_scope(self, what: str) -> Scope:
        if self.scope is None:
            raise NotSupportedByStandIn(f"{what} in a constraint, index or computed column")
        return self.scope

    def bind(self, bind: Bind, folded: str) -> str:
        position = self._positions.get(folded)
        if position is None:
            self.binds.append(bind)
            position = self._positions[folded] = len(self.binds)
        return f"?{position}"

    def variable(self, name: str) -> Typed:
        """A variable or parameter. Error 137 where it is not declared."""
        scope = self.require_scope("a variable")
        found = scope.variable_type(name)
        if found is None:
            raise error(137, name)
        sql = self.bind(VariableBind(name), name.casefold())
        return Typed(sql, found, variable=name)

    def system_view(self, view: SystemView) -> str:
        """The name under which this statement reads a system view: its rows arrive as
        JSON, unpacked once however often it is joined."""
        self.uses_system_views = True
        name = quote(f"${view.name}")
        if name not in self.tables:
            rows = self.bind(SystemRowsBind(view.name), f"view {view.name}")
            columns = ", ".join(
                f"{_unpacked(position, column.type)} AS {quote(column.name)}"
                for position, column in enumerate(view.columns)
            )
            self.tables[name] = f"{name} AS MATERIALIZED (SELECT {columns} FROM json_each({rows}))"
        return name

    def finished(self, sql: str) -> tuple[str, tuple[Bind, ...]]:
        """``sql`` with its WITH, and the binds it still uses, numbered without gaps: what
        was compiled to learn its type only, or folded away, leaves none behind."""
        sql = self.prefix() + sql
        used = sorted({int(number) for number in _PARAMETER.findall(sql) if number})
        if len(used) == len(self.binds):
            return sql, tuple(self.binds)
        places = {number: place for place, number in enumerate(used, start=1)}

        def renumbered(match: re.Match[str]) -> str:
            return f"?{places[int(match[1])]}" if match[1] else match[0]

        binds = tuple(self.binds[number - 1] for number in used)
        return _PARAMETER.sub(renumbered, sql), binds

    def prefix(self) -> str:
        """WITH and its tables, or nothing."""
        if not self.tables:
            return ""
        word = "WITH RECURSIVE" if self.recursive else "WITH"
        return f"{word} {', '.join(self.tables.values())} "

    def want_lock(self, hints: tuple[str, ...]) -> None:
        """Take table hints into account."""
        if not _LOCKING.intersection(hints):
            return
        intent = LockIntent.UPDATE
        if "NOWAIT" in hints:
            intent = LockIntent.UPDATE_NOWAIT
        elif "READPAST" in hints:
            intent = LockIntent.UPDATE_SKIP
        if _INTENTS.index(intent) > _INTENTS.index(self.lock):
            self.lock = intent


def _unpacked(position: int, of: SqlType) -> str:
    sql = f"json_extract(value, '$[{position}]')"
    wanted = types.collation(of)
    if of.kind in BINARY_KINDS:
        sql = f"ts_unhex({sql})"
    if types.affinity(of) == "REAL":
        sql = f"CAST({sql} AS REAL)"
    return sql if wanted is None else f"{sql} COLLATE {wanted.value}"
