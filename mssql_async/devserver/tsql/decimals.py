"""Exact decimals in their storage form (see :mod:`mssql_async.devserver.sqltypes`).

Source: T-SQL reference, "decimal and numeric", "Precision, scale, and length".
Arithmetic rounds half away from zero, except division, which cuts off.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from functools import cmp_to_key, lru_cache

from ..errors import SqlError, error

CONTEXT = decimal.Context(
    prec=120, rounding=decimal.ROUND_HALF_UP, Emin=-999, Emax=999, traps=[decimal.InvalidOperation]
)
_TRUNCATE = decimal.ROUND_DOWN
_UNITS = [Decimal(1).scaleb(-scale) for scale in range(60)]


def overflow(source: str = "numeric", target: str = "numeric") -> SqlError:
    return error(8115, source, target)


def plain(value: Decimal) -> str:
    """A decimal in plain notation, never ``-0``."""
    text = format(value, "f")
    if text.startswith("-") and not text.strip("-0."):
        return text[1:]
    return text


def fit(
    value: Decimal,
    precision: int,
    scale: int,
    *,
    rounding: str = decimal.ROUND_HALF_UP,
    source: str = "numeric",
    target: str = "numeric",
) -> str:
    """The storage form of ``value`` as decimal(precision, scale).

    :raises SqlError: 8115 where its integral part has too many digits.
    """
    fitted = value.quantize(_UNITS[scale], rounding=rounding, context=CONTEXT)
    if fitted and fitted.adjusted() + 1 > precision - scale:
        raise overflow(source, target)
    return plain(fitted)


def number(text: str | int | float) -> Decimal:
    return Decimal(text)


def add(left: str, right: str, precision: int, scale: int) -> str:
    return fit(CONTEXT.add(Decimal(left), Decimal(right)), precision, scale)


def subtract(left: str, right: str, precision: int, scale: int) -> str:
    return fit(CONTEXT.subtract(Decimal(left), Decimal(right)), precision, scale)


def multiply(left: str, right: str, precision: int, scale: int) -> str:
    return fit(CONTEXT.multiply(Decimal(left), Decimal(right)), precision, scale)


def divide(left: str, right: str, precision: int, scale: int) -> str:
    divisor = Decimal(right)
    if not divisor:
        raise error(8134)
    quotient = CONTEXT.divide(Decimal(left), divisor)
    return fit(quotient, precision, scale, rounding=_TRUNCATE)


def modulo(left: str, right: str, precision: int, scale: int) -> str:
    divisor = Decimal(right)
    if not divisor:
        raise error(8134)
    return fit(CONTEXT.remainder(Decimal(left), divisor), precision, scale)


def compare(left: str, right: str) -> int:
    """SQLite collation: decimal strings of any scale by their value."""
    if left == right:
        return 0
    a, b = _parsed(left), _parsed(right)
    return (a > b) - (a < b)


@lru_cache(maxsize=16384)
def _parsed(text: str) -> Decimal:
    try:
        return Decimal(text)
    except decimal.InvalidOperation:
        return Decimal(0)


sort_key = cmp_to_key(compare)
