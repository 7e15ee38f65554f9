"""What a view tells of itself: the application's side of the record.

A :class:`Story` is one context. Its methods do what an application does (a query, an ORM insert,
a transaction), the way it is done with any Django backend, and note what they see. Times are taken
while the context has its session for itself: the first one after it was handed over, where the
pool tells, and before the statement is sent; the last one after the last row is read, and before
anybody else may have the session.

The methods with an ``a`` in front are for asynchronous code; they are the others, run by
``sync_to_async``. None of them is a coroutine function itself: the place of whoever asks is known
when the method is called, and not always when its coroutine runs, in a task of ``gather``'s.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import Token as Reset
from types import TracebackType
from typing import Any, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections
from django.db import transaction as djangos

from mssql_async.contrib.leaks.record import (
    Answer,
    AnswerKind,
    Fate,
    Kind,
    Seen,
    Session,
    Sight,
    Token,
    Unit,
    Use,
    Written,
)
from mssql_async.contrib.leaks.record import Story as Told

from . import probe
from .adapters import Connection
from .clock import now
from .executed import STATEMENT_SHOWN
from .place import CURRENT, asking, current_place
from .recorder import RECORDER, UNKNOWN, Recorder
from .signals import PATIENCE, SIGNALS, Signals
from .transactions import OpenTransaction, changes, enter, note_change, open_transaction

T = TypeVar("T")

_MOST_SEEN = 20
_INVISIBLE = (Fate.ROLLED_BACK.value, Fate.OPEN.value)
_MARK = re.compile(r"leaks -?\d+-\d+")
"""What errors and messages carry."""

_numbers = itertools.count(1)
GENERATION = 10**9
"""Children of context 17 are 1000000017, 2000000017, …: no client's number is that large."""


class Story:
    """One context: a request, a WebSocket, a task, a thread. May be used from any thread.

    As a context manager it ends with the block, and with what ends that.
    """

    def __init__(
        self,
        token: Token,
        scenario: str,
        kind: Kind,
        *,
        alias: str = "default",
        parent: Token = 0,
        task: str = "",
        recorder: Recorder = RECORDER,
        signals: Signals = SIGNALS,
    ) -> None:
        self.token = token
        self.alias = alias
        """Where its methods go if they are not told otherwise."""
        self._recorder = recorder
        self._signals = signals
        self._root, self._family = token, itertools.count(1)
        self._transactions: list[OpenTransaction] = []
        self._resets: list[Reset[Token]] = []
        self._has_ended = threading.Lock()
        self._told = Told(
            token, scenario, kind, now(), recorder.process, parent=parent,
            task=task or threading.current_thread().name,
        )  # fmt: skip
        recorder.began(self._told)

    def __repr__(self) -> str:
        return f"<Story {self.token} of {self._told.scenario}: {self._told.outcome or 'open'}>"

    # --- begin and end -------------------------------------------------------------------------

    def child(self, kind: Kind, task: str = "", *, alias: str | None = None) -> Story:
        """A context of its own that this one starts: a task that outlives the request, a thread.
        Whoever runs it ends it."""
        story = Story(
            self._root + GENERATION * next(self._family),
            self._told.scenario,
            kind,
            alias=alias or self.alias,
            parent=self.token,
            task=task,
            recorder=self._recorder,
            signals=self._signals,
        )
        story._root, story._family = self._root, self._family
        return story

    def end(self, outcome: str = "ok") -> None:
        """It is over. Transactions that nobody has told the end of have an unknown one. A second
        call changes nothing."""
        if not self._has_ended.acquire(blocking=False):
            return
        for transaction in self._transactions:
            transaction.leave(self._recorder)
        self._transactions.clear()
        told = self._told
        if not told.outcome:
            told.outcome = outcome
        told.ended_at = now()
        self._recorder.ended(told)

    def failed(self, error: BaseException) -> None:
        """Something has ended what it was doing; that is its outcome."""
        if self._told.ended_at is None:
            self._told.outcome = outcome_of(error)

    def __enter__(self) -> Self:
        self._resets.append(CURRENT.set(self.token))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        CURRENT.reset(self._resets.pop())
        self.end("ok" if error is None else outcome_of(error))

    # --- looking -------------------------------------------------------------------------------

    def probe(self, *, alias: str | None = None, cursor: Any = None) -> Sight:
        """One statement: which session is this, and in what state?

        :param cursor: one that is open, of Django's; else one of its own.
        """
        return self._probe(alias or self.alias, cursor, current_place())

    def aprobe(self, *, alias: str | None = None, cursor: Any = None) -> Coroutine[Any, Any, Sight]:
        """``cursor`` may be one of ``mssql_async.aio``."""
        place = current_place()
        if cursor is not None and inspect.iscoroutinefunction(cursor.execute):
            return self._probe_awaited(alias or self.alias, cursor, place)
        return sync_to_async(self._probe)(alias or self.alias, cursor, place)

    def _probe(self, alias: str, cursor: Any, place: str) -> Sight:
        sql, nonce = self._question(alias)
        with asking(place, _with_nonce(sql, nonce)):
            if cursor is not None:
                return self._probe_with(cursor, alias, sql, nonce, place)
            with connections[alias].cursor() as own:
                return self._probe_with(own, alias, sql, nonce, place)

    def _probe_with(self, cursor: Any, alias: str, sql: str, nonce: str, place: str) -> Sight:
        watch = self._watch(connections[alias], place, _with_nonce(sql, nonce))
        cursor.execute(sql, [nonce])
        watch.sent()
        row = cursor.fetchone()
        watch.tick()
        sight = self._saw(alias, sql, nonce, row, watch)
        # Only now may the session be somebody else's.
        cursor.fetchall()
        return sight

    async def _probe_awaited(self, alias: str, cursor: Any, place: str) -> Sight:
        sql, nonce = self._question(alias)
        watch = self._watch(None, place, _with_nonce(sql, nonce))
        await cursor.execute(sql, [nonce])
        watch.began_at = now()  # nobody here can tell when the session was handed over
        row = await cursor.fetchone()
        watch.tick()
        await cursor.fetchall()
        return self._saw(alias, sql, nonce, row, watch)

    def _question(self, alias: str) -> tuple[str, str]:
        return probe.question(connections[alias].vendor), f"{self.token}-{next(_numbers)}"

    def _watch(self, wrapper: Any, place: str, statement: str) -> _Watch:
        return _Watch(self._recorder, wrapper, self.token, place, statement)

    def _saw(self, alias: str, sql: str, nonce: str, row: Any, watch: _Watch) -> Sight:
        if sql is probe.PROBE:
            looked = probe.read(row)
        else:
            looked = probe.read_elsewhere(row, watch.known_session)
        token, recorder, session = self.token, self._recorder, looked.session
        statement = watch.statement
        transaction = self._note(alias, Use.STATEMENT, session, watch)
        sight = Sight(
            token, session, watch.ended_at, recorder.process, looked.state,
            is_first=transaction is None or not transaction.was_seen,
            expected=changes(token, alias),
            in_transaction=transaction is not None,
            statement=statement, place=watch.place, alias=alias,
        )  # fmt: skip
        if transaction is not None:
            transaction.was_seen = True
        recorder.sights.append(sight)
        self._answered(AnswerKind.ROW, session, nonce, looked.nonce, statement, watch.place)
        return sight

    def _note(
        self, alias: str, use: Use, session: Session, watch: _Watch
    ) -> OpenTransaction | None:  # fmt: skip
        """The context had that session for that long; says in which transaction."""
        if watch.is_awaited:
            transaction = open_transaction(self.token, alias)
        else:
            transaction = self._transaction_here(alias)
        place, statement = watch.place, watch.statement
        known = session if session.spid > 0 else None
        self._recorder.used(watch.connection, known, self.token, place, statement)
        if session is not UNKNOWN:
            began, ended = watch.began_at, watch.ended_at
            self._recorder.units.append(
                Unit(
                    self.token,
                    session,
                    use,
                    began,
                    ended,
                    self._recorder.process,
                    statement,
                    place,
                    alias,
                    watch.acquired_at,
                )
            )
            if transaction is not None and known is not None:
                transaction.saw(session, began, ended, statement, place, watch.acquired_at)
        return transaction

    # --- questions with one answer -------------------------------------------------------------

    def ask(self, sql: str, params: Sequence[Any], expected: object) -> str:
        """Execute it; the first value of the first row has to be ``expected``."""
        return self._ask(sql, params, str(expected), current_place())

    def aask(
        self, sql: str, params: Sequence[Any], expected: object
    ) -> Coroutine[Any, Any, str]:  # fmt: skip
        return sync_to_async(self._ask)(sql, params, str(expected), current_place())

    def _ask(self, sql: str, params: Sequence[Any], expected: str, place: str) -> str:
        connection, statement = connections[self.alias], _shown(sql, params)
        with asking(place, statement), connection.cursor() as cursor:
            watch = self._watch(connection, place, statement)
            cursor.execute(sql, params or None)
            watch.sent()
            row = cursor.fetchone()
            watch.tick()
            cursor.fetchall()
        got = "" if row is None else str(row[0])
        self._note(self.alias, Use.STATEMENT, watch.session, watch)
        self._answered(AnswerKind.ROW, watch.session, expected, got, statement, watch.place)
        return got

    def message(self) -> str:
        """``PRINT`` something that was never printed before: only it may come back."""
        return self._message(current_place())

    def amessage(self) -> Coroutine[Any, Any, str]:
        return sync_to_async(self._message)(current_place())

    def _message(self, place: str) -> str:
        mark = self._mark()
        connection, statement = connections[self.alias], f"PRINT '{mark}'"
        with asking(place, statement), connection.cursor() as cursor:
            watch = self._watch(connection, place, statement)
            cursor.execute("PRINT %s", [mark])
            watch.sent()
            texts = " ".join(str(text) for _, text in cursor.messages or ())
        self._note(self.alias, Use.STATEMENT, watch.session, watch)
        got = ", ".join(_MARK.findall(texts)) or texts[:STATEMENT_SHOWN]
        self._answered(AnswerKind.MESSAGE, watch.session, mark, got, statement, watch.place)
        return got

    def error(self) -> str:
        """Raise an error at the server that was never raised before: only it may come back.

        :raises DatabaseError: inside a transaction, which has to see it.
        """
        return self._error(current_place())

    def aerror(self) -> Coroutine[Any, Any, str]:
        return sync_to_async(self._error)(current_place())

    def _error(self, place: str) -> str:
        mark = self._mark()
        connection = connections[self.alias]
        sql, params, statement = _raising(mark, connection)
        watch = self._watch(connection, place, statement)
        caught: DatabaseError | None = None
        try:
            with asking(place, statement), connection.cursor() as cursor:
                cursor.execute(sql, params)
        except DatabaseError as error:
            caught = error
        watch.sent()
        self._note(self.alias, Use.STATEMENT, watch.session, watch)
        texts = str(caught or "")
        marks = dict.fromkeys(_MARK.findall(texts))
        got = ", ".join(marks) or texts[:STATEMENT_SHOWN]
        if connection.vendor != "microsoft" and not marks:
            got = mark  # who knows how that database words it: it has told nobody's
        self._answered(AnswerKind.ERROR, watch.session, mark, got, statement, watch.place)
        if caught is not None and self._transaction_here(self.alias) is not None:
            raise caught
        return got

    def _mark(self) -> str:
        return f"leaks {self.token}-{next(_numbers)}"

    def _answered(
        self, kind: AnswerKind, session: Session, expected: str, got: str, statement: str,
        place: str,
    ) -> None:  # fmt: skip
        self._recorder.answers.append(
            Answer(
                self.token,
                session,
                now(),
                self._recorder.process,
                kind,
                expected,
                got,
                statement,
                place,
            )
        )

    def cursor_unit(self, *, alias: str | None = None) -> AbstractContextManager[Any]:
        """A cursor of Django's that is open for a while: its session belongs to the context from
        its first execution to its last row."""
        return self._cursor_unit(alias or self.alias, current_place())

    @contextmanager
    def _cursor_unit(self, alias: str, place: str) -> Iterator[Any]:
        connection = connections[alias]
        with connection.cursor() as cursor:
            watched = _WatchedCursor(cursor, functools.partial(self._watch, connection, place))
            try:
                yield watched
            finally:
                watch = watched.watch
                if watch is not None:
                    watch.tick()
                    self._note(alias, Use.CURSOR, watch.session, watch)

    # --- rows ----------------------------------------------------------------------------------

    def write(self, fate: Fate = Fate.COMMITTED) -> str:
        """Insert a row, of which this will become; says which.

        What becomes of it really is noted when its transaction is over, as far as that is known.
        """
        return self._write(fate, current_place())

    def awrite(self, fate: Fate = Fate.COMMITTED) -> Coroutine[Any, Any, str]:
        return sync_to_async(self._write)(fate, current_place())

    def _write(self, fate: Fate, place: str) -> str:
        from .subject.models import Note

        row = f"{self.token}-{next(_numbers)}"
        statement = f"INSERT INTO leaks_note /* {row}, {fate.value} */"
        watches: list[_Watch] = []
        known = Fate.OPEN  # until the server has answered
        try:
            with self._watching(watches, place, statement):
                Note.objects.using(self.alias).create(token=self.token, row=row, fate=fate.value)
            known = fate
        finally:
            transaction = self._transaction_here(self.alias)
            if transaction is not None and not transaction.is_open:
                known = Fate.OPEN  # what becomes of it, nobody will tell any more
            session = watches[-1].session if watches else UNKNOWN
            written = Written(
                self.token, row, known, now(), session, self._recorder.process,
                watches[-1].place if watches else place, statement,
            )  # fmt: skip
            if transaction is None or not transaction.is_open or known is not fate:
                self._recorder.written.append(written)
            else:
                transaction.written.append(written)
            if watches:
                self._note(self.alias, Use.STATEMENT, session, watches[-1])
        return row

    def look(self) -> list[str]:
        """Rows of others that are not committed and never will be: nobody may see them."""
        return self._look(current_place())

    def alook(self) -> Coroutine[Any, Any, list[str]]:
        return sync_to_async(self._look)(current_place())

    def _look(self, place: str) -> list[str]:
        from .subject.models import Note

        others = Note.objects.using(self.alias).filter(fate__in=_INVISIBLE)
        statement = "SELECT row FROM leaks_note WHERE fate IN ('rolled back', 'open')"
        watches: list[_Watch] = []
        with self._watching(watches, place, statement):
            found = list(
                others.exclude(token=self.token).values_list("row", flat=True)[:_MOST_SEEN]
            )
        watch = watches[-1]
        self._note(self.alias, Use.STATEMENT, watch.session, watch)
        at, process = now(), self._recorder.process
        self._recorder.seen.extend(
            Seen(self.token, row, at, watch.session, process, statement, watch.place)
            for row in found
        )
        return found

    @contextmanager
    def _watching(self, watches: list[_Watch], place: str, statement: str) -> Iterator[None]:
        """Put down what Django executes meanwhile, by the documented way to instrument it."""
        connection = connections[self.alias]

        def note(
            execute: Callable[..., T], sql: str, params: Any, many: bool, context: dict[str, Any]
        ) -> T:
            watch = self._watch(connection, place, statement)
            result = execute(sql, params, many, context)
            watch.sent()
            watches.append(watch)
            return result

        with asking(place, statement), connection.execute_wrapper(note):
            yield

    # --- transactions --------------------------------------------------------------------------

    @contextmanager
    def transaction(self, alias: str | None = None) -> Iterator[OpenTransaction]:
        """``transaction.atomic``. Within another one a savepoint of it."""
        alias = alias or self.alias
        outer = self._transaction_here(alias)
        if outer is not None:
            count = len(outer.written)
            try:
                with djangos.atomic(using=alias):
                    yield outer
            except BaseException:
                outer.undo_since(count)
                raise
            return
        transaction: OpenTransaction | None = None
        fate = Fate.ROLLED_BACK
        try:
            with djangos.atomic(using=alias):
                transaction = self.begun(alias)
                transaction.thread = threading.get_ident()
                yield transaction
                if not djangos.get_rollback(using=alias):
                    fate = Fate.OPEN  # the commit may still fail; a hook tells when it has not
        finally:
            # In a block of somebody else's it goes on, and the hook will tell.
            if transaction is not None and not (
                fate is Fate.OPEN and connections[alias].in_atomic_block
            ):
                transaction.over(fate, self._recorder)

    @asynccontextmanager
    async def atransaction(self, alias: str | None = None) -> AsyncIterator[OpenTransaction]:
        """``mssql_async.transaction.async_atomic``; with other backends there is none."""
        from mssql_async.transaction import Outcome, async_atomic

        alias = alias or self.alias
        outer = open_transaction(self.token, alias)
        if outer is not None:
            count = len(outer.written)
            try:
                async with async_atomic(alias):
                    yield outer
            except BaseException:
                outer.undo_since(count)
                raise
            return
        block = async_atomic(alias)
        transaction: OpenTransaction | None = None
        try:
            async with block:
                transaction = self.begun(alias)
                yield transaction
        finally:
            if transaction is not None:
                fates = {
                    Outcome.COMMITTED: Fate.COMMITTED,
                    Outcome.ROLLED_BACK: Fate.ROLLED_BACK,
                }
                fate = Fate.OPEN if block.outcome is None else fates.get(block.outcome, Fate.OPEN)
                transaction.over(fate, self._recorder)

    @contextmanager
    def requested(self, alias: str | None = None) -> Iterator[OpenTransaction]:
        """Inside a view that ``ATOMIC_REQUESTS`` has put into a transaction; for asynchronous
        views, too. Its end comes after the view."""
        transaction = self.begun(alias)
        try:
            yield transaction
        except BaseException:
            transaction.over(Fate.ROLLED_BACK, self._recorder)
            raise

    def begun(self, alias: str | None = None) -> OpenTransaction:
        """The context has begun a transaction, by whatever means. Where it is a block of Django's
        or of ``async_atomic``, its commit is noted as well."""
        alias = alias or self.alias
        transaction = OpenTransaction(self.token, alias, self._recorder.process)
        enter(transaction)
        self._transactions.append(transaction)
        committed = functools.partial(transaction.over, Fate.COMMITTED, self._recorder)
        if _is_in_block(alias):
            djangos.on_commit(committed, using=alias)
        return transaction

    def _transaction_here(self, alias: str) -> OpenTransaction | None:
        """What a statement of this thread belongs to.

        A call that was cancelled, and given up because it did not come to its end in time, may
        still be in a block of Django's in its own thread. asgiref has told the task of it, by the
        context variables of that thread; but what the task does next, it does elsewhere.
        """
        transaction = open_transaction(self.token, alias)
        if transaction is None or transaction.thread in (0, threading.get_ident()):
            return transaction
        return transaction if connections[alias].in_atomic_block else None

    def over(self, fate: Fate, alias: str | None = None) -> None:
        """The transaction that :meth:`begun` told of has ended so."""
        transaction = open_transaction(self.token, alias or self.alias)
        if transaction is not None:
            transaction.over(fate, self._recorder)

    # --- the session's state -------------------------------------------------------------------

    def change(self, name: str, sql: str, value: object) -> None:
        """Change a setting of the session on purpose. From now on the context expects ``value``
        (as the probe shows it, see :mod:`.probe`) wherever it has this session still."""
        self._change(sql, current_place())
        note_change(self.token, self.alias, *probe.as_shown(name, value))

    def achange(self, name: str, sql: str, value: object) -> Coroutine[Any, Any, None]:
        return self._achange(name, sql, value, current_place())

    async def _achange(self, name: str, sql: str, value: object, place: str) -> None:
        await sync_to_async(self._change)(sql, place)
        note_change(self.token, self.alias, *probe.as_shown(name, value))

    def _change(self, sql: str, place: str) -> None:
        connection, statement = connections[self.alias], _shown(sql, ())
        with asking(place, statement), connection.cursor() as cursor:
            watch = self._watch(connection, place, statement)
            cursor.execute(sql)
            watch.sent()
        self._note(self.alias, Use.STATEMENT, watch.session, watch)

    def table(self) -> None:
        """Leave a temporary table, which the probe looks for."""
        self._change(_make_table(connections[self.alias].vendor), current_place())
        note_change(self.token, self.alias, "temporary table", "there")

    def atable(self) -> Coroutine[Any, Any, None]:
        sql = _make_table(connections[self.alias].vendor)
        return self._achange("temporary table", sql, "there", current_place())

    # --- the client's side ---------------------------------------------------------------------

    def tell(self, what: str) -> None:
        """The client's side may go on: that point is reached. Also from an event loop."""
        self._signals.tell(self.token, what)

    async def atell(self, what: str) -> None:
        self.tell(what)

    def until(self, what: str, timeout: float = PATIENCE) -> None:
        """Wait, in a thread, for the client's side: :data:`.signals.GONE`, for instance.

        :raises TimeoutError: it does not come.
        """
        self._signals.until(self.token, what, timeout)

    async def auntil(self, what: str, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109
        """
        :raises TimeoutError: it does not come.
        """
        await self._signals.wait(self.token, what, timeout)


class _Watch:
    """The time of a statement, and what it runs on."""

    __slots__ = (
        "_lease", "_recorder", "_token", "_wrapper", "acquired_at", "began_at", "connection",
        "ended_at", "place", "statement",
    )  # fmt: skip

    def __init__(
        self, recorder: Recorder, wrapper: Any, token: Token, place: str, statement: str
    ) -> None:
        self._recorder = recorder
        self._wrapper = wrapper
        self._token = token
        self.statement = statement
        self.place = place
        """Where its lease was acquired: where it was asked for, unless an earlier statement
        had the lease already."""
        self.acquired_at: float | None = None
        self._lease: tuple[Connection, float] | None = None
        self.connection: Connection | None = None
        self.began_at = self.ended_at = now()

    @property
    def is_awaited(self) -> bool:
        """Whether it runs in a thread other than this one."""
        return self._wrapper is None

    def sent(self) -> None:
        """It was executed, and its rows are not read: the session is the context's."""
        adapter = self._recorder.adapter
        lease = None if adapter is None else adapter.lease(self._wrapper)
        self._lease = lease
        at = now()
        if lease is None and adapter is not None:
            over = adapter.ended_lease(self._wrapper, self.began_at)
            if over is not None:
                lease, at = (over.connection, over.since), over.until
        if lease is not None:
            self.connection, since = lease
            self.began_at = max(self.began_at, since)
            self.place, self.acquired_at = self._recorder.acquired(
                self.connection, since, self._token, self.place, self.began_at, self.statement
            )
        self.ended_at = max(at, self.began_at)

    def tick(self) -> None:
        """Still the context's, if it is."""
        at = now()
        adapter = self._recorder.adapter
        if adapter is None or self._wrapper is None:
            self.ended_at = at
            return
        # A wrapper goes from one context to the next, and so may the connection: it is the same
        # lease only if it was also lent at the same time.
        if self._lease is not None and adapter.lease(self._wrapper) == self._lease:
            self.ended_at = at

    @property
    def session(self) -> Session:
        return self.known_session or self._recorder.session_on(self.connection)

    @property
    def known_session(self) -> Session | None:
        known = self._recorder.session_of(self.connection)
        if known is None and self._wrapper is not None:
            known = probe.unnumbered(self._wrapper.vendor, self.connection)
        return known


class _WatchedCursor:
    """Django's cursor, and from when to when its rows were read."""

    def __init__(self, cursor: Any, watch: Callable[[str], _Watch]) -> None:
        self._cursor = cursor
        self._watch = watch
        self.watch: _Watch | None = None

    def execute(self, sql: str, params: Any = None) -> Any:
        statement = _shown(sql, params or ())
        watch = self._watch(statement)
        with asking(watch.place, statement):
            result = self._cursor.execute(sql, params)
        watch.sent()
        if self.watch is None:
            self.watch = watch
        return result

    def fetchone(self) -> Any:
        return self._fetched(self._cursor.fetchone())

    def fetchmany(self, *size: int) -> Any:
        return self._fetched(self._cursor.fetchmany(*size))

    def fetchall(self) -> Any:
        return self._fetched(self._cursor.fetchall())

    def __iter__(self) -> Iterator[Any]:
        while (row := self.fetchone()) is not None:
            yield row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def _fetched(self, rows: T) -> T:
        if self.watch is not None:
            self.watch.tick()
        return rows


def outcome_of(error: BaseException) -> str:
    name = type(error).__name__
    return "cancelled" if name == "CancelledError" else name


def _shown(sql: str, params: Sequence[object]) -> str:
    text = f"{sql} {list(params)}" if params else sql
    return text[:STATEMENT_SHOWN]


def _raising(mark: str, connection: Any) -> tuple[str, list[str] | None, str]:
    """A statement whose error has the mark in its text, its parameters, and how it is shown."""
    if connection.vendor == "microsoft":
        return "RAISERROR(%s, 16, 1)", [mark], f"RAISERROR('{mark}', 16, 1)"
    sql = f"SELECT * FROM {connection.ops.quote_name(mark)}"
    return sql, None, sql


def _with_nonce(sql: str, nonce: str) -> str:
    return f"/* {nonce} */ {sql[:STATEMENT_SHOWN]}"


def _make_table(vendor: str) -> str:
    if vendor == "microsoft":
        return f"CREATE TABLE {probe.TABLE} (word nvarchar(60))"
    return "CREATE TEMPORARY TABLE leaks_temporary (word varchar(60))"


def _is_in_block(alias: str) -> bool:
    from mssql_async.commithooks import open_block

    if open_block() is not None:
        return True
    return bool(connections[alias].in_atomic_block)
