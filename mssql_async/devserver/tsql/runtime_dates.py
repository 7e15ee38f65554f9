"""What SQLite calls for date functions. See :mod:`.functions_date`."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from functools import lru_cache

from ..errors import error
from ..sqltypes import Kind, SqlType
from . import dates
from .parser import parse_type

_LONG = 27


@lru_cache(maxsize=256)
def type_named(text: str) -> SqlType:
    return parse_type(text)


def local(text: str) -> tuple[int, int]:
    """Local ticks and the offset of any date or time in storage form."""
    if len(text) == 16:
        return dates.EPOCH + dates.ticks_of_time(text), 0
    moment = dates.ticks(text)
    if len(text) > _LONG:
        minutes = dates.offset_minutes(text)
        return moment + minutes * dates.MINUTE, minutes
    return moment, 0


def utc(text: str) -> int:
    if len(text) == 16:
        return dates.EPOCH + dates.ticks_of_time(text)
    return dates.ticks(text)


def settled(moment: int, offset: int, of: SqlType) -> str:
    """A local moment in the storage form of a type."""
    kind = of.kind
    if kind is Kind.DATE:
        return dates.date_text(moment)
    if kind is Kind.TIME:
        return dates.time_text(dates.rounded(moment, of.scale or 0))
    if kind is Kind.DATETIME:
        moment = dates.rounded_to_datetime(moment)
        if moment < dates.FIRST_DATETIME:
            raise dates.OutOfRange
        return dates.moment_text(moment)
    if kind is Kind.SMALLDATETIME:
        moment = dates.rounded_to_minute(moment)
        if not dates.FIRST_SMALL <= moment < dates.LAST_SMALL:
            raise dates.OutOfRange
        return dates.moment_text(moment)
    moment = dates.rounded(moment, 7 if of.scale is None else of.scale)
    if kind is Kind.DATETIMEOFFSET:
        return dates.zoned_text(moment - offset * dates.MINUTE, offset)
    return dates.moment_text(moment)


def fraction_of_datetime(part: str, text: str) -> int:
    return dates.fraction_of_datetime(part, dates.ticks(text))


def date_add(part: str, amount: int, text: str, type_text: str) -> str:
    of = type_named(type_text)
    moment, offset = local(text)
    try:
        result = dates.add(part, amount, moment)
        if of.kind is Kind.TIME:
            result = dates.EPOCH + result % dates.DAY
        return settled(result, offset, of)
    except (dates.OutOfRange, OverflowError):
        raise error(517, of.kind.value) from None


def date_diff(part: str, start: str, end: str) -> int:
    result = dates.difference(part, utc(start), utc(end))
    if not -(2**31) <= result < 2**31:
        raise error(535, "datediff")
    return result


def date_diff_big(part: str, start: str, end: str) -> int:
    result = dates.difference(part, utc(start), utc(end))
    if not -(2**63) <= result < 2**63:
        raise error(535, "datediff_big")
    return result


def end_of_month(text: str, months: int) -> str:
    try:
        return dates.date_text(dates.end_of_month(dates.add("month", months, dates.ticks(text))))
    except dates.OutOfRange:
        raise error(517, "date") from None


def from_parts(type_text: str, *parts: int) -> str:
    of = type_named(type_text)
    try:
        return _from_parts(of, parts)
    except (ValueError, OverflowError):
        raise error(289, of.kind.value) from None


def _from_parts(of: SqlType, parts: tuple[int, ...]) -> str:
    kind = of.kind
    if kind is Kind.TIME:
        hour, minute, second, fraction, scale = parts
        return dates.time_text(dates.EPOCH + _of_day(hour, minute, second, fraction, scale))
    year, month, day, *rest = parts
    moment = dt.date(year, month, day).toordinal() * dates.DAY
    if kind is Kind.DATE:
        return dates.date_text(moment)
    if kind is Kind.SMALLDATETIME:
        moment += _of_day(rest[0], rest[1], 0, 0, 0)
    elif kind is Kind.DATETIME:
        moment += _of_day(rest[0], rest[1], rest[2], rest[3], 3)
    elif kind is Kind.DATETIME2:
        moment += _of_day(rest[0], rest[1], rest[2], rest[3], rest[4])
    else:
        hour, minute, second, fraction, hours, minutes, scale = rest
        if abs(hours) > 14 or abs(minutes) > 59 or hours * minutes < 0:
            raise ValueError(hours)
        offset = hours * 60 + minutes
        moment += _of_day(hour, minute, second, fraction, scale)
        return settled(moment, offset, of)
    return settled(moment, 0, of)


def _of_day(hour: int, minute: int, second: int, fraction: int, scale: int) -> int:
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        raise ValueError(hour)
    if not 0 <= fraction < 10 ** max(scale, 1):
        raise ValueError(fraction)
    return (
        hour * dates.HOUR
        + minute * dates.MINUTE
        + second * dates.SECOND
        + fraction * int(10 ** (7 - scale))
    )


def _minutes(zone: int | str, name: str) -> int:
    """An offset given as minutes or as ``+hh:mm``."""
    if isinstance(zone, int):
        minutes = zone
    else:
        sign = -1 if zone.startswith("-") else 1
        try:
            hours, rest = zone.lstrip("+-").split(":")
            minutes = sign * (int(hours) * 60 + int(rest))
        except ValueError:
            raise error(9812, name) from None
    if abs(minutes) > 14 * 60:
        raise error(9812, name)
    return minutes


def switch_offset(text: str, zone: int | str) -> str:
    return text[:_LONG] + dates.offset_text(_minutes(zone, "switchoffset"))


def to_offset(text: str, zone: int | str) -> str:
    minutes = _minutes(zone, "todatetimeoffset")
    return dates.zoned_text(dates.ticks(text) - minutes * dates.MINUTE, minutes)


#: Windows' names of the zones people write most; IANA's work too.
_WINDOWS_ZONES = {
    "utc": "UTC", "gmt standard time": "Europe/London", "greenwich standard time": "Africa/Abidjan",
    "w. europe standard time": "Europe/Berlin", "romance standard time": "Europe/Paris",
    "central europe standard time": "Europe/Budapest",
    "central european standard time": "Europe/Warsaw", "e. europe standard time": "Europe/Chisinau",
    "fle standard time": "Europe/Kyiv", "russian standard time": "Europe/Moscow",
    "eastern standard time": "America/New_York", "central standard time": "America/Chicago",
    "mountain standard time": "America/Denver", "pacific standard time": "America/Los_Angeles",
    "china standard time": "Asia/Shanghai", "tokyo standard time": "Asia/Tokyo",
    "india standard time": "Asia/Kolkata", "aus eastern standard time": "Australia/Sydney",
    "e. south america standard time": "America/Sao_Paulo",
}  # fmt: skip


@lru_cache(maxsize=64)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(_WINDOWS_ZONES.get(name.lower(), name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise error(9820, name) from None


def at_time_zone(text: str, zone: str, has_offset: int) -> str:
    """AT TIME ZONE: gives a local time its zone, or shows an instant in it."""
    found = _zone(zone)
    moment = dates.ticks(text)
    seconds = moment // dates.SECOND
    since = dt.timedelta(seconds=seconds - dates.DAY // dates.SECOND)
    reference = dt.datetime(1, 1, 1, tzinfo=dt.UTC) + since
    if has_offset:
        aware = reference.astimezone(found)
        minutes = int((aware.utcoffset() or dt.timedelta()).total_seconds()) // 60
        return dates.zoned_text(moment, minutes)
    aware = reference.replace(tzinfo=found)
    minutes = int((aware.utcoffset() or dt.timedelta()).total_seconds()) // 60
    return dates.zoned_text(moment - minutes * dates.MINUTE, minutes)


def arithmetic(left: str, right: str, operator: str) -> str:
    """datetime + datetime: both count days from 1900-01-01."""
    a, b = dates.ticks(left) - dates.EPOCH, dates.ticks(right) - dates.EPOCH
    try:
        moment = dates.EPOCH + (a + b if operator == "+" else a - b)
        return settled(moment, 0, SqlType(Kind.DATETIME))
    except dates.OutOfRange:
        raise error(8115, "expression", "datetime") from None


def moment_of_string(text: str, date_format: str) -> str:
    """A string as a date function reads it: with an offset if it has one."""
    try:
        parsed = dates.parse(text, date_format)
        if parsed.offset is not None:
            utc_moment = parsed.moment - parsed.offset * dates.MINUTE
            return dates.zoned_text(utc_moment, parsed.offset)
        return dates.moment_text(parsed.moment)
    except (ValueError, KeyError):
        raise error(241) from None


def is_date(value: object, date_format: str) -> int:
    if not isinstance(value, str):
        return 0
    try:
        parsed = dates.parse(value, date_format, old=True)
    except (ValueError, KeyError):
        return 0
    return int(bool(value.strip()) and parsed.moment >= dates.FIRST_DATETIME and parsed.digits <= 3)
