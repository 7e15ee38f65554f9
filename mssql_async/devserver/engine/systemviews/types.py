"""How catalog views describe types: ids, lengths, precision and scale.

Source: SQL Server documentation, "sys.types (Transact-SQL)", "Precision, scale, and
length (Transact-SQL)".
"""

from __future__ import annotations

from dataclasses import dataclass

from ...sqltypes import BINARY_KINDS, DATETIME_KINDS, MAX, UNICODE_KINDS, Kind, SqlType


@dataclass(frozen=True, slots=True)
class SystemType:
    name: str
    system_type_id: int
    user_type_id: int
    max_length: int
    precision: int
    scale: int
    collated: bool = False


SYSTEM_TYPES = (
    SystemType("image", 34, 34, 16, 0, 0),
    SystemType("text", 35, 35, 16, 0, 0, True),
    SystemType("uniqueidentifier", 36, 36, 16, 0, 0),
    SystemType("date", 40, 40, 3, 10, 0),
    SystemType("time", 41, 41, 5, 16, 7),
    SystemType("datetime2", 42, 42, 8, 27, 7),
    SystemType("datetimeoffset", 43, 43, 10, 34, 7),
    SystemType("tinyint", 48, 48, 1, 3, 0),
    SystemType("smallint", 52, 52, 2, 5, 0),
    SystemType("int", 56, 56, 4, 10, 0),
    SystemType("smalldatetime", 58, 58, 4, 16, 0),
    SystemType("real", 59, 59, 4, 24, 0),
    SystemType("money", 60, 60, 8, 19, 4),
    SystemType("datetime", 61, 61, 8, 23, 3),
    SystemType("float", 62, 62, 8, 53, 0),
    SystemType("sql_variant", 98, 98, 8016, 0, 0),
    SystemType("ntext", 99, 99, 16, 0, 0, True),
    SystemType("bit", 104, 104, 1, 1, 0),
    SystemType("decimal", 106, 106, 17, 38, 38),
    SystemType("numeric", 108, 108, 17, 38, 38),
    SystemType("smallmoney", 122, 122, 4, 10, 4),
    SystemType("bigint", 127, 127, 8, 19, 0),
    SystemType("varbinary", 165, 165, 8000, 0, 0),
    SystemType("varchar", 167, 167, 8000, 0, 0, True),
    SystemType("binary", 173, 173, 8000, 0, 0),
    SystemType("char", 175, 175, 8000, 0, 0, True),
    SystemType("timestamp", 189, 189, 8, 0, 0),
    SystemType("nvarchar", 231, 231, 8000, 0, 0, True),
    SystemType("nchar", 239, 239, 8000, 0, 0, True),
    SystemType("xml", 241, 241, -1, 0, 0),
    SystemType("sysname", 231, 256, 256, 0, 0, True),
)
_BY_NAME = {system_type.name: system_type for system_type in SYSTEM_TYPES}

_BIG_PRECISIONS = ((9, 5), (19, 9), (28, 13), (38, 17))
_LARGE_OBJECTS = frozenset({Kind.TEXT, Kind.NTEXT, Kind.IMAGE})
_FRACTION_BASE = {Kind.TIME: (3, 8), Kind.DATETIME2: (6, 19), Kind.DATETIMEOFFSET: (8, 26)}


def system_type(sql_type: SqlType) -> SystemType:
    return _BY_NAME[sql_type.kind.value]


def system_type_id(sql_type: SqlType) -> int:
    return system_type(sql_type).system_type_id


def max_length(sql_type: SqlType) -> int:
    """``sys.columns.max_length``: bytes, -1 for (max)."""
    kind, length = sql_type.kind, sql_type.length
    if kind in (Kind.DECIMAL, Kind.NUMERIC):
        return next(size for limit, size in _BIG_PRECISIONS if (sql_type.precision or 18) <= limit)
    if kind in _FRACTION_BASE:
        scale = 7 if sql_type.scale is None else sql_type.scale
        return _FRACTION_BASE[kind][0] + (0 if scale <= 2 else 1 if scale <= 4 else 2)
    if length is not None and kind not in _LARGE_OBJECTS:
        if length == MAX:
            return MAX
        return 2 * length if kind in UNICODE_KINDS else length
    return system_type(sql_type).max_length


def numeric_precision(sql_type: SqlType) -> int:
    """``sys.columns.precision``: 0 for strings and binaries."""
    kind = sql_type.kind
    if kind in (Kind.DECIMAL, Kind.NUMERIC):
        return sql_type.precision or 18
    if kind in _FRACTION_BASE:
        scale = 7 if sql_type.scale is None else sql_type.scale
        return _FRACTION_BASE[kind][1] + (scale + 1 if scale else 0)
    return system_type(sql_type).precision


def numeric_scale(sql_type: SqlType) -> int:
    kind = sql_type.kind
    if kind in (Kind.DECIMAL, Kind.NUMERIC):
        return sql_type.scale or 0
    if kind in _FRACTION_BASE:
        return 7 if sql_type.scale is None else sql_type.scale
    return system_type(sql_type).scale


def character_length(sql_type: SqlType) -> int | None:
    """``INFORMATION_SCHEMA.COLUMNS.CHARACTER_MAXIMUM_LENGTH``."""
    if sql_type.kind in (Kind.TEXT, Kind.IMAGE):
        return 2147483647
    if sql_type.kind is Kind.NTEXT:
        return 1073741823
    if sql_type.kind is Kind.XML:
        return -1
    if system_type(sql_type).collated or (
        sql_type.kind in BINARY_KINDS and sql_type.kind is not Kind.ROWVERSION
    ):
        return sql_type.length
    return None


def datetime_precision(sql_type: SqlType) -> int | None:
    if sql_type.kind not in DATETIME_KINDS:
        return None
    return {Kind.DATE: 0, Kind.SMALLDATETIME: 0, Kind.DATETIME: 3}.get(
        sql_type.kind, numeric_scale(sql_type)
    )
