"""What an execution gave: read from the driver as it is asked for, or kept in memory.

A connection serves one result at a time (no MARS). When it is needed for something else, what
is left of its result is read into memory, and the cursor goes on from there.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, NoReturn

import pyodbc

from .errors import SEQUENCE_ERROR, LeaseOver, as_raised, no_rows

if TYPE_CHECKING:
    from ..pool.connection import PooledConnection
    from .interruption import Guard
    from .statements import KeptStatements, Statement

LEASE_ENDED = "This cursor was closed, or its lease ended with its context."


class Hold:
    """A pool's connection for as long as a context has it."""

    __slots__ = ("connection", "guard", "raw", "result", "statements")

    def __init__(
        self, connection: PooledConnection, statements: KeptStatements, guard: Guard
    ) -> None:
        self.connection = connection
        self.guard = guard
        """The lease's: a result that another thread cancels does not end meanwhile, so that
        nobody else gets its statement."""
        self.raw = connection.raw
        self.statements = statements
        self.result: Result | None = None
        """The one that is still with the driver. While there is, nothing else can be sent."""


class ResultSet:
    """A result set in memory: what is left of it."""

    __slots__ = ("description", "error", "messages", "rowcount", "rows")

    def __init__(self, description: Any = None, rowcount: int = -1, messages: Any = None) -> None:
        self.description = description
        self.rowcount = rowcount
        self.messages = [] if messages is None else messages
        self.rows: deque[Any] | None = None
        self.error: Exception | None = None
        """Raised by the fetch that comes to it."""

    def fetchone(self) -> Any:
        if self.rows:
            return self.rows.popleft()
        self._at_end()
        return None

    def fetchmany(self, size: int) -> list[Any]:
        rows = self.rows
        if rows and len(rows) >= size:
            return [rows.popleft() for _ in range(size)]
        return self.fetchall()

    def fetchall(self) -> list[Any]:
        rows, self.rows = self.rows, None
        self._at_end()
        return [] if rows is None else list(rows)

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.fetchone()

    def _at_end(self) -> None:
        if self.description is None:
            raise no_rows()
        error, self.error = self.error, None
        if error is not None:
            raise error


class Result:
    """The results of one execution. The lease decides where they are.

    With the driver while :attr:`raw` is set; it is then :attr:`Hold.result` of its connection.
    """

    __slots__ = ("_following", "_lost", "hold", "raw", "shown", "statement")

    def __init__(self, hold: Hold, raw: Any, statement: Statement | None) -> None:
        self.hold = hold
        self.raw = raw
        self.statement = statement
        """What :attr:`raw` is kept as, or ``None`` for a cursor that is closed after use."""
        self.shown: ResultSet | None = None
        """The current result set where it is in memory; then :attr:`raw`, if still there, is
        already at the next one."""
        self._following: deque[ResultSet | Exception] | None = None
        self._lost: str | None = None

    @property
    def rows_are_pending(self) -> bool:
        """Whether the driver still has rows, as opposed to the word that there are none."""
        return self.raw is not None and self.raw.description is not None

    @property
    def is_read(self) -> bool:
        """Whether nothing is left of it, neither with the driver nor in memory."""
        shown = self.shown
        return (
            self.raw is None
            and not self._following
            and (shown is None or not (shown.rows or shown.error))
        )

    def next_in_memory(self) -> bool:
        """As the driver's ``nextset``, where :attr:`shown` is set."""
        if self._following:
            following = self._following.popleft()
            if isinstance(following, Exception):
                self.shown = ResultSet()
                raise following
            self.shown = following
            return True
        if self.raw is not None:
            self.shown = None
            return True
        if self._lost is not None:
            self.refuse()
        self.shown = ResultSet()
        return False

    def follow(self, following: ResultSet | Exception) -> None:
        """Add what :meth:`next_in_memory` comes to: a result set, or an error to raise."""
        if self._following is None:
            self._following = deque()
        self._following.append(following)

    def read_all(self) -> Exception | None:
        """Read what is left into memory, so that the connection is free once :meth:`let_go`
        is called. An error is kept for the fetch that comes to it, and returned."""
        raw = self.raw
        error: Exception | None = None
        try:
            while True:
                result_set = ResultSet(raw.description, raw.rowcount, raw.messages)
                if self.shown is None:
                    self.shown = result_set
                else:
                    self.follow(result_set)
                if result_set.description is not None:
                    error = _read_rows(raw, result_set)
                if error is not None or not raw.nextset():
                    return error
        except pyodbc.Error as refused:
            error = refused
            self.follow(as_raised(refused))
            return error

    def let_go(self, *, ended: bool = False, lost: str | None = None) -> None:
        """Leave the driver's cursor to others.

        :param ended: the driver has said that nothing follows.
        :param lost: what to tell whoever comes to what was not read.
        """
        hold = self.hold
        raw = hold.guard.let_go(self)
        self._lost = lost
        if hold.connection.broken:
            hold.statements.park(raw)  # closing it might wait for a peer that is gone
        elif self.statement is not None:
            hold.statements.put_back(self.statement, ended=ended)
        else:
            with contextlib.suppress(pyodbc.Error):  # closed with its connection
                raw.close()

    def refuse(self) -> NoReturn:
        raise LeaseOver(SEQUENCE_ERROR, self._lost or LEASE_ENDED)


class NoResult(Result):
    """Of a statement that was not sent."""

    __slots__ = ()

    def __init__(self) -> None:
        self.raw = self.statement = self._following = self._lost = None
        self.shown = ResultSet()


def _read_rows(raw: Any, into: ResultSet) -> Exception | None:
    into.rows = deque()
    try:
        into.rows.extend(raw)  # keeps what came before an error
    except Exception as error:  # an output converter may raise anything
        into.error = as_raised(error)
        return error
    return None
