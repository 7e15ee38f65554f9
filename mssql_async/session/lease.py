"""What Django's wrapper and the dialect hold where pyodbc's connection would be.

A :class:`LeasedConnection` takes a lease on one of the pool's connections when a statement
needs one, and gives it back as soon as nothing ties the session to the context. It watches what
is executed, so that it knows when that is, and so that the pool knows how the session
comes back.
"""

from __future__ import annotations

import enum
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import pyodbc

from ..pool import inherited, odbc, origin
from ..pool.connection import PooledConnection
from ..pool.connector import NO_PROFILE, Profile, Replay
from ..pool.lenders import Lender
from .cursor import LeasedCursor
from .errors import as_raised, lease_over, transaction_lost, used_by_another
from .interruption import Guard, interrupted
from .nulls import input_sizes
from .profile import ProvenSettings, replayable
from .results import LEASE_ENDED, Hold, NoResult, Result, ResultSet
from .scope import LeaseScope
from .state import Effect, effect_of
from .statements import KeptStatements, Statement
from .threadends import ends_with_this_thread

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

#: As many as the driver takes for a number of rows to skip.
_ALL_ROWS = 2**31 - 1

_ROLLED_BACK = "The rows of this cursor were lost when its transaction was rolled back."


class LeaseState(enum.Enum):
    FREE = "free"
    """No connection is held; the next statement acquires one."""
    HELD = "held"
    CLOSED = "closed"
    INHERITED = "inherited"
    """Taken over by fork: the connection belongs to the parent and is never touched."""


def _nobody_else() -> bool:
    return False


def _tell_nobody() -> None:
    pass


class LeasedConnection:
    """A context's connection, in the shape of pyodbc's.

    Transactions begin lazily: ``autocommit = False`` is sent with the first statement that
    needs it, so that a commit costs one round trip and leaves no empty transaction open.

    A session that gained state (``SET``, a temporary table, an application lock, …) is
    pinned: it stays with its context until :meth:`close`, and is reset before anybody else
    gets it.

    A statement that comes while a cursor has unread rows gets a second connection, where the
    session is nobody's own and the pool has one at hand; the rows go on streaming. Otherwise,
    and always in a transaction, they are read into memory first. A context never waits for a
    connection while it could free one of its own.

    Only the context that made it may use it; :meth:`close` may be called from anywhere, once
    nothing runs any more.
    """

    def __init__(
        self,
        source: Lender,
        scope: LeaseScope = LeaseScope.TRANSACTION,
        *,
        acquire: bool = True,
        identify: Callable[[], object] = threading.get_ident,
        may_be_shared: Callable[[], bool] = _nobody_else,
        proven: ProvenSettings | None = None,
        on_orphan: Callable[[], None] = _tell_nobody,
    ) -> None:
        """
        :param acquire: acquire now, and raise what the source's ``acquire`` raises.
        :param identify: who asks; only the one who asks now may use it later,
        :param may_be_shared: unless this says, at that time, that others may.
        :param proven: what is remembered between contexts about their profiles.
        :param on_orphan: called when there is something to :meth:`tidy`, by finalizers and from
            other threads.
        """
        self._source = source
        self._scope = scope
        self.identify = identify
        self.owner = identify()
        self.may_be_shared = may_be_shared
        self._proven = ProvenSettings() if proven is None else proven
        self._hold: Hold | None = None
        """What the next statement would run on."""
        self._streams: list[Hold] = []
        """Connections that serve nothing but the unread rows of a cursor."""
        self._orphans: deque[Result] = deque()
        self._on_orphan = on_orphan
        self._cursors: weakref.WeakSet[LeasedCursor] = weakref.WeakSet()
        self._guard = Guard()
        self._at_work: Result | None = None
        """The one that a call of the driver is about; the others of the lease are idle. What is
        told to stop is that one: who cancels a cursor that is idle throws its rows away."""
        self._ended: LeaseState | None = None
        self._autocommit = True
        self._in_transaction = False
        self._lost_to: Exception | None = None
        """What has ended the transaction at the server, until the context rolls back."""
        self._xact_abort = False
        """Whether the session may have ``SET XACT_ABORT ON``: then any error ends it."""
        self._dirty = False
        self.dirtied_by = ""
        """The statement that has pinned the session, while one has."""
        self.last_statement = ""
        """Of the context; for people, who look for what it was doing."""
        self._timeout: int | None = None
        self._baseline_timeout = 0
        self._profile: Profile = NO_PROFILE
        self._recording = False
        # Whoever forgets to give them back, or dies, must not keep places of the pool.
        self._held: set[PooledConnection] = set()
        self._finalizer = weakref.finalize(self, _abandon, source, self._held)
        self._finalizer.atexit = False
        _live.add(self)
        if identify is threading.get_ident:
            ends_with_this_thread(self)
        if acquire:
            self.acquire()

    def __repr__(self) -> str:
        held = "".join(f", {connection!r}" for connection in list(self._held))
        pinned = ", pinned" if self.pinned else ""
        return f"<LeasedConnection {self.state.value}{held}{pinned}>"

    # --- the lease -------------------------------------------------------------------------

    @property
    def state(self) -> LeaseState:
        if self._ended is not None:
            return self._ended
        return LeaseState.HELD if self._held else LeaseState.FREE

    @property
    def held(self) -> list[PooledConnection]:
        """The pool's connections that it has at the moment."""
        return list(self._held)

    @property
    def has_unread_rows(self) -> bool:
        return bool(self._streams) or (self._hold is not None and self._hold.result is not None)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun at the server."""
        return self._in_transaction

    @property
    def is_dirty(self) -> bool:
        """Whether the session may carry state that its context left there."""
        return self._dirty

    @property
    def pinned(self) -> bool:
        """Whether the session must stay with this context."""
        hold = self._hold
        return hold is not None and (hold.result is not None or self.has_session)

    @property
    def has_session(self) -> bool:
        """Whether later statements of this context are to find what earlier ones have left. Of
        unread rows they need nothing."""
        return self._hold is not None and (
            self._in_transaction or self._dirty or self._scope is LeaseScope.CONTEXT
        )

    def acquire(self) -> None:
        """Acquire, unless a connection is held. Raises what the source's ``acquire`` raises."""
        if self._hold is None:
            self._acquire()

    def _acquire(self) -> Hold:
        """Get a connection for the next statement. With rows still streaming nothing is
        waited for: two contexts that did would wait for each other."""
        if self._ended is not None:
            raise lease_over(self._ended.value)
        if self._streams:
            hold = self._acquire_another()
            if hold is None:
                hold = self._streams.pop()
                self._hold = hold
                self._read_into_memory(hold)
                if hold.connection.broken:
                    self._give_back()
                    return self._acquire()
            return hold
        self._at_work = None
        try:
            connection = self._source.acquire(self._profile)
        except BaseException:
            if self._profile:
                # It may be one of the settings that fails: the next context tries them itself.
                self._proven.forget()
            raise
        assert connection is not None  # noqa: S101 - only without waiting
        return self._adopt(connection)

    def _acquire_another(self) -> Hold | None:
        """A connection beside those that are held, if there is one without waiting."""
        try:
            connection = self._source.acquire(self._profile, wait=False)
        except Exception:  # whatever it is: what is held will do
            return None
        return None if connection is None else self._adopt(connection)

    def _adopt(self, connection: PooledConnection) -> Hold:
        self._held.add(connection)
        statements = connection.statements
        if not isinstance(statements, KeptStatements):
            statements = connection.statements = KeptStatements(connection.raw)
        elif statements.worn_out:
            connection.reusable = False
        self._guard.tells_again = connection.cancels_wait
        hold = self._hold = Hold(connection, statements, self._guard)
        self._xact_abort = bool(self._profile) and _sets_xact_abort(self._profile)
        self._baseline_timeout = hold.raw.timeout
        if self._timeout is not None:
            hold.raw.timeout = self._timeout
        return hold

    def release_unless_pinned(self) -> None:
        hold = self._hold
        if not (
            hold is None
            or hold.result is not None
            or self._in_transaction
            or self._dirty
            or self._scope is LeaseScope.CONTEXT
        ):
            self._give_back()

    def _give_back(self) -> None:
        """End the lease. Whatever the session is in the middle of ends with it."""
        hold = self._hold
        assert hold is not None  # noqa: S101 - whoever calls has seen it
        connection = hold.connection
        try:
            self._leave_nothing_open(hold)
        except pyodbc.Error:
            # A connection that cannot even roll back is not fit for anybody.
            connection.broken = True
        except BaseException:
            connection.broken = True
            raise
        finally:
            reset, self._dirty, self.dirtied_by = self._dirty, False, ""
            self._in_transaction = self._xact_abort = False
            self._lost_to = None
            self._hold = None
            with self._guard.lock:
                self._held.discard(connection)
            self._source.release(connection, reset=reset)

    def _leave_nothing_open(self, hold: Hold) -> None:
        if hold.result is not None:
            hold.result.let_go(lost=LEASE_ENDED)
        if hold.connection.broken:
            return
        if self._in_transaction:
            # Bounded, unlike a rollback that the caller asks for: nobody waits for a context
            # that is over, and a frozen peer would never answer.
            hold.raw.timeout = odbc.bounded(hold.raw.timeout)
            _roll_back(hold.raw)
            hold.raw.timeout = self._baseline_timeout
        elif self._timeout is not None:
            hold.raw.timeout = self._baseline_timeout

    def _give_back_stream(self, hold: Hold) -> None:
        self._streams.remove(hold)
        with self._guard.lock:
            self._held.discard(hold.connection)
        if self._timeout is not None and not hold.connection.broken:
            hold.raw.timeout = self._baseline_timeout
        self._source.release(hold.connection)

    # --- one result at a time --------------------------------------------------------------

    def _ready(self) -> Hold:
        """A connection with nothing unread, in the transaction that is wanted."""
        hold = self._hold
        if hold is not None:
            if hold.result is not None:
                hold = self._make_room(hold)
            if hold is not None and hold.connection.broken and not self.pinned:
                self._give_back()
                hold = None
        if hold is None:
            hold = self._acquire()
        if self._lost_to is not None:
            raise transaction_lost(self._lost_to)
        if not self._autocommit and not self._in_transaction:
            try:
                hold.raw.autocommit = False
            except pyodbc.Error as error:
                self._failed(hold, error)
                raise
            self._in_transaction = True
            hold.connection.origin = origin.capture()
        return hold

    def _make_room(self, hold: Hold) -> Hold | None:
        """Another statement comes while a result is with the driver."""
        result = hold.result
        if (
            result is not None
            and result.rows_are_pending
            and not self._in_transaction
            and not self._dirty
            and self._scope is LeaseScope.TRANSACTION
        ):
            another = self._acquire_another()
            if another is not None:
                self._streams.append(hold)
                return another
        self._read_into_memory(hold)
        return hold

    def _read_into_memory(self, hold: Hold) -> None:
        result = hold.result
        if result is None:
            return
        self._at_work = result
        error = result.read_all()
        if error is not None:
            self._note(hold, error)
        result.let_go(ended=error is None)

    def orphan(self, result: Result) -> None:
        """Nobody will read the rest of this one. Called by finalizers and from other threads,
        so it is only written down: the lease looks at its next touch."""
        self._orphans.append(result)
        self._on_orphan()

    @property
    def has_open_cursors(self) -> bool:
        """Whether somebody has a cursor that was not closed. It holds no connection unless it has
        unread rows, but may execute again, which it can only here."""
        return not all(cursor.is_closed for cursor in self._cursors)

    def cursor_is_gone(self) -> None:
        """One that was not closed. Called by finalizers and from other threads, too."""
        self._on_orphan()

    def tidy(self) -> None:
        """End what nobody will read the rest of, and the lease if nothing else pins it."""
        if self._orphans:
            self._reclaim()
            self.release_unless_pinned()

    def _reclaim(self) -> None:
        while self._orphans:
            result = self._orphans.popleft()
            if result.raw is not None:
                self.end_result(result)

    def end_result(self, result: Result) -> None:
        """What is unread of it is not wanted. The current connection stays held."""
        result.let_go(ended=self._in_transaction and self._hear_out(result))
        if result.hold is not self._hold:
            self._give_back_stream(result.hold)

    def _hear_out(self, result: Result) -> bool:
        """In a transaction: go through what is unread, keep none of it, and look for an error that
        has ended the transaction. True: nothing follows.

        The driver has what is left of a statement without rows, so this sends nothing. Rows are
        waited for: the attention that would spare them throws errors away with them, and with
        XACT_ABORT rolls the transaction back.
        """
        hold = result.hold
        if self._lost_to is not None or hold.connection.broken or self._guard.interrupted:
            return False  # it will be rolled back, whatever comes
        raw = result.raw
        self._at_work = result
        try:
            while True:
                if raw.description is not None:
                    raw.skip(_ALL_ROWS)  # nextset would pass over an error between two rows
                if not raw.nextset():
                    return True
        except pyodbc.Error as error:
            self._note(hold, error)
            return False

    def _result_over(self, result: Result) -> None:
        if result.hold is self._hold:
            self.release_unless_pinned()
        else:
            self._give_back_stream(result.hold)

    def rows_ended(self, result: Result) -> None:
        """The driver has given the last row of a result set: ask at once whether another one
        follows, because the connection is free if none does."""
        raw = result.raw
        self._at_work = result
        result.shown = ResultSet(raw.description, raw.rowcount, raw.messages)
        ended = True
        try:
            if raw.nextset():
                return
        except pyodbc.Error as error:
            self._note(result.hold, error)
            result.follow(as_raised(error))
            ended = False
        result.let_go(ended=ended)
        self._result_over(result)

    def nextset(self, result: Result) -> bool:
        """The driver's ``nextset``, and the end of the result where nothing follows."""
        self.begin_reading(result)
        try:
            if result.raw.nextset():
                self._at_work = None
                return True
        except pyodbc.Error as error:
            self._note(result.hold, error)
            self._no_more_sets(result, ended=False)
            raised = as_raised(error)
            if raised is error:
                raise
            raise raised from error
        self._no_more_sets(result, ended=True)
        return False

    def _no_more_sets(self, result: Result, *, ended: bool) -> None:
        result.shown = ResultSet()
        result.let_go(ended=ended)
        self._result_over(result)

    # --- errors ----------------------------------------------------------------------------

    def refuse_others(self) -> None:
        """Called where somebody else than the owner asks.

        :raises UsedByAnotherContext: unless the lease may be shared.
        """
        if not self.may_be_shared():
            raise used_by_another(self, self.owner, self.identify())

    def fetch_failed(self, result: Result, error: pyodbc.Error) -> None:
        """The driver raised ``error`` for a fetch. The result stays: rows may follow."""
        if result.rows_are_pending:  # else it only says that there are no rows to fetch
            self._failed(result.hold, error)

    def _failed(self, hold: Hold, error: pyodbc.Error) -> None:
        self._note(hold, error)
        raised = as_raised(error)
        if raised is not error:
            raise raised

    def _note(self, hold: Hold, error: Exception) -> None:
        connection = hold.connection
        if not connection.broken and odbc.ends_connection(error, hold.raw):
            self._source.condemn(connection)
        if (
            self._in_transaction
            and hold is self._hold
            and self._lost_to is None
            and odbc.ended_transaction(error, xact_abort=self._xact_abort)
        ):
            # The driver would silently begin another transaction with the next statement, and
            # the context would commit its second half only.
            self._lost_to = error

    # --- executing -------------------------------------------------------------------------

    def run(self, sql: str, values: Any, settings: dict[str, Any] | None = None) -> Result:
        """Execute one statement. ``settings`` are the cursor's own."""
        if self._orphans:
            self._reclaim()
        parameterised = bool(values)
        if self._recording:
            replay = replayable(sql, values)
            if replay is not None:
                return self._set(replay, sql, values)
        hold = self._ready()
        self.last_statement = sql
        self._watch(hold, sql, parameterised)
        return self._execute(hold, sql, values, settings)

    def _watch(self, hold: Hold, sql: str, parameterised: bool) -> None:
        """Remember what the statement may leave behind, before it is sent."""
        effect = effect_of(sql, parameterised)
        if effect is Effect.CLEAN:
            return
        if effect is Effect.RETIRES:
            hold.connection.reusable = False
        # A savepoint ends with the transaction, and that ends with this lease.
        if effect is not Effect.SAVEPOINT or not self._in_transaction:
            if not self._dirty:
                hold.connection.origin = origin.capture()
                self.dirtied_by = sql
            self._dirty = True
            if _names_xact_abort(sql):
                self._xact_abort = True

    def _execute(
        self, hold: Hold, sql: str, values: Any, settings: dict[str, Any] | None = None
    ) -> Result:
        sizes = None
        if values:
            values, sizes = input_sizes(values)
        statement: Statement | None = None
        if settings:
            raw = _with_settings(hold.raw.cursor(), settings)
        else:
            timeout = self._baseline_timeout if self._timeout is None else self._timeout
            if values:
                statement = hold.statements.prepared(sql, timeout, keep=not self._dirty)
                sql = statement.sql or sql  # the same object, which the driver recognises
            else:
                statement = hold.statements.direct(timeout)
            raw = statement.cursor
        result = hold.result = self._at_work = Result(hold, raw, statement)
        try:
            if self._guard.interrupted:  # asked after it can be seen that it is in use
                raise interrupted()
            if sizes is not None:
                raw.setinputsizes(sizes)
            try:
                if values:
                    raw.execute(sql, values)
                else:
                    raw.execute(sql)
            finally:
                # Before an error gives the connection back: it is the next one's cursor then.
                if sizes is not None:
                    raw.setinputsizes(None)
            if values and statement is not None:
                statement.is_prepared = True
        except BaseException as error:
            self._execution_failed(result, error)
            raise
        self._at_work = None
        hold.connection.proved_at = time.monotonic()
        return result

    def _execution_failed(self, result: Result, error: BaseException) -> None:
        """Leave nothing of it behind; raise what the caller is to see, if not ``error``."""
        hold = result.hold
        if isinstance(error, pyodbc.Error):
            self._note(hold, error)
        result.let_go()
        if isinstance(error, pyodbc.Error):
            hold.statements.failed(error, result.statement)
        self.release_unless_pinned()
        if isinstance(error, pyodbc.Error):
            raised = as_raised(error)
            if raised is not error:
                raise raised

    def run_many(
        self, sql: str, rows: Any, settings: dict[str, Any] | None, *, parameterised: bool
    ) -> Result:
        """Execute one statement for each row of parameters.

        :param parameterised: whether each row has values; without, the text is sent bare."""
        if self._orphans:
            self._reclaim()
        hold = self._ready()
        self.last_statement = sql
        self._watch(hold, sql, parameterised)
        return self._call(hold, settings, "executemany", sql, rows)

    def run_catalog(
        self, name: str, args: Any, kwargs: dict[str, Any], settings: dict[str, Any] | None
    ) -> Result:
        """Execute one of the driver's catalog functions."""
        if self._orphans:
            self._reclaim()
        return self._call(self._ready(), settings, name, *args, **kwargs)

    def _call(
        self, hold: Hold, settings: dict[str, Any] | None, name: str, *args: Any, **kwargs: Any
    ) -> Result:
        """On a cursor of its own, which is closed afterwards."""
        raw = _with_settings(hold.raw.cursor(), settings or {})
        result = hold.result = self._at_work = Result(hold, raw, None)
        try:
            if self._guard.interrupted:
                raise interrupted()
            getattr(raw, name)(*args, **kwargs)
        except BaseException as error:
            self._execution_failed(result, error)
            raise
        self._at_work = None
        hold.connection.proved_at = time.monotonic()
        return result

    # --- the profile -----------------------------------------------------------------------

    def begin_profile(self) -> None:
        """What sets the session from here to :meth:`end_profile` belongs to this context's
        profile: it neither pins nor dirties."""
        self._recording = True

    def end_profile(self) -> None:
        self._recording = False

    def _set(self, setting: Replay, sql: str, values: Any) -> Result:
        """Make a statement the next one of the profile.

        It is sent only where a connection is held already, or where it was never seen to
        succeed. Otherwise the next acquire gets a connection at that profile, and in the
        steady state the pool has one.
        """
        hold = self._hold
        if hold is not None and hold.result is not None:
            self._make_room(hold)
            hold = self._hold
        if hold is None and sql in self._proven:
            self._profile = (*self._profile, setting)
            return NoResult()
        if hold is None:
            hold = self._acquire()
        before, self._dirty = self._dirty, True  # one that fails may have done a part of it
        result = self._execute(hold, sql, values)
        self._dirty = before
        self._profile = hold.connection.profile = (*self._profile, setting)
        self._xact_abort = _sets_xact_abort(self._profile)
        self._proven.add(sql)
        return result

    # --- DB-API ----------------------------------------------------------------------------

    def cursor(self) -> LeasedCursor:
        """A cursor. It takes part in the lease from its first ``execute`` on."""
        if self._ended is not None:
            raise lease_over(self._ended.value)
        cursor = LeasedCursor(self)
        self._cursors.add(cursor)
        return cursor

    def execute(self, sql: str, *params: Any) -> LeasedCursor:
        return self.cursor().execute(sql, *params)

    def cancel(self) -> None:
        """Ask the server to stop the statement that runs now, if one does. From any thread;
        what another context runs on the same connection later is never hit."""
        self._guard.cancel(self._cursors_in_use)

    def interrupt(self) -> bool:
        """Stop what runs, and let no further statement and no commit begin until
        :meth:`resume`; what is rolled back is. From any thread. Returns when the driver
        does, which is with a server that does not react only once the statement's own
        thread comes back. False: nothing runs at the moment.

        Its thread waits no longer for a connection, either."""
        if self._guard.cancel(self._cursors_at_work, interrupt=True):
            return True
        if isinstance(self.owner, int):
            self._source.call_off(self.owner)
        return False

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the driver has been told to cancel and has not returned yet."""
        return self._guard.is_cancelling

    def resume(self) -> None:
        """Whoever was interrupted is over."""
        self._guard.interrupted = False

    def _cursors_in_use(self) -> list[Any]:
        results = [hold.result for hold in (self._hold, *self._streams) if hold is not None]
        return [r.raw for r in results if r is not None and r.raw is not None]

    def _cursors_at_work(self) -> list[Any]:
        result = self._at_work
        raw = None if result is None else result.raw
        return [] if raw is None else [raw]

    def begin_reading(self, result: Result) -> None:
        """Before the driver is asked for more of it.

        :raises pyodbc.OperationalError: HY008, the call that asks was told to stop.
        """
        self._at_work = result
        if self._guard.interrupted:
            self._at_work = None
            raise interrupted()

    def end_reading(self) -> None:
        """The driver has answered, and there is more."""
        self._at_work = None

    def forsake(self) -> None:
        """The thread that uses it does not come back: its connections are counted no more.
        From any other thread."""
        with self._guard.lock:  # none of them is given back meanwhile
            for connection in list(self._held):
                self._source.forsake(connection)

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
        if self.identify() != self.owner:
            self.refuse_others()
        if self._orphans:
            self._reclaim()
        hold = self._hold
        if self._in_transaction and hold is not None:
            self._read_into_memory(hold)
            if self._lost_to is not None:
                raise transaction_lost(self._lost_to)
            if self._guard.interrupted:
                raise interrupted()
            try:
                # Setting autocommit commits; SQLEndTran would at once begin another one,
                # which has to be ended by a round trip of its own.
                hold.raw.autocommit = True
            except pyodbc.Error as error:
                self._failed(hold, error)
                raise
            self._in_transaction = False
            hold.connection.proved_at = time.monotonic()
        self.release_unless_pinned()

    def rollback(self) -> None:
        """Roll back in one round trip. Rows that a cursor has not read are lost."""
        if self.identify() != self.owner:
            self.refuse_others()
        if self._orphans:
            self._reclaim()
        hold = self._hold
        if self._in_transaction and hold is not None:
            if hold.result is not None:
                hold.result.let_go(lost=_ROLLED_BACK)
            try:
                _roll_back(hold.raw)
            except pyodbc.Error as error:
                self._failed(hold, error)
                raise
            self._in_transaction = False
            self._lost_to = None
            hold.connection.proved_at = time.monotonic()
        self.release_unless_pinned()

    def close(self) -> None:
        """The context is over: end the lease, if there is one. Idempotent, and allowed from
        any thread once nothing runs."""
        try:
            if self._ended is None:
                self._give_everything_back()
        finally:
            if self._ended is not LeaseState.INHERITED:
                self._ended = LeaseState.CLOSED
            _live.discard(self)

    def _give_everything_back(self) -> None:
        try:
            for hold in list(self._streams):
                if hold.result is not None:
                    hold.result.let_go(lost=LEASE_ENDED)
                self._give_back_stream(hold)
        finally:
            if self._hold is not None:
                self._give_back()

    def owner_is_gone(self) -> None:
        """The thread that made it has ended, in the middle of anything: what it held is closed,
        and its place given on. Unless others may use it too, nobody ever could."""
        if self._ended is not None or self.may_be_shared():
            return
        self._ended = LeaseState.CLOSED
        holds = [hold for hold in (self._hold, *self._streams) if hold is not None]
        self._hold = None
        self._streams.clear()
        self._in_transaction = False
        for hold in holds:
            hold.connection.broken = True  # so that nothing is sent for what is unread
            if hold.result is not None:
                hold.result.let_go(lost=LEASE_ENDED)
        self._finalizer()

    def _disown(self) -> None:
        self._ended = LeaseState.INHERITED
        self._finalizer.detach()
        self._guard = Guard()  # somebody in the parent may have held the other
        for hold in (self._hold, *self._streams):
            # The connection never is finalized (pool/inherited.py), nor what it keeps; a cursor
            # that is in use is nobody's but the result's.
            if hold is not None and hold.result is not None:
                inherited.never_finalize(hold.result.raw)
                hold.result.raw = None
        self._hold = None
        self._streams.clear()
        self._orphans.clear()
        self._in_transaction = False

    @property
    def timeout(self) -> int:
        """Seconds a statement may take; 0: as long as it likes. Ends with the context."""
        return self._baseline_timeout if self._timeout is None else self._timeout

    @timeout.setter
    def timeout(self, seconds: int) -> None:
        self._timeout = seconds
        if self._hold is not None:
            self._hold.raw.timeout = seconds

    def set_attr(self, attribute: int, value: int) -> None:
        """Set an ODBC connection attribute, which pins the session."""
        hold = self._ready_for_the_driver()
        self._dirty = True
        hold.raw.set_attr(attribute, value)

    def _ready_for_the_driver(self) -> Hold:
        if self.identify() != self.owner:
            self.refuse_others()
        return self._hold or self._acquire()

    def __getattr__(self, name: str) -> Any:
        # getinfo, add_output_converter, setencoding, …: the driver's own.
        if name.startswith("_"):
            raise AttributeError(name)
        hold = self._ready_for_the_driver()
        if name in _CHANGE_THE_DRIVER:
            hold.connection.reusable = False
            self._dirty = True
        return getattr(hold.raw, name)


def _names_xact_abort(sql: str) -> bool:
    """Whether it may switch ``XACT_ABORT`` on. To switch it off says so, too: to take a
    transaction for lost that is not costs a rollback, the other way round half of it is
    committed."""
    return "XACT_ABORT" in sql.upper()


@lru_cache(maxsize=64)
def _sets_xact_abort(profile: Profile) -> bool:
    return any(_names_xact_abort(setting.sql) for setting in profile)


def _with_settings(raw: Any, settings: dict[str, Any]) -> Any:
    for name, value in settings.items():
        if name == "setinputsizes":
            raw.setinputsizes(value)
        else:
            setattr(raw, name, value)
    return raw


def _roll_back(raw: Any) -> None:
    """Roll back in one round trip, under the statement time limit.

    SQLEndTran knows no time limit, and begins another transaction that has to be ended.
    The server may have ended this one already, hence the condition.
    """
    cursor = raw.cursor()
    try:
        cursor.execute("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
    finally:
        cursor.close()
    raw.autocommit = True


def connections_of(owners: Collection[object]) -> set[PooledConnection]:
    """What the leases of these owners hold. Meant for owners that wait, whatever they wait for:
    what others hold changes meanwhile."""
    return {
        connection for lease in live_leases() if lease.owner in owners for connection in lease.held
    }


def live_leases() -> list[LeasedConnection]:
    """Of every context of this process: those that are not closed."""
    while True:
        try:
            return list(_live)
        except RuntimeError:  # another thread made one meanwhile
            continue


def _abandon(source: Lender, held: set[PooledConnection]) -> None:
    """The finalizer of a lease that nobody closed."""
    for connection in held:
        source.abandon(connection)


#: The leases there are while a thread forks. A child has the forking thread only, and what the
#: others had to themselves is collected in it before anybody is asked: finalizers would run.
_forking: dict[int, list[LeasedConnection]] = {}


def _hold_before_fork() -> None:
    _forking[threading.get_ident()] = live_leases()


def _let_go_after_fork() -> None:
    _forking.pop(threading.get_ident(), None)


def _disown_after_fork() -> None:
    """In a forked child: no lease of the parent, nor a cursor of it, may be used, closed or
    given back."""
    for lease in live_leases():
        lease._disown()  # noqa: SLF001
    _live.clear()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hold_before_fork,
        after_in_parent=_let_go_after_fork,
        after_in_child=_disown_after_fork,
    )
