"""Small conversions of the interpreter: printf of RAISERROR, delays, fitting values.

Source: SQL Server documentation, "RAISERROR (Transact-SQL)", "WAITFOR (Transact-SQL)",
"SET CONTEXT_INFO".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .. import sqltypes
from ..errors import error
from ..sqltypes import Kind, SqlType, StorageValue

MESSAGE_TYPE = sqltypes.nvarchar(sqltypes.MAX)
_LONGEST_MESSAGE = 2047

_FORMAT = re.compile(r"%([-+0# ]*)(\*|\d+)?(?:\.(\*|\d+))?(h|l|I64)?([diosuxX%])")
_CONTEXT_INFO_LENGTH = 128


def format_message(text: str, arguments: Sequence[StorageValue]) -> str:
    """``%s``, ``%d`` and so on, with the arguments in order; missing ones are ``(null)``."""
    if not arguments and "%" not in text:
        return text[:_LONGEST_MESSAGE]
    rest = list(arguments)
    position = 0

    def take() -> StorageValue:
        nonlocal position
        position += 1
        return rest.pop(0) if rest else None

    def replace(match: re.Match[str]) -> str:
        flags, width, precision, _, kind = match.groups()
        if kind == "%":
            return "%"
        if width == "*":
            width = str(take())
        if precision == "*":
            precision = str(take())
        value = take()
        if value is None:
            return "(null)"
        if kind == "s":
            if not isinstance(value, str):
                raise error(2786, position)
            shown = value[: int(precision)] if precision else value
        else:
            if not isinstance(value, int):
                raise error(2786, position)
            if kind in "oxXu" and value < 0:
                value += 1 << 32
            base = {"o": "o", "x": "x", "X": "X"}.get(kind, "d")
            shown = format(value, base)
            if precision:
                shown = shown.zfill(int(precision))
            if "+" in flags and kind in "di" and value >= 0:
                shown = "+" + shown
            if "#" in flags and kind in "xX":
                shown = f"0{kind}{shown}"
        size = int(width) if width else 0
        if "-" in flags:
            return shown.ljust(size)
        return shown.zfill(size) if "0" in flags and kind != "s" else shown.rjust(size)

    leftover = re.sub(_FORMAT, "", text)
    if "%" in leftover:
        start = leftover.index("%")
        raise error(2787, leftover[start : start + 2])
    return _FORMAT.sub(replace, text)[:_LONGEST_MESSAGE]


def delay(text: str) -> float:
    """``hh:mm[:ss[.mss]]`` in seconds: one of the formats of datetime, so less than a day."""
    match = re.fullmatch(r"\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d+)?)?\s*", text)
    if match is None:
        raise error(148, text)
    hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
        raise error(148, text)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0) + float(fraction or 0)


def context_info(text: str) -> bytes:
    digits = text[2:] if text[:2].lower() == "0x" else ""
    try:
        value = bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
    except ValueError:
        value = b""
    return value[:_CONTEXT_INFO_LENGTH].ljust(_CONTEXT_INFO_LENGTH, b"\0")


_CUT = frozenset({Kind.VARCHAR, Kind.NVARCHAR, Kind.VARBINARY})


def fit(value: StorageValue, declared: SqlType) -> StorageValue:
    """Cut a value to its variable's declared length (plans know a rounded one)."""
    length = declared.length
    if (
        declared.kind in _CUT
        and length is not None
        and length > 0
        and isinstance(value, str | bytes)
        and len(value) > length
    ):
        return value[:length]
    return value
