"""What Django's wrapper and the dialect hold where pyodbc's connection would be.

A :class:`LeasedConnection` takes a lease on one of the pool's connections when a statement
needs one, and gives it back as soon as nothing ties the session to the context. It watches what
is executed, so that it knows when that is, and so that the pool knows how the session
comes back.
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

from ..pool import odbc
from ..pool.connection import PooledConnection
from ..pool.pool import Lender
from .scope import LeaseScope
from .state import Effect, effect_of

_live: weakref.WeakSet[LeasedConnection] = weakref.WeakSet()

#: Calls that change how the driver encodes or decodes on one physical connection. No reset
#: undoes that, so such a connection is lent to nobody else.
_CHANGE_THE_DRIVER = frozenset(
    {
        "add_output_converter",
        "clear_output_converters",
        "remove_output_converter",
        "setdecoding",
        "setencoding",
    }
)


class LeaseState(enum.Enum):
    FREE = "free"
    """No connection is held; the next statement acquires one."""
    HELD = "held"
    CLOSED = "closed"
    INHERITED = "inherited"
    """Taken over by fork: the connection belongs to the parent and is never touched."""


class LeasedConnection:
    """A context's connection, in the shape of pyodbc's.

    Transactions begin lazily: ``autocommit = False`` is sent with the first statement that
    needs it, so that a commit costs one round trip and leaves no empty transaction open.

    A session that gained state (``SET``, a temporary table, an application lock, …) is
    pinned: it stays with its context until :meth:`close`, and is reset before anybody else
    gets it.
    """

    def __init__(self, source: Lender, scope: LeaseScope = LeaseScope.TRANSACTION) -> None:
        """Acquire. Raises what the source's ``acquire`` raises."""
        self._source = source
        self._scope = scope
        self._held: PooledConnection | None = None
        self._raw: Any = None
        self._finalizer: Any = None
        self._state = LeaseState.FREE
        self._autocommit = True
        self._in_transaction = False
        self._dirty = False
        self._timeout: int | None = None
        self._baseline_timeout = 0
        self._cursors: weakref.WeakSet[LeasedCursor] = weakref.WeakSet()
        _live.add(self)
        self._acquire()

    def __repr__(self) -> str:
        held = f", {self._held!r}" if self._held else ""
        pinned = ", pinned" if self.pinned else ""
        return f"<LeasedConnection {self._state.value}{held}{pinned}>"

    # --- the lease -------------------------------------------------------------------------

    @property
    def state(self) -> LeaseState:
        return self._state

    @property
    def pinned(self) -> bool:
        """Whether the session must stay with this context."""
        return (
            self._in_transaction
            or self._dirty
            or bool(len(self._cursors))
            or (self._scope is LeaseScope.CONTEXT and self._state is LeaseState.HELD)
        )

    def _acquire(self) -> None:
        connection = self._source.acquire()
        assert connection is not None  # noqa: S101 - it waits, so it never comes without one
        self._held = connection
        self._raw = connection.raw
        self._state = LeaseState.HELD
        # Whoever forgets to give it back, or dies, must not keep a place of the pool.
        self._finalizer = weakref.finalize(self, self._source.abandon, connection)
        self._finalizer.atexit = False
        self._baseline_timeout = self._raw.timeout
        if self._timeout is not None:
            self._raw.timeout = self._timeout

    def _ensure_lease(self) -> None:
        if self._state is LeaseState.HELD:
            return
        if self._state is not LeaseState.FREE:
            raise pyodbc.ProgrammingError(
                "HY010",
                f"This connection is {self._state.value}: its lease ended with its context. "
                "Get a cursor from django.db.connection again instead of keeping one.",
            )
        self._acquire()

    def _release_unless_pinned(self) -> None:
        if self._state is LeaseState.HELD and not self.pinned:
            self._give_back()

    def _give_back(self) -> None:
        """End the lease. Whatever the session is in the middle of ends with it."""
        connection = self._held
        assert connection is not None  # noqa: S101 - the state is HELD
        self._finalizer.detach()
        try:
            self._leave_nothing_open(connection)
        except pyodbc.Error:
            # A connection that cannot even roll back is not fit for anybody.
            connection.broken = True
        except BaseException:
            connection.broken = True
            raise
        finally:
            reset, self._dirty = self._dirty, False
            self._in_transaction = False
            self._held = self._raw = None
            self._state = LeaseState.FREE
            self._source.release(connection, reset=reset)

    def _leave_nothing_open(self, connection: PooledConnection) -> None:
        if connection.broken:
            return
        for cursor in list(self._cursors):
            cursor.detach()
        if self._in_transaction:
            # Bounded, unlike a rollback that the caller asks for: nobody waits for a context
            # that is over, and a frozen peer would never answer.
            self._raw.timeout = odbc.bounded(self._raw.timeout)
            self._roll_back()
        if self._raw.timeout != self._baseline_timeout:
            self._raw.timeout = self._baseline_timeout

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Let driver errors pass, and remember those that end the connection."""
        try:
            yield
        except pyodbc.Error as error:
            if self._held is not None and odbc.ends_connection(error):
                self._held.broken = True
            if odbc.is_conflict(error) and not isinstance(error, pyodbc.OperationalError):
                raise pyodbc.OperationalError(*error.args) from error
            raise

    def _before_statement(self, sql: str, parameterised: bool) -> None:
        self._ensure_lease()
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
        if self._held is not None:
            self._held.proved_at = time.monotonic()

    # --- DB-API ----------------------------------------------------------------------------

    def cursor(self) -> LeasedCursor:
        """A cursor. It takes part in a lease from its first ``execute`` to its close."""
        if self._state in (LeaseState.CLOSED, LeaseState.INHERITED):
            self._ensure_lease()  # raises
        return LeasedCursor(self)

    def execute(self, sql: str, *params: Any) -> LeasedCursor:
        return self.cursor().execute(sql, *params)

    @property
    def autocommit(self) -> bool:
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if value and self._in_transaction:
            self.commit()
        self._autocommit = value

    def commit(self) -> None:
        """Commit in one round trip. Without a transaction nothing is sent."""
        if self._in_transaction:
            with self._watching():
                # Setting autocommit commits; SQLEndTran would at once begin another one,
                # which has to be ended by a round trip of its own.
                self._raw.autocommit = True
            self._in_transaction = False
            self._answered()
        self._release_unless_pinned()

    def rollback(self) -> None:
        if self._in_transaction:
            with self._watching():
                self._roll_back()
            self._in_transaction = False
            self._answered()
        self._release_unless_pinned()

    def _roll_back(self) -> None:
        """Roll back in one round trip, under the statement time limit.

        SQLEndTran knows no time limit, and begins another transaction that has to be ended.
        The server may have ended this one already, hence the condition.
        """
        cursor = self._raw.cursor()
        try:
            cursor.execute("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
        finally:
            cursor.close()
        self._raw.autocommit = True

    def close(self) -> None:
        """The context is over: end the lease, if there is one. Idempotent."""
        try:
            if self._state is LeaseState.HELD:
                self._give_back()
        finally:
            if self._state is not LeaseState.INHERITED:
                self._state = LeaseState.CLOSED
            _live.discard(self)

    @property
    def timeout(self) -> int:
        """Seconds a statement may take; 0: as long as it likes. Ends with the context."""
        return self._baseline_timeout if self._timeout is None else self._timeout

    @timeout.setter
    def timeout(self, seconds: int) -> None:
        self._timeout = seconds
        if self._state is LeaseState.HELD:
            self._raw.timeout = seconds

    def set_attr(self, attribute: int, value: int) -> None:
        """Set an ODBC connection attribute, which pins the session."""
        self._ensure_lease()
        self._dirty = True
        self._raw.set_attr(attribute, value)

    def __getattr__(self, name: str) -> Any:
        # getinfo, add_output_converter, setencoding, …: the driver's own.
        if name.startswith("_"):
            raise AttributeError(name)
        self._ensure_lease()
        if name in _CHANGE_THE_DRIVER and self._held is not None:
            self._held.reusable = False
            self._dirty = True
        return getattr(self._raw, name)


class LeasedCursor:
    """A pyodbc cursor that takes part in its connection's lease while it is open."""

    def __init__(self, lease: LeasedConnection) -> None:
        self._lease = lease
        self._cursor: Any = None
        self._settings: dict[str, Any] = {}

    @property
    def connection(self) -> LeasedConnection:
        return self._lease

    def _attach(self) -> Any:
        """The driver's cursor on the connection that is held now."""
        if self._cursor is None:
            self._lease._ensure_lease()  # noqa: SLF001 - its own cursor
            self._cursor = self._lease._raw.cursor()  # noqa: SLF001
            self._lease._cursors.add(self)  # noqa: SLF001
            for name, value in self._settings.items():
                setattr(self._cursor, name, value)
        return self._cursor

    def detach(self) -> None:
        """Close the driver's cursor and leave the lease to others."""
        cursor, self._cursor = self._cursor, None
        self._lease._cursors.discard(self)  # noqa: SLF001
        if cursor is not None:
            with contextlib.suppress(pyodbc.ProgrammingError):  # closed with its connection
                cursor.close()

    def execute(self, sql: str, *params: Any) -> LeasedCursor:
        lease = self._lease
        lease._before_statement(sql, _has_parameters(params))  # noqa: SLF001
        cursor = self._attach()
        with lease._watching():  # noqa: SLF001
            cursor.execute(sql, *params)
        lease._answered()  # noqa: SLF001
        return self

    def executemany(self, sql: str, params: Any) -> None:
        lease = self._lease
        lease._before_statement(sql, True)  # noqa: SLF001
        cursor = self._attach()
        with lease._watching():  # noqa: SLF001
            cursor.executemany(sql, params)
        lease._answered()  # noqa: SLF001

    def fetchone(self) -> Any:
        with self._lease._watching():  # noqa: SLF001
            return self._executed().fetchone()

    def fetchmany(self, size: int | None = None) -> list[Any]:
        with self._lease._watching():  # noqa: SLF001
            cursor = self._executed()
            rows: list[Any] = cursor.fetchmany(cursor.arraysize if size is None else size)
        return rows

    def fetchall(self) -> list[Any]:
        with self._lease._watching():  # noqa: SLF001
            rows: list[Any] = self._executed().fetchall()
        return rows

    def nextset(self) -> bool:
        with self._lease._watching():  # noqa: SLF001
            more: bool = self._executed().nextset()
        return more

    def __iter__(self) -> Iterator[Any]:
        with self._lease._watching():  # noqa: SLF001
            yield from self._executed()

    def _executed(self) -> Any:
        if self._cursor is None:
            raise pyodbc.ProgrammingError(
                "HY010", "This cursor has no result: it has executed nothing, or was closed."
            )
        return self._cursor

    def close(self) -> None:
        """Close it; closing twice is no error. In autocommit the lease may end with it."""
        try:
            with self._lease._watching():  # noqa: SLF001
                self.detach()
        finally:
            self._lease._release_unless_pinned()  # noqa: SLF001

    def __enter__(self) -> LeasedCursor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def description(self) -> Any:
        return None if self._cursor is None else self._cursor.description

    @property
    def rowcount(self) -> int:
        rows: int = -1 if self._cursor is None else self._cursor.rowcount
        return rows

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._attach(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        self._settings[name] = value
        if self._cursor is not None:
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
        lease._state = LeaseState.INHERITED  # noqa: SLF001
        if lease._finalizer is not None:  # noqa: SLF001
            lease._finalizer.detach()  # noqa: SLF001
        _inherited.append(lease)
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_after_fork)
