"""From storage form to the wire: TYPE_INFO and an encoder for every type.

An encoder is built once per column and called once per value; it returns the value
with its length prefix (MS-TDS 2.2.5.5). The nullable form of each type is used
throughout, so that no value can be mistaken for the next one's beginning.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, NamedTuple

from ..sqltypes import MAX, Kind, SqlType, StorageValue
from . import temporal
from .collations import DEFAULT_COLLATION_BYTES, collation_bytes, encode_ansi, encode_utf8, is_utf8
from .types import MAX_BYTES, PLP, TdsVersion, TypeToken, magnitude_size, time_size

# The values of one column have one type, which the SqlType says and mypy cannot know.
Encoder = Callable[[Any], bytes]

_NULL_BYTE = b"\x00"
_NULL_SHORT = b"\xff\xff"
_NULL_LONG = b"\x00\x00\x00\x00"
_NULL_PLP = b"\xff" * 8
_PLP_END = b"\x00" * 4
_U16 = struct.Struct("<H").pack
_I32 = struct.Struct("<i").pack
_U32 = struct.Struct("<I").pack
_PLP_BEGIN = struct.Struct("<QI").pack

# SQL Server sends a text pointer and a timestamp before every text value; no client
# looks into them.
_TEXT_POINTER = b"\x10" + b"mssql_async text" + b"mssqltds"
_LEGACY_MAX = 0x7FFF_FFFF
_LEGACY_UNICODE_MAX = 0x7FFF_FFFE
_EXACT = Context(prec=80)

ROWVERSION_USER_TYPE = 0x50


class UnencodableValueError(ValueError):
    """The engine handed over a value that does not fit the type it announced."""


class Dialect(NamedTuple):
    """What the login agreed on that changes how values are written."""

    version: TdsVersion = TdsVersion.V7_4
    utf8: bool = False

    @property
    def knows_date_types(self) -> bool:
        return self.version.knows_date_types


@dataclass(frozen=True, slots=True)
class TypeEncoding:
    """A type on the wire. ``info`` is its TYPE_INFO, ``table_name`` what COLMETADATA
    appends to it for text, ntext and image, ``encode`` makes a value."""

    info: bytes
    encode: Encoder
    user_type: int = 0
    table_name: bytes = b""


def _integer(size: int, code: str) -> Encoder:
    pack = struct.Struct(f"<B{code}").pack

    def encode(value: int | None) -> bytes:
        return _NULL_BYTE if value is None else pack(size, value)

    return encode


def _bit(value: int | None) -> bytes:
    if value is None:
        return _NULL_BYTE
    return b"\x01\x01" if value else b"\x01\x00"


def _unscaled(text: str, scale: int) -> int:
    """The digits of a decimal's storage form as an integer of ``10 ** -scale``."""
    if scale:
        if text[-scale - 1 : -scale] == ".":
            return int(text[: -scale - 1] + text[-scale:])
    elif "." not in text:
        return int(text)
    # Not the storage form's number of digits: take the value, not its digits.
    return int(Decimal(text).scaleb(scale, _EXACT).to_integral_value())


def _decimal(precision: int, scale: int) -> Encoder:
    size = magnitude_size(precision)
    limit = 10**precision
    positive = bytes([size + 1, 1])
    negative = bytes([size + 1, 0])

    def encode(value: str | None) -> bytes:
        if value is None:
            return _NULL_BYTE
        number = _unscaled(value, scale)
        if not -limit < number < limit:
            raise UnencodableValueError(f"number too large for decimal({precision},{scale})")
        if number < 0:
            return negative + (-number).to_bytes(size, "little")
        return positive + number.to_bytes(size, "little")

    return encode


def _money(value: str | None) -> bytes:
    if value is None:
        return _NULL_BYTE
    raw = _unscaled(value, 4).to_bytes(8, "little", signed=True)
    return b"\x08" + raw[4:] + raw[:4]


def _smallmoney(value: str | None) -> bytes:
    return _NULL_BYTE if value is None else b"\x04" + _I32(_unscaled(value, 4))


def _short_bytes(max_bytes: int, transform: Callable[[Any], bytes]) -> Encoder:
    """Values behind a two-byte length: char, varchar, nchar, nvarchar, binary, varbinary."""

    def encode(value: Any) -> bytes:
        if value is None:
            return _NULL_SHORT
        data = transform(value)
        if len(data) > max_bytes:
            # A client trusts COLMETADATA and would write past its buffer.
            raise UnencodableValueError(f"value of {len(data)} bytes in a type of {max_bytes}")
        return _U16(len(data)) + data

    return encode


def _plp(transform: Callable[[Any], bytes]) -> Encoder:
    """Values of (max) types: total length, one chunk, terminator (2.2.5.2.3)."""

    def encode(value: Any) -> bytes:
        if value is None:
            return _NULL_PLP
        data = transform(value)
        if not data:
            return b"\x00" * 12
        return _PLP_BEGIN(len(data), len(data)) + data + _PLP_END

    return encode


def _legacy_long(transform: Callable[[Any], bytes]) -> Encoder:
    """text, ntext and image: text pointer, timestamp, four-byte length."""

    def encode(value: Any) -> bytes:
        if value is None:
            return _NULL_BYTE
        data = transform(value)
        return _TEXT_POINTER + _U32(len(data)) + data

    return encode


def _utf16(value: str) -> bytes:
    return value.encode("utf-16-le", "surrogatepass")


def _padded(size: int) -> Callable[[bytes], bytes]:
    return lambda value: value if len(value) == size else value.ljust(size, b"\x00")


def _date(value: str | None) -> bytes:
    return _NULL_BYTE if value is None else b"\x03" + temporal.days_of(value).to_bytes(3, "little")


def _time(scale: int) -> Encoder:
    size = time_size(scale)
    prefix = bytes([size])
    unit: int = 10 ** (7 - scale)

    def encode(value: str | None) -> bytes:
        if value is None:
            return _NULL_BYTE
        return prefix + (temporal.ticks_of(value) // unit).to_bytes(size, "little")

    return encode


def _datetime2(scale: int) -> Encoder:
    size = time_size(scale)
    prefix = bytes([size + 3])
    unit: int = 10 ** (7 - scale)

    def encode(value: str | None) -> bytes:
        if value is None:
            return _NULL_BYTE
        return (
            prefix
            + (temporal.ticks_of(value[11:]) // unit).to_bytes(size, "little")
            + temporal.days_of(value[:10]).to_bytes(3, "little")
        )

    return encode


def _datetimeoffset(scale: int) -> Encoder:
    size = time_size(scale)
    prefix = bytes([size + 5])
    unit: int = 10 ** (7 - scale)

    def encode(value: str | None) -> bytes:
        if value is None:
            return _NULL_BYTE
        return (
            prefix
            + (temporal.ticks_of(value[11:27]) // unit).to_bytes(size, "little")
            + temporal.days_of(value[:10]).to_bytes(3, "little")
            + temporal.offset_minutes(value).to_bytes(2, "little", signed=True)
        )

    return encode


_DATETIME = struct.Struct("<BiI").pack
_SMALLDATETIME = struct.Struct("<BHH").pack


def _datetime(value: str | None) -> bytes:
    return _NULL_BYTE if value is None else _DATETIME(8, *temporal.datetime_numbers(value))


def _smalldatetime(value: str | None) -> bytes:
    if value is None:
        return _NULL_BYTE
    return _SMALLDATETIME(4, *temporal.smalldatetime_numbers(value))


def guid_bytes(value: str) -> bytes:
    """A GUID's sixteen bytes: its first three fields are little-endian on the wire."""
    raw = bytes.fromhex(value.replace("-", ""))
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def _uniqueidentifier(value: str | None) -> bytes:
    return _NULL_BYTE if value is None else b"\x10" + guid_bytes(value)


def _variant(value: StorageValue) -> bytes:
    """sql_variant: length, base type, its properties, the bare value (2.2.5.5.4)."""
    if value is None:
        return _NULL_LONG
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            body = bytes([TypeToken.INT4, 0]) + value.to_bytes(4, "little", signed=True)
        else:
            body = bytes([TypeToken.INT8, 0]) + value.to_bytes(8, "little", signed=True)
    elif isinstance(value, float):
        body = bytes([TypeToken.FLT8, 0]) + struct.pack("<d", value)
    elif isinstance(value, str):
        data = _within_variant(_utf16(value))
        properties = DEFAULT_COLLATION_BYTES + _U16(max(2, len(data)))
        body = bytes([TypeToken.NVARCHAR, len(properties)]) + properties + data
    else:
        data = _within_variant(value)
        properties = _U16(max(1, len(data)))
        body = bytes([TypeToken.BIGVARBINARY, len(properties)]) + properties + data
    return _U32(len(body)) + body


def _within_variant(data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise UnencodableValueError(f"sql_variant of {len(data)} bytes")
    return data


def _downgraded(length: int, transform: Callable[[str], str]) -> TypeEncoding:
    """A date type for a client older than TDS 7.3: SQL Server sends it as nvarchar."""
    return TypeEncoding(
        bytes([TypeToken.NVARCHAR]) + _U16(length * 2) + DEFAULT_COLLATION_BYTES,
        _short_bytes(length * 2, lambda value: _utf16(transform(value))),
    )


def _as_is(value: Any) -> Any:
    return value


def _is_max(length: int | None, limit: int) -> bool:
    return length is None or length == MAX or length > limit


def _string(sql_type: SqlType, dialect: Dialect) -> TypeEncoding:
    kind, length = sql_type.kind, sql_type.length
    collation = collation_bytes(sql_type.collation, utf8=dialect.utf8)
    unicode = kind in (Kind.NCHAR, Kind.NVARCHAR)
    transform: Callable[[str], bytes]
    if unicode:
        transform = _utf16
    elif is_utf8(sql_type.collation) and dialect.utf8:
        transform = encode_utf8
    else:
        transform = encode_ansi
    width = 2 if unicode else 1
    if _is_max(length, MAX_BYTES // width):
        token = TypeToken.NVARCHAR if unicode else TypeToken.BIGVARCHAR
        return TypeEncoding(bytes([token]) + _U16(PLP) + collation, _plp(transform))
    token = {
        Kind.CHAR: TypeToken.BIGCHAR,
        Kind.VARCHAR: TypeToken.BIGVARCHAR,
        Kind.NCHAR: TypeToken.NCHAR,
        Kind.NVARCHAR: TypeToken.NVARCHAR,
    }[kind]
    size = max(1, length or 1) * width
    return TypeEncoding(
        bytes([token]) + _U16(size) + collation,
        _short_bytes(size, transform),
    )


def _binary(sql_type: SqlType) -> TypeEncoding:
    if _is_max(sql_type.length, MAX_BYTES):
        return TypeEncoding(bytes([TypeToken.BIGVARBINARY]) + _U16(PLP), _plp(_as_is))
    size = max(1, sql_type.length or 1)
    if sql_type.kind is Kind.BINARY:
        return TypeEncoding(
            bytes([TypeToken.BIGBINARY]) + _U16(size), _short_bytes(size, _padded(size))
        )
    return TypeEncoding(bytes([TypeToken.BIGVARBINARY]) + _U16(size), _short_bytes(size, _as_is))


_NO_TABLE = b"\x01\x00\x00"
"""The table of a text column: one part, empty."""

_FIXED: dict[Kind, TypeEncoding] = {
    Kind.BIT: TypeEncoding(bytes([TypeToken.BITN, 1]), _bit),
    Kind.TINYINT: TypeEncoding(bytes([TypeToken.INTN, 1]), _integer(1, "B")),
    Kind.SMALLINT: TypeEncoding(bytes([TypeToken.INTN, 2]), _integer(2, "h")),
    Kind.INT: TypeEncoding(bytes([TypeToken.INTN, 4]), _integer(4, "i")),
    Kind.BIGINT: TypeEncoding(bytes([TypeToken.INTN, 8]), _integer(8, "q")),
    Kind.REAL: TypeEncoding(bytes([TypeToken.FLTN, 4]), _integer(4, "f")),
    Kind.FLOAT: TypeEncoding(bytes([TypeToken.FLTN, 8]), _integer(8, "d")),
    Kind.MONEY: TypeEncoding(bytes([TypeToken.MONEYN, 8]), _money),
    Kind.SMALLMONEY: TypeEncoding(bytes([TypeToken.MONEYN, 4]), _smallmoney),
    Kind.DATETIME: TypeEncoding(bytes([TypeToken.DATETIMN, 8]), _datetime),
    Kind.SMALLDATETIME: TypeEncoding(bytes([TypeToken.DATETIMN, 4]), _smalldatetime),
    Kind.UNIQUEIDENTIFIER: TypeEncoding(bytes([TypeToken.GUID, 16]), _uniqueidentifier),
    Kind.ROWVERSION: TypeEncoding(
        bytes([TypeToken.BIGBINARY]) + _U16(8),
        _short_bytes(8, _padded(8)),
        user_type=ROWVERSION_USER_TYPE,
    ),
    Kind.XML: TypeEncoding(bytes([TypeToken.XML, 0]), _plp(_utf16)),
    Kind.SQL_VARIANT: TypeEncoding(bytes([TypeToken.SSVARIANT]) + _U32(8009), _variant),
    Kind.IMAGE: TypeEncoding(
        bytes([TypeToken.IMAGE]) + _U32(_LEGACY_MAX), _legacy_long(_as_is), table_name=_NO_TABLE
    ),
}


@functools.lru_cache(maxsize=1024)
def encoding_of(sql_type: SqlType, dialect: Dialect) -> TypeEncoding:
    """How ``sql_type`` is written for a client of that ``dialect``."""
    kind = sql_type.kind
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    match kind:
        case Kind.CHAR | Kind.VARCHAR | Kind.NCHAR | Kind.NVARCHAR:
            return _string(sql_type, dialect)
        case Kind.BINARY | Kind.VARBINARY:
            return _binary(sql_type)
        case Kind.DECIMAL | Kind.NUMERIC:
            precision = 18 if sql_type.precision is None else sql_type.precision
            scale = sql_type.scale or 0
            token = TypeToken.DECIMALN if kind is Kind.DECIMAL else TypeToken.NUMERICN
            return TypeEncoding(
                bytes([token, magnitude_size(precision) + 1, precision, scale]),
                _decimal(precision, scale),
            )
        case Kind.TEXT | Kind.NTEXT:
            collation = collation_bytes(sql_type.collation, utf8=False)
            if kind is Kind.TEXT:
                info = bytes([TypeToken.TEXT]) + _U32(_LEGACY_MAX) + collation
                return TypeEncoding(info, _legacy_long(encode_ansi), table_name=_NO_TABLE)
            info = bytes([TypeToken.NTEXT]) + _U32(_LEGACY_UNICODE_MAX) + collation
            return TypeEncoding(info, _legacy_long(_utf16), table_name=_NO_TABLE)
        case _:
            return _date_type(kind, 7 if sql_type.scale is None else sql_type.scale, dialect)


def _date_type(kind: Kind, scale: int, dialect: Dialect) -> TypeEncoding:
    fraction = scale + 1 if scale else 0
    # The storage form always has seven digits; a downgraded value shows the type's own.
    dropped = 7 - scale if scale else 8
    match kind:
        case Kind.DATE if dialect.knows_date_types:
            return TypeEncoding(bytes([TypeToken.DATEN]), _date)
        case Kind.TIME if dialect.knows_date_types:
            return TypeEncoding(bytes([TypeToken.TIMEN, scale]), _time(scale))
        case Kind.DATETIME2 if dialect.knows_date_types:
            return TypeEncoding(bytes([TypeToken.DATETIME2N, scale]), _datetime2(scale))
        case Kind.DATETIMEOFFSET if dialect.knows_date_types:
            return TypeEncoding(bytes([TypeToken.DATETIMEOFFSETN, scale]), _datetimeoffset(scale))
        case Kind.DATE:
            return _downgraded(10, _as_is)
        case Kind.TIME:
            return _downgraded(8 + fraction, lambda value: value[: len(value) - dropped])
        case Kind.DATETIME2:
            return _downgraded(19 + fraction, lambda value: value[: len(value) - dropped])
        case Kind.DATETIMEOFFSET:

            def shown(value: str) -> str:
                text = temporal.displayed_offset(value)
                return text[: 27 - dropped] + text[27:]

            return _downgraded(26 + fraction, shown)
        case _:
            raise AssertionError(f"no encoding for {kind}")


def return_value_type(sql_type: SqlType) -> SqlType:
    """The type a RETURNVALUE may have: text, ntext and image become their (max) heirs."""
    heirs = {Kind.TEXT: Kind.VARCHAR, Kind.NTEXT: Kind.NVARCHAR, Kind.IMAGE: Kind.VARBINARY}
    heir = heirs.get(sql_type.kind)
    if heir is None:
        return sql_type
    return SqlType(heir, length=MAX, collation=sql_type.collation)
