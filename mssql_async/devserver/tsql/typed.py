"""A compiled expression with its T-SQL type, and how types become each other in SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..errors import SqlError, error
from ..sqltypes import (
    BINARY_KINDS,
    DATETIME_KINDS,
    DEFAULT_COLLATION_NAME,
    FLOAT_KINDS,
    INT,
    INTEGER_KINDS,
    MAX,
    STRING_KINDS,
    UNICODE_KINDS,
    Collation,
    Kind,
    SqlType,
    StorageValue,
)
from . import types
from .conversions import INTEGER_RANGES, converter, needs_date_format


@dataclass(frozen=True, slots=True)
class Typed:
    """SQLite SQL that computes a value of ``type`` in its storage form.

    ``column`` marks a bare column of a table, whose declared collation holds;
    ``explicit`` a COLLATE clause, ``implicit`` a column's own collation (for the rules of
    collation precedence). ``constant`` says that ``value`` is known. ``null`` is the
    literal NULL, which takes any type.
    """

    sql: str
    type: SqlType
    nullable: bool = True
    column: bool = False
    explicit: bool = False
    implicit: bool = False
    constant: bool = False
    value: StorageValue = None
    null: bool = False
    identity: bool = False
    variable: str = ""
    digits: int | None = None

    def collated(self) -> str:
        """The SQL with the collation of its type, for ORDER BY, GROUP BY and the like."""
        wanted = types.collation(self.type)
        if wanted is None or (self.column and not self.explicit):
            return self.sql
        return f"{self.sql} COLLATE {wanted.value}"


NULL = Typed("NULL", INT, constant=True, value=None, null=True)


def quote(name: str) -> str:
    """A name as SQLite quotes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: StorageValue) -> str:
    """A value as a SQLite literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        if "\0" in value:
            return f"CAST(X'{value.encode().hex()}' AS TEXT)"
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return repr(value)
    return str(int(value))


def constant(value: StorageValue, of: SqlType) -> Typed:
    return Typed(literal(value), of, nullable=value is None, constant=True, value=value)


def key(source: SqlType, target: SqlType, style: int | None = None) -> str:
    """How a conversion is named to ``ts_cast``: ``nvarchar(10)>int`` or with ``:style``."""
    text = f"{_named(source)}>{_named(target)}"
    return text if style is None else f"{text}:{style}"


def _named(of: SqlType) -> str:
    utf8 = of.collation is not None and "UTF8" in of.collation.upper()
    return f"{of}~utf8" if utf8 else str(of)


# --- conversions --------------------------------------------------------------------------


def _keeps_form(source: SqlType, target: SqlType) -> bool:
    """Whether a value of ``source`` already is one of ``target``."""
    a, b = source.kind, target.kind
    if b is Kind.SQL_VARIANT:
        return True
    if a in INTEGER_KINDS and b in INTEGER_KINDS:
        low, high = INTEGER_RANGES[a]
        return INTEGER_RANGES[b][0] <= low and high <= INTEGER_RANGES[b][1]
    if a in FLOAT_KINDS and b in FLOAT_KINDS:
        return a is b or b is Kind.FLOAT
    if a in types.EXACT_KINDS and b in types.EXACT_KINDS:
        if a in INTEGER_KINDS or b in INTEGER_KINDS:
            return False
        whole = (source.precision or 0) - (source.scale or 0)
        return source.scale == target.scale and whole <= (target.precision or 0) - (
            target.scale or 0
        )
    if a in STRING_KINDS and b in STRING_KINDS:
        return _keeps_string(source, target)
    if a in (Kind.VARBINARY, Kind.IMAGE, Kind.BINARY, Kind.ROWVERSION) and b in (
        Kind.VARBINARY,
        Kind.IMAGE,
    ):
        return _fits(source, target)
    if a in DATETIME_KINDS and b in DATETIME_KINDS:
        return _keeps_moment(source, target)
    return a is b and a not in BINARY_KINDS


def _fits(source: SqlType, target: SqlType) -> bool:
    if types.is_max(target):
        return True
    return not types.is_max(source) and (source.length or 8) <= (target.length or 0)


def _keeps_string(source: SqlType, target: SqlType) -> bool:
    utf8 = target.collation is not None and "UTF8" in target.collation.upper()
    if source.kind in UNICODE_KINDS and types.is_ansi(target) and not utf8:
        return False
    if target.kind in (Kind.CHAR, Kind.NCHAR):
        fixed = source.kind in (Kind.CHAR, Kind.NCHAR)
        return fixed and source.length == target.length
    return _fits(source, target)


def _keeps_moment(source: SqlType, target: SqlType) -> bool:
    a, b = source.kind, target.kind
    if a is b:
        return source.scale is None or (source.scale or 0) <= (target.scale or 0)
    if b is Kind.DATETIME2:
        return a is Kind.SMALLDATETIME or (a is Kind.DATETIME and target.scale == 3)
    return b is Kind.DATETIME and a is Kind.SMALLDATETIME


_PLAIN_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T")
_PLAIN_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _foldable(source: Typed, target: SqlType) -> bool:
    """Whether a constant may be converted now. Dates in words or slashes wait for the
    session's DATEFORMAT."""
    if not source.constant or source.value is None:
        return False
    if needs_date_format(source.type, target):
        old = target.kind in (Kind.DATETIME, Kind.SMALLDATETIME)
        plain = _PLAIN_MOMENT if old else _PLAIN_DATE
        return isinstance(source.value, str) and bool(plain.match(source.value))
    return True


def convert(
    source: Typed,
    target: SqlType,
    *,
    style: int | None = None,
    attempt: bool = False,
    explicit: bool = False,
) -> Typed:
    """``source`` as ``target``.

    :raises SqlError: 206, 257 or 529 where T-SQL has no such conversion.
    """
    if source.null:
        return Typed("NULL", target, constant=True, value=None, null=not explicit)
    if explicit:
        if not types.explicit(source.type, target):
            raise error(529, source.type.kind.value, target.kind.value)
    else:
        types.require_implicit(source.type, target)
    if source.type.kind in STRING_KINDS and target.kind in STRING_KINDS:
        target = target.with_collation(
            target.collation if target.collation is not None else source.type.collation
        )
    if style is None and _keeps_form(source.type, target):
        bare = source.column and target.kind is not Kind.SQL_VARIANT
        return replace(source, type=target, digits=None, column=bare)
    if _foldable(source, target):
        try:
            value = converter(source.type, target, style)(source.value)
        except SqlError:
            if attempt:
                return Typed("NULL", target, constant=True)
        else:
            return replace(constant(value, target), explicit=source.explicit)
    sql = None if attempt else _native(source, target, style)
    if sql is None:
        function = "ts_try_cast" if attempt else "ts_cast"
        sql = f"{function}({source.sql}, '{key(source.type, target, style)}')"
    return Typed(
        sql,
        target,
        nullable=source.nullable or attempt,
        explicit=source.explicit,
        implicit=source.implicit,
    )


def _native(source: Typed, target: SqlType, style: int | None) -> str | None:
    """A conversion SQLite can do itself, or None."""
    a, b = source.type.kind, target.kind
    if style is not None:
        return None
    if a in INTEGER_KINDS:
        if b is Kind.FLOAT:
            return f"CAST({source.sql} AS REAL)"
        digits = len(str(-INTEGER_RANGES[a][1]))
        if b in (Kind.DECIMAL, Kind.NUMERIC):
            enough = (target.precision or 0) >= digits - 1
            return f"CAST({source.sql} AS TEXT)" if target.scale == 0 and enough else None
        if b in (Kind.VARCHAR, Kind.NVARCHAR):
            enough = target.length == MAX or (target.length or 0) >= digits
            return f"CAST({source.sql} AS TEXT)" if enough else None
        return None
    if a in (Kind.DECIMAL, Kind.NUMERIC) and b in (Kind.VARCHAR, Kind.NVARCHAR):
        enough = target.length == MAX or (target.length or 0) >= (source.type.precision or 0) + 3
        return source.sql if enough else None
    if a is Kind.UNIQUEIDENTIFIER and b in (Kind.VARCHAR, Kind.NVARCHAR):
        return source.sql if target.length == MAX or (target.length or 0) >= 36 else None
    if a is Kind.DATE and b in (Kind.DATETIME2, Kind.DATETIME):
        return f"({source.sql} || ' 00:00:00.0000000')" if b is Kind.DATETIME2 else None
    return None


# --- collation precedence -----------------------------------------------------------------


def common_collation(left: Typed, right: Typed, operation: str) -> str | None:
    """The T-SQL collation two strings meet under (None: the database's).

    Explicit beats a column's, which beats a constant's or a variable's ("Collation
    precedence"). Of two columns that differ, what ``add`` makes has no collation there, and
    the left one's here.

    :raises SqlError: 468 where two of the same rank differ.
    """
    if left.explicit or right.explicit:
        if left.explicit and right.explicit and _differ(left, right):
            raise _conflict(left, right, operation)
        return left.type.collation if left.explicit else right.type.collation
    if left.implicit and right.implicit:
        if _differ(left, right) and operation != "add":
            raise _conflict(left, right, operation)
        return left.type.collation
    if left.implicit or right.implicit:
        return left.type.collation if left.implicit else right.type.collation
    return left.type.collation if left.type.collation is not None else right.type.collation


def _differ(left: Typed, right: Typed) -> bool:
    if left.type.kind not in STRING_KINDS or right.type.kind not in STRING_KINDS:
        return False
    return _collation_name(left).upper() != _collation_name(right).upper()


def _collation_name(value: Typed) -> str:
    """The collation of a string; databases compare under the default one."""
    return value.type.collation or DEFAULT_COLLATION_NAME


def _conflict(left: Typed, right: Typed, operation: str) -> SqlError:
    return error(468, _collation_name(left), _collation_name(right), operation)


# --- comparison ---------------------------------------------------------------------------

_EXACT_DECIMALS = frozenset({Kind.DECIMAL, Kind.NUMERIC, Kind.MONEY, Kind.SMALLMONEY})


def align(left: Typed, right: Typed, operation: str) -> tuple[Typed, Typed, Collation | None]:
    """Two operands in forms that SQLite compares as T-SQL compares their types."""
    if left.null or right.null:
        other = right if left.null else left
        return left, right, types.collation(other.type)
    a, b = left.type, right.type
    if a.kind in STRING_KINDS and b.kind in STRING_KINDS:
        chosen = common_collation(left, right, operation)
        return left, right, types.collation(a.with_collation(chosen))
    if a.kind in INTEGER_KINDS and b.kind in INTEGER_KINDS:
        return left, right, None
    top = types.higher(a, b)
    if top.kind is Kind.SQL_VARIANT:
        return left, right, Collation.TEXT_CI
    if top.kind in FLOAT_KINDS and a.kind not in STRING_KINDS and b.kind not in STRING_KINDS:
        return _as_number(left), _as_number(right), None
    if top.kind in _EXACT_DECIMALS:
        return _as_exact(left, top), _as_exact(right, top), Collation.DECIMAL
    if top.kind in (Kind.TIME, Kind.DATETIME2, Kind.DATETIMEOFFSET):
        # Compared to the finer of the two; a string to all it says.
        top = replace(top, scale=7)
    if top.kind in BINARY_KINDS:
        top = SqlType(Kind.VARBINARY, length=MAX)
    return convert(left, top), convert(right, top), types.collation(top)


def _as_number(operand: Typed) -> Typed:
    """For a comparison with a float: SQLite compares integers with reals exactly."""
    if operand.type.kind in INTEGER_KINDS or operand.type.kind in FLOAT_KINDS:
        return operand
    return convert(operand, SqlType(Kind.FLOAT))


def _as_exact(operand: Typed, top: SqlType) -> Typed:
    if operand.type.kind in _EXACT_DECIMALS:
        return operand
    if operand.type.kind in INTEGER_KINDS:
        return convert(operand, SqlType(Kind.DECIMAL, precision=38, scale=0))
    if operand.type.kind in STRING_KINDS:
        # A string takes the precision and scale of what it meets.
        return convert(operand, top)
    return convert(operand, top)


def compared(left: Typed, right: Typed, operator: str, name: str) -> str:
    """``left operator right`` as SQLite SQL."""
    a, b, wanted = align(left, right, name)
    return f"({operand(a, wanted)} {operator} {b.sql})"


def operand(left: Typed, wanted: Collation | None) -> str:
    """The left side of a comparison, with its collation named unless the column has it."""
    if wanted is None:
        return left.sql
    if left.column and types.collation(left.type) is wanted:
        return left.sql
    return f"{left.sql} COLLATE {wanted.value}"
