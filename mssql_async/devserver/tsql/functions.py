"""The registry of T-SQL functions: how many arguments, which type, which SQL.

Source: T-SQL reference, "What are the SQL database functions?", "System functions".
The functions themselves are in the modules ``functions_…``; what SQLite calls for them
is registered by :mod:`.runtime`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from ..errors import NotSupportedByStandIn, error
from ..sqltypes import BIT, INT, STRING_KINDS, Kind, SqlType
from . import types
from .typed import NULL, Typed, compared, constant, convert

if TYPE_CHECKING:
    from .expressions import Expressions
    from .names import Names


@dataclass(slots=True)
class CallSite:
    """One call being compiled. ``raw`` are its arguments as written; :attr:`args` compiles
    them on first use."""

    compiler: Expressions
    names: Names
    node: exp.Expression
    name: str
    raw: list[exp.Expression]
    _args: list[Typed] | None = field(default=None)

    @property
    def args(self) -> list[Typed]:
        if self._args is None:
            self._args = self.compiler.scalars(self.raw, self.names)
        return self._args

    def argument(self, position: int, to: SqlType) -> Typed:
        """An argument, implicitly converted."""
        return convert(self.args[position], to)

    @property
    def nullable(self) -> bool:
        return any(value.nullable for value in self.args)


Builder = Callable[[CallSite], Typed]


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    least: int
    most: int | None
    build: Builder
    aggregate: bool = False
    window: bool = False


FUNCTIONS: dict[str, Function] = {}

#: Functions of SQL Server that this server does not have.
_REFUSED_NAMES = """
    FORMAT SOUNDEX DIFFERENCE CHECKSUM BINARY_CHECKSUM CHECKSUM_AGG COMPRESS DECOMPRESS
    GROUPING GROUPING_ID PARSENAME PERCENTILE_CONT PERCENTILE_DISC
    ENCRYPTBYKEY DECRYPTBYKEY SIGNBYCERT PWDCOMPARE PWDENCRYPT CURSOR_STATUS TEXTPTR
    JSON_ARRAYAGG JSON_OBJECTAGG NEWSEQUENTIALID MIN_ACTIVE_ROWVERSION DATE_BUCKET
    BIT_COUNT LEFT_SHIFT RIGHT_SHIFT GET_BIT SET_BIT
"""
REFUSED = frozenset(_REFUSED_NAMES.split())


def function(
    *names: str,
    least: int = 0,
    most: int | None = -1,
    aggregate: bool = False,
    window: bool = False,
) -> Callable[[Builder], Builder]:
    """Register a builder. ``most`` is ``least`` unless given; None is no limit."""

    def register(build: Builder) -> Builder:
        for name in names:
            limit = least if most == -1 else most
            FUNCTIONS[name] = Function(name, least, limit, build, aggregate, window)
        return build

    return register


def compile_call(compiler: Expressions, node: exp.Expression, names: Names) -> Typed:
    """A function call.

    :raises SqlError: 195 for a name that is no function, 174 or 189 for a wrong number of
        arguments, 4121 for ``schema.f``.
    """
    name: str = node.args["this"]
    schema = node.args.get("schema") or ""
    written = node.args.get("written") or name
    key = name
    if schema:
        key = f"{schema.upper()}.{name}"
        if key not in FUNCTIONS:
            raise error(4121, schema, f"{schema}.{written}")
    found = FUNCTIONS.get(key)
    if found is None:
        if name in REFUSED:
            raise NotSupportedByStandIn(name)
        raise error(195, written, "built-in function name")
    raw = list(node.expressions)
    count = len(raw)
    if not node.args.get("star") and not node.args.get("bare"):
        check_count(found, written, count)
    if node.args.get("star") and not found.aggregate:
        raise error(102, "*")
    if node.args.get("distinct") and not found.aggregate:
        raise error(102, "distinct")
    over = node.args.get("over")
    if over is None and found.window:
        raise error(10753, written)
    if over is not None:
        if not (found.window or found.aggregate):
            raise error(4113, written)
        if not names.windows:
            raise error(4108)
    elif found.aggregate:
        names.require_aggregates()
    return found.build(CallSite(compiler, names, node, written, raw))


def check_count(found: Function, written: str, count: int) -> None:
    if count >= found.least and (found.most is None or count <= found.most):
        return
    if found.most is None or found.most == found.least:
        raise error(174, written.lower(), found.least)
    raise error(189, written.lower(), found.least, found.most)


def runtime(call: CallSite, name: str, arguments: Sequence[Typed | str], of: SqlType) -> Typed:
    """A call of a runtime function; NULL as soon as an argument is."""
    sql = ", ".join(a if isinstance(a, str) else a.sql for a in arguments)
    nullable = any(a.nullable for a in arguments if isinstance(a, Typed))
    return Typed(f"{name}({sql})", of, nullable=nullable)


def once(sql: str) -> str:
    """A value that holds for the whole statement: SQLite evaluates it once."""
    return f"(SELECT {sql})"


def global_variable(name: str) -> Typed:
    from .functions_session import global_variable as find

    return find(name)


# --- conditional functions ----------------------------------------------------------------


@function("ISNULL", least=2)
def _isnull(call: CallSite) -> Typed:
    """ISNULL: the type of the first argument, unlike COALESCE."""
    first, second = call.args
    if first.null:
        return NULL if second.null else second
    second = convert(second, first.type)
    return replace(
        _marked(first, Typed(f"coalesce({first.sql}, {second.sql})", first.type)),
        nullable=first.nullable and second.nullable,
    )


@function("COALESCE", least=2, most=None)
def _coalesce(call: CallSite) -> Typed:
    from .expressions import unified, with_collation

    values = [value for value in call.args if not value.null]
    if not values:
        raise error(4127)
    of = unified(values)
    converted = [convert(value, of).sql for value in values]
    nullable = all(value.nullable for value in call.args)
    sql = converted[0] if len(converted) == 1 else f"coalesce({', '.join(converted)})"
    return with_collation(Typed(sql, of, nullable=nullable), values)


@function("NULLIF", least=2)
def _nullif(call: CallSite) -> Typed:
    first, second = call.args
    condition = compared(first, second, "=", "equal to")
    return _marked(
        first, Typed(f"CASE WHEN {condition} THEN NULL ELSE {first.sql} END", first.type)
    )


@function("IIF", least=3)
def _iif(call: CallSite) -> Typed:
    from .expressions import unified, with_collation

    condition = call.compiler.predicate(call.raw[0], call.names)
    values = call.compiler.scalars(call.raw[1:], call.names)
    of = unified(values)
    yes, no = (convert(value, of) for value in values)
    sql = f"CASE WHEN {condition} THEN {yes.sql} ELSE {no.sql} END"
    return with_collation(Typed(sql, of, nullable=yes.nullable or no.nullable), values)


@function("CHOOSE", least=2, most=None)
def _choose(call: CallSite) -> Typed:
    from .expressions import unified, with_collation

    index = call.argument(0, INT)
    values = call.args[1:]
    of = unified(values)
    branches = " ".join(
        f"WHEN {position} THEN {convert(value, of).sql}"
        for position, value in enumerate(values, start=1)
    )
    return with_collation(Typed(f"CASE {index.sql} {branches} ELSE NULL END", of), values)


@function("GREATEST", "LEAST", least=1, most=254)
def _extreme(call: CallSite) -> Typed:
    """The greatest or least of the arguments that are not NULL."""
    from .expressions import unified, with_collation

    values = [value for value in call.args if not value.null]
    of = unified(values)
    aggregate = "max" if call.node.args["this"] == "GREATEST" else "min"
    converted = [with_collation(convert(value, of), values) for value in values]
    if len(converted) == 1:
        return converted[0]
    rows = " UNION ALL ".join(f"SELECT {value.collated()} AS v" for value in converted)
    sql = f"(SELECT {aggregate}(v) FROM ({rows}))"
    return with_collation(Typed(sql, of, nullable=all(value.nullable for value in values)), values)


def _marked(source: Typed, result: Typed) -> Typed:
    return replace(result, explicit=source.explicit, implicit=source.implicit)


@function("ISNUMERIC", least=1)
def _isnumeric(call: CallSite) -> Typed:
    value = call.args[0]
    if value.type.kind in STRING_KINDS:
        return Typed(f"ts_isnumeric({value.sql})", INT, nullable=False)
    numeric = value.type.kind in types.PRECEDENCE and (
        value.type.kind in types.EXACT_KINDS or value.type.kind in (Kind.FLOAT, Kind.REAL)
    )
    return Typed(f"({value.sql} IS NOT NULL)", INT, nullable=False) if numeric else constant(0, INT)


def boolean(sql: str) -> Typed:
    return Typed(sql, BIT)


from . import (  # noqa: E402  (they register themselves here)
    functions_aggregate,
    functions_date,
    functions_json,
    functions_math,
    functions_session,
    functions_text,
)

__all__ = [
    "FUNCTIONS",
    "CallSite",
    "Function",
    "compile_call",
    "function",
    "functions_aggregate",
    "functions_date",
    "functions_json",
    "functions_math",
    "functions_session",
    "functions_text",
    "global_variable",
]
