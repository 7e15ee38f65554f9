"""Transactions in asynchronous code.

::

    async with async_atomic():
        account = await Account.objects.aget(pk=1)
        account.balance -= 10
        await account.asave()

Everything awaited in the block runs in one transaction on one connection: Django's asynchronous
methods, and synchronous code through ``sync_to_async``. The block belongs to the await chain
that entered it: tasks that were started before run outside, tasks started inside take turns
inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from asgiref.sync import AsyncToSync, sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import Atomic

from .context import (
    CancelledAfterCommit,
    CommitOutcomeUnknown,
    Context,
    ContextKind,
    ContextScope,
    TransactionBlockEnded,
    current_context,
    new_context,
)
from .context.workers import GRACE

P = ParamSpec("P")
R = TypeVar("R")


class Outcome(enum.Enum):
    """How a transaction block ended."""

    COMMITTED = "committed"
    """For a nested block: its savepoint was released; the outer block decides."""
    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"
    """Its commit was under way when the task was cancelled, and the server did not answer."""


#: The innermost block that the running task is in.
_block: contextvars.ContextVar[Context | None] = contextvars.ContextVar(
    "mssql_async.block", default=None
)


class AsyncAtomic:
    """One use of :func:`async_atomic`.

    ``outcome`` says after the block how it ended, also where the task was cancelled.
    """

    def __init__(self, using: str, savepoint: bool, durable: bool) -> None:
        self.using = using
        self.savepoint = savepoint
        self.durable = durable
        self.outcome: Outcome | None = None
        self._entered: _Entered | None = None

    def __repr__(self) -> str:
        state = self.outcome.value if self.outcome else "open" if self._entered else "not entered"
        return f"<async_atomic on {self.using!r}: {state}>"

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]]
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of an asynchronous function: each call is a block of its own."""

        @functools.wraps(function)
        async def in_block(*args: P.args, **kwargs: P.kwargs) -> R:
            async with AsyncAtomic(self.using, self.savepoint, self.durable):
                return await function(*args, **kwargs)

        return in_block

    async def __aenter__(self) -> AsyncAtomic:
        """
        :raises RuntimeError: durable, and already inside a block.
        :raises TransactionBlockEnded: the task has outlived the block around it.
        """
        if self._entered is not None:
            raise RuntimeError(f"{self!r} has been entered already.")
        atomic = Atomic(self.using, self.savepoint, self.durable)
        outer = _surrounding()
        if outer is not None:
            entered: _Entered = await _Nested.enter(atomic, outer)
        elif await _in_a_transaction_of_the_thread_above(self.using):
            entered = await _Joined.enter(atomic)
        else:
            entered = await _Outermost.enter(atomic)
        self._entered = entered
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered = self._entered
        assert entered is not None  # noqa: S101 - it was entered
        await entered.exit(self, kind, error, traceback)


class _Entered:
    """How a block that was entered is left."""

    def __init__(self, atomic: Atomic) -> None:
        self._atomic = atomic

    def _leave_atomic(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> tuple[Outcome, BaseException | None]:
        """On the worker. What Django does at the end of a block; what it raises is returned."""
        connection = connections[self._atomic.using or DEFAULT_DB_ALIAS]
        doomed = kind is not None or connection.needs_rollback
        try:
            self._atomic.__exit__(kind, error, traceback)
        except BaseException as raised:
            return Outcome.ROLLED_BACK, raised
        return (Outcome.ROLLED_BACK if doomed else Outcome.COMMITTED), None

    async def exit(
        self,
        block: AsyncAtomic,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError


class _Joined(_Entered):
    """In a transaction of the thread that waits above (``async_to_sync``): a test's, or that of
    synchronous code that called asynchronous code. A savepoint in it."""

    @classmethod
    async def enter(cls, atomic: Atomic) -> _Joined:
        await sync_to_async(atomic.__enter__)()
        return cls(atomic)

    async def exit(
        self,
        block: AsyncAtomic,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leaving = asyncio.ensure_future(sync_to_async(self._leave_atomic)(kind, error, traceback))
        cancelled = await _wait_out(leaving, None)
        block.outcome, raised = leaving.result()
        _conclude(block, raised, cancelled, committing=kind is None)


class _Own(_Entered):
    """In a context of its own."""

    def __init__(self, atomic: Atomic, context: Context) -> None:
        super().__init__(atomic)
        self._context = context
        self._routing = ContextScope(context)
        self._token: contextvars.Token[Context | None] | None = None

    def _begin(self) -> None:
        self._routing.enter()
        self._token = _block.set(self._context)

    def _end(self) -> None:
        self._routing.exit()
        if self._token is not None:
            _block.reset(self._token)

    async def exit(
        self,
        block: AsyncAtomic,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        committing = kind is None
        # A task of its own, which is not cancelled with this one. It takes the routing along.
        leaving = asyncio.ensure_future(sync_to_async(self._leave)(kind, error, traceback))
        self._end()
        # A commit is waited for, however long it takes, unless the task is cancelled; a
        # rollback that does not come is as good as one: nothing was committed.
        cancelled = await _wait_out(leaving, None if committing else GRACE)
        raised: BaseException | None = None
        if leaving.done():
            block.outcome, raised = leaving.result()
        else:
            leaving.add_done_callback(_retrieve)
            self._context.quarantine()
            block.outcome = Outcome.UNKNOWN if committing else Outcome.ROLLED_BACK
        await self._after()
        _conclude(block, raised, cancelled, committing=committing)

    def _leave(self, *exc_info: Any) -> tuple[Outcome, BaseException | None]:
        return self._leave_atomic(*exc_info)

    async def _after(self) -> None:
        """The transaction is over."""


class _Outermost(_Own):
    """A transaction: a worker and a connection of its own until it is over."""

    @classmethod
    async def enter(cls, atomic: Atomic) -> _Outermost:
        context = new_context(ContextKind.BLOCK)
        using = atomic.using or DEFAULT_DB_ALIAS
        adopted = _tests_connection(using)
        if adopted is not None:
            adopted.inc_thread_sharing()
            context.adopted[using] = adopted
        block = cls(atomic, context)
        block._begin()
        try:
            await sync_to_async(atomic.__enter__)()
        except BaseException:
            block._end()
            await block._after()
            raise
        return block

    async def _after(self) -> None:
        context = self._context
        await context.end()
        for adopted in context.adopted.values():
            adopted.dec_thread_sharing()


class _Nested(_Own):
    """A block in another one's transaction, or on the session that a context is pinned to.
    While it is open the calls of what is around it wait."""

    def __init__(self, atomic: Atomic, context: Context, outer: Context) -> None:
        super().__init__(atomic, context)
        self._outer = outer
        self._given_up = False

    @classmethod
    async def enter(cls, atomic: Atomic, outer: Context) -> _Nested:
        if outer.ended:
            raise TransactionBlockEnded(
                f"A task entered a nested block of {outer!r}, which it has outlived: the "
                "transaction is over. Await the task inside the block, or start it outside."
            )
        block = cls(atomic, new_context(ContextKind.BLOCK, parent=outer), outer)
        try:
            await sync_to_async(block._open)()
        except asyncio.CancelledError as cancelled:
            with outer.workers.lock:
                opened = outer.inner is block._context
                block._given_up = True  # then the worker leaves it again itself
            if opened:
                block._begin()
                unused = AsyncAtomic(atomic.using or DEFAULT_DB_ALIAS, True, False)
                await block.exit(unused, type(cancelled), cancelled, None)
            raise
        block._begin()
        return block

    def _open(self) -> None:
        """On the worker."""
        self._atomic.__enter__()
        with self._outer.workers.lock:
            given_up = self._given_up
            if not given_up:
                self._outer.inner = self._context
        if given_up:
            cancelled = asyncio.CancelledError()
            self._atomic.__exit__(type(cancelled), cancelled, None)

    def _leave(self, *exc_info: Any) -> tuple[Outcome, BaseException | None]:
        try:
            return self._leave_atomic(*exc_info)
        finally:
            with self._outer.workers.lock:
                self._context.ended = True
                self._outer.inner = None


def _surrounding() -> Context | None:
    """What a new block is a part of: the block around it, or a context whose session has state
    that the block is to see."""
    block = _block.get()
    if block is not None:
        return block
    context = current_context()
    if context is not None and context.home.pinned_to is not None and not context.ended:
        return context
    return None


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Nobody awaits it any more: asyncio need not complain."""
    if not future.cancelled():
        future.exception()


async def _wait_out(future: asyncio.Future[Any], limit: float | None) -> bool:
    """Wait for a future whatever happens to this task, for ``limit`` seconds at most (``None``:
    as long as it takes), once cancelled for :data:`GRACE` at most. Returns whether the task was
    cancelled."""
    try:
        await asyncio.wait([future], timeout=limit)
    except asyncio.CancelledError:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future], timeout=GRACE)
        return True
    return False


def _conclude(
    block: AsyncAtomic, raised: BaseException | None, cancelled: bool, *, committing: bool
) -> None:
    """Raise what the caller has to know."""
    if cancelled and committing:
        if block.outcome is Outcome.COMMITTED:
            raise CancelledAfterCommit(
                f"The task was cancelled while the transaction on {block.using!r} was being "
                "committed. It is committed."
            )
        if block.outcome is Outcome.UNKNOWN:
            raise CommitOutcomeUnknown(
                f"The task was cancelled while the transaction on {block.using!r} was being "
                f"committed, and the server did not answer within {GRACE} s: whether it is "
                "committed is not known here. Look for its rows before you try again."
            )
    if raised is not None:
        raise raised
    if cancelled:
        raise asyncio.CancelledError


async def _in_a_transaction_of_the_thread_above(using: str) -> bool:
    """Whether an ``async_to_sync`` around this code comes from a thread whose connection is in
    a transaction already."""
    if getattr(AsyncToSync.executors, "current", None) is None:
        return False
    return await sync_to_async(_in_a_transaction_here)(using)


def _in_a_transaction_here(using: str) -> bool:
    return any(
        wrapper.alias == using and wrapper.in_atomic_block
        for wrapper in connections.all(initialized_only=True)
    )


def _tests_connection(using: str) -> Any:
    """The connection of the event loop's own thread, where that is in a transaction: only the
    fixture of a test (pytest-django's ``db`` beside pytest-asyncio) can have begun it."""
    for wrapper in connections.all(initialized_only=True):
        if wrapper.alias == using and wrapper.in_atomic_block:
            return wrapper
    return None


@overload
def async_atomic(
    using: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]: ...


@overload
def async_atomic(
    using: str | None = None, savepoint: bool = True, durable: bool = False
) -> AsyncAtomic: ...


def async_atomic(using: Any = None, savepoint: bool = True, durable: bool = False) -> Any:
    """``django.db.transaction.atomic`` for asynchronous code: an asynchronous context manager,
    and a decorator of asynchronous functions.

    :param using: the database; by default ``"default"``.
    :param savepoint: whether a nested block is a savepoint.
    :param durable: refuse to be nested.
    :raises CancelledAfterCommit: the task was cancelled during the commit, which was completed.
    :raises CommitOutcomeUnknown: the same, but the server did not answer in time. Both are
        ``asyncio.CancelledError``; any other means that the block was rolled back.
    """
    if callable(using):
        return AsyncAtomic(DEFAULT_DB_ALIAS, savepoint, durable)(using)
    return AsyncAtomic(using or DEFAULT_DB_ALIAS, savepoint, durable)
