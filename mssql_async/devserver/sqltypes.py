"""The SQL types of the stand-in and the form their values have inside it.

Source: T-SQL reference, "Data types (Transact-SQL)" and "Precision, scale, and
length"; wire encodings are the business of :mod:`mssql_async.devserver.tds`.

Storage form
------------
Between the wire, the T-SQL compiler and SQLite a value always has its *storage
form*; ``None`` is NULL for every type:

=============================== ==================================================
type                            storage form
=============================== ==================================================
bit, tinyint … bigint           ``int``
decimal, numeric, money         ``str`` in plain decimal notation with exactly
                                ``scale`` digits after the point, no leading
                                zeros but one, ``-0`` never: ``"-12.30"``, ``"0.50"``
float, real                     ``float``
char, varchar, nchar, nvarchar, ``str`` (char and nchar are blank-padded)
text, ntext, xml
binary, varbinary, image,       ``bytes``
rowversion
date                            ``str`` ``YYYY-MM-DD``
time                            ``str`` ``HH:MM:SS.fffffff`` (always 7 digits)
datetime, smalldatetime,        ``str`` ``YYYY-MM-DD HH:MM:SS.fffffff``
datetime2
datetimeoffset                  ``str`` ``YYYY-MM-DD HH:MM:SS.fffffff+HH:MM``: the
                                *UTC* instant, then the offset it is shown with
uniqueidentifier                ``str``, 36 characters, upper case
sql_variant                     the storage form of what it holds: ``int``,
                                ``float``, ``str`` or ``bytes``
=============================== ==================================================

The textual forms sort as their values do within one type, except decimals,
offsets and GUIDs, which have SQLite collations of their own (:class:`Collation`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

StorageValue = int | float | str | bytes | None

MAX = -1
"""Length of ``varchar(max)``, ``nvarchar(max)`` and ``varbinary(max)``."""


class Kind(enum.Enum):
    """A T-SQL type without its parameters; the value is its name in T-SQL."""

    BIT = "bit"
    TINYINT = "tinyint"
    SMALLINT = "smallint"
    INT = "int"
    BIGINT = "bigint"
    DECIMAL = "decimal"
    NUMERIC = "numeric"
    SMALLMONEY = "smallmoney"
    MONEY = "money"
    REAL = "real"
    FLOAT = "float"
    CHAR = "char"
    VARCHAR = "varchar"
    TEXT = "text"
    NCHAR = "nchar"
    NVARCHAR = "nvarchar"
    NTEXT = "ntext"
    XML = "xml"
    BINARY = "binary"
    VARBINARY = "varbinary"
    IMAGE = "image"
    ROWVERSION = "timestamp"
    DATE = "date"
    TIME = "time"
    SMALLDATETIME = "smalldatetime"
    DATETIME = "datetime"
    DATETIME2 = "datetime2"
    DATETIMEOFFSET = "datetimeoffset"
    UNIQUEIDENTIFIER = "uniqueidentifier"
    SQL_VARIANT = "sql_variant"

    def __repr__(self) -> str:
        return self.value


INTEGER_KINDS = frozenset({Kind.BIT, Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
DECIMAL_KINDS = frozenset({Kind.DECIMAL, Kind.NUMERIC, Kind.SMALLMONEY, Kind.MONEY})
FLOAT_KINDS = frozenset({Kind.REAL, Kind.FLOAT})
NUMBER_KINDS = INTEGER_KINDS | DECIMAL_KINDS | FLOAT_KINDS
ANSI_KINDS = frozenset({Kind.CHAR, Kind.VARCHAR, Kind.TEXT})
UNICODE_KINDS = frozenset({Kind.NCHAR, Kind.NVARCHAR, Kind.NTEXT, Kind.XML})
STRING_KINDS = ANSI_KINDS | UNICODE_KINDS
BINARY_KINDS = frozenset({Kind.BINARY, Kind.VARBINARY, Kind.IMAGE, Kind.ROWVERSION})
DATETIME_KINDS = frozenset(
    {
        Kind.DATE,
        Kind.TIME,
        Kind.SMALLDATETIME,
        Kind.DATETIME,
        Kind.DATETIME2,
        Kind.DATETIMEOFFSET,
    }
)


class Collation(enum.Enum):
    """The SQLite collations that make ``=``, ``<``, ``DISTINCT`` and indexes right.

    The value is the name under which the collation is registered on every SQLite
    connection (:mod:`mssql_async.devserver.tsql.runtime`).
    """

    TEXT_CI = "MSSQL_CI_AS"
    """SQL_Latin1_General_CP1_CI_AS: no case, accents count, trailing blanks do not."""
    TEXT_CS = "MSSQL_CS_AS"
    """Case-sensitive collations (``…_CS_AS``); trailing blanks do not count."""
    TEXT_CI_AI = "MSSQL_CI_AI"
    """Case- and accent-insensitive collations (``…_CI_AI``)."""
    TEXT_BIN = "MSSQL_BIN2"
    """Code point order (``…_BIN``, ``…_BIN2``); trailing blanks do not count."""
    DECIMAL = "MSSQL_DECIMAL"
    """Decimal strings of any scale by their value."""
    OFFSET = "MSSQL_OFFSET"
    """datetimeoffset by its UTC instant."""
    GUID = "MSSQL_GUID"
    """uniqueidentifier in SQL Server's order: the last six bytes weigh most."""


DEFAULT_COLLATION_NAME = "SQL_Latin1_General_CP1_CI_AS"


@dataclass(frozen=True, slots=True)
class SqlType:
    """A T-SQL type with its parameters.

    ``length`` is in characters for strings and in bytes for binaries, :data:`MAX`
    for ``(max)``; ``precision`` and ``scale`` as in T-SQL (``scale`` also for the
    fractional seconds of time, datetime2 and datetimeoffset); ``collation`` is the
    T-SQL collation name of a string, ``None`` for the database default.
    """

    kind: Kind
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    collation: str | None = None

    def __str__(self) -> str:
        """The type as T-SQL writes it: ``nvarchar(max)``, ``numeric(8,2)``."""
        name = self.kind.value
        if self.kind in (Kind.DECIMAL, Kind.NUMERIC):
            return f"{name}({self.precision},{self.scale})"
        if self.kind in (Kind.TIME, Kind.DATETIME2, Kind.DATETIMEOFFSET):
            return f"{name}({self.scale})"
        if self.length is not None and self.kind in (
            Kind.CHAR,
            Kind.VARCHAR,
            Kind.NCHAR,
            Kind.NVARCHAR,
            Kind.BINARY,
            Kind.VARBINARY,
        ):
            return f"{name}({'max' if self.length == MAX else self.length})"
        return name

    def with_collation(self, collation: str | None) -> SqlType:
        return replace(self, collation=collation)


BIT = SqlType(Kind.BIT)
TINYINT = SqlType(Kind.TINYINT)
SMALLINT = SqlType(Kind.SMALLINT)
INT = SqlType(Kind.INT)
BIGINT = SqlType(Kind.BIGINT)
MONEY = SqlType(Kind.MONEY, precision=19, scale=4)
SMALLMONEY = SqlType(Kind.SMALLMONEY, precision=10, scale=4)
REAL = SqlType(Kind.REAL)
FLOAT = SqlType(Kind.FLOAT)
DATE = SqlType(Kind.DATE)
DATETIME = SqlType(Kind.DATETIME)
SMALLDATETIME = SqlType(Kind.SMALLDATETIME)
UNIQUEIDENTIFIER = SqlType(Kind.UNIQUEIDENTIFIER)
SQL_VARIANT = SqlType(Kind.SQL_VARIANT)
SYSNAME = SqlType(Kind.NVARCHAR, length=128)


def decimal(precision: int = 18, scale: int = 0) -> SqlType:
    return SqlType(Kind.DECIMAL, precision=precision, scale=scale)


def numeric(precision: int = 18, scale: int = 0) -> SqlType:
    return SqlType(Kind.NUMERIC, precision=precision, scale=scale)


def char(length: int = 1) -> SqlType:
    return SqlType(Kind.CHAR, length=length)


def varchar(length: int = 1) -> SqlType:
    return SqlType(Kind.VARCHAR, length=length)


def nchar(length: int = 1) -> SqlType:
    return SqlType(Kind.NCHAR, length=length)


def nvarchar(length: int = 1) -> SqlType:
    return SqlType(Kind.NVARCHAR, length=length)


def binary(length: int = 1) -> SqlType:
    return SqlType(Kind.BINARY, length=length)


def varbinary(length: int = 1) -> SqlType:
    return SqlType(Kind.VARBINARY, length=length)


def time(scale: int = 7) -> SqlType:
    return SqlType(Kind.TIME, scale=scale)


def datetime2(scale: int = 7) -> SqlType:
    return SqlType(Kind.DATETIME2, scale=scale)


def datetimeoffset(scale: int = 7) -> SqlType:
    return SqlType(Kind.DATETIMEOFFSET, scale=scale)
