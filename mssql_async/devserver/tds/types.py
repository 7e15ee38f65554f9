"""Type tokens of TDS 7.4 (MS-TDS 2.2.5.4) and the versions that know them."""

from __future__ import annotations

import enum


class TypeToken(enum.IntEnum):
    """The byte that begins a TYPE_INFO."""

    NULL = 0x1F
    IMAGE = 0x22
    TEXT = 0x23
    GUID = 0x24
    INTN = 0x26
    DATEN = 0x28
    TIMEN = 0x29
    DATETIME2N = 0x2A
    DATETIMEOFFSETN = 0x2B
    INT1 = 0x30
    BIT = 0x32
    INT2 = 0x34
    INT4 = 0x38
    DATETIM4 = 0x3A
    FLT4 = 0x3B
    MONEY = 0x3C
    DATETIME = 0x3D
    FLT8 = 0x3E
    SSVARIANT = 0x62
    NTEXT = 0x63
    BITN = 0x68
    DECIMALN = 0x6A
    NUMERICN = 0x6C
    FLTN = 0x6D
    MONEYN = 0x6E
    DATETIMN = 0x6F
    MONEY4 = 0x7A
    INT8 = 0x7F
    BIGVARBINARY = 0xA5
    BIGVARCHAR = 0xA7
    BIGBINARY = 0xAD
    BIGCHAR = 0xAF
    NVARCHAR = 0xE7
    NCHAR = 0xEF
    UDT = 0xF0
    XML = 0xF1
    TVP = 0xF3


class TdsVersion(enum.IntEnum):
    """Protocol versions as LOGIN7 and LOGINACK number them (MS-TDS 2.2.6.4)."""

    V7_2 = 0x72090002
    V7_3A = 0x730A0003
    V7_3B = 0x730B0003
    V7_4 = 0x74000004
    V8_0 = 0x08000000
    """TLS first; everything above it is as in 7.4."""

    @classmethod
    def negotiate(cls, client: int) -> TdsVersion | None:
        """The newest version that is not newer than the client's, if there is one."""
        if client == cls.V8_0:
            return cls.V8_0
        known = (version for version in cls if version is not cls.V8_0 and version <= client)
        return max(known, default=None)

    @property
    def knows_date_types(self) -> bool:
        """date, time, datetime2 and datetimeoffset exist since TDS 7.3."""
        return self is TdsVersion.V8_0 or self >= TdsVersion.V7_3A


MAX_BYTES = 8000
"""Longest char, varchar, binary and varbinary; nchar and nvarchar have half as many
characters."""

PLP = 0xFFFF
"""The length that announces a partially length-prefixed value (2.2.5.2.3)."""
PLP_NULL = 0xFFFF_FFFF_FFFF_FFFF
PLP_UNKNOWN = 0xFFFF_FFFF_FFFF_FFFE


def magnitude_size(precision: int) -> int:
    """Bytes of a decimal's magnitude for its precision (2.2.5.5.1.6)."""
    if precision <= 9:
        return 4
    if precision <= 19:
        return 8
    if precision <= 28:
        return 12
    return 16


def time_size(scale: int) -> int:
    """Bytes of a time of day with ``scale`` fractional digits (2.2.5.4.2)."""
    if scale <= 2:
        return 3
    if scale <= 4:
        return 4
    return 5
