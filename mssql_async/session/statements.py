"""Prepared statements, kept with their connection so that repeated SQL costs one message.

A statement with parameters is one message on a cursor that stays open, two on one that is closed
afterwards (``sp_prepexec``, ``sp_unprepare``; wire.md). So each connection keeps the driver's
cursors, one for each SQL text; when there are too many, the one that was used least recently
is given the new text, which sends no message of its own: the driver names the old handle in
the new ``sp_prepexec``.
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import pyodbc

from ..pool import odbc

CAPACITY = 50
"""Statements kept for each connection."""

PARKED_LIMIT = 128
"""Statements that died with a reset, 26 KB each, after which a connection is replaced."""

_SQL_CLOSE = 0
_SQL_ATTR_QUERY_TIMEOUT = 0
_SQL_IS_UINTEGER = -5
_SUCCESS = (0, 1)

_HANDLE_UNKNOWN = 8179

# It may have to talk to the server (rows that are not wanted), so it lets go of the interpreter.
_free_statement = odbc.driver_manager_function("SQLFreeStmt", ctypes.CDLL)
if _free_statement is not None:
    _free_statement.argtypes = [ctypes.c_void_p, ctypes.c_ushort]
_set_attribute = odbc.driver_manager_function("SQLSetStmtAttr", ctypes.PyDLL)
if _set_attribute is not None:
    _set_attribute.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int]


class Statement:
    """A cursor of the driver's that is kept."""

    __slots__ = ("cursor", "handle", "is_prepared", "passing", "sql", "timeout")

    def __init__(self, cursor: Any, sql: str | None, timeout: int, passing: bool = False) -> None:
        self.cursor = cursor
        self.handle = getattr(cursor, "hstmt", None)  # pyodbc 5.5 and later
        self.sql = sql
        """The very text that the driver prepared, or ``None`` for one that prepares nothing.

        pyodbc compares identities: the same object skips SQLPrepare, and keeps what the server
        said of the types of ``None`` parameters."""
        self.timeout = timeout
        """Seconds; the driver takes it from the connection when a cursor is made."""
        self.passing = passing
        """Not kept for its text: the session is about to be reset."""
        self.is_prepared = False
        """Whether the driver names a handle of the server's with its next execution."""

    def end_results(self) -> bool:
        """Give up what was not read, and stay prepared. No message where everything has
        arrived, else an attention. False where that failed or cannot be done."""
        if self.handle is None or _free_statement is None:
            return False
        return _free_statement(self.handle, _SQL_CLOSE) in _SUCCESS

    def limit(self, seconds: int) -> bool:
        """Set the time limit of what is executed next. False where that cannot be done."""
        if self.timeout == seconds:
            return True
        if self.handle is None or _set_attribute is None:
            return False
        code = _set_attribute(self.handle, _SQL_ATTR_QUERY_TIMEOUT, seconds, _SQL_IS_UINTEGER)
        if code not in _SUCCESS:
            return False
        self.timeout = seconds
        return True


class KeptStatements:
    """The statements of one connection: what a lease executes is taken from here, and put
    back once its results are over.

    :param raw: the driver's connection. Whoever has its lease may call the methods.
    :param capacity: statements kept at most; by default :data:`CAPACITY`.
    """

    __slots__ = ("_capacity", "_direct", "_kept", "_parked", "_passing", "_raw")

    def __init__(self, raw: Any, capacity: int | None = None) -> None:
        self._raw = raw
        self._capacity = CAPACITY if capacity is None else capacity
        self._kept: dict[str, Statement] = {}  # least recently used first
        self._direct: Statement | None = None
        self._passing: Statement | None = None
        self._parked: list[Any] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def worn_out(self) -> bool:
        """Whether so many statements died with resets that the connection is to be replaced."""
        return len(self._parked) > PARKED_LIMIT

    def prepared(self, sql: str, timeout: int, *, keep: bool = True) -> Statement:
        """A statement for a text with parameters; execute its own :attr:`Statement.sql`.

        Without ``keep`` a new text gets a statement that every other such text shares: what is
        prepared in a session that will be reset would be lost with it.
        """
        statement = self._kept.pop(sql, None)
        if statement is None:
            if not keep:
                statement, self._passing = self._passing, None
            elif len(self._kept) >= self._capacity:
                statement = self._kept.pop(next(iter(self._kept)))
            if statement is None:
                return Statement(self._raw.cursor(), sql, timeout, not keep)
            if statement.sql != sql:
                statement.sql = sql
        if statement.timeout != timeout and not statement.limit(timeout):
            discard(statement)
            return Statement(self._raw.cursor(), sql, timeout, statement.passing)
        return statement

    def direct(self, timeout: int) -> Statement:
        """A statement for a text without parameters. One of its own, because such a text on
        a prepared one costs an ``sp_unprepare``."""
        statement, self._direct = self._direct, None
        if statement is not None and (statement.timeout == timeout or statement.limit(timeout)):
            return statement
        return Statement(self._raw.cursor(), None, timeout)

    def put_back(self, statement: Statement, *, ended: bool) -> None:
        """``ended``: the driver has said that there are no more results."""
        if not ended and not statement.end_results():
            discard(statement)
        elif statement.sql is None:
            self._direct = statement
        elif statement.passing:
            self._passing = statement
        else:
            self._kept[statement.sql] = statement

    def park(self, cursor: Any) -> None:
        """Keep a cursor from being closed, which may send a message, for as long as the
        connection is open. Closing the connection sends nothing for it."""
        self._parked.append(cursor)

    def session_was_reset(self) -> None:
        """The server has dropped the handles, but the driver would still name them: error 8179
        for whatever does, executing and closing alike. Nothing is sent here."""
        self._parked.extend(statement.cursor for statement in self._kept.values())
        self._kept.clear()
        if self._passing is not None:
            self._parked.append(self._passing.cursor)
            self._passing = None

    def failed(self, error: pyodbc.Error, statement: Statement | None = None) -> None:
        """An execution failed, and its statement was put back. Where the server did not know
        the handle it knows none of them, whatever became of its session.

        A text that does not compile gets no handle, and the server may have let go of the one
        that came with it, which the driver would go on naming: that statement is parked."""
        if _HANDLE_UNKNOWN in odbc.error_numbers(error):
            self.session_was_reset()
        elif (
            statement is not None
            and statement.is_prepared
            and isinstance(error, pyodbc.ProgrammingError)
        ):
            self._park_statement(statement)

    def _park_statement(self, statement: Statement) -> None:
        if self._passing is statement:
            self._passing = None
        elif statement.sql is not None and self._kept.get(statement.sql) is statement:
            del self._kept[statement.sql]
        else:
            return  # it was not kept
        self._parked.append(statement.cursor)


def discard(statement: Statement) -> None:
    """Close it, which costs a message where it was prepared."""
    with contextlib.suppress(pyodbc.Error):  # closed with its connection
        statement.cursor.close()
