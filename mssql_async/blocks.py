"""One transaction block of asynchronous code: how it is entered and left.

Django's own ``Atomic`` does the work, on the worker that runs the block's calls. What is here
decides where that is, and what becomes of it when the task is cancelled, whatever it awaits.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.transaction import Atomic, TransactionManagementError

from .context import (
    CancelledAfterCommit,
    CommitOutcomeUnknown,
    Context,
    ContextKind,
    ContextScope,
    TransactionBlockEnded,
    new_context,
)
from .context.calls import Call
from .context.enclosing import Enclosing, enclosing
from .context.routing import EndExecutor
from .context.traces import Trace, traced
from .context.worker import GRACE
from .pool import odbc


class Outcome(enum.Enum):
    """How a transaction block ended."""

    COMMITTED = "committed"
    """For a nested block: its savepoint was released; the outer block decides."""
    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"
    """Its commit was under way when the task was cancelled or the connection broke, and the
    server did not answer."""


ErrorInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Block(Trace):
    """A transaction, or a savepoint in the one around it."""

    def __init__(self, using: str, savepoint: bool, durable: bool) -> None:
        self.using = using
        self.outcome: Outcome | None = None
        self._atomic = Atomic(using, savepoint, durable)
        self._around: Enclosing | None = None
        self._context: Context
        self._routing: ContextScope
        self._task: asyncio.Task[Any] | None = None
        self._nested: list[Block] = []
        """Those that end with it, the innermost first."""
        self._is_answered = False
        # Decided once, between the task and the worker, under the workers' lock:
        self._is_open = False
        self._given_up = False
        """The task was cancelled before it was open."""
        self._is_ending = False
        self._is_withdrawn = False
        """The task was cancelled before the end began."""
        # Written on the worker:
        self._is_savepoint = False
        self._is_left = False
        self._is_committed = False

    @property
    def _outer(self) -> Context | None:
        return None if self._around is None else self._around.context

    # --- entering --------------------------------------------------------------------------

    async def enter(self) -> None:
        around = self._around = await enclosing(self.using)
        try:
            await self._enter(self._outer)
        except BaseException:
            if around is not None and not self._is_open:
                around.leave()
            raise

    async def _enter(self, outer: Context | None) -> None:
        if outer is not None and outer.is_over and outer.kind is ContextKind.BLOCK:
            raise TransactionBlockEnded(
                f"A task entered a nested block of {outer!r}, which it has outlived: the "
                "transaction is over. Await the task inside the block, or start it outside."
            )
        context = self._context = new_context(ContextKind.BLOCK, parent=outer)
        context.block = self
        self._routing = ContextScope(context)
        self._task = asyncio.current_task()
        opening = _run_in(outer or context, self._open, expires=True)
        try:
            await asyncio.shield(opening)
        except BaseException as error:
            opening.add_done_callback(_retrieve)
            with context.workers.lock:
                self._given_up = not self._is_open
            if self._is_open:  # the task was cancelled just afterwards
                await self.exit(type(error), error, error.__traceback__)
            else:
                opening.cancel()
                if outer is None:
                    context.end_soon()
            raise
        self._routing.enter()

    def _open(self) -> None:
        """On the worker."""
        context, outer = self._context, self._outer
        if self._given_up:
            return
        self._atomic.__enter__()
        connection = connections[self.using]
        self._is_savepoint = bool(connection.savepoint_ids) or not connection.commit_on_exit
        with context.workers.lock:
            is_cut = outer is not None and outer.cut
            if not self._given_up and not is_cut:
                self._is_open = True
                if outer is not None:
                    outer.inner = context
                return
        cancelled = asyncio.CancelledError()
        self._exit_atomic(type(cancelled), cancelled, None)
        if is_cut:
            raise _ended_with_outer(self.using)

    # --- leaving ---------------------------------------------------------------------------

    async def exit(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._routing.exit()
        info: ErrorInfo = (kind, error, traceback)
        raised: BaseException | None = None
        cancelled: asyncio.CancelledError | None = None
        if self._context.cut:
            # The block around it has ended, by another task's doing, and this one with it.
            self.outcome = Outcome.ROLLED_BACK
            raised = None if kind else _ended_with_outer(self.using)
        else:
            if kind is None and self._holds_one_of_its_task():
                raised = TransactionManagementError(
                    f"The transaction block on {self.using!r} was left before a block that the "
                    "same task had entered inside of it. Both were rolled back."
                )
                info = (type(raised), raised, None)
            self.outcome, failure, cancelled = await self._end(info)
            raised = failure or raised
        again = await self._settle()
        self._context.block = self._context.within = None  # no cycle, no chain of contexts
        self._tell(raised, cancelled or again, is_commit=kind is None)

    def _holds_one_of_its_task(self) -> bool:
        inner = self._context.inner
        while inner is not None:
            if self._task is not None and inner.block._task is self._task:  # noqa: SLF001
                return True
            inner = inner.inner
        return False

    async def _end(
        self, info: ErrorInfo
    ) -> tuple[Outcome, BaseException | None, asyncio.CancelledError | None]:
        """Commit or roll back. Returns how it went, what is to be raised, and the cancellation
        of the task meanwhile."""
        is_commit = info[0] is None
        self._close(cut=not is_commit)
        ending = _run_in(self._context, self._leave, info, expires=is_commit)
        was_cancelled = info[0] is not None and issubclass(
            info[0], asyncio.CancelledError | GeneratorExit
        )
        cancelled = await self._wait_for(ending, GRACE if was_cancelled else None)
        self._is_answered = ending.done()
        if not ending.done() or ending.cancelled():
            outcome = self._outcome_without_answer(ending, is_commit)
            is_cut = is_commit and cancelled is None and outcome is Outcome.ROLLED_BACK
            return outcome, _ended_with_outer(self.using) if is_cut else None, cancelled
        failure = ending.exception()
        if failure is None:
            outcome, raised = ending.result()
            return outcome, raised, cancelled
        # It was never its turn.
        if self._context.cut or not is_commit:
            return Outcome.ROLLED_BACK, failure if is_commit else None, cancelled
        outcome, _raised, again = await self._end((type(failure), failure, failure.__traceback__))
        return outcome, failure, cancelled or again

    def _close(self, *, cut: bool) -> None:
        """Take no more calls. With ``cut`` also stop what runs, and drop what waits."""
        context = self._context
        nested, dropped = context.workers.close(context, cut=cut)
        if not cut:
            return
        self._nested = [each.block for each in nested if each.block is not None]
        _stop([context, *nested], dropped)

    async def _wait_for(
        self, ending: asyncio.Task[Any], limit: float | None
    ) -> asyncio.CancelledError | None:
        """Wait whatever happens to this task: for ``limit`` seconds at most (``None``: as long
        as it takes), once it is cancelled for :data:`GRACE`. Returns the cancellation: whoever
        asked for it knows it by its message (anyio's cancel scopes)."""
        loop = asyncio.get_running_loop()
        deadline = None if limit is None else loop.time() + limit
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            try:
                await asyncio.wait([ending], timeout=left)
            except asyncio.CancelledError as error:
                cancelled = cancelled or error.with_traceback(None)
                if deadline is None:
                    deadline = loop.time() + GRACE
                with self._context.workers.lock:
                    self._is_withdrawn = not self._is_ending
        return cancelled

    def _outcome_without_answer(self, ending: asyncio.Task[Any], is_commit: bool) -> Outcome:
        ending.add_done_callback(_retrieve)
        with self._context.workers.lock:
            self._is_withdrawn = not self._is_ending
        if self._is_committed:  # what takes its time are functions of on_commit
            return Outcome.COMMITTED
        self._context.quarantine()
        return Outcome.UNKNOWN if is_commit and not self._is_withdrawn else Outcome.ROLLED_BACK

    def _leave(self, info: ErrorInfo) -> tuple[Outcome, BaseException | None]:
        """On the worker."""
        context, outer = self._context, self._outer
        with context.workers.lock:
            self._is_ending = True
            is_withdrawn = self._is_withdrawn
        if is_withdrawn:
            cancelled = asyncio.CancelledError()
            info = (type(cancelled), cancelled, None)
        try:
            for block in self._nested:
                block._exit_atomic(*info)  # noqa: SLF001
            return self._exit_atomic(*info)
        finally:
            with context.workers.lock:
                if outer is not None:
                    context.ended = True
                    if outer.inner is context:
                        outer.inner = None

    def _exit_atomic(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> tuple[Outcome, BaseException | None]:
        """What Django does at the end of a block; what it raises is returned."""
        connection = connections[self.using]
        if self._is_left or self._is_gone(connection):
            # With the block around it, or with its context. No commit fails in silence.
            return Outcome.ROLLED_BACK, None if kind else _ended_with_outer(self.using)
        self._is_left = True
        is_commit = kind is None and not (
            connection.needs_rollback or connection.closed_in_transaction
        )
        try:
            with traced(self):
                self._atomic.__exit__(kind, error, traceback)
        except BaseException as raised:
            if self._is_committed:  # a function of on_commit has raised it
                return Outcome.COMMITTED, raised
            is_unknown = is_commit and not self._is_savepoint and odbc.ends_connection(raised)
            return (Outcome.UNKNOWN if is_unknown else Outcome.ROLLED_BACK), raised
        return (Outcome.COMMITTED if is_commit else Outcome.ROLLED_BACK), None

    def _is_gone(self, connection: Any) -> bool:
        return self._atomic not in connection.atomic_blocks

    def refuse_if_gone(self) -> None:
        """On the worker, before each call: whatever has taken the transaction away, nothing that
        belongs into it runs in autocommit.

        :raises TransactionBlockEnded: it is open no more.
        """
        if self._is_gone(connections[self.using]):
            raise _ended_with_outer(self.using)

    def committed(self, alias: str) -> None:
        if alias == self.using and not self._is_savepoint:
            self._is_committed = True

    # --- afterwards ------------------------------------------------------------------------

    async def _settle(self) -> asyncio.CancelledError | None:
        """The block is over: give back what it had of its own. Returns the cancellation of the
        task meanwhile."""
        if self._around is not None:
            self._around.leave()
            return None
        future = self._context.end_soon()
        if future is None or not self._is_answered:
            return None
        return await self._wait_for(asyncio.ensure_future(_over(future)), GRACE)

    def _tell(
        self,
        raised: BaseException | None,
        cancelled: asyncio.CancelledError | None,
        *,
        is_commit: bool,
    ) -> None:
        """Raise what the caller has to know."""
        if cancelled is None:
            if raised is not None:
                raise raised
            return
        try:
            raise cancelled from raised
        except asyncio.CancelledError:  # the __context__ of what is told instead
            told = self._what_became_of_it() if is_commit and not self._is_savepoint else None
            if told is None:
                raise
            raise told from raised

    def _what_became_of_it(self) -> asyncio.CancelledError | None:
        """What a task is told that was cancelled during the commit, if it is not rolled back."""
        if self.outcome is Outcome.COMMITTED:
            return CancelledAfterCommit(
                f"The task was cancelled while the transaction on {self.using!r} was being "
                "committed. It is committed."
            )
        if self.outcome is Outcome.UNKNOWN:
            return CommitOutcomeUnknown(
                f"The task was cancelled while the transaction on {self.using!r} was being "
                f"committed, and the server did not answer within {GRACE} s: whether it is "
                "committed is not known here. Look for its rows before you try again."
            )
        return None


def _run_in(
    context: Context, function: Callable[..., Any], *args: Any, expires: bool
) -> asyncio.Task[Any]:
    """Run the beginning or the end of a block where the calls of ``context`` run, in a task
    that is not cancelled with the one that waits for it.

    :param expires: whether it fails when its turn does not come within ``acquire_timeout``.
    """
    variables = contextvars.copy_context()
    scope = ContextScope(context, EndExecutor(context, expires=expires))
    variables.run(scope.enter)
    scope.token = None  # nobody leaves it, and it refers to the variables, which refer to it
    running = sync_to_async(function)(*args)
    return asyncio.get_running_loop().create_task(running, context=variables)


def end_blocks_in(context: Context) -> None:
    """A connection of its own ends: so do the blocks that tasks have open in it."""
    _stop(*context.workers.cut_nested(context))


def _stop(contexts: list[Context], dropped: list[Call]) -> None:
    """Blocks were cut: end what was to run in them, and what does."""
    for call in dropped:
        _refuse(call)
    running = contexts[0].home.running if contexts else None
    if running is None or running.interrupted or running.sends_nothing:
        return
    if running.context in contexts:
        running.interrupt()


def _refuse(call: Call) -> None:
    if call.future.set_running_or_notify_cancel():
        call.future.set_exception(_ended_with_outer("its database"))
    call.future.forget_call()


def _ended_with_outer(using: str) -> TransactionBlockEnded:
    return TransactionBlockEnded(
        f"The transaction block on {using!r} that a task used has ended by another task's doing, "
        "and was rolled back. Await the task inside the block or the connection around it, also "
        "where something fails."
    )


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Nobody awaits it any more: asyncio need not complain."""
    if not task.cancelled():
        task.exception()


async def _over(future: Future[Any]) -> None:
    await asyncio.wait([asyncio.wrap_future(future)])
