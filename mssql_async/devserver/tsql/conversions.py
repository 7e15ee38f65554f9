"""Values from one type's storage form to another's.

Source: T-SQL reference, "CAST and CONVERT", "Data type conversion (Database Engine)".
:func:`converter` makes the function for one pair of types; it is pure, so that the
compiler can apply it to constants and SQLite to rows.
"""

from __future__ import annotations

import decimal
import math
import re
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from ..errors import SqlError, error
from ..sqltypes import (
    ANSI_KINDS,
    BINARY_KINDS,
    DATETIME_KINDS,
    DECIMAL_KINDS,
    FLOAT_KINDS,
    INTEGER_KINDS,
    MAX,
    STRING_KINDS,
    UNICODE_KINDS,
    Kind,
    SqlType,
    StorageValue,
)
from . import dates, decimals, strings

Converter = Callable[..., StorageValue]

INTEGER_RANGES = {
    Kind.BIT: (0, 1),
    Kind.TINYINT: (0, 255),
    Kind.SMALLINT: (-(2**15), 2**15 - 1),
    Kind.INT: (-(2**31), 2**31 - 1),
    Kind.BIGINT: (-(2**63), 2**63 - 1),
}
_INTEGER_CODES = {Kind.TINYINT: "INT1", Kind.SMALLINT: "INT2", Kind.INT: "int"}
_INTEGER = re.compile(r"[+-]?\d+$", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)$", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", re.ASCII)
_MONEY = re.compile(r"([+-]?)\s*[$£€¥]?\s*([+-]?)(\d[\d,]*\.?\d*|\.\d+)$", re.ASCII)
_GUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
_FIXED_LENGTH = {Kind.CHAR, Kind.NCHAR}


def _name(kind: Kind) -> str:
    """A type as conversion errors name it: decimal is numeric there."""
    return "numeric" if kind is Kind.DECIMAL else kind.value


# --- to integers --------------------------------------------------------------------------


def _to_integer(source: SqlType, target: SqlType) -> Converter:
    kind = target.kind
    low, high = INTEGER_RANGES[kind]
    bit = kind is Kind.BIT
    from_name, to_name = _name(source.kind), _name(kind)

    def overflow(value: object) -> SqlError:
        if kind in (Kind.TINYINT, Kind.SMALLINT) and source.kind in INTEGER_KINDS:
            return error(220, to_name, value)
        return error(8115, "expression" if source.kind in INTEGER_KINDS else from_name, to_name)

    def of_integer(value: int) -> int:
        if bit:
            return 1 if value else 0
        if not low <= value <= high:
            raise overflow(value)
        return value

    def of_decimal(value: str) -> int:
        number = Decimal(value)
        if bit:
            return 1 if number else 0
        rounding = (
            decimal.ROUND_HALF_UP
            if source.kind in (Kind.MONEY, Kind.SMALLMONEY)
            else decimal.ROUND_DOWN
        )
        return of_integer(int(number.to_integral_value(rounding)))

    def of_float(value: float) -> int:
        if bit:
            return 1 if value else 0
        if not low <= value <= high:
            if kind is not Kind.BIGINT:
                raise error(232, to_name, f"{value:f}")
            raise overflow(value)
        return of_integer(int(value))

    def of_string(value: str) -> int:
        text = value.strip(" ")
        if bit and text.lower() in ("true", "false"):
            return 1 if text.lower() == "true" else 0
        if not text:
            return 0
        if not _INTEGER.match(text):
            if kind is Kind.BIGINT:
                raise error(8114, from_name, to_name)
            raise error(245, from_name, value, to_name)
        number = int(text)
        if bit:
            return 1 if number else 0
        if not low <= number <= high:
            if kind is Kind.BIGINT:
                raise error(8115, "expression", to_name)
            raise SqlError(
                248 if kind is Kind.INT else 244,
                f"The conversion of the {from_name} value '{value}' overflowed an "
                f"{_INTEGER_CODES[kind]} column."
                + ("" if kind is Kind.INT else " Use a larger integer column."),
            )
        return number

    def of_binary(value: bytes) -> int:
        width = {Kind.BIT: 1, Kind.TINYINT: 1, Kind.SMALLINT: 2, Kind.INT: 4}.get(kind, 8)
        number = int.from_bytes(value[-width:], "big", signed=len(value) >= width > 1)
        return (1 if number else 0) if bit else number

    def of_datetime(value: str) -> int:
        moment = dates.ticks(value) - dates.EPOCH
        return of_integer((moment + dates.DAY // 2) // dates.DAY)

    return _by_family(
        source,
        target,
        integer=of_integer,
        decimal=of_decimal,
        floating=of_float,
        string=of_string,
        binary=of_binary,
        datetime=of_datetime,
    )


# --- to decimals --------------------------------------------------------------------------


def _to_decimal(source: SqlType, target: SqlType) -> Converter:
    precision, scale = target.precision or 18, target.scale or 0
    name = _name(target.kind)
    from_name = _name(source.kind)
    low_high = {
        Kind.MONEY: Decimal("922337203685477.5807"),
        Kind.SMALLMONEY: Decimal("214748.3647"),
    }.get(target.kind)

    def fitted(value: Decimal) -> str:
        text = decimals.fit(value, precision, scale, source=from_name, target=name)
        if low_high is not None and abs(Decimal(text)) > low_high:
            raise error(8115, from_name, name)
        return text

    def of_float(value: float) -> str:
        # 17 digits tell a float apart; what lies beyond them is not its value.
        number = Decimal(repr(value)) if math.isfinite(value) else None
        if number is None:
            raise error(8115, from_name, name)
        return fitted(number)

    def of_string(value: str) -> str:
        text = value.strip()
        if target.kind in (Kind.MONEY, Kind.SMALLMONEY):
            match = _MONEY.match(text)
            if not text:
                return fitted(Decimal(0))
            if match is None:
                raise SqlError(
                    235,
                    "Cannot convert a char value to money. The char value has incorrect syntax.",
                )
            return fitted(Decimal((match[1] or match[2]) + match[3].replace(",", "")))
        if not _NUMBER.match(text):
            raise error(8114, from_name, "numeric")
        return fitted(Decimal(text))

    def of_datetime(value: str) -> str:
        return fitted(Decimal(dates.ticks(value) - dates.EPOCH) / dates.DAY)

    return _by_family(
        source,
        target,
        integer=lambda value: fitted(Decimal(value)),
        decimal=lambda value: fitted(Decimal(value)),
        floating=of_float,
        string=of_string,
        datetime=of_datetime,
    )


# --- to floats ----------------------------------------------------------------------------


def to_real(value: float) -> float:
    """The nearest 4-byte float."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise error(8115, "float", "real") from None


def _to_float(source: SqlType, target: SqlType) -> Converter:
    from_name, to_name = _name(source.kind), _name(target.kind)
    single = target.kind is Kind.REAL

    def of_number(value: float | str) -> float:
        number = float(value)
        return to_real(number) if single else number

    def of_string(value: str) -> float:
        text = value.strip()
        if not text:
            return 0.0
        if not _FLOAT.match(text):
            raise error(8114, from_name, to_name)
        number = float(text)
        if math.isinf(number):
            raise error(8115, "expression", to_name)
        return to_real(number) if single else number

    def of_datetime(value: str) -> float:
        return (dates.ticks(value) - dates.EPOCH) / dates.DAY

    return _by_family(
        source,
        target,
        integer=of_number,
        decimal=of_number,
        floating=of_number,
        string=of_string,
        datetime=of_datetime,
    )


# --- to strings ---------------------------------------------------------------------------


def float_text(value: float, style: int) -> str:
    """A float in style 0 (six digits at most), 1 (8 digits), 2 (16) or 3 (17)."""
    if style in (1, 2, 3):
        digits = {1: 7, 2: 15, 3: 16}[style]
        mantissa, exponent = f"{value:.{digits}e}".split("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(3)}"
    text = f"{value:.6g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].zfill(3)}"
    return text


def _to_string(source: SqlType, target: SqlType, style: int) -> Converter:
    show = _shower(source, target, style)
    ansi = target.kind in ANSI_KINDS and "UTF8" not in (target.collation or "").upper()
    convert = ansi and source.kind in UNICODE_KINDS
    limit = target.length
    fixed = target.kind in _FIXED_LENGTH
    from_string = source.kind in STRING_KINDS or source.kind in BINARY_KINDS
    cut_quietly = from_string or source.kind in DATETIME_KINDS

    def run(value: StorageValue) -> str:
        text = show(value)
        if convert:
            text = strings.to_code_page(text)
        if limit is not None and limit != MAX:
            size = len(text) if text.isascii() else strings.length(text)
            if size > limit:
                if not cut_quietly:
                    return _too_long(source, target, limit, fixed=fixed)
                text = strings.cut(text, limit)
            elif fixed and size < limit:
                text += " " * (limit - size)
        return text

    return run


def _too_long(source: SqlType, target: SqlType, limit: int, *, fixed: bool) -> str:
    """A number that does not fit: integers show as ``*`` in char and varchar."""
    if source.kind in INTEGER_KINDS and target.kind in ANSI_KINDS:
        return "*".ljust(limit) if fixed else "*"
    if source.kind is Kind.UNIQUEIDENTIFIER:
        raise SqlError(8170, "Insufficient result space to convert uniqueidentifier value to char.")
    raise error(
        8115,
        "expression" if source.kind in INTEGER_KINDS else _name(source.kind),
        _name(target.kind),
    )


def _shower(source: SqlType, target: SqlType, style: int) -> Callable[[StorageValue], str]:
    kind = source.kind
    if kind in STRING_KINDS or kind is Kind.UNIQUEIDENTIFIER:
        return str
    if kind in INTEGER_KINDS:
        return str
    if kind in (Kind.MONEY, Kind.SMALLMONEY):
        return lambda value: _money_text(str(value), style)
    if kind in DECIMAL_KINDS:
        return str
    if kind in FLOAT_KINDS:
        return lambda value: float_text(float(value or 0), style)
    if kind in BINARY_KINDS:
        return lambda value: _binary_text(_bytes(value), target, style)
    if kind in DATETIME_KINDS:
        return _date_shower(source, target, style)
    return str


def _bytes(value: StorageValue) -> bytes:
    return value if isinstance(value, bytes) else b""


def _money_text(value: str, style: int) -> str:
    number = Decimal(value)
    if style == 2:
        return format(number, ".4f")
    two = number.quantize(Decimal("0.01"), decimal.ROUND_HALF_UP)
    return format(two, ",.2f") if style == 1 else format(two, ".2f")


def _binary_text(value: bytes, target: SqlType, style: int) -> str:
    if style == 1:
        text = "0x" + value.hex().upper()
    elif style == 2:
        text = value.hex().upper()
    else:
        return strings.decoded(value, unicode=target.kind in UNICODE_KINDS)
    return text


_DIGITS = {Kind.DATETIME: 3, Kind.SMALLDATETIME: 0, Kind.DATE: 0}


def _date_shower(source: SqlType, target: SqlType, style: int) -> Callable[[StorageValue], str]:
    kind = source.kind
    digits = _DIGITS.get(kind, 7 if source.scale is None else source.scale)

    def invalid() -> SqlError:
        return error(281, style, _name(kind))

    def run(value: StorageValue) -> str:
        text = str(value)
        offset = None
        if kind is Kind.TIME:
            moment = dates.EPOCH + dates.ticks_of_time(text)
            return _time_text(moment, style, digits, invalid)
        moment = dates.ticks(text)
        if kind is Kind.DATETIMEOFFSET:
            offset = dates.offset_minutes(text)
            moment += offset * dates.MINUTE if style != 127 else 0
        if kind is Kind.DATE:
            return _date_only(moment, style, invalid)
        if kind is Kind.SMALLDATETIME and style in (21, 25, 121, 9, 109, 13, 113, 14, 114):
            shown = dates.show(moment, style, 3)
        else:
            shown = dates.show(
                moment,
                style,
                digits,
                offset if style != 127 else 0 if kind is Kind.DATETIMEOFFSET else None,
            )
        if shown is None:
            raise invalid()
        return shown

    return run


def _date_only(moment: int, style: int, invalid: Callable[[], SqlError]) -> str:
    """date shows no time, whatever the style."""
    if style in (0, 100, 9, 109):
        text = dates.show(moment, 100, 0)
        return (text or "")[:11]
    if style in (13, 113):
        return dates.show(moment, 106, 0) or ""
    if style in (20, 21, 25, 120, 121, 126, 127, 23):
        return dates.date_text(moment)
    if style in (8, 24, 108, 14, 114):
        raise invalid()
    text = dates.show(moment, style, 0)
    if text is None:
        raise invalid()
    return text


def _time_text(moment: int, style: int, digits: int, invalid: Callable[[], SqlError]) -> str:
    if style in (0, 100):
        hour, minute, half = (dates.show(moment, 100, 0) or "")[12:].strip(), "", ""
        return f"{hour}{minute}{half}"
    if style in (9, 109):
        return (dates.show(moment, 109, digits) or "")[12:].strip().replace(":", ":")
    if style in (8, 24, 108, 20, 120):
        return dates.time_text(moment)[:8]
    if style in (14, 114, 13, 113, 21, 25, 121, 126, 127):
        text = dates.time_text(moment)
        mark = ":" if style in (14, 114, 13, 113) else "."
        return text[:8] + (mark + text[9 : 9 + digits] if digits else "")
    raise invalid()


# --- to dates -----------------------------------------------------------------------------


_OLD_DATES = (Kind.DATETIME, Kind.SMALLDATETIME)


def _to_datetime(source: SqlType, target: SqlType, style: int) -> Converter:
    kind = target.kind
    scale = 7 if target.scale is None else target.scale
    from_name, to_name = _name(source.kind), _name(kind)
    style_format = {
        1: "mdy",
        101: "mdy",
        10: "mdy",
        110: "mdy",
        3: "dmy",
        103: "dmy",
        4: "dmy",
        104: "dmy",
        5: "dmy",
        105: "dmy",
        2: "ymd",
        102: "ymd",
        11: "ymd",
        111: "ymd",
        **dict.fromkeys((20, 21, 23, 25, 120, 121, 126, 127), "ymd"),
    }.get(style)

    def out_of_range() -> SqlError:
        if source.kind in STRING_KINDS and kind not in (Kind.DATETIME, Kind.SMALLDATETIME):
            return error(241)
        return error(242, from_name, to_name)

    def finish(moment: int, offset: int | None) -> str:
        """A local moment in the target's form."""
        try:
            return settle(moment, offset)
        except dates.OutOfRange:
            raise out_of_range() from None

    def settle(moment: int, offset: int | None) -> str:
        if kind is Kind.DATE:
            return dates.date_text(moment)
        if kind is Kind.TIME:
            return dates.time_text(dates.rounded(moment, scale))
        if kind is Kind.DATETIME:
            moment = dates.rounded_to_datetime(moment)
            if not dates.FIRST_DATETIME <= moment <= dates.LAST:
                raise out_of_range()
            return dates.moment_text(moment)
        if kind is Kind.SMALLDATETIME:
            moment = dates.rounded_to_minute(moment)
            if not dates.FIRST_SMALL <= moment < dates.LAST_SMALL:
                raise out_of_range()
            return dates.moment_text(moment)
        moment = dates.rounded(moment, scale)
        if kind is Kind.DATETIMEOFFSET:
            minutes = offset or 0
            return dates.zoned_text(moment - minutes * dates.MINUTE, minutes)
        return dates.moment_text(moment)

    def of_string(value: str, date_format: str = "mdy") -> str:
        try:
            parsed = dates.parse(value, style_format or date_format, old=kind in _OLD_DATES)
        except dates.OutOfRange:
            raise out_of_range() from None
        except (ValueError, KeyError):
            raise (error(295) if kind is Kind.SMALLDATETIME else error(241)) from None
        if kind is Kind.DATETIME and (parsed.digits > 3 or parsed.offset is not None):
            raise error(241)
        if kind in (Kind.DATE, Kind.TIME, Kind.DATETIME2) and parsed.offset is not None:
            return finish(parsed.moment, None)
        return finish(parsed.moment, parsed.offset)

    def of_number(value: float | str) -> str:
        days = float(value)
        return finish(dates.EPOCH + round(days * dates.DAY), None)

    source_kind = source.kind

    def of_datetime(value: str) -> str:
        if source_kind is Kind.TIME:
            if kind is Kind.TIME:
                return finish(dates.EPOCH + dates.ticks_of_time(value), None)
            return finish(dates.EPOCH + dates.ticks_of_time(value), None)
        moment = dates.ticks(value)
        if source_kind is Kind.DATETIME and kind not in _OLD_DATES:
            moment = dates.exact(moment)
        if source_kind is Kind.DATETIMEOFFSET:
            minutes = dates.offset_minutes(value)
            return finish(moment + minutes * dates.MINUTE, minutes)
        return finish(moment, None)

    numeric = kind in (Kind.DATETIME, Kind.SMALLDATETIME)
    return _by_family(
        source,
        target,
        integer=of_number if numeric else None,
        decimal=of_number if numeric else None,
        floating=of_number if numeric else None,
        string=of_string,
        datetime=of_datetime,
    )


# --- to binaries and GUIDs ----------------------------------------------------------------


def _to_binary(source: SqlType, target: SqlType, style: int) -> Converter:
    limit = target.length
    fixed = target.kind is Kind.BINARY
    utf8 = "UTF8" in (source.collation or "").upper()

    def cut(value: bytes) -> bytes:
        if limit is None or limit == MAX:
            return value
        return value[:limit].ljust(limit, b"\0") if fixed else value[:limit]

    def of_string(value: str) -> bytes:
        if style in (1, 2):
            digits = value[2:] if style == 1 and value[:2].lower() == "0x" else value
            if style == 1 and value[:2].lower() != "0x":
                raise error(8114, _name(source.kind), _name(target.kind))
            try:
                return cut(bytes.fromhex(digits))
            except ValueError:
                raise error(8114, _name(source.kind), _name(target.kind)) from None
        return cut(strings.encoded(value, unicode=source.kind in UNICODE_KINDS, utf8=utf8))

    def of_integer(value: int) -> bytes:
        width = {Kind.BIT: 1, Kind.TINYINT: 1, Kind.SMALLINT: 2, Kind.INT: 4}.get(source.kind, 8)
        data = value.to_bytes(width, "big", signed=source.kind not in (Kind.BIT, Kind.TINYINT))
        if limit is None or limit == MAX:
            return data
        if fixed:
            return data[-limit:].rjust(limit, b"\xff" if value < 0 else b"\0")
        return data[-limit:]

    def of_guid(value: str) -> bytes:
        return cut(uuid.UUID(value).bytes_le)

    def of_float(value: float) -> bytes:
        return cut(struct.pack(">f" if source.kind is Kind.REAL else ">d", value))

    def of_decimal(value: str) -> bytes:
        if source.kind in (Kind.MONEY, Kind.SMALLMONEY):
            size = 8 if source.kind is Kind.MONEY else 4
            return cut(int(Decimal(value).scaleb(4)).to_bytes(size, "big", signed=True))
        return cut(_decimal_bytes(Decimal(value), source.precision or 18, source.scale or 0))

    def of_datetime(value: str) -> bytes:
        return cut(_datetime_bytes(dates.ticks(value), small=source.kind is Kind.SMALLDATETIME))

    if source.kind is Kind.UNIQUEIDENTIFIER:
        return of_guid
    return _by_family(
        source,
        target,
        integer=of_integer,
        decimal=of_decimal,
        floating=of_float,
        string=of_string,
        binary=cut,
        datetime=of_datetime,
    )


def _decimal_bytes(value: Decimal, precision: int, scale: int) -> bytes:
    """Precision, scale, sign and the digits from the lowest byte on, as SQL Server has them."""
    size = next(size for digits, size in _DECIMAL_SIZES if precision <= digits)
    digits = int(abs(value).scaleb(scale, decimals.CONTEXT))
    return bytes((precision, scale, 0, int(value >= 0))) + digits.to_bytes(size, "little")


_DECIMAL_SIZES = ((9, 4), (19, 8), (28, 12), (38, 16))


def _datetime_bytes(moment: int, *, small: bool) -> bytes:
    """Days since 1900 and 1/300 seconds, or for smalldatetime minutes."""
    days, rest = divmod(moment - dates.EPOCH, dates.DAY)
    if small:
        return days.to_bytes(2, "big") + (rest // dates.MINUTE).to_bytes(2, "big")
    parts = (rest * 300 + dates.SECOND // 2) // dates.SECOND
    return days.to_bytes(4, "big", signed=True) + parts.to_bytes(4, "big")


def _to_guid(source: SqlType, target: SqlType) -> Converter:
    def of_string(value: str) -> str:
        text = value.strip()
        if text.startswith("{"):
            text = text[1:]
        if not _GUID.match(text):
            raise error(8169)
        return text[:36].upper()

    def of_binary(value: bytes) -> str:
        return str(uuid.UUID(bytes_le=value[:16].ljust(16, b"\0"))).upper()

    return _by_family(source, target, string=of_string, binary=of_binary)


# --- choosing -----------------------------------------------------------------------------


def _by_family(
    source: SqlType,
    target: SqlType,
    *,
    integer: Converter | None = None,
    decimal: Converter | None = None,
    floating: Converter | None = None,
    string: Converter | None = None,
    binary: Converter | None = None,
    datetime: Converter | None = None,
) -> Converter:
    kind = source.kind
    found: Converter | None = None
    if kind in INTEGER_KINDS:
        found = integer
    elif kind in DECIMAL_KINDS:
        found = decimal
    elif kind in FLOAT_KINDS:
        found = floating
    elif kind in STRING_KINDS:
        found = string
    elif kind in BINARY_KINDS:
        found = binary
    elif kind in DATETIME_KINDS:
        found = datetime
    elif kind is Kind.SQL_VARIANT:
        return _of_variant(target)
    if found is None:
        raise error(529, str(source.kind.value), str(target.kind.value))
    return found


def _of_variant(target: SqlType) -> Converter:
    """A sql_variant converts as what it holds."""

    def run(value: StorageValue) -> StorageValue:
        if isinstance(value, int):
            source = SqlType(Kind.BIGINT if abs(value) > 2**31 - 1 else Kind.INT)
        elif isinstance(value, float):
            source = SqlType(Kind.FLOAT)
        elif isinstance(value, bytes):
            source = SqlType(Kind.VARBINARY, length=8000)
        else:
            source = SqlType(Kind.NVARCHAR, length=4000)
        return converter(source, target, 0)(value)

    return run


def needs_date_format(source: SqlType, target: SqlType) -> bool:
    """Whether the converter takes the session's DATEFORMAT as its second argument."""
    return source.kind in STRING_KINDS and target.kind in DATETIME_KINDS


def default_style(source: SqlType) -> int:
    """The style of CAST: 121 for the newer date types, else 0."""
    if source.kind in (Kind.DATE, Kind.TIME, Kind.DATETIME2, Kind.DATETIMEOFFSET):
        return 121
    return 0


@lru_cache(maxsize=4096)
def converter(source: SqlType, target: SqlType, style: int | None = None) -> Converter:
    """The function from a value of ``source`` (not NULL) to one of ``target``.

    :raises SqlError: 529 where no conversion exists at all.
    """
    chosen = default_style(source) if style is None else style
    kind = target.kind
    if kind in INTEGER_KINDS:
        return _to_integer(source, target)
    if kind in DECIMAL_KINDS:
        return _to_decimal(source, target)
    if kind in FLOAT_KINDS:
        return _to_float(source, target)
    if kind in STRING_KINDS and source.kind is not Kind.SQL_VARIANT:
        return _to_string(source, target, chosen)
    if kind in DATETIME_KINDS:
        return _to_datetime(source, target, chosen)
    if kind in BINARY_KINDS:
        return _to_binary(source, target, chosen)
    if kind is Kind.UNIQUEIDENTIFIER:
        return _to_guid(source, target)
    return _of_variant(target) if kind in STRING_KINDS else _same


def _same(value: StorageValue) -> StorageValue:
    return value
