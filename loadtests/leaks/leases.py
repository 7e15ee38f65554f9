"""Notes the leases of mssql_async's connections as they begin and end, so that a statement whose
lease is over when it returns (an error, a message, one row) is told of with its session, too.

A connection that is lent for the first time is asked which session it has.
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any, NamedTuple

import pyodbc

from mssql_async.contrib.leaks.record import Session, Token
from mssql_async.pool import PooledConnection
from mssql_async.session.lease import LeasedConnection
from mssql_async.session.results import Hold

from .clock import now
from .numbers import AskedSessions, forget_all_but
from .place import CURRENT
from .probe import SESSION_QUESTION

TIMEOUT = 2
"""Seconds: a frozen peer answers nothing, and this statement nobody can cancel."""


class LeaseEnded(NamedTuple):
    connection: int
    since: float
    """When it began; seconds since the epoch."""
    until: float


class LeaseWatch:
    """Watches all leases of the process, until :meth:`close`."""

    def __init__(self) -> None:
        self._sessions = AskedSessions()
        self._holders: dict[int, Token] = {}
        self._here = threading.local()
        self._adopt, self._give_back = LeasedConnection._adopt, LeasedConnection._give_back  # noqa: SLF001
        watch = self

        def adopt(leased: LeasedConnection, connection: PooledConnection) -> Hold:
            hold = watch._adopt(leased, connection)
            watch._began(leased, connection)
            return hold

        def give_back(leased: LeasedConnection) -> None:
            watch._ended(leased)
            watch._give_back(leased)

        LeasedConnection._adopt = adopt  # type: ignore[method-assign]  # noqa: SLF001
        LeasedConnection._give_back = give_back  # type: ignore[method-assign]  # noqa: SLF001

    def close(self) -> None:
        LeasedConnection._adopt = self._adopt  # type: ignore[method-assign]  # noqa: SLF001
        LeasedConnection._give_back = self._give_back  # type: ignore[method-assign]  # noqa: SLF001

    def session_of(self, connection: int) -> Session | None:
        """``None``: it was not lent yet, or has not answered."""
        return self._sessions.of(connection)

    def holder_of(self, connection: int) -> Token:
        """The context that it was lent to last; 0: none, or nobody knows."""
        return self._holders.get(connection, 0)

    def ended(self, leased: Any, since: float) -> LeaseEnded | None:
        """The last lease of this thread, if it was that wrapper's, began no earlier and is over."""
        last: tuple[int, LeaseEnded] | None = getattr(self._here, "last", None)
        if last is None or last[0] != id(leased) or last[1].since < since or not last[1].until:
            return None
        return last[1]

    def take_asked(self) -> int:
        """How many statements of its own there were, since the last time."""
        return self._sessions.take_asked()

    def forget_all_but(self, alive: set[int]) -> None:
        self._sessions.forget_all_but(alive)
        forget_all_but(alive, self._holders)

    def _began(self, leased: LeasedConnection, connection: PooledConnection) -> None:
        if connection.number not in self._sessions:
            self._sessions.asking([connection.number])
            self._ask(connection.number, connection.raw)
        self._holders[connection.number] = CURRENT.get()
        # By its id: a lease that a thread remembers would not be collected.
        self._here.last = id(leased), LeaseEnded(connection.number, now(), 0.0)

    def _ended(self, leased: LeasedConnection) -> None:
        last = getattr(self._here, "last", None)
        if last is not None and last[0] == id(leased):
            self._here.last = last[0], last[1]._replace(until=now())

    def _ask(self, number: int, raw: Any) -> None:
        """Whatever is wrong with it shows in the statement that it was lent for."""
        before = raw.timeout
        try:
            raw.timeout = TIMEOUT
            with closing(raw.cursor()) as cursor:
                row = cursor.execute(SESSION_QUESTION).fetchone()
            raw.timeout = before
        except pyodbc.Error:
            return
        self._sessions.told(number, None if row is None else Session(int(row[0]), str(row[1])))
