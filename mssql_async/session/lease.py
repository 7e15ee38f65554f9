"""Exclusive use of one connection, from acquire to release, in the shape of the DB-API.

Django's wrapper and the dialect see a :class:`LeasedConnection` where pyodbc's connection
would be. It watches what is executed, so that the pool knows how the session comes back.
"""

from __future__ import annotations

import contextlib
import enum
import os
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pyodbc

from ..pool.odbc import ends_connection
from ..pool.pool import ConnectionSource
from .state import Effect, effect_of

_live: weakref.WeakSet[LeasedConnection] = weakref.WeakSet()


class LeaseState(enum.Enum):
    HELD = "held"
    RELEASED = "released"
    INHERITED = "inherited"
    """Taken over by fork: the connection belongs to the parent and is never touched."""


class LeasedConnection:
    """A pyodbc connection on loan.

    Transactions begin lazily: ``autocommit = False`` is sent with the first statement that
    needs it, so that a commit costs one round trip and leaves no empty transaction open.
    """

    def __init__(self, source: ConnectionSource) -> None:
        """Acquire. Raises what :meth:`~mssql_async.pool.Pool.acquire` raises."""
        self._source = source
        self._connection = source.acquire()
        self._raw: pyodbc.Connection = self._connection.raw
        self.state = LeaseState.HELD
        self._autocommit = True
        self._in_transaction = False
        self._dirty = False
        self._timeout = self._raw.timeout
        self._cursors: weakref.WeakSet[LeasedCursor] = weakref.WeakSet()
        _live.add(self)
        # Whoever forgets to give it back, or dies, must not keep a place of the pool.
        self._finalizer = weakref.finalize(self, source.abandon, self._connection)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        return f"<LeasedConnection {self.state.value}, {self._connection!r}>"

    # --- state -----------------------------------------------------------------------------

    @property
    def broken(self) -> bool:
        """Whether an error has shown that the connection must not be used again."""
        return self._connection.broken

    @property
    def dirty(self) -> bool:
        """Whether the session may differ from the baseline."""
        return self._dirty

    def _check_held(self) -> None:
        if self.state is not LeaseState.HELD:
            raise pyodbc.ProgrammingError(
                "HY010",
                f"This connection's lease is {self.state.value}: it went back to its pool. "
                "Get a cursor from django.db.connection again instead of keeping one.",
            )

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Let driver errors pass, and remember those that end the connection."""
        try:
            yield
        except pyodbc.Error as error:
            if ends_connection(error):
                self._connection.broken = True
            raise

    def _before_statement(self, sql: str, parameterised: bool) -> None:
        self._check_held()
        if not self._autocommit and not self._in_transaction:
            with self._watching():
                self._raw.autocommit = False
            self._in_transaction = True
        if not self._dirty:
            effect = effect_of(sql, parameterised)
            # A savepoint ends with the transaction, and that ends with this lease.
            if effect is Effect.DIRTY or (effect is Effect.SAVEPOINT and not self._in_transaction):
                self._dirty = True

    def _answered(self) -> None:
        self._connection.proved_at = time.monotonic()

    # --- DB-API ----------------------------------------------------------------------------

    def cursor(self) -> LeasedCursor:
        self._check_held()
        cursor = LeasedCursor(self, self._raw.cursor())
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, *params: Any) -> LeasedCursor:
        return self.cursor().execute(sql, *params)

    @property
    def autocommit(self) -> bool:
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._check_held()
        if value and self._in_transaction:
            self.commit()
        self._autocommit = value

    def commit(self) -> None:
        """Commit in one round trip. Without a transaction nothing is sent."""
        self._check_held()
        if self._in_transaction:
            with self._watching():
                # Setting autocommit commits; SQLEndTran would at once begin another one,
                # which has to be ended by a round trip of its own.
                self._raw.autocommit = True
            self._in_transaction = False
            self._answered()

    def rollback(self) -> None:
        self._check_held()
        if self._in_transaction:
            with self._watching():
                self._raw.rollback()
                self._raw.autocommit = True
            self._in_transaction = False
            self._answered()

    def close(self) -> None:
        """Release the lease. The connection goes back to its pool; idempotent."""
        if self.state is not LeaseState.HELD:
            return
        self.state = LeaseState.RELEASED
        self._finalizer.detach()
        _live.discard(self)
        reset = self._dirty
        try:
            self._leave_nothing_open()
        except pyodbc.Error:
            # A connection that cannot even roll back is not fit for anybody.
            self._connection.broken = True
        except BaseException:
            self._connection.broken = True
            raise
        finally:
            self._source.release(self._connection, reset=reset)

    def _leave_nothing_open(self) -> None:
        if self._connection.broken:
            return
        for cursor in list(self._cursors):
            cursor.close()
        if self._in_transaction:
            self._raw.rollback()
            self._raw.autocommit = True
            self._in_transaction = False
        if self._raw.timeout != self._timeout:
            self._raw.timeout = self._timeout

    @property
    def timeout(self) -> int:
        """Seconds a statement may take; 0: as long as it likes. Ends with the lease."""
        seconds: int = self._raw.timeout
        return seconds

    @timeout.setter
    def timeout(self, seconds: int) -> None:
        self._check_held()
        self._raw.timeout = seconds

    def set_attr(self, attribute: int, value: int) -> None:
        self._check_held()
        self._dirty = True
        self._raw.set_attr(attribute, value)

    def __getattr__(self, name: str) -> Any:
        # getinfo, add_output_converter, setencoding, …: the driver's own.
        if name.startswith("_"):
            raise AttributeError(name)
        self._check_held()
        return getattr(self._raw, name)


class LeasedCursor:
    """A pyodbc cursor that reports to its lease."""

    def __init__(self, lease: LeasedConnection, cursor: pyodbc.Cursor) -> None:
        self._lease = lease
        self._cursor = cursor

    @property
    def connection(self) -> LeasedConnection:
        return self._lease

    def execute(self, sql: str, *params: Any) -> LeasedCursor:
        lease = self._lease
        lease._before_statement(sql, _has_parameters(params))  # noqa: SLF001 - its own cursor
        with lease._watching():  # noqa: SLF001
            self._cursor.execute(sql, *params)
        lease._answered()  # noqa: SLF001
        return self

    def executemany(self, sql: str, params: Any) -> None:
        lease = self._lease
        lease._before_statement(sql, True)  # noqa: SLF001
        with lease._watching():  # noqa: SLF001
            self._cursor.executemany(sql, params)
        lease._answered()  # noqa: SLF001

    def fetchone(self) -> Any:
        with self._lease._watching():  # noqa: SLF001
            return self._cursor.fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        with self._lease._watching():  # noqa: SLF001
            if size is None:
                size = self._cursor.arraysize
            rows: list[Any] = self._cursor.fetchmany(size)
        return rows

    def fetchall(self) -> list[Any]:
        with self._lease._watching():  # noqa: SLF001
            rows: list[Any] = self._cursor.fetchall()
        return rows

    def nextset(self) -> bool:
        with self._lease._watching():  # noqa: SLF001
            more: bool = self._cursor.nextset()
        return more

    def close(self) -> None:
        """Close it; closing twice is no error."""
        with contextlib.suppress(pyodbc.ProgrammingError):
            self._cursor.close()

    def __enter__(self) -> LeasedCursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        with self._lease._watching():  # noqa: SLF001
            yield from self._cursor

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._cursor, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._cursor, name, value)


def _has_parameters(params: tuple[Any, ...]) -> bool:
    if len(params) == 1 and isinstance(params[0], list | tuple):
        return bool(params[0])
    return bool(params)


# Kept for good: to collect them would close the parent's connections under its feet.
_inherited: list[LeasedConnection] = []


def _disown_after_fork() -> None:
    """In a forked child: no lease of the parent may be used, closed or given back."""
    for lease in list(_live):
        lease.state = LeaseState.INHERITED
        lease._finalizer.detach()  # noqa: SLF001
        _inherited.append(lease)
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_after_fork)
