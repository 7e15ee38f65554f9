"""Null parameters whose type is known, so that the driver need not ask the server for it.

pyodbc asks what column a ``None`` belongs to (``SQLDescribeParam``, with Microsoft's driver the
message ``sp_describe_undeclared_parameters``), a round trip for each statement, and does so even
where ``Cursor.setinputsizes`` names the type (pyodbc#741). It does not ask for its own
``BinaryNull``, which is a null of type ``binary`` unless ``setinputsizes`` names another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
