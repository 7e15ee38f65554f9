"""Types as ODBC knows them: codes, sizes, and the rows of sp_datatype_info.

Source: ODBC reference, "Column size, decimal digits, transfer octet length, and display
size"; SQL Server documentation, "sp_datatype_info (Transact-SQL)", "sp_columns".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...sqltypes import BINARY_KINDS, MAX, STRING_KINDS, Kind, SqlType
from ..systemviews.types import max_length, numeric_precision, numeric_scale

CODES = {
    Kind.BIT: -7,
    Kind.TINYINT: -6,
    Kind.SMALLINT: 5,
    Kind.INT: 4,
    Kind.BIGINT: -5,
    Kind.DECIMAL: 3,
    Kind.NUMERIC: 2,
    Kind.SMALLMONEY: 3,
    Kind.MONEY: 3,
    Kind.REAL: 7,
    Kind.FLOAT: 6,
    Kind.CHAR: 1,
    Kind.VARCHAR: 12,
    Kind.TEXT: -1,
    Kind.NCHAR: -8,
    Kind.NVARCHAR: -9,
    Kind.NTEXT: -10,
    Kind.XML: -152,
    Kind.BINARY: -2,
    Kind.VARBINARY: -3,
    Kind.IMAGE: -4,
    Kind.ROWVERSION: -2,
    Kind.DATE: 91,
    Kind.TIME: -154,
    Kind.SMALLDATETIME: 93,
    Kind.DATETIME: 93,
    Kind.DATETIME2: 93,
    Kind.DATETIMEOFFSET: -155,
    Kind.UNIQUEIDENTIFIER: -11,
    Kind.SQL_VARIANT: -150,
}

_MAX_STRING = {Kind.TEXT: 2147483647, Kind.NTEXT: 1073741823, Kind.IMAGE: 2147483647}
_EXACT_LENGTH = {
    Kind.BIT: 1,
    Kind.TINYINT: 1,
    Kind.SMALLINT: 2,
    Kind.INT: 4,
    Kind.BIGINT: 8,
    Kind.REAL: 4,
    Kind.FLOAT: 8,
    Kind.DATE: 6,
    Kind.SMALLDATETIME: 16,
    Kind.DATETIME: 16,
    Kind.DATETIME2: 16,
    Kind.TIME: 12,
    Kind.DATETIMEOFFSET: 20,
    Kind.UNIQUEIDENTIFIER: 16,
    Kind.MONEY: 21,
    Kind.SMALLMONEY: 12,
    Kind.ROWVERSION: 8,
    Kind.SQL_VARIANT: 8000,
}


def column_size(sql_type: SqlType) -> int:
    """ODBC's COLUMN_SIZE (PRECISION of sp_columns); 0 for (max)."""
    kind = sql_type.kind
    if kind in _MAX_STRING:
        return _MAX_STRING[kind]
    if kind is Kind.XML:
        return 0
    if sql_type.length is not None and (kind in STRING_KINDS or kind in BINARY_KINDS):
        return 0 if sql_type.length == MAX else sql_type.length
    if kind is Kind.UNIQUEIDENTIFIER:
        return 36
    if kind is Kind.ROWVERSION:
        return 8
    if kind is Kind.FLOAT:
        return 53
    if kind is Kind.SQL_VARIANT:
        return 8000
    return numeric_precision(sql_type)


def buffer_length(sql_type: SqlType) -> int:
    """ODBC's BUFFER_LENGTH (LENGTH of sp_columns)."""
    kind = sql_type.kind
    if kind in (Kind.DECIMAL, Kind.NUMERIC):
        return (sql_type.precision or 18) + 2
    if kind in _EXACT_LENGTH:
        return _EXACT_LENGTH[kind]
    if kind is Kind.NTEXT:
        return 2147483646
    if kind in _MAX_STRING:
        return _MAX_STRING[kind]
    length = max_length(sql_type)
    return 0 if length == MAX else length


def decimal_digits(sql_type: SqlType) -> int | None:
    kind = sql_type.kind
    if kind in STRING_KINDS or kind in BINARY_KINDS:
        return None
    if kind in (Kind.FLOAT, Kind.REAL, Kind.UNIQUEIDENTIFIER, Kind.DATE, Kind.SQL_VARIANT):
        return None
    return numeric_scale(sql_type)


def radix(sql_type: SqlType) -> int | None:
    kind = sql_type.kind
    if kind in (Kind.FLOAT, Kind.REAL):
        return 2
    if CODES[kind] in (-6, 5, 4, -5, 3, 2):
        return 10
    return None


def octet_length(sql_type: SqlType) -> int | None:
    if sql_type.kind in STRING_KINDS or sql_type.kind in BINARY_KINDS:
        if sql_type.kind is Kind.ROWVERSION:
            return 8
        return buffer_length(sql_type)
    return None


def sql_data_type(sql_type: SqlType) -> tuple[int, int | None]:
    """SQL_DATA_TYPE and SQL_DATETIME_SUB."""
    code = CODES[sql_type.kind]
    if code == 93:
        return 9, 3
    if code == 91:
        return 9, 1
    return code, None


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A row of sp_datatype_info."""

    name: str
    code: int
    precision: int
    prefix: str | None = None
    suffix: str | None = None
    parameters: str | None = None
    nullable: int = 1
    case_sensitive: int = 0
    searchable: int = 2
    unsigned: int | None = None
    money: int = 0
    auto_increment: int | None = None
    minimum_scale: int | None = None
    maximum_scale: int | None = None
    sql_data_type: int | None = None
    datetime_sub: int | None = None
    radix: int | None = None
    user_type: int = 0

    @property
    def row(self) -> tuple[int | str | None, ...]:
        return (
            self.name,
            self.code,
            self.precision,
            self.prefix,
            self.suffix,
            self.parameters,
            self.nullable,
            self.case_sensitive,
            self.searchable,
            self.unsigned,
            self.money,
            self.auto_increment,
            self.name,
            self.minimum_scale,
            self.maximum_scale,
            self.code if self.sql_data_type is None else self.sql_data_type,
            self.datetime_sub,
            self.radix,
            None,
            self.user_type,
        )


def _number(name: str, code: int, precision: int, user_type: int, **more: int) -> TypeInfo:
    fields: dict[str, Any] = {
        "unsigned": 0,
        "auto_increment": 0,
        "minimum_scale": 0,
        "maximum_scale": 0,
        "radix": 10,
        **more,
    }
    return TypeInfo(name, code, precision, user_type=user_type, **fields)


def _identity(name: str, code: int, precision: int, user_type: int, unsigned: int = 0) -> TypeInfo:
    return TypeInfo(
        f"{name} identity",
        code,
        precision,
        nullable=0,
        unsigned=unsigned,
        auto_increment=1,
        minimum_scale=0,
        maximum_scale=0,
        radix=10,
        user_type=user_type,
    )


TYPE_INFO = (
    TypeInfo("sql_variant", -150, 8000, minimum_scale=0, maximum_scale=0, radix=10),
    TypeInfo("uniqueidentifier", -11, 36, "'", "'", user_type=37),
    TypeInfo("ntext", -10, 1073741823, "N'", "'", searchable=1),
    TypeInfo("xml", -152, 0, "N'", "'", case_sensitive=1, searchable=0),
    TypeInfo("nvarchar", -9, 4000, "N'", "'", "max length"),
    TypeInfo("sysname", -9, 128, "N'", "'", nullable=0, user_type=18),
    TypeInfo("nchar", -8, 4000, "N'", "'", "length"),
    TypeInfo("bit", -7, 1, minimum_scale=0, maximum_scale=0, user_type=16),
    _number("tinyint", -6, 3, 5, unsigned=1),
    _identity("tinyint", -6, 3, 5, 1),
    _number("bigint", -5, 19, 0),
    _identity("bigint", -5, 19, 0),
    TypeInfo("image", -4, 2147483647, "0x", searchable=0, user_type=20),
    TypeInfo("varbinary", -3, 8000, "0x", None, "max length", user_type=4),
    TypeInfo("binary", -2, 8000, "0x", None, "length", user_type=3),
    TypeInfo("timestamp", -2, 8, "0x", nullable=0, user_type=80),
    TypeInfo("text", -1, 2147483647, "'", "'", searchable=1, user_type=19),
    TypeInfo("char", 1, 8000, "'", "'", "length", searchable=3, user_type=1),
    TypeInfo(
        "numeric",
        2,
        38,
        None,
        None,
        "precision,scale",
        unsigned=0,
        auto_increment=0,
        minimum_scale=0,
        maximum_scale=38,
        radix=10,
        user_type=10,
    ),
    TypeInfo(
        "numeric() identity",
        2,
        38,
        None,
        None,
        "precision",
        nullable=0,
        unsigned=0,
        auto_increment=1,
        minimum_scale=0,
        maximum_scale=0,
        radix=10,
        user_type=10,
    ),
    TypeInfo(
        "decimal",
        3,
        38,
        None,
        None,
        "precision,scale",
        unsigned=0,
        auto_increment=0,
        minimum_scale=0,
        maximum_scale=38,
        radix=10,
        user_type=24,
    ),
    _number("money", 3, 19, 11, money=1, minimum_scale=4, maximum_scale=4),
    _number("smallmoney", 3, 10, 21, money=1, minimum_scale=4, maximum_scale=4),
    TypeInfo(
        "decimal() identity",
        3,
        38,
        None,
        None,
        "precision",
        nullable=0,
        unsigned=0,
        auto_increment=1,
        minimum_scale=0,
        maximum_scale=0,
        radix=10,
        user_type=24,
    ),
    _number("int", 4, 10, 7),
    _identity("int", 4, 10, 7),
    _number("smallint", 5, 5, 6),
    _identity("smallint", 5, 5, 6),
    TypeInfo("float", 6, 53, unsigned=0, auto_increment=0, radix=2, user_type=8),
    TypeInfo("real", 7, 24, unsigned=0, auto_increment=0, radix=2, user_type=23),
    TypeInfo("varchar", 12, 8000, "'", "'", "max length", searchable=3, user_type=2),
    TypeInfo("date", 91, 10, "'", "'", searchable=3, sql_data_type=9, datetime_sub=1),
    TypeInfo(
        "datetime2",
        93,
        27,
        "'",
        "'",
        "scale",
        searchable=3,
        minimum_scale=0,
        maximum_scale=7,
        sql_data_type=9,
        datetime_sub=3,
    ),
    TypeInfo(
        "datetime",
        93,
        23,
        "'",
        "'",
        searchable=3,
        minimum_scale=3,
        maximum_scale=3,
        sql_data_type=9,
        datetime_sub=3,
        user_type=12,
    ),
    TypeInfo(
        "smalldatetime",
        93,
        16,
        "'",
        "'",
        searchable=3,
        minimum_scale=0,
        maximum_scale=0,
        sql_data_type=9,
        datetime_sub=3,
        user_type=22,
    ),
    TypeInfo(
        "time",
        -154,
        16,
        "'",
        "'",
        "scale",
        searchable=3,
        minimum_scale=0,
        maximum_scale=7,
        sql_data_type=-154,
        datetime_sub=0,
    ),
    TypeInfo(
        "datetimeoffset",
        -155,
        34,
        "'",
        "'",
        "scale",
        searchable=3,
        minimum_scale=0,
        maximum_scale=7,
        sql_data_type=-155,
        datetime_sub=0,
    ),
)
