"""Dates and times between their storage form and the numbers TDS sends (2.2.5.5.1).

Times of day are counted in ticks of 100 ns, dates in days since 0001-01-01.
"""

from __future__ import annotations

import datetime
import functools

from .packets import ProtocolError

TICKS_PER_MILLISECOND = 10_000
TICKS_PER_SECOND = 10_000_000
TICKS_PER_MINUTE = 60 * TICKS_PER_SECOND
TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND
_DAYS_1900 = datetime.date(1900, 1, 1).toordinal() - 1
_MAX_DAY = datetime.date.max.toordinal() - 1
_JIFFIES_PER_DAY = 86_400 * 300
MAX_OFFSET_MINUTES = 14 * 60


@functools.lru_cache(maxsize=4096)
def days_of(date: str) -> int:
    """``YYYY-MM-DD`` as days since 0001-01-01."""
    return datetime.date.fromisoformat(date).toordinal() - 1


@functools.lru_cache(maxsize=4096)
def date_of(days: int) -> str:
    """Days since 0001-01-01 as ``YYYY-MM-DD``.

    :raises ProtocolError: outside 0001-01-01 … 9999-12-31.
    """
    if not 0 <= days <= _MAX_DAY:
        raise ProtocolError(f"date of {days} days since 0001-01-01")
    return datetime.date.fromordinal(days + 1).isoformat()


def ticks_of(time: str) -> int:
    """``HH:MM:SS.fffffff`` as ticks."""
    fraction = time[9:16]
    if len(fraction) != 7:
        fraction = fraction.ljust(7, "0")
    return ((int(time[0:2]) * 60 + int(time[3:5])) * 60 + int(time[6:8])) * TICKS_PER_SECOND + int(
        fraction
    )


def time_of(ticks: int) -> str:
    """Ticks as ``HH:MM:SS.fffffff``.

    :raises ProtocolError: for a day or more.
    """
    if not 0 <= ticks < TICKS_PER_DAY:
        raise ProtocolError(f"time of day of {ticks} ticks")
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{fraction:07}"


def datetime_numbers(value: str) -> tuple[int, int]:
    """``YYYY-MM-DD HH:MM:SS.fffffff`` as a datetime: days since 1900-01-01 and 1/300 s,
    rounded to the nearest as SQL Server does."""
    days = days_of(value[:10]) - _DAYS_1900
    jiffies = (ticks_of(value[11:]) * 300 + TICKS_PER_SECOND // 2) // TICKS_PER_SECOND
    if jiffies >= _JIFFIES_PER_DAY:
        return days + 1, 0
    return days, jiffies


def datetime_text(days: int, jiffies: int) -> str:
    """The storage form of a datetime, whose thousandths SQL Server shows as 0, 3 or 7."""
    if not 0 <= jiffies < _JIFFIES_PER_DAY:
        raise ProtocolError(f"time of day of {jiffies}/300 seconds")
    milliseconds = (jiffies * 10 + 1) // 3
    return f"{date_of(days + _DAYS_1900)} {time_of(milliseconds * TICKS_PER_MILLISECOND)}"


def smalldatetime_numbers(value: str) -> tuple[int, int]:
    """A smalldatetime: days since 1900-01-01 and minutes, rounded to the nearest."""
    days = days_of(value[:10]) - _DAYS_1900
    minutes = (ticks_of(value[11:]) + TICKS_PER_MINUTE // 2) // TICKS_PER_MINUTE
    if minutes >= 24 * 60:
        return days + 1, 0
    return days, minutes


def smalldatetime_text(days: int, minutes: int) -> str:
    if minutes >= 24 * 60:
        raise ProtocolError(f"time of day of {minutes} minutes")
    return f"{date_of(days + _DAYS_1900)} {minutes // 60:02}:{minutes % 60:02}:00.0000000"


def offset_minutes(value: str) -> int:
    """The minutes of the ``+HH:MM`` that ends a datetimeoffset's storage form."""
    minutes = int(value[-5:-3]) * 60 + int(value[-2:])
    return -minutes if value[-6] == "-" else minutes


def offset_text(minutes: int) -> str:
    if not -MAX_OFFSET_MINUTES <= minutes <= MAX_OFFSET_MINUTES:
        raise ProtocolError(f"time zone offset of {minutes} minutes")
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"


def displayed_offset(value: str) -> str:
    """A datetimeoffset as T-SQL shows it: local time, a blank, the offset."""
    minutes = offset_minutes(value)
    days, ticks = divmod(
        days_of(value[:10]) * TICKS_PER_DAY + ticks_of(value[11:27]) + minutes * TICKS_PER_MINUTE,
        TICKS_PER_DAY,
    )
    return f"{date_of(days)} {time_of(ticks)} {offset_text(minutes)}"
