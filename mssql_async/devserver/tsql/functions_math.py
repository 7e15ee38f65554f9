"""Mathematical functions. Source: T-SQL reference, "Mathematical functions"."""

from __future__ import annotations

from dataclasses import replace

from ..errors import error
from ..sqltypes import (
    BIGINT,
    DECIMAL_KINDS,
    FLOAT,
    FLOAT_KINDS,
    INT,
    INTEGER_KINDS,
    STRING_KINDS,
    Kind,
    SqlType,
)
from .functions import CallSite, function, once
from .typed import Typed, convert

_MONEY = (Kind.MONEY, Kind.SMALLMONEY)


def _number(call: CallSite, position: int = 0) -> Typed:
    """An argument as a number: strings are floats, small integers ints."""
    value = call.args[position]
    of = value.type
    if value.null:
        return replace(value, null=False, type=INT)
    if of.kind in STRING_KINDS:
        return convert(value, FLOAT)
    if of.kind in (Kind.TINYINT, Kind.SMALLINT, Kind.BIT):
        return convert(value, FLOAT if of.kind is Kind.BIT else INT)
    if of.kind is Kind.REAL:
        return convert(value, FLOAT)
    if of.kind is Kind.SMALLMONEY:
        return convert(value, SqlType(Kind.MONEY, precision=19, scale=4))
    if of.kind in INTEGER_KINDS or of.kind in DECIMAL_KINDS or of.kind in FLOAT_KINDS:
        return value
    raise error(8116, of.kind.value, position + 1, call.name.lower())


def _checked(value: Typed, sql: str) -> Typed:
    """``sql``, checked for the range of the integer type of ``value``."""
    check = "ts_bigint" if value.type.kind is Kind.BIGINT else "ts_int"
    return Typed(f"{check}({sql})", value.type, nullable=value.nullable)


@function("ABS", least=1)
def _abs(call: CallSite) -> Typed:
    value = _number(call)
    if value.type.kind in INTEGER_KINDS:
        return _checked(value, f"ts_abs({value.sql})")
    if value.type.kind in DECIMAL_KINDS:
        return Typed(f"ltrim({value.sql}, '-')", value.type, nullable=value.nullable)
    return Typed(f"abs({value.sql})", value.type, nullable=value.nullable)


@function("SIGN", least=1)
def _sign(call: CallSite) -> Typed:
    value = _number(call)
    if value.type.kind in DECIMAL_KINDS:
        return Typed(
            f"ts_dec_sign({value.sql}, {value.type.scale})", value.type, nullable=value.nullable
        )
    sql = f"sign({value.sql})"
    to = "REAL" if value.type.kind in FLOAT_KINDS else "INTEGER"
    sql = f"CAST({sql} AS {to})"
    return Typed(sql, value.type, nullable=value.nullable)


@function("CEILING", "FLOOR", least=1)
def _whole(call: CallSite) -> Typed:
    value = _number(call)
    name = "ceil" if call.node.args["this"] == "CEILING" else "floor"
    of = value.type
    if of.kind in INTEGER_KINDS:
        return replace(value, constant=False)
    if of.kind in _MONEY:
        return Typed(f"ts_dec_{name}({value.sql}, 4)", of, nullable=value.nullable)
    if of.kind in DECIMAL_KINDS:
        result = SqlType(of.kind, precision=of.precision, scale=0)
        return Typed(f"ts_dec_{name}({value.sql}, 0)", result, nullable=value.nullable)
    return Typed(f"ts_{name}({value.sql})", of, nullable=value.nullable)


@function("ROUND", least=2, most=3)
def _round(call: CallSite) -> Typed:
    value = _number(call)
    digits = call.argument(1, INT)
    cut = call.argument(2, INT).sql if len(call.args) == 3 else "0"
    of = value.type
    if of.kind in INTEGER_KINDS:
        return replace(
            _checked(value, f"ts_int_round({value.sql}, {digits.sql}, {cut})"),
            nullable=call.nullable,
        )
    if of.kind in DECIMAL_KINDS:
        sql = f"ts_dec_round({value.sql}, {digits.sql}, {cut}, {of.precision}, {of.scale})"
        return Typed(sql, of, nullable=call.nullable)
    return Typed(f"ts_float_round({value.sql}, {digits.sql}, {cut})", of, nullable=call.nullable)


@function("POWER", least=2)
def _power(call: CallSite) -> Typed:
    """POWER: the type of the base, so an int's power is an int."""
    value = _number(call)
    exponent = convert(_number(call, 1), FLOAT)
    of = value.type
    sql = f"ts_power({convert(value, FLOAT).sql}, {exponent.sql})"
    if of.kind in DECIMAL_KINDS:
        of = of if of.kind in _MONEY else SqlType(of.kind, precision=38, scale=of.scale)
    if of.kind in FLOAT_KINDS:
        return Typed(sql, FLOAT, nullable=call.nullable)
    return replace(convert(Typed(sql, FLOAT), of), nullable=call.nullable)


@function("SQUARE", least=1)
def _square(call: CallSite) -> Typed:
    value = convert(_number(call), FLOAT)
    return Typed(f"ts_float({value.sql} * {value.sql})", FLOAT, nullable=value.nullable)


@function("SQRT", "EXP", "LOG10", "SIN", "COS", "TAN", "COT", "ASIN", "ACOS", "ATAN", least=1)
def _float_function(call: CallSite) -> Typed:
    value = convert(_number(call), FLOAT)
    name = call.node.args["this"].lower()
    return Typed(f"ts_{name}({value.sql})", FLOAT, nullable=value.nullable)


@function("LOG", least=1, most=2)
def _log(call: CallSite) -> Typed:
    value = convert(_number(call), FLOAT)
    if len(call.args) == 1:
        return Typed(f"ts_log({value.sql})", FLOAT, nullable=value.nullable)
    base = convert(_number(call, 1), FLOAT)
    return Typed(f"ts_log({value.sql}, {base.sql})", FLOAT, nullable=call.nullable)


@function("ATN2", least=2)
def _atn2(call: CallSite) -> Typed:
    y, x = (convert(_number(call, position), FLOAT) for position in range(2))
    return Typed(f"ts_atn2({y.sql}, {x.sql})", FLOAT, nullable=call.nullable)


@function("DEGREES", "RADIANS", least=1)
def _angle(call: CallSite) -> Typed:
    """The type of the argument: of an int, a whole number of degrees."""
    value = _number(call)
    name = f"ts_{call.node.args['this'].lower()}"
    result = Typed(f"{name}({convert(value, FLOAT).sql})", FLOAT, nullable=value.nullable)
    of = value.type
    if of.kind in DECIMAL_KINDS and of.kind not in _MONEY:
        of = SqlType(of.kind, precision=38, scale=max(of.scale or 0, 18))
    return convert(result, of)


@function("PI", least=0)
def _pi(call: CallSite) -> Typed:
    return Typed("3.141592653589793", FLOAT, nullable=False)


@function("RAND", least=0, most=1)
def _rand(call: CallSite) -> Typed:
    """One number for the whole statement, as SQL Server does."""
    if call.raw:
        seed = call.argument(0, BIGINT)
        return Typed(f"ts_rand({seed.sql})", FLOAT, nullable=False)
    return Typed(once("ts_rand()"), FLOAT, nullable=False)
