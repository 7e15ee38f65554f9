"""Dates and times to 100 nanoseconds, in their storage form.

Python's datetime stops at microseconds, so moments are counted in ticks of 100 ns since
0001-01-01. Source: T-SQL reference, "Date and time data types and functions", "CAST and
CONVERT", "SET DATEFORMAT".
"""

from __future__ import annotations

import datetime as dt
import re
import time as clock
from dataclasses import dataclass
from functools import lru_cache

SECOND = 10_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
#: 1900-01-01, the date of a time alone.
EPOCH = dt.date(1900, 1, 1).toordinal() * DAY
FIRST_DATETIME = dt.date(1753, 1, 1).toordinal() * DAY
FIRST_SMALL = EPOCH
LAST_SMALL = dt.date(2079, 6, 7).toordinal() * DAY
FIRST = DAY
LAST = (dt.date.max.toordinal() + 1) * DAY - 1
_UNIX = dt.date(1970, 1, 1).toordinal() * DAY
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


class OutOfRange(ValueError):
    """A date SQL Server cannot hold, or a number that makes none."""


# --- storage form and ticks ---------------------------------------------------------------


def ticks_of_date(text: str) -> int:
    return _ordinal(text[:10]) * DAY


def ticks_of_time(text: str) -> int:
    fraction = text[9:16]
    return (
        int(text[0:2]) * HOUR
        + int(text[3:5]) * MINUTE
        + int(text[6:8]) * SECOND
        + (int(fraction.ljust(7, "0")) if fraction else 0)
    )


@lru_cache(maxsize=4096)
def _ordinal(text: str) -> int:
    return dt.date(int(text[0:4]), int(text[5:7]), int(text[8:10])).toordinal()


def ticks(text: str) -> int:
    """Ticks of ``YYYY-MM-DD`` or ``YYYY-MM-DD HH:MM:SS.fffffff``."""
    if len(text) == 10:
        return _ordinal(text) * DAY
    return _ordinal(text[:10]) * DAY + ticks_of_time(text[11:27])


def offset_minutes(text: str) -> int:
    """The offset at the end of a datetimeoffset's storage form."""
    sign = -1 if text[27] == "-" else 1
    return sign * (int(text[28:30]) * 60 + int(text[31:33]))


def date_text(moment: int) -> str:
    return _date_text(moment // DAY)


@lru_cache(maxsize=4096)
def _date_text(ordinal: int) -> str:
    if not 1 <= ordinal <= dt.date.max.toordinal():
        raise OutOfRange
    return dt.date.fromordinal(ordinal).isoformat()


def time_text(moment: int) -> str:
    rest = moment % DAY
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, fraction = divmod(rest, SECOND)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{fraction:07}"


def moment_text(moment: int) -> str:
    return f"{_date_text(moment // DAY)} {time_text(moment)}"


def offset_text(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    return f"{sign}{hours:02}:{rest:02}"


def zoned_text(utc: int, minutes: int) -> str:
    return moment_text(utc) + offset_text(minutes)


def rounded(moment: int, scale: int) -> int:
    """To ``scale`` fractional digits, half up."""
    unit = 10 ** (7 - scale)
    return (moment + unit // 2) // unit * unit if unit > 1 else moment


def rounded_to_datetime(moment: int) -> int:
    """To SQL Server's 1/300 second, shown as .000, .003, .007."""
    day, rest = divmod(moment, DAY)
    parts = (rest * 300 + SECOND // 2) // SECOND
    milliseconds = (parts * 10 + 1) // 3
    return day * DAY + milliseconds * (SECOND // 1000)


def exact(moment: int) -> int:
    """What a datetime stands for: whole 1/300 seconds, which its milliseconds only show.

    Source: "Breaking changes … in SQL Server 2016": from compatibility level 130 on,
    conversions to the newer types account "for the fractional milliseconds".
    """
    second = moment // SECOND
    return second * SECOND + (_clock_parts(moment) * SECOND + 150) // 300


def _clock_parts(moment: int) -> int:
    """The 1/300 seconds of a datetime beyond its whole second."""
    return (moment % SECOND * 300 + SECOND // 2) // SECOND


FRACTIONS = {"millisecond": 10**3, "microsecond": 10**6, "nanosecond": 10**9}


def fraction_of_datetime(name: str, moment: int) -> int:
    """DATEPART of a datetime, at compatibility level 130 and later: .187 has 186 milliseconds,
    since it stands for .18666…"""
    return _clock_parts(moment) * FRACTIONS[name] // 300


def rounded_to_minute(moment: int) -> int:
    """smalldatetime: "29.998 seconds or less are rounded down to the nearest minute. Values of
    29.999 seconds or more are rounded up", which is half a minute of a datetime."""
    return (rounded_to_datetime(moment) + 30 * SECOND) // MINUTE * MINUTE


def now_utc() -> int:
    return _UNIX + clock.time_ns() // 100


# --- parsing ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parsed:
    """``moment`` in local ticks; ``offset`` in minutes or None; what was given."""

    moment: int
    offset: int | None
    has_date: bool
    has_time: bool
    digits: int = 0


_TIME = re.compile(
    r"(?:^|[\sT])(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.:](\d{1,9}))?)?\s*([AaPp][Mm])?"
    r"\s*(Z|[+-]\d{1,2}:\d{2})?\s*$",
    re.ASCII,
)
_HOUR_ONLY = re.compile(r"(?:^|\s)(\d{1,2})\s*([AaPp][Mm])\s*$", re.ASCII)
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})$", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})$", re.ASCII)
_SHORT = re.compile(r"(\d{2})(\d{2})(\d{2})$", re.ASCII)
_YEAR = re.compile(r"(\d{4})$", re.ASCII)
_NUMERIC = re.compile(r"(\d{1,4})\s*[-/.]\s*(\d{1,2})\s*[-/.]\s*(\d{1,4})$", re.ASCII)
_WORDY = (
    re.compile(r"(?P<m>[A-Za-z]{3,9})\s+(?P<d>\d{1,2})\s*,?\s+(?P<y>\d{2,4})$"),
    re.compile(r"(?P<d>\d{1,2})[\s-]+(?P<m>[A-Za-z]{3,9})\s*,?[\s-]+(?P<y>\d{2,4})$"),
    re.compile(r"(?P<y>\d{4})\s+(?P<m>[A-Za-z]{3,9})\s+(?P<d>\d{1,2})$"),
    re.compile(r"(?P<m>[A-Za-z]{3,9})\s*,?\s*(?P<y>\d{4})$"),
)


def parse(text: str, date_format: str, *, old: bool = False) -> Parsed:
    """A character string as a moment.

    To the ``old`` types, datetime and smalldatetime, yyyy-mm-dd has its month where DATEFORMAT
    has it, unless a T follows; the newer ones always read it as ISO 8601 does.

    :raises ValueError: it is none.
    :raises OutOfRange: it has the form of one, with a number out of range.
    """
    stripped = text.strip()
    if not stripped:
        return Parsed(EPOCH, None, has_date=False, has_time=False)
    of_day, offset, digits = 0, None, 0
    has_time = False
    date_part = stripped
    match = _TIME.search(stripped)
    if match is not None:
        of_day, offset, digits = _time_of(match)
        has_time = True
        date_part = stripped[: match.start()].strip()
    else:
        hour = _HOUR_ONLY.search(stripped)
        if hour is not None:
            of_day = _twelve(int(hour[1]), hour[2]) * HOUR
            has_time = True
            date_part = stripped[: hour.start()].strip()
        elif stripped.endswith(("Z", "z")):
            raise ValueError(text)
        else:
            zone = re.search(r"\s*([+-]\d{2}:\d{2})$", stripped)
            if zone is not None:
                offset = _offset_of(zone[1])
                date_part = stripped[: zone.start()].strip()
    if not date_part:
        return Parsed(EPOCH + of_day, offset, has_date=False, has_time=True, digits=digits)
    iso = not old or (match is not None and match[0].startswith("T"))
    year, month, day = _date_of(date_part, date_format, iso=iso)
    try:
        ordinal = dt.date(year, month, day).toordinal()
    except ValueError:
        raise OutOfRange from None
    moment = ordinal * DAY + of_day
    return Parsed(moment, offset, has_date=True, has_time=has_time, digits=digits)


def _twelve(hour: int, half: str) -> int:
    if not 0 <= hour <= 12:
        raise OutOfRange
    return hour % 12 + (12 if half.lower() == "pm" else 0)


def _offset_of(text: str) -> int:
    if text == "Z":
        return 0
    sign = -1 if text[0] == "-" else 1
    hours, minutes = text[1:].split(":")
    total = int(hours) * 60 + int(minutes)
    if total > 14 * 60 or int(minutes) > 59:
        raise OutOfRange
    return sign * total


def _time_of(match: re.Match[str]) -> tuple[int, int | None, int]:
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    fraction = match[4] or ""
    if match[5]:
        if hour > 12:
            if match[5].lower() == "am":
                raise OutOfRange
        else:
            hour = _twelve(hour, match[5])
    if hour > 23 or minute > 59 or second > 59:
        raise OutOfRange
    kept = fraction[:7].ljust(7, "0")
    of_day = hour * HOUR + minute * MINUTE + second * SECOND + int(kept)
    if len(fraction) > 7 and fraction[7] >= "5":
        of_day += 1
    return of_day, None if match[6] is None else _offset_of(match[6]), len(fraction)


def _full_year(year: int, digits: int) -> int:
    """Two digits mean 2000 to 2049 and 1950 to 1999 (two digit year cutoff 2049)."""
    if digits > 2:
        return year
    return 2000 + year if year < 50 else 1900 + year


def _date_of(text: str, date_format: str, *, iso: bool) -> tuple[int, int, int]:
    text = text.rstrip("T").strip()
    if iso and (match := _ISO.match(text)):
        return int(match[1]), int(match[2]), int(match[3])
    if match := _COMPACT.match(text):
        return int(match[1]), int(match[2]), int(match[3])
    if match := _SHORT.match(text):
        return _full_year(int(match[1]), 2), int(match[2]), int(match[3])
    if match := _YEAR.match(text):
        return int(match[1]), 1, 1
    if match := _NUMERIC.match(text):
        return _numeric_date(match[1], match[2], match[3], date_format)
    for pattern in _WORDY:
        if match := pattern.match(text):
            parts = match.groupdict()
            month = _month_number(parts["m"])
            day = int(parts["d"]) if parts.get("d") else 1
            return _full_year(int(parts["y"]), len(parts["y"])), month, day
    raise ValueError(text)


def _month_number(name: str) -> int:
    folded = name.lower()
    for position, month in enumerate(MONTHS, start=1):
        if folded in (month.lower(), month[:3].lower()):
            return position
    raise ValueError(name)


def _numeric_date(first: str, second: str, third: str, date_format: str) -> tuple[int, int, int]:
    if len(first) == 4:
        # Year first: the rest keeps the order it has in the format without the year.
        order = [part for part in date_format if part != "y"]
        values = dict(zip(order, (second, third), strict=True))
        if len(third) > 2:
            raise ValueError(third)
        return int(first), int(values["m"]), int(values["d"])
    if len(third) > 2:
        if len(third) != 4:
            raise ValueError(third)
        order = [part for part in date_format if part != "y"]
        values = dict(zip(order, (first, second), strict=True))
        return int(third), int(values["m"]), int(values["d"])
    values = dict(zip(date_format, (first, second, third), strict=True))
    if any(len(value) > 2 for value in values.values()):
        raise ValueError(first)
    return _full_year(int(values["y"]), len(values["y"])), int(values["m"]), int(values["d"])


# --- parts --------------------------------------------------------------------------------

PARTS = {
    name: part
    for part, names in {
        "year": "year yy yyyy",
        "quarter": "quarter qq q",
        "month": "month mm m",
        "dayofyear": "dayofyear dy y",
        "day": "day dd d",
        "week": "week wk ww",
        "weekday": "weekday dw w",
        "hour": "hour hh",
        "minute": "minute mi n",
        "second": "second ss s",
        "millisecond": "millisecond ms",
        "microsecond": "microsecond mcs",
        "nanosecond": "nanosecond ns",
        "tzoffset": "tzoffset tz",
        "iso_week": "iso_week isowk isoww",
    }.items()
    for name in names.split(" ")
}
_FIXED = {
    "week": 7 * DAY,
    "day": DAY,
    "dayofyear": DAY,
    "weekday": DAY,
    "hour": HOUR,
    "minute": MINUTE,
    "second": SECOND,
    "millisecond": SECOND // 1000,
    "microsecond": SECOND // 1_000_000,
}
_MONTHS_IN = {"year": 12, "quarter": 3, "month": 1}


def part(name: str, moment: int, date_first: int, offset: int = 0) -> int:
    """DATEPART. ``moment`` is local."""
    of_day = moment % DAY
    if name == "hour":
        return of_day // HOUR
    if name == "minute":
        return of_day // MINUTE % 60
    if name == "second":
        return of_day // SECOND % 60
    fraction = of_day % SECOND
    if name == "millisecond":
        return fraction // (SECOND // 1000)
    if name == "microsecond":
        return fraction // 10
    if name == "nanosecond":
        return fraction * 100
    if name == "tzoffset":
        return offset
    date = dt.date.fromordinal(moment // DAY)
    if name == "year":
        return date.year
    if name == "month":
        return date.month
    if name == "day":
        return date.day
    if name == "quarter":
        return (date.month + 2) // 3
    if name == "dayofyear":
        return date.timetuple().tm_yday
    if name == "weekday":
        return (date.isoweekday() - date_first) % 7 + 1
    if name == "iso_week":
        return date.isocalendar().week
    first = date.replace(month=1, day=1)
    lead = (first.isoweekday() - date_first) % 7
    return (date.timetuple().tm_yday - 1 + lead) // 7 + 1


def part_name(name: str, moment: int, date_first: int, offset: int = 0) -> str:
    """DATENAME in us_english."""
    if name == "month":
        return MONTHS[dt.date.fromordinal(moment // DAY).month - 1]
    if name == "weekday":
        return WEEKDAYS[dt.date.fromordinal(moment // DAY).weekday()]
    if name == "tzoffset":
        return offset_text(offset)
    return str(part(name, moment, date_first, offset))


def add(name: str, amount: int, moment: int) -> int:
    """DATEADD.

    :raises OutOfRange: the result is before year 1 or after 9999.
    """
    if name == "nanosecond":
        ticks_added = abs(amount) // 100 * (1 if amount >= 0 else -1)
        if abs(amount) % 100 >= 50:
            ticks_added += 1 if amount >= 0 else -1
        result = moment + ticks_added
    elif name in _FIXED:
        result = moment + amount * _FIXED[name]
    else:
        date = dt.date.fromordinal(moment // DAY)
        months = date.year * 12 + date.month - 1 + amount * _MONTHS_IN[name]
        year, month = divmod(months, 12)
        if not 1 <= year <= 9999:
            raise OutOfRange
        day = min(date.day, _days_in(year, month + 1))
        result = dt.date(year, month + 1, day).toordinal() * DAY + moment % DAY
    if not FIRST <= result <= LAST:
        raise OutOfRange
    return result


def _days_in(year: int, month: int) -> int:
    following = (
        dt.date(year + month // 12, month % 12 + 1, 1) if year < 9999 or month < 12 else None
    )
    return 31 if following is None else (following - dt.timedelta(days=1)).day


def end_of_month(moment: int) -> int:
    date = dt.date.fromordinal(moment // DAY)
    return date.replace(day=_days_in(date.year, date.month)).toordinal() * DAY


def difference(name: str, start: int, end: int) -> int:
    """DATEDIFF: boundaries crossed. Weeks begin on Sunday whatever DATEFIRST says."""
    if name in _MONTHS_IN:
        first = dt.date.fromordinal(start // DAY)
        last = dt.date.fromordinal(end // DAY)
        unit = _MONTHS_IN[name]
        return (last.year * 12 + last.month - 1) // unit - (
            first.year * 12 + first.month - 1
        ) // unit
    if name == "week":
        return end // DAY // 7 - start // DAY // 7
    if name == "nanosecond":
        return (end - start) * 100
    unit = _FIXED[name]
    return end // unit - start // unit


def truncated(name: str, moment: int, date_first: int) -> int:
    """DATETRUNC."""
    if name in _MONTHS_IN:
        date = dt.date.fromordinal(moment // DAY)
        unit = _MONTHS_IN[name]
        month = (date.month - 1) // unit * unit + 1
        return dt.date(date.year, month, 1).toordinal() * DAY
    if name in ("week", "iso_week"):
        first = 1 if name == "iso_week" else date_first
        ordinal = moment // DAY
        weekday = dt.date.fromordinal(ordinal).isoweekday()
        return (ordinal - (weekday - first) % 7) * DAY
    return moment // _FIXED[name] * _FIXED[name]


# --- showing ------------------------------------------------------------------------------


def _twelve_hours(moment: int) -> tuple[int, int, str]:
    hour = moment % DAY // HOUR
    return (hour % 12 or 12), moment % DAY // MINUTE % 60, "AM" if hour < 12 else "PM"


def show(moment: int, style: int, digits: int, offset: int | None = None) -> str | None:
    """CONVERT to a string in ``style``; None where the style is not one.

    ``digits`` is how many fractional digits the type has.
    """
    day_text = _date_text(moment // DAY)
    year, month, day = day_text[:4], day_text[5:7], day_text[8:10]
    short = year if style >= 100 else year[2:]
    clock_text = time_text(moment)
    hms = clock_text[:8]
    fraction = clock_text[9 : 9 + digits]
    name = MONTHS[int(month) - 1][:3]
    hour12, minute, half = _twelve_hours(moment)
    plain_day = int(day)
    base = style - 100 if style >= 100 else style
    zone = "" if offset is None else f" {offset_text(offset)}"
    dotted = f"{hms}.{fraction}" if fraction else hms
    coloned = f"{hms}:{fraction}" if fraction else hms
    if style in (0, 100):
        return f"{name} {plain_day:>2} {year} {hour12:>2}:{minute:02}{half}{zone}"
    if style in (9, 109):
        tail = f":{fraction}" if fraction else ""
        return f"{name} {plain_day:>2} {year} {hour12:>2}{hms[2:]}{tail}{half}{zone}"
    if style in (13, 113):
        return f"{plain_day:02} {name} {year} {coloned}{zone}"
    if style in (20, 120):
        return f"{day_text} {hms}{zone}"
    if style in (21, 25, 121):
        return f"{day_text} {dotted}{zone}"
    if style == 22:
        return f"{month}/{day}/{year[2:]} {hour12:>2}{hms[2:]} {half}{zone}"
    if style == 23:
        return day_text
    if style in (8, 24, 108):
        return hms
    if style in (14, 114):
        return coloned
    if style in (126, 127):
        shown = f"{day_text}T{hms}"
        if fraction.strip("0"):
            shown += f".{fraction}"
        if offset is not None:
            shown += "Z" if style == 127 and offset == 0 else offset_text(offset)
        return shown
    simple = {
        1: f"{month}/{day}/{short}",
        2: f"{short}.{month}.{day}",
        3: f"{day}/{month}/{short}",
        4: f"{day}.{month}.{short}",
        5: f"{day}-{month}-{short}",
        6: f"{day} {name} {short}",
        7: f"{name} {day}, {short}",
        10: f"{month}-{day}-{short}",
        11: f"{short}/{month}/{day}",
        12: f"{short}{month}{day}",
    }
    if base in simple and style < 113:
        return simple[base]
    return None
