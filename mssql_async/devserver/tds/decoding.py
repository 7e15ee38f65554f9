"""From the wire to storage form: TYPE_INFO and values of RPC parameters (MS-TDS 2.2.5).

:raises ProtocolError: everywhere, for bytes that are no value of their type.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ..errors import NotSupportedByStandIn
from ..sqltypes import (
    BIGINT,
    BIT,
    DATE,
    DATETIME,
    FLOAT,
    INT,
    MAX,
    MONEY,
    REAL,
    SMALLDATETIME,
    SMALLINT,
    SMALLMONEY,
    SQL_VARIANT,
    TINYINT,
    UNIQUEIDENTIFIER,
    Kind,
    SqlType,
    StorageValue,
)
from . import temporal
from .collations import decode_ansi, decode_utf8, has_utf8_flag
from .input import Input, decode_utf16
from .packets import ProtocolError
from .types import MAX_BYTES, PLP, PLP_NULL, TypeToken, magnitude_size, time_size

Reader = Callable[[Input], StorageValue]
Converter = Callable[[bytes], StorageValue]


def read_type(source: Input) -> tuple[SqlType, Reader]:
    """Read a TYPE_INFO; gives the type and what reads a value of it.

    :raises NotSupportedByStandIn: for table-valued parameters and CLR types, whose
        values cannot be read either.
    """
    token = source.u8()
    fixed = _FIXED.get(token)
    if fixed is not None:
        return fixed
    match token:
        case TypeToken.INTN | TypeToken.FLTN | TypeToken.MONEYN | TypeToken.DATETIMN:
            sized = _SIZED.get((token, source.u8()))
            if sized is None:
                raise ProtocolError(f"length of type {token:#04x} is none it can have")
            return sized
        case TypeToken.BITN | TypeToken.GUID:
            length = source.u8()
            if length != (1 if token == TypeToken.BITN else 16):
                raise ProtocolError(f"type {token:#04x} of {length} bytes")
            return (BIT, _READ_BIT) if token == TypeToken.BITN else (UNIQUEIDENTIFIER, _READ_GUID)
        case TypeToken.DECIMALN | TypeToken.NUMERICN:
            return _read_decimal_type(source, token)
        case TypeToken.TIMEN | TypeToken.DATETIME2N | TypeToken.DATETIMEOFFSETN:
            scale = source.u8()
            if scale > 7:
                raise ProtocolError(f"type {token:#04x} with scale {scale}")
            return _SCALED[token, scale]
        case (
            TypeToken.BIGVARCHAR
            | TypeToken.BIGCHAR
            | TypeToken.NVARCHAR
            | TypeToken.NCHAR
            | TypeToken.BIGVARBINARY
            | TypeToken.BIGBINARY
        ):
            return _read_character_type(source, token)
        case TypeToken.TEXT | TypeToken.NTEXT | TypeToken.IMAGE:
            source.u32()
            collation = b"" if token == TypeToken.IMAGE else source.take(5)
            kind, convert = _converter(token, collation)
            return SqlType(kind), _long(convert)
        case TypeToken.XML:
            if source.u8():
                raise NotSupportedByStandIn("xml parameter with a schema")
            return SqlType(Kind.XML), lambda value: _read_plp(value, _xml_text)
        case TypeToken.SSVARIANT:
            source.u32()
            return SQL_VARIANT, _read_variant
        case TypeToken.TVP:
            raise NotSupportedByStandIn("table-valued parameter")
        case TypeToken.UDT:
            raise NotSupportedByStandIn("CLR user-defined type")
        case _:
            raise ProtocolError(f"unknown type token {token:#04x}")


def _read_decimal_type(source: Input, token: int) -> tuple[SqlType, Reader]:
    source.u8()
    precision, scale = source.u8(), source.u8()
    if not (1 <= precision <= 38 and scale <= precision):
        raise ProtocolError(f"decimal({precision},{scale})")
    kind = Kind.DECIMAL if token == TypeToken.DECIMALN else Kind.NUMERIC
    return SqlType(kind, precision=precision, scale=scale), _byte(
        range(2, 18), lambda raw: _decimal_text(raw, precision, scale)
    )


def _read_character_type(source: Input, token: int) -> tuple[SqlType, Reader]:
    size = source.u16()
    binary = token in (TypeToken.BIGVARBINARY, TypeToken.BIGBINARY)
    kind, convert = _converter(token, b"" if binary else source.take(5))
    width = 2 if kind in (Kind.NCHAR, Kind.NVARCHAR) else 1
    if size == PLP:
        if kind in (Kind.CHAR, Kind.NCHAR, Kind.BINARY):
            raise ProtocolError(f"{kind.value}(max)")
        return SqlType(kind, length=MAX), lambda value: _read_plp(value, convert)
    if size > MAX_BYTES or size % width:
        raise ProtocolError(f"{kind.value} of {size} bytes")
    # The driver sends an empty string as varchar(0), which T-SQL cannot say.
    length = max(1, size // width)
    padded = _PADDED.get(kind)
    if padded is not None:
        return SqlType(kind, length=length), _short(size, padded(convert, length))
    return SqlType(kind, length=length), _short(size, convert)


def _converter(token: int, collation: bytes) -> tuple[Kind, Converter]:
    match token:
        case TypeToken.NVARCHAR:
            return Kind.NVARCHAR, decode_utf16
        case TypeToken.NCHAR:
            return Kind.NCHAR, decode_utf16
        case TypeToken.NTEXT:
            return Kind.NTEXT, decode_utf16
        case TypeToken.BIGVARBINARY:
            return Kind.VARBINARY, bytes
        case TypeToken.BIGBINARY:
            return Kind.BINARY, bytes
        case TypeToken.IMAGE:
            return Kind.IMAGE, bytes
    convert = decode_utf8 if has_utf8_flag(collation) else decode_ansi
    kind = {TypeToken.BIGVARCHAR: Kind.VARCHAR, TypeToken.BIGCHAR: Kind.CHAR}
    return kind.get(TypeToken(token), Kind.TEXT), convert


def _pad_text(convert: Converter, length: int) -> Converter:
    return lambda raw: str(convert(raw)).ljust(length)


def _pad_binary(convert: Converter, length: int) -> Converter:
    return lambda raw: raw.ljust(length, b"\x00")


_PADDED: dict[Kind, Callable[[Converter, int], Converter]] = {
    Kind.CHAR: _pad_text,
    Kind.NCHAR: _pad_text,
    Kind.BINARY: _pad_binary,
}


def _byte(sizes: range | tuple[int, ...], convert: Converter) -> Reader:
    """Values behind a one-byte length, 0 for NULL."""

    def read(source: Input) -> StorageValue:
        length = source.u8()
        if length == 0:
            return None
        if length not in sizes:
            raise ProtocolError(f"value of {length} bytes")
        return convert(source.take(length))

    return read


def _short(limit: int, convert: Converter) -> Reader:
    """Values behind a two-byte length, 0xFFFF for NULL."""

    def read(source: Input) -> StorageValue:
        length = source.u16()
        if length == 0xFFFF:
            return None
        if length > limit:
            raise ProtocolError(f"value of {length} bytes in a type of {limit}")
        return convert(source.take(length))

    return read


def _long(convert: Converter) -> Reader:
    """Values behind a four-byte length, -1 for NULL."""

    def read(source: Input) -> StorageValue:
        length = source.i32()
        if length == -1:
            return None
        if length < 0:
            raise ProtocolError(f"value of {length} bytes")
        return convert(source.take(length))

    return read


def _read_plp(source: Input, convert: Converter) -> StorageValue:
    """A partially length-prefixed value: chunks up to an empty one (2.2.5.2.3)."""
    # The announced total is a hint that may be "unknown"; the chunks decide.
    if source.u64() == PLP_NULL:
        return None
    chunks = []
    while size := source.u32():
        chunks.append(source.take(size))
    return convert(chunks[0] if len(chunks) == 1 else b"".join(chunks))


def _xml_text(raw: bytes) -> str:
    return decode_utf16(raw).removeprefix("\ufeff")


def _decimal_text(raw: bytes, precision: int, scale: int) -> str:
    """Sign byte (1 for positive) and little-endian magnitude as plain decimal notation."""
    magnitude = int.from_bytes(raw[1:], "little")
    if magnitude >= 10**precision:
        raise ProtocolError(f"decimal({precision},{scale}) with too many digits")
    return scaled_text(-magnitude if raw[0] == 0 else magnitude, scale)


def scaled_text(number: int, scale: int) -> str:
    """``number / 10 ** scale`` in the storage form of decimals."""
    sign = "-" if number < 0 else ""
    digits = str(abs(number))
    if not scale:
        return sign + digits
    digits = digits.rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"


def guid_text(raw: bytes) -> str:
    """Sixteen bytes in the wire's mixed order as a GUID in upper case."""
    text = (raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]).hex().upper()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _money_text(raw: bytes) -> str:
    if len(raw) == 8:
        raw = raw[4:] + raw[:4]
    return scaled_text(_signed(raw), 4)


def _real(raw: bytes) -> float:
    value: float = struct.unpack("<f", raw)[0]
    return value


def _float(raw: bytes) -> float:
    value: float = struct.unpack("<d", raw)[0]
    return value


def _datetime_text(raw: bytes) -> str:
    return temporal.datetime_text(*struct.unpack("<iI", raw))


def _smalldatetime_text(raw: bytes) -> str:
    return temporal.smalldatetime_text(*struct.unpack("<HH", raw))


def _date_text(raw: bytes) -> str:
    return temporal.date_of(int.from_bytes(raw, "little"))


def _time_text(scale: int) -> Callable[[bytes], str]:
    unit: int = 10 ** (7 - scale)
    return lambda raw: temporal.time_of(int.from_bytes(raw, "little") * unit)


def _datetime2_text(scale: int) -> Callable[[bytes], str]:
    size, time = time_size(scale), _time_text(scale)
    return lambda raw: f"{_date_text(raw[size:])} {time(raw[:size])}"


def _datetimeoffset_text(scale: int) -> Converter:
    moment = _datetime2_text(scale)
    return lambda raw: f"{moment(raw[:-2])}{temporal.offset_text(_signed(raw[-2:]))}"


def _bit_value(raw: bytes) -> int:
    return int(raw != b"\x00")


_READ_BIT = _byte((1,), _bit_value)
_READ_GUID = _byte((16,), guid_text)


def _fixed(size: int, convert: Converter) -> Reader:
    return lambda source: convert(source.take(size))


_BARE: dict[int, tuple[SqlType, int, Converter]] = {
    TypeToken.INT1: (TINYINT, 1, lambda raw: raw[0]),
    TypeToken.BIT: (BIT, 1, _bit_value),
    TypeToken.INT2: (SMALLINT, 2, _signed),
    TypeToken.INT4: (INT, 4, _signed),
    TypeToken.INT8: (BIGINT, 8, _signed),
    TypeToken.FLT4: (REAL, 4, _real),
    TypeToken.FLT8: (FLOAT, 8, _float),
    TypeToken.MONEY: (MONEY, 8, _money_text),
    TypeToken.MONEY4: (SMALLMONEY, 4, _money_text),
    TypeToken.DATETIME: (DATETIME, 8, _datetime_text),
    TypeToken.DATETIM4: (SMALLDATETIME, 4, _smalldatetime_text),
}
"""Types without a length: their sizes and converters, also inside sql_variant."""

_FIXED: dict[int, tuple[SqlType, Reader]] = {
    # A NULL without a type; SQL Server takes it for int.
    TypeToken.NULL: (INT, lambda _source: None),
    TypeToken.DATEN: (DATE, _byte((3,), _date_text)),
    **{
        token: (sql_type, _fixed(size, convert))
        for token, (sql_type, size, convert) in _BARE.items()
    },
}

_SIZED: dict[tuple[int, int], tuple[SqlType, Reader]] = {
    (nullable, _BARE[token][1]): (_BARE[token][0], _byte((_BARE[token][1],), _BARE[token][2]))
    for nullable, tokens in (
        (TypeToken.INTN, (TypeToken.INT1, TypeToken.INT2, TypeToken.INT4, TypeToken.INT8)),
        (TypeToken.FLTN, (TypeToken.FLT4, TypeToken.FLT8)),
        (TypeToken.MONEYN, (TypeToken.MONEY4, TypeToken.MONEY)),
        (TypeToken.DATETIMN, (TypeToken.DATETIM4, TypeToken.DATETIME)),
    )
    for token in tokens
}

_SCALED: dict[tuple[int, int], tuple[SqlType, Reader]] = {
    (token, scale): (
        SqlType(kind, scale=scale),
        _byte((time_size(scale) + extra,), convert(scale)),
    )
    for token, kind, extra, convert in (
        (TypeToken.TIMEN, Kind.TIME, 0, _time_text),
        (TypeToken.DATETIME2N, Kind.DATETIME2, 3, _datetime2_text),
        (TypeToken.DATETIMEOFFSETN, Kind.DATETIMEOFFSET, 5, _datetimeoffset_text),
    )
    for scale in range(8)
}


def _read_variant(source: Input) -> StorageValue:
    """sql_variant: the value it holds, in that value's storage form (2.2.5.5.4)."""
    length = source.u32()
    if length == 0:
        return None
    inner = Input(source.take(length))
    token = inner.u8()
    properties = Input(inner.take(inner.u8()))
    raw = inner.rest()
    bare = _BARE.get(token)
    if bare is not None:
        _type, size, convert = bare
        return convert(_exactly(raw, size))
    match token:
        case TypeToken.GUID:
            return guid_text(_exactly(raw, 16))
        case TypeToken.DATEN:
            return _date_text(_exactly(raw, 3))
        case TypeToken.TIMEN | TypeToken.DATETIME2N | TypeToken.DATETIMEOFFSETN:
            return _scaled_variant(token, properties.u8(), raw)
        case TypeToken.DECIMALN | TypeToken.NUMERICN:
            precision, scale = properties.u8(), properties.u8()
            if not (1 <= precision <= 38 and scale <= precision):
                raise ProtocolError(f"decimal({precision},{scale}) in sql_variant")
            if not 2 <= len(raw) <= magnitude_size(38) + 1:
                raise ProtocolError(f"decimal of {len(raw)} bytes in sql_variant")
            return _decimal_text(raw, precision, scale)
        case TypeToken.BIGVARCHAR | TypeToken.BIGCHAR | TypeToken.NVARCHAR | TypeToken.NCHAR:
            return _converter(token, properties.take(5))[1](raw)
        case TypeToken.BIGVARBINARY | TypeToken.BIGBINARY:
            return raw
        case _:
            raise ProtocolError(f"type {token:#04x} in sql_variant")


def _scaled_variant(token: int, scale: int, raw: bytes) -> StorageValue:
    if scale > 7:
        raise ProtocolError(f"scale {scale} in sql_variant")
    # The bare value has no length of its own here; give it one and read it as usual.
    return _SCALED[token, scale][1](Input(bytes([len(raw) & 0xFF]) + raw))


def _exactly(raw: bytes, size: int) -> bytes:
    if len(raw) != size:
        raise ProtocolError(f"value of {len(raw)} bytes, not {size}, in sql_variant")
    return raw
