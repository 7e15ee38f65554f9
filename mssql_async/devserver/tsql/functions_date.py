"""Date and time functions. Source: T-SQL reference, "Date and time data types and
functions" and the pages of DATEADD, DATEDIFF, DATEPART, DATENAME, SWITCHOFFSET …"""

from __future__ import annotations

from sqlglot import exp

from ..errors import error
from ..sqltypes import (
    BIGINT,
    DATE,
    DATETIME,
    DATETIME_KINDS,
    INT,
    SMALLDATETIME,
    STRING_KINDS,
    Kind,
    SqlType,
    datetime2,
    datetimeoffset,
    nvarchar,
    time,
)
from . import dates
from .functions import CallSite, function, once
from .typed import Typed, convert

_TIME_PARTS = frozenset(
    {"hour", "minute", "second", "millisecond", "microsecond", "nanosecond", "tzoffset"}
)


def _part(call: CallSite, name: str) -> str:
    """The first argument as a date part. Error 155 for a word that is none."""
    node = call.raw[0]
    if not isinstance(node, exp.Column) or node.args.get("table"):
        raise error(1023, 1, name)
    word = node.this.this
    part = dates.PARTS.get(word.lower())
    if part is None:
        raise error(155, word, name)
    return part


def _moment(call: CallSite, node: exp.Expression) -> Typed:
    """An argument as a date or time. Strings are read as datetimeoffset or datetime2,
    numbers as datetime."""
    value = call.compiler.scalar(node, call.names)
    if value.null:
        return Typed("NULL", DATETIME, constant=True)
    if value.type.kind in DATETIME_KINDS:
        return value
    if value.type.kind in STRING_KINDS:
        return Typed(f"ts_moment({value.sql})", datetime2(7), nullable=value.nullable)
    return convert(value, DATETIME)


def _require(part: str, function_name: str, of: SqlType) -> None:
    wrong = (of.kind is Kind.DATE and part in _TIME_PARTS) or (
        of.kind is Kind.TIME and part not in _TIME_PARTS
    )
    if wrong:
        raise error(9810, part, function_name, of.kind.value)


def _exact(value: Typed, part: str) -> Typed:
    """A datetime where more than milliseconds are asked of it: it has 1/300 seconds."""
    if value.type.kind is Kind.DATETIME and part in ("microsecond", "nanosecond"):
        return convert(value, datetime2(7))
    return value


def _is_fraction_of_datetime(value: Typed, part: str) -> bool:
    return value.type.kind is Kind.DATETIME and part in dates.FRACTIONS


@function("DATEADD", least=3)
def _dateadd(call: CallSite) -> Typed:
    part = _part(call, "dateadd")
    if part in ("tzoffset", "iso_week"):
        raise error(9810, part, "dateadd", "datetime")
    amount = convert(call.compiler.scalar(call.raw[1], call.names), INT)
    value = call.compiler.scalar(call.raw[2], call.names)
    if value.type.kind in STRING_KINDS or value.null or value.type.kind not in DATETIME_KINDS:
        value = convert(value, DATETIME)
    of = value.type
    _require(part, "dateadd", of)
    if part in ("microsecond", "nanosecond") and of.kind in (Kind.DATETIME, Kind.SMALLDATETIME):
        raise error(9810, part, "dateadd", of.kind.value)
    sql = f"ts_dateadd('{part}', {amount.sql}, {value.sql}, '{of}')"
    return Typed(sql, of, nullable=value.nullable or amount.nullable)


@function("DATEDIFF", "DATEDIFF_BIG", least=3)
def _datediff(call: CallSite) -> Typed:
    name = call.node.args["this"].lower()
    part = _part(call, name)
    start, end = (_exact(_moment(call, node), part) for node in call.raw[1:3])
    if part in ("tzoffset", "iso_week"):
        raise error(9810, part, name, "datetime")
    of = INT if name == "datediff" else BIGINT
    return Typed(
        f"ts_{name}('{part}', {start.sql}, {end.sql})",
        of,
        nullable=start.nullable or end.nullable,
    )


@function("DATEPART", least=2)
def _datepart(call: CallSite) -> Typed:
    return _extract(call, _part(call, "datepart"), _moment(call, call.raw[1]))


def _extract(call: CallSite, part: str, value: Typed) -> Typed:
    _require(part, call.name.lower(), value.type)
    if _is_fraction_of_datetime(value, part):
        sql = f"ts_datetime_fraction('{part}', {value.sql})"
        return Typed(sql, INT, nullable=value.nullable)
    return Typed(f"ts_datepart('{part}', {value.sql})", INT, nullable=value.nullable)


@function("YEAR", "MONTH", "DAY", least=1)
def _year(call: CallSite) -> Typed:
    return _extract(call, call.node.args["this"].lower(), _moment(call, call.raw[0]))


@function("DATENAME", least=2)
def _datename(call: CallSite) -> Typed:
    part = _part(call, "datename")
    value = _moment(call, call.raw[1])
    _require(part, "datename", value.type)
    if _is_fraction_of_datetime(value, part):
        sql = f"CAST(ts_datetime_fraction('{part}', {value.sql}) AS TEXT)"
        return Typed(sql, nvarchar(30), nullable=value.nullable)
    return Typed(f"ts_datename('{part}', {value.sql})", nvarchar(30), nullable=value.nullable)


@function("DATETRUNC", least=2)
def _datetrunc(call: CallSite) -> Typed:
    part = _part(call, "datetrunc")
    value = _moment(call, call.raw[1])
    _require(part, "datetrunc", value.type)
    of = value.type
    return Typed(f"ts_datetrunc('{part}', {value.sql}, '{of}')", of, nullable=value.nullable)


@function("EOMONTH", least=1, most=2)
def _eomonth(call: CallSite) -> Typed:
    value = convert(_moment(call, call.raw[0]), DATE)
    months = (
        convert(call.compiler.scalar(call.raw[1], call.names), INT).sql if call.raw[1:] else "0"
    )
    return Typed(f"ts_eomonth({value.sql}, {months})", DATE)


_PARTS_TYPES: dict[str, tuple[SqlType, int]] = {
    "DATEFROMPARTS": (DATE, 3),
    "SMALLDATETIMEFROMPARTS": (SMALLDATETIME, 5),
    "DATETIMEFROMPARTS": (DATETIME, 7),
    "DATETIME2FROMPARTS": (datetime2(7), 8),
    "TIMEFROMPARTS": (time(7), 5),
    "DATETIMEOFFSETFROMPARTS": (datetimeoffset(7), 10),
}


@function(*_PARTS_TYPES, least=3, most=10)
def _from_parts(call: CallSite) -> Typed:
    name = call.node.args["this"]
    of, count = _PARTS_TYPES[name]
    if len(call.raw) != count:
        raise error(174, call.name.lower(), count)
    values = [convert(value, INT) for value in call.args]
    if name in ("DATETIME2FROMPARTS", "TIMEFROMPARTS", "DATETIMEOFFSETFROMPARTS"):
        precision = values[-1]
        if not precision.constant or not isinstance(precision.value, int):
            raise error(10760, call.name)
        of = SqlType(of.kind, scale=precision.value)
    arguments = ", ".join(value.sql for value in values)
    return Typed(f"ts_fromparts('{of}', {arguments})", of, nullable=call.nullable)


@function("SWITCHOFFSET", "TODATETIMEOFFSET", least=2)
def _offset(call: CallSite) -> Typed:
    name = call.node.args["this"].lower()
    value = _moment(call, call.raw[0])
    scale = {Kind.DATETIME: 3, Kind.SMALLDATETIME: 0}.get(value.type.kind, value.type.scale)
    of = datetimeoffset(7 if scale is None else scale)
    if name == "switchoffset":
        value = convert(value, of)
    else:
        value = convert(value, datetime2(of.scale or 0))
    zone = call.compiler.scalar(call.raw[1], call.names)
    return Typed(f"ts_{name}({value.sql}, {zone.sql})", of)


_NOW: dict[str, SqlType] = {
    "GETDATE": DATETIME,
    "GETUTCDATE": DATETIME,
    "CURRENT_TIMESTAMP": DATETIME,
    "CURRENT_DATE": DATE,
    "SYSDATETIME": datetime2(7),
    "SYSUTCDATETIME": datetime2(7),
    "SYSDATETIMEOFFSET": datetimeoffset(7),
}


@function(*_NOW, least=0)
def _now(call: CallSite) -> Typed:
    of = _NOW[call.node.args["this"]]
    return Typed(once(f"ts_now('{of}')"), of, nullable=False)


@function("ISDATE", least=1)
def _isdate(call: CallSite) -> Typed:
    return Typed(f"ts_isdate({call.args[0].sql})", INT, nullable=False)
