"""What Django's and the dialect's cursors hold where pyodbc's would be."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pyodbc

from .errors import SEQUENCE_ERROR
from .nulls import plain_rows
from .results import Result

if TYPE_CHECKING:
    from .lease import LeasedConnection

#: The driver's questions about tables, columns and types; each is an execution.
_CATALOG_FUNCTIONS = frozenset(
    {
        "columns",
        "foreignKeys",
        "getTypeInfo",
        "primaryKeys",
        "procedureColumns",
        "procedures",
        "rowIdColumns",
        "rowVerColumns",
        "statistics",
        "tablePrivileges",
        "tables",
    }
)


_NAME = r"(?:[\w@#$]+|\[(?:[^\]]|\]\])+\])"
#: The name of a procedure: of up to four parts, of which those in the middle may be left out.
_PROCEDURE = re.compile(rf"{_NAME}(?:\.{{1,3}}{_NAME}){{0,3}}")


class _DriverSetting:
    """An attribute of the driver's cursor. A cursor whose settings were changed shares no
    kept statement, so that nobody else gets them."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, cursor: LeasedCursor, owner: type) -> Any:
        settings = cursor._settings  # noqa: SLF001 - a part of the class
        return False if settings is None else settings.get(self._name, False)

    def __set__(self, cursor: LeasedCursor, value: Any) -> None:
        cursor._settings = {**(cursor._settings or {}), self._name: value}  # noqa: SLF001


class LeasedCursor:
    """A cursor that takes part in its context's lease from an execution until its rows are
    read to the end or it is closed."""

    __slots__ = ("__weakref__", "_closed", "_lease", "_result", "_settings", "arraysize")

    fast_executemany = _DriverSetting()
    noscan = _DriverSetting()
    rows_as_dicts = _DriverSetting()

    def __init__(self, lease: LeasedConnection) -> None:
        self._lease = lease
        self._closed = False
        self._result: Result | None = None
        self._settings: dict[str, Any] | None = None
        self.arraysize = 1

    def __del__(self) -> None:
        # Finalizers may run at any instruction of any thread: no I/O and no lock here. The
        # lease looks at its next touch.
        result = self._result
        if result is not None and result.raw is not None:
            self._lease.orphan(result)
        elif not self._closed:
            self._lease.cursor_is_gone()

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def connection(self) -> LeasedConnection:
        return self._lease

    # --- executing -------------------------------------------------------------------------

    def execute(self, sql: str, *params: Any) -> LeasedCursor:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        if self._closed:
            _is_closed()
        if self._result is not None:
            self._end_result()
        values: Any = params
        if len(params) == 1 and isinstance(params[0], list | tuple | pyodbc.Row):
            values = params[0]
        self._result = lease.run(sql, values, self._settings)
        return self

    def executemany(self, sql: str, params: Any) -> None:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        if self._closed:
            _is_closed()
        if self._result is not None:
            self._end_result()
        if isinstance(params, list | tuple):
            rows: Any = plain_rows(params)
            parameterised = all(rows)
        else:  # the driver takes them one by one, so nobody has seen them
            rows = (plain_rows([row])[0] for row in params)
            parameterised = False
        self._result = lease.run_many(sql, rows, self._settings, parameterised=parameterised)

    def callproc(self, procname: str, params: Any = ()) -> list[Any]:
        """Execute a stored procedure. Returns the parameters: the driver gives back no output
        parameters. What it selects is fetched as after any execution.

        :raises pyodbc.ProgrammingError: that is no name of a procedure.
        """
        if not _PROCEDURE.fullmatch(procname):
            raise pyodbc.ProgrammingError(
                "42000", f"{procname!r} is no name of a procedure: [schema.]name, in brackets "
                "where it has other characters than letters, digits and _@#$.",
            )  # fmt: skip
        values = list(params)
        self.execute(f"EXEC {procname} {', '.join('?' * len(values))}", values)
        return values

    def _end_result(self) -> None:
        result, self._result = self._result, None
        if result is not None and result.raw is not None:
            self._lease.end_result(result)

    def setinputsizes(self, sizes: Any) -> None:
        self._settings = {**(self._settings or {}), "setinputsizes": sizes}

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """As with the driver's own cursors, nothing."""

    def cancel(self) -> None:
        """Stop what runs on the connection. The one method that another thread may call."""
        self._lease.cancel()

    def commit(self) -> None:
        self._lease.commit()

    def rollback(self) -> None:
        self._lease.rollback()

    # --- reading ---------------------------------------------------------------------------

    @property
    def description(self) -> Any:
        result = self._result
        if result is None:
            return None
        if result.shown is not None:
            return result.shown.description
        return None if result.raw is None else result.raw.description

    @property
    def rowcount(self) -> int:
        result = self._result
        if result is None:
            return -1
        rows: int
        if result.shown is not None:
            rows = result.shown.rowcount
        else:
            rows = -1 if result.raw is None else result.raw.rowcount
        return rows

    @property
    def messages(self) -> list[Any]:
        result = self._result
        if result is None:
            return []
        messages: list[Any]
        if result.shown is not None:
            messages = result.shown.messages
        else:
            messages = [] if result.raw is None else result.raw.messages
        return messages

    @property
    def is_read(self) -> bool:
        """Whether everything that its execution gave was fetched; also without one."""
        result = self._result
        return result is None or result.is_read

    def fetchone(self) -> Any:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        result = self._result
        if result is None:
            _nothing_executed()
        if result.shown is not None:
            return result.shown.fetchone()
        if result.raw is None:
            result.refuse()
        lease.begin_reading(result)
        try:
            row = result.raw.fetchone()
        except pyodbc.Error as error:
            lease.fetch_failed(result, error)
            raise
        if row is None:
            lease.rows_ended(result)
        else:
            lease.end_reading()
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        if size is None:
            size = self.arraysize
        result = self._result
        if result is None:
            _nothing_executed()
        if result.shown is not None:
            return result.shown.fetchmany(size)
        if result.raw is None:
            result.refuse()
        lease.begin_reading(result)
        try:
            rows: list[Any] = result.raw.fetchmany(size)
        except pyodbc.Error as error:
            lease.fetch_failed(result, error)
            raise
        if len(rows) < size:
            lease.rows_ended(result)
        else:
            lease.end_reading()
        return rows

    def fetchall(self) -> list[Any]:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        result = self._result
        if result is None:
            _nothing_executed()
        if result.shown is not None:
            return result.shown.fetchall()
        if result.raw is None:
            result.refuse()
        lease.begin_reading(result)
        try:
            rows: list[Any] = result.raw.fetchall()
        except pyodbc.Error as error:
            lease.fetch_failed(result, error)
            raise
        lease.rows_ended(result)
        return rows

    def fetchval(self) -> Any:
        row = self.fetchone()
        return None if row is None else row[0]

    def skip(self, count: int) -> None:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        result = self._result
        if result is None:
            _nothing_executed()
        if result.shown is not None:
            result.shown.skip(count)
            return
        if result.raw is None:
            result.refuse()
        lease.begin_reading(result)
        try:
            result.raw.skip(count)
        except pyodbc.Error as error:
            lease.fetch_failed(result, error)
            raise
        lease.end_reading()

    def nextset(self) -> bool:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        result = self._result
        if result is None:
            return False
        if result.shown is None and result.raw is None:
            result.refuse()
        if result.shown is not None:
            return result.next_in_memory()
        return lease.nextset(result)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    # --- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close it for good; closing twice is no error. In autocommit the lease may end with it.

        From another context (a generator that the collector closes, for instance) it is left
        to the owner, because the connection may be at work.
        """
        result, self._result = self._result, None
        self._closed = True
        lease = self._lease
        if lease.identify() != lease.owner and not lease.may_be_shared():
            if result is not None and result.raw is not None:
                lease.orphan(result)
            else:
                lease.cursor_is_gone()
            return
        if result is not None and result.raw is not None:
            lease.end_result(result)
        lease.release_unless_pinned()

    def __enter__(self) -> LeasedCursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name in _CATALOG_FUNCTIONS:
            return functools.partial(self._ask_catalog, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _ask_catalog(self, name: str, *args: Any, **kwargs: Any) -> LeasedCursor:
        lease = self._lease
        if lease.identify() != lease.owner:
            lease.refuse_others()
        if self._closed:
            _is_closed()
        if self._result is not None:
            self._end_result()
        self._result = lease.run_catalog(name, args, kwargs, self._settings)
        return self


def _nothing_executed() -> NoReturn:
    raise pyodbc.ProgrammingError(
        SEQUENCE_ERROR, "This cursor has no result: it has executed nothing, or was closed."
    )


def _is_closed() -> NoReturn:
    raise pyodbc.ProgrammingError(SEQUENCE_ERROR, "This cursor is closed: it executes nothing.")
