"""Null parameters whose type is known, so that the driver need not ask the server for it.

pyodbc asks what column a ``None`` belongs to (``SQLDescribeParam``, with Microsoft's driver the
message ``sp_describe_undeclared_parameters``), a round trip for each statement, and does so even
where ``Cursor.setinputsizes`` names the type (pyodbc#741). It does not ask for its own
``BinaryNull``, which is a null of type ``binary`` unless ``setinputsizes`` names another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import pyodbc


@dataclass(frozen=True, slots=True)
class TypedNull:
    """A null of a known type, in the place of a ``None`` among the parameters."""

    sql_type: int
    """ODBC's number of the type (``SQL_INTEGER`` is 4)."""
    size: int = 0
    """ODBC's column size: characters, bytes or digits; 0 for those without, and for ``max``."""
    digits: int = 0
    """Decimal digits: the scale of numbers, the fraction of seconds."""

    def __repr__(self) -> str:
        return "NULL"

    @property
    def input_size(self) -> tuple[int, int, int]:
        return (self.sql_type, self.size, self.digits)


class TypedParameters(tuple[Any, ...]):
    """Parameters as everybody sees them, ``None`` where they are null; ``nulls`` has what is known
    of some of those, by their places."""

    nulls: Mapping[int, TypedNull] = MappingProxyType({})
    """Nothing is known where a wrapper has made one of its own, by ``type(params)(…)``."""

    @classmethod
    def of(cls, params: Sequence[Any]) -> TypedParameters:
        """Of parameters with a :class:`TypedNull` in the place of some ``None``."""
        seen = cls(None if type(value) is TypedNull else value for value in params)
        seen.nulls = {i: value for i, value in enumerate(params) if type(value) is TypedNull}
        return seen

    def typed(self, params: Sequence[Any]) -> tuple[Any, ...]:
        """``params``, which are these in other clothes, with the nulls of known types."""
        return tuple(
            self.nulls.get(place) if value is None else value for place, value in enumerate(params)
        )


# Types of SQL Server's own, which pyodbc does not name (msodbcsql.h).
_SQL_SS_TIME2 = -154
_SQL_SS_TIMESTAMPOFFSET = -155

_WITHOUT_SIZE = {
    "bigint": TypedNull(pyodbc.SQL_BIGINT),
    "bit": TypedNull(pyodbc.SQL_BIT),
    "date": TypedNull(pyodbc.SQL_TYPE_DATE, 10),
    "datetime": TypedNull(pyodbc.SQL_TYPE_TIMESTAMP, 23, 3),
    "double precision": TypedNull(pyodbc.SQL_DOUBLE),
    "float": TypedNull(pyodbc.SQL_DOUBLE),
    "int": TypedNull(pyodbc.SQL_INTEGER),
    "integer": TypedNull(pyodbc.SQL_INTEGER),
    "money": TypedNull(pyodbc.SQL_DECIMAL, 19, 4),
    "real": TypedNull(pyodbc.SQL_REAL),
    "smalldatetime": TypedNull(pyodbc.SQL_TYPE_TIMESTAMP, 16),
    "smallint": TypedNull(pyodbc.SQL_SMALLINT),
    "smallmoney": TypedNull(pyodbc.SQL_DECIMAL, 10, 4),
    "tinyint": TypedNull(pyodbc.SQL_TINYINT),
    "uniqueidentifier": TypedNull(pyodbc.SQL_GUID),
}
_WITH_LENGTH = {
    "binary": pyodbc.SQL_BINARY,
    "char": pyodbc.SQL_CHAR,
    "nchar": pyodbc.SQL_WCHAR,
    "nvarchar": pyodbc.SQL_WVARCHAR,
    "varbinary": pyodbc.SQL_VARBINARY,
    "varchar": pyodbc.SQL_VARCHAR,
}
_WITH_PRECISION = {"decimal": pyodbc.SQL_DECIMAL, "numeric": pyodbc.SQL_NUMERIC}
#: Type, and the characters before the fraction of a second.
_WITH_FRACTION = {
    "datetime2": (pyodbc.SQL_TYPE_TIMESTAMP, 19),
    "datetimeoffset": (_SQL_SS_TIMESTAMPOFFSET, 26),
    "time": (_SQL_SS_TIME2, 8),
}
_COLUMN_TYPE = re.compile(
    r"(?P<name>double precision|[a-z]\w*)"
    r"(?: ?\( ?(?P<first>\d+|max) ?(?:, ?(?P<second>\d+) ?)?\))?"
    r"(?: collate \w+)?"
)


@lru_cache(maxsize=512)
def null_of(column_type: str) -> TypedNull | None:
    """The null of a column's type as T-SQL writes it, such as ``nvarchar(40)``.

    None for a type not listed here (``xml``, ``geography``, ``sql_variant``, a type of the
    user's own): the driver asks the server then. Sizes as in Microsoft's "Column size" and
    "Data type support for ODBC date/time improvements".
    """
    match = _COLUMN_TYPE.fullmatch(" ".join(column_type.lower().split()))
    if match is None:
        return None
    name, first, second = match["name"], match["first"], int(match["second"] or 0)
    if name in _WITHOUT_SIZE:
        return _WITHOUT_SIZE[name]
    if name in _WITH_LENGTH:
        return TypedNull(_WITH_LENGTH[name], 0 if first == "max" else int(first or 1))
    if first == "max":
        return None
    if name in _WITH_PRECISION:
        return TypedNull(_WITH_PRECISION[name], int(first or 18), second)
    if name in _WITH_FRACTION:
        sql_type, whole = _WITH_FRACTION[name]
        fraction = int(first or 7)
        return TypedNull(sql_type, whole + (fraction and fraction + 1), fraction)
    return None


#: What ``Cursor.setinputsizes`` takes: for each parameter a type, or None for the driver's choice.
InputSizes = list[tuple[int, int, int] | None]


def input_sizes(params: Sequence[Any]) -> tuple[Sequence[Any], InputSizes | None]:
    """The parameters as pyodbc takes them, and what to tell ``Cursor.setinputsizes`` before.

    None instead of sizes where no parameter is a :class:`TypedNull`: the usual case, in which
    ``params`` itself comes back. A cursor keeps its sizes: whoever sets them on one that is
    used again has to take them back, with ``setinputsizes(None)``.
    """
    for value in params:
        if type(value) is TypedNull:
            break
    else:
        return params, None
    sizes: InputSizes = [value.input_size if type(value) is TypedNull else None for value in params]
    null = pyodbc.BinaryNull
    return [null if type(value) is TypedNull else value for value in params], sizes


def plain_rows(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Rows for ``executemany``, where one type would have to fit a column's every value: with
    ``None`` in the place of each :class:`TypedNull`, so that the driver asks."""
    return [
        [None if type(value) is TypedNull else value for value in row]
        if any(type(value) is TypedNull for value in row)
        else row
        for row in rows
    ]
