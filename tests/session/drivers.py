"""A driver and a pool in a few lines, so that leases are tested without either."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyodbc

from mssql_async.pool.connection import PooledConnection
from mssql_async.pool.connector import NO_PROFILE, Profile

COLUMN = (("a", int, None, 10, 10, 0, True),)


class StubCursor:
    """Gives the result sets that its connection has for a text: lists of rows, in which an
    exception is raised where it stands; ``None`` for a statement without rows."""

    def __init__(self, connection: StubRaw) -> None:
        self._connection = connection
        self._sets: deque[Any] = deque()
        self.description: Any = None
        self.rowcount = -1
        self.messages: list[Any] = []
        self.sizes_of_each: list[Any] = []
        """What ``setinputsizes`` said at each execution."""
        self._sizes: Any = None
        self.closed = False

    def execute(self, sql: str, *params: Any) -> StubCursor:
        self._connection.begin(self)
        self.sizes_of_each.append(self._sizes)
        self._connection.sent.append(sql)
        result = self._connection.results.get(sql, [[(1,)]])
        if isinstance(result, BaseException):
            raise result
        self._sets = deque(result)
        self._next()
        return self

    def _next(self) -> bool:
        while self._sets:
            rows = self._sets.popleft()
            if isinstance(rows, BaseException):
                self._sets.clear()
                raise rows
            self._rows = deque(rows or ())
            self.description = None if rows is None else COLUMN
            return True
        self.description = None
        self._connection.end(self)
        return False

    def nextset(self) -> bool:
        return self._next()

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def fetchone(self) -> Any:
        if self.description is None:
            raise pyodbc.ProgrammingError("No results.  Previous SQL was not a query.")
        if not self._rows:
            return None
        row = self._rows.popleft()
        if isinstance(row, BaseException):
            raise row
        return row

    def fetchmany(self, size: int) -> list[Any]:
        return [row for row in (self.fetchone() for _ in range(size)) if row is not None]

    def fetchall(self) -> list[Any]:
        return list(self)

    def skip(self, count: int) -> None:
        for _ in range(count):
            if self.fetchone() is None:
                break

    def setinputsizes(self, sizes: Any) -> None:
        self._sizes = sizes

    def close(self) -> None:
        self.closed = True
        self._connection.end(self)


@dataclass(eq=False)
class StubRaw:
    """One result at a time, as without MARS. No ``hstmt``, as with an older pyodbc."""

    results: dict[str, Any]
    sent: list[str] = field(default_factory=list)
    cursors: list[StubCursor] = field(default_factory=list)
    busy: StubCursor | None = None
    timeout: int = 0
    autocommit: bool = True

    def cursor(self) -> StubCursor:
        self.cursors.append(StubCursor(self))
        return self.cursors[-1]

    def begin(self, cursor: StubCursor) -> None:
        assert self.busy in (None, cursor), "connection is busy with results for another command"
        self.busy = cursor

    def end(self, cursor: StubCursor) -> None:
        if self.busy is cursor:
            self.busy = None


@dataclass(eq=False)
class StubLender:
    """Lends connections, at most ``size`` at once, newest first, and opens what it lacks."""

    size: int = 10
    cancels_wait: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    idle: list[PooledConnection] = field(default_factory=list)
    lent: list[PooledConnection] = field(default_factory=list)
    resets: list[PooledConnection] = field(default_factory=list)
    abandoned: list[PooledConnection] = field(default_factory=list)
    condemned: list[PooledConnection] = field(default_factory=list)
    forsaken: list[PooledConnection] = field(default_factory=list)

    def acquire(
        self, profile: Profile = NO_PROFILE, *, wait: bool = True
    ) -> PooledConnection | None:
        if len(self.lent) >= self.size:
            assert not wait, "whoever holds a connection waits for one"
            return None
        if self.idle:
            connection = self.idle.pop()
        else:
            raw = StubRaw(self.results)
            connection = PooledConnection(
                raw, generation=0, opened_at=0.0, expires_at=None, cancels_wait=self.cancels_wait
            )
        connection.profile = profile
        self.lent.append(connection)
        return connection

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        assert connection.raw.busy is None or connection.broken, "results were left unread"
        self.lent.remove(connection)
        if reset:
            self.resets.append(connection)
            if connection.statements is not None:
                connection.statements.session_was_reset()
        if not connection.broken and connection.reusable:
            self.idle.append(connection)

    def abandon(self, connection: PooledConnection) -> None:
        self.lent.remove(connection)
        self.abandoned.append(connection)

    def condemn(self, connection: PooledConnection) -> None:
        connection.broken = True
        self.condemned.append(connection)

    def call_off(self, thread: int) -> None:
        pass

    def forsake(self, connection: PooledConnection) -> None:
        self.forsaken.append(connection)
