"""Typing rules: precedence, the results of operators, and how types meet.

Source: T-SQL reference, "Data type precedence", "Precision, scale, and length",
"Constants", "Collation precedence".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import error
from ..sqltypes import (
    ANSI_KINDS,
    BIGINT,
    BINARY_KINDS,
    DATETIME_KINDS,
    DECIMAL_KINDS,
    FLOAT,
    FLOAT_KINDS,
    INT,
    INTEGER_KINDS,
    MAX,
    NUMBER_KINDS,
    STRING_KINDS,
    UNICODE_KINDS,
    Collation,
    Kind,
    SqlType,
    numeric,
    nvarchar,
    varchar,
)
from . import strings

#: Highest first.
_PRECEDENCE = (
    Kind.SQL_VARIANT,
    Kind.XML,
    Kind.DATETIMEOFFSET,
    Kind.DATETIME2,
    Kind.DATETIME,
    Kind.SMALLDATETIME,
    Kind.DATE,
    Kind.TIME,
    Kind.FLOAT,
    Kind.REAL,
    Kind.DECIMAL,
    Kind.NUMERIC,
    Kind.MONEY,
    Kind.SMALLMONEY,
    Kind.BIGINT,
    Kind.INT,
    Kind.SMALLINT,
    Kind.TINYINT,
    Kind.BIT,
    Kind.NTEXT,
    Kind.TEXT,
    Kind.IMAGE,
    Kind.ROWVERSION,
    Kind.UNIQUEIDENTIFIER,
    Kind.NVARCHAR,
    Kind.NCHAR,
    Kind.VARCHAR,
    Kind.CHAR,
    Kind.VARBINARY,
    Kind.BINARY,
)
PRECEDENCE = {kind: position for position, kind in enumerate(_PRECEDENCE)}
_INTEGER_DIGITS = {
    Kind.BIT: 1,
    Kind.TINYINT: 3,
    Kind.SMALLINT: 5,
    Kind.INT: 10,
    Kind.BIGINT: 19,
}
EXACT_KINDS = INTEGER_KINDS | DECIMAL_KINDS


def collation(of: SqlType) -> Collation | None:
    """The SQLite collation values of this type compare under; None for SQLite's own."""
    if of.kind in STRING_KINDS:
        return strings.collation_of(of.collation)
    if of.kind in DECIMAL_KINDS:
        return Collation.DECIMAL
    if of.kind is Kind.DATETIMEOFFSET:
        return Collation.OFFSET
    if of.kind is Kind.UNIQUEIDENTIFIER:
        return Collation.GUID
    return Collation.TEXT_CI if of.kind is Kind.SQL_VARIANT else None


def affinity(of: SqlType) -> str:
    """The SQLite column type for this type's storage form."""
    if of.kind in INTEGER_KINDS:
        return "INTEGER"
    if of.kind in FLOAT_KINDS:
        return "REAL"
    if of.kind in BINARY_KINDS or of.kind is Kind.SQL_VARIANT:
        return "BLOB"
    return "TEXT"


def is_max(of: SqlType) -> bool:
    return of.length == MAX or of.kind in (Kind.TEXT, Kind.NTEXT, Kind.XML, Kind.IMAGE)


def string_type(length: int, *, unicode: bool, collation: str | None = None) -> SqlType:
    """varchar or nvarchar of ``length`` (at least 1), (max) where it is more than fits."""
    limit = 4000 if unicode else 8000
    kind = Kind.NVARCHAR if unicode else Kind.VARCHAR
    size = MAX if length == MAX or length > limit else max(length, 1)
    return SqlType(kind, length=size, collation=collation)


# --- constants ----------------------------------------------------------------------------


def number_type(text: str) -> SqlType:
    """The type of a numeric constant."""
    if "e" in text.lower():
        return FLOAT
    if "." not in text:
        digits = text.lstrip("0") or "0"
        if int(digits) <= 2**31 - 1:
            return INT
        return numeric(min(len(digits), 38), 0)
    whole, fraction = text.split(".")
    whole = whole.lstrip("0")
    scale = len(fraction)
    return numeric(max(len(whole) + scale, 1), scale)


def string_constant(text: str) -> SqlType:
    size = max(strings.length(text), 1)
    return varchar(size if size <= 8000 else MAX)


def national_constant(text: str) -> SqlType:
    size = max(strings.length(text), 1)
    return nvarchar(size if size <= 4000 else MAX)


# --- operators ----------------------------------------------------------------------------


def as_decimal(of: SqlType, digits: int | None = None) -> SqlType:
    """An exact number as decimal; ``digits`` of an integer constant are its own."""
    if of.kind in INTEGER_KINDS:
        return numeric(digits or _INTEGER_DIGITS[of.kind], 0)
    return SqlType(
        Kind.DECIMAL if of.kind is Kind.DECIMAL else Kind.NUMERIC,
        precision=of.precision,
        scale=of.scale,
    )


def decimal_result(operator: str, left: SqlType, right: SqlType) -> SqlType:
    """Precision and scale of ``left operator right``."""
    p1, s1 = left.precision or 0, left.scale or 0
    p2, s2 = right.precision or 0, right.scale or 0
    kind = Kind.DECIMAL if Kind.DECIMAL in (left.kind, right.kind) else Kind.NUMERIC
    if operator in "+-":
        scale = max(s1, s2)
        whole = max(p1 - s1, p2 - s2)
        precision = whole + scale + 1
        if precision > 38:
            scale = max(min(scale, 38 - whole), 0)
            precision = 38
    elif operator == "%":
        scale = max(s1, s2)
        precision = min(p1 - s1, p2 - s2) + scale
    else:
        if operator == "*":
            precision, scale = p1 + p2 + 1, s1 + s2
        else:
            scale = max(6, s1 + p2 + 1)
            precision = p1 - s1 + s2 + scale
        if precision > 38:
            whole = precision - scale
            scale = min(scale, 38 - whole) if whole < 32 else min(scale, 6)
            precision = 38
    return SqlType(kind, precision=min(precision, 38), scale=max(scale, 0))


def concatenation(left: SqlType, right: SqlType) -> SqlType:
    unicode = left.kind in UNICODE_KINDS or right.kind in UNICODE_KINDS
    chosen = left.collation if left.collation is not None else right.collation
    if is_max(left) or is_max(right):
        return string_type(MAX, unicode=unicode, collation=chosen)
    limit = 4000 if unicode else 8000
    size = min((left.length or 1) + (right.length or 1), limit)
    return string_type(size, unicode=unicode, collation=chosen)


def higher(left: SqlType, right: SqlType) -> SqlType:
    """The one of higher precedence."""
    return left if PRECEDENCE[left.kind] <= PRECEDENCE[right.kind] else right


# --- meeting ------------------------------------------------------------------------------


def unify(types: Sequence[SqlType]) -> SqlType:
    """The type of CASE, COALESCE, UNION, VALUES: the highest, wide enough for all.

    :raises SqlError: 206 where two of them do not go together.
    """
    result = types[0]
    for other in types[1:]:
        result = _meet(result, other)
    return result


def _meet(left: SqlType, right: SqlType) -> SqlType:
    top = higher(left, right)
    low = right if top is left else left
    if top.kind in STRING_KINDS:
        if low.kind not in STRING_KINDS:
            if low.kind in BINARY_KINDS:
                return top
            return top
        unicode = top.kind in UNICODE_KINDS or low.kind in UNICODE_KINDS
        chosen = left.collation if left.collation is not None else right.collation
        if is_max(top) or is_max(low):
            return string_type(MAX, unicode=unicode, collation=chosen)
        size = max(top.length or 1, low.length or 1)
        if top.kind is low.kind:
            return replace(top, length=size, collation=chosen)
        return SqlType(
            Kind.NVARCHAR if unicode and top.kind is not Kind.NCHAR else top.kind,
            length=size,
            collation=chosen,
        )
    if top.kind in BINARY_KINDS and low.kind in BINARY_KINDS:
        if is_max(top) or is_max(low):
            return SqlType(Kind.VARBINARY, length=MAX)
        return replace(top, length=max(top.length or 1, low.length or 1))
    if top.kind in (Kind.DECIMAL, Kind.NUMERIC) and low.kind in EXACT_KINDS:
        other = as_decimal(low)
        scale = max(top.scale or 0, other.scale or 0)
        whole = max(
            (top.precision or 0) - (top.scale or 0), (other.precision or 0) - (other.scale or 0)
        )
        if whole + scale > 38:
            scale = max(38 - whole, 0)
        return SqlType(top.kind, precision=min(whole + scale, 38), scale=scale)
    if top.kind in (Kind.TIME, Kind.DATETIME2, Kind.DATETIMEOFFSET) and low.kind in DATETIME_KINDS:
        digits = {Kind.DATE: 0, Kind.SMALLDATETIME: 0, Kind.DATETIME: 3}
        return replace(top, scale=max(top.scale or 0, digits.get(low.kind, low.scale or 0)))
    require_implicit(low, top)
    return top


# --- conversions --------------------------------------------------------------------------


def implicit(source: SqlType, target: SqlType) -> bool:
    """Whether T-SQL converts ``source`` to ``target`` without being asked."""
    a, b = source.kind, target.kind
    if a is b or b is Kind.SQL_VARIANT:
        return True
    if a is Kind.SQL_VARIANT:
        return False
    if a in STRING_KINDS:
        return b not in BINARY_KINDS or a is Kind.XML
    if b in STRING_KINDS:
        return a not in BINARY_KINDS or b not in (Kind.TEXT, Kind.NTEXT)
    if a in NUMBER_KINDS and b in NUMBER_KINDS:
        return True
    if a in DATETIME_KINDS and b in DATETIME_KINDS:
        return {a, b} != {Kind.DATE, Kind.TIME}
    if a in NUMBER_KINDS:
        if b in (Kind.DATETIME, Kind.SMALLDATETIME):
            return True
        return b in BINARY_KINDS and a not in FLOAT_KINDS
    if a in BINARY_KINDS:
        if b in BINARY_KINDS or b is Kind.UNIQUEIDENTIFIER:
            return True
        return b in EXACT_KINDS
    if a is Kind.UNIQUEIDENTIFIER:
        return b in BINARY_KINDS
    return False


def explicit(source: SqlType, target: SqlType) -> bool:
    """Whether CAST and CONVERT can turn ``source`` into ``target``."""
    a, b = source.kind, target.kind
    if implicit(source, target):
        return True
    if a is Kind.SQL_VARIANT:
        return True
    if a in STRING_KINDS and b in BINARY_KINDS:
        return True
    if a in (Kind.DATETIME, Kind.SMALLDATETIME) and b in NUMBER_KINDS | BINARY_KINDS:
        return True
    if a in FLOAT_KINDS and b in BINARY_KINDS:
        return True
    return a in BINARY_KINDS and b in DATETIME_KINDS


def require_implicit(source: SqlType, target: SqlType) -> None:
    """:raises SqlError: 206 where the two have nothing to do with each other, 257 where
    only CONVERT would do."""
    if implicit(source, target):
        return
    if explicit(source, target):
        raise error(257, source.kind.value, target.kind.value)
    raise error(206, source.kind.value, target.kind.value)


def is_ansi(of: SqlType) -> bool:
    return of.kind in ANSI_KINDS


# --- aggregates ---------------------------------------------------------------------------


def sum_type(of: SqlType) -> SqlType:
    """SUM's type: int for the small integers, decimal(38, s) for decimals."""
    if of.kind in (Kind.TINYINT, Kind.SMALLINT, Kind.INT):
        return INT
    if of.kind is Kind.BIGINT:
        return BIGINT
    if of.kind in (Kind.DECIMAL, Kind.NUMERIC):
        return SqlType(of.kind, precision=38, scale=of.scale)
    if of.kind in (Kind.MONEY, Kind.SMALLMONEY):
        return SqlType(Kind.MONEY, precision=19, scale=4)
    if of.kind in FLOAT_KINDS:
        return FLOAT
    raise error(8117, of.kind.value, "sum")


def average_type(of: SqlType) -> SqlType:
    """AVG's type: as SUM's, but decimal(38, max(s, 6))."""
    if of.kind in (Kind.DECIMAL, Kind.NUMERIC):
        return SqlType(of.kind, precision=38, scale=max(of.scale or 0, 6))
    try:
        return sum_type(of)
    except Exception:
        raise error(8117, of.kind.value, "avg") from None
