"""What owns leases: a request, a WebSocket, a task, a transaction block.

A context routes the thread-sensitive calls of everything awaited in it (asgiref's
``ThreadSensitiveContext``) to the workers, one at a time, and ends what they left behind
when it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import itertools
import logging
import threading
import weakref
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, cast

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.db import Error
from django.db.transaction import TransactionManagementError

from .calls import Call, running_task
from .errors import TransactionBlockEnded
from .nested import heeding_nested
from .threads import WaitingThread
from .workers import GRACE, Worker, WorkerPool, current_worker

logger = logging.getLogger("mssql_async.context")

_numbers = itertools.count(1)


class ContextKind(enum.Enum):
    REQUEST = "request"
    WEBSOCKET = "websocket"
    TASK = "task"
    BLOCK = "transaction block"
    CONNECTION = "connection of its own"
    SURROUNDING = "surrounding transaction"


_TIED = (ContextKind.BLOCK, ContextKind.CONNECTION)


class Context:
    """One context. Its calls never overlap; it may be used from one event loop.

    :param parent: the block around a nested one, whose worker and connection it shares.
    """

    def __init__(
        self, workers: WorkerPool, kind: ContextKind, *, parent: Context | None = None
    ) -> None:
        self.number = next(_numbers)
        self.kind = kind
        self.workers = workers
        self.acquire_timeout = workers.acquire_timeout
        self.parent = parent
        # Not itself: a request should need no collector of cycles to go.
        self._home = None if parent is None else parent.home
        # Under the workers' lock:
        self.calls: deque[Call] = deque()
        self.inner: Context | None = None
        """The nested block that is open now: until it ends its calls go first."""
        self.ended = False
        self.closed = False
        """Of a block: whether it takes no more calls, because it is about to end."""
        self.cut = False
        """Of a block: whether those that it has taken are not begun, either."""
        # Those of the home only:
        self.running: Call | None = None
        self.pinned_to: Worker | None = None
        self.in_line = False
        self.beneath_a_worker = False
        """Whether a call on a worker waits for it (``async_to_sync`` in synchronous code)."""
        self._epoch = workers.epoch

        # What mssql_async.context.chains looks at:
        self.within = current_context()
        """The context that it was made in."""
        task = running_task()
        self.task = None if task is None else weakref.ref(task)
        """Who made it."""
        self.users: weakref.WeakSet[asyncio.Task[Any]] | None = None
        """Of a home: whose calls have run since it is pinned."""
        self.thread_above: threading.Thread | None = None
        """The thread that waits for what is done in it, if there is one (``async_to_sync``)."""

        self.block: Any = None
        """Of a block: what ends it."""
        self.thread: WaitingThread | None = None
        """Of a home: runs its calls in place of a worker."""
        self.adopted: dict[str, Any] = {}
        """Alias -> connection of another thread that its calls use: a test's transaction."""
        self.inline: Callable[[Callable[[], Any]], bool] | None = None
        """Says which calls need no worker, because they touch nothing that belongs to one."""
        self._afterlives: weakref.WeakKeyDictionary[asyncio.Task[Any], Context] | None = None

    def __repr__(self) -> str:
        state = "ended" if self.ended else "pinned" if self.home.pinned_to else "open"
        return f"<Context {self.number} ({self.kind.value}) {state}>"

    @property
    def home(self) -> Context:
        """Whose worker runs its calls: the outermost block's."""
        return self if self._home is None else self._home

    @property
    def may_go_on(self) -> bool:
        """Whether its calls need nothing of each other, so that it can do without one."""
        return self.kind not in _TIED and self.inner is None

    @property
    def is_over(self) -> bool:
        """Whether it runs no more calls: it has ended, or its threads are another process's."""
        return self.ended or self.closed or self._epoch != self.workers.epoch

    # --- under the workers' lock -------------------------------------------------------------

    @property
    def has_turn(self) -> bool:
        """Whether its next call may run: there is one, and no nested block is open."""
        return bool(self.calls) and self.inner is None

    def innermost(self) -> Context:
        """The open block that nests deepest: whose turn it is."""
        context = self
        while context.inner is not None:
            context = context.inner
        return context

    # --- calls -----------------------------------------------------------------------------

    def call(self, run: Callable[[], Any], *, expires: bool = True) -> Future[Any]:
        """Run a function on a worker of this context, after the calls before it.

        :param expires: whether it fails when it has waited for ``acquire_timeout``.
        """
        call = Call(self, run, running_task())
        if self.workers.submit(call):
            return call.future
        if self.home.in_line:
            self._refuse_if_it_waits_for_itself(call)
        if expires:
            # Weakly: most calls are over long before.
            expire = functools.partial(_expire, weakref.ref(call))
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # somebody uses the executor from a thread without one
                self.workers.attendants.later(self.acquire_timeout, expire)
            else:
                loop.call_later(self.acquire_timeout, expire)
        return call.future

    def _refuse_if_it_waits_for_itself(self, call: Call) -> None:
        """Where all workers belong to contexts that wait for this call, none comes."""
        from .chains import workers_that_wait_for

        self.workers.refuse_if_only(workers_that_wait_for(call), call)

    def runs_on(self, worker: Worker | None) -> bool:
        """Whether the call that runs on ``worker`` is one of its home's."""
        call = None if worker is None else worker.call
        return call is not None and call.context.home is self.home

    def interrupt(self) -> None:
        """Stop the statement that runs for it at the server, if one does."""
        running = self.home.running
        if running is not None:
            running.interrupt()

    def afterlife(self) -> Context:
        """For a task that has outlived this context: one of the task's own, to its end."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A call that is part of no task has outlived its context.")
        if self._afterlives is None:
            self._afterlives = weakref.WeakKeyDictionary()
        context = self._afterlives.get(task)
        if context is None:
            context = Context(self.workers, ContextKind.TASK)
            self._afterlives[task] = context
            task.add_done_callback(context._task_is_over)
        return context

    def _task_is_over(self, task: asyncio.Task[Any]) -> None:
        self.end_soon()

    # --- the end ---------------------------------------------------------------------------

    def end_soon(self) -> Future[Any] | None:
        """End it. ``None``: it holds nothing on any worker.

        What it still holds is given back on its worker. A call that is running goes on: its
        task was cancelled, and then it has been told to stop, or has outlived the context.
        """
        self.within = None  # or it would keep all those before it
        if not self.workers.end(self):
            return None
        running = self.home.running
        if running is not None and not running.interrupted:
            return None  # the worker looks after what it leaves
        call = Call(self, self._leave)
        self.workers.submit(call)
        return call.future

    def _leave(self) -> None:
        self.workers.surroundings.leave(self)

    async def end(self) -> None:
        """End it, and wait for that, but no longer than :data:`GRACE`: a worker that is held
        up by a server that does not answer is put in quarantine, and ends it when it comes
        back."""
        future = self.end_soon()
        if future is None:
            return
        wrapped = asyncio.wrap_future(future)
        await asyncio.wait([wrapped], timeout=GRACE)
        if not wrapped.done():
            self.quarantine()

    def quarantine(self) -> None:
        """Its running call does not come back: another worker takes that one's place."""
        self.workers.quarantine(self)


class ContextExecutor(Executor):
    """What asgiref submits the thread-sensitive calls of a context to."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __repr__(self) -> str:
        return f"<ContextExecutor of {self._context!r}>"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        context = self._context
        if context.inline is not None and context.inline(fn):
            return _run_in_the_loop(functools.partial(fn, *args, **kwargs))
        run: Callable[[], Any] = heeding_nested(fn, self)
        if args or kwargs:
            run = functools.partial(run, *args, **kwargs)
        if context.is_over:
            context = self._after_the_end()
        if context.kind is ContextKind.BLOCK:
            run = functools.partial(_run_in_block, context, run)
        return self._submit(context, run)

    def _submit(
        self, context: Context, run: Callable[[], Any], *, expires: bool = True
    ) -> Future[Any]:
        worker = current_worker()
        if worker is not None and context.runs_on(worker):
            # A loop of its own (asyncio.run) in synchronous code: its worker is this thread,
            # which would wait for itself.
            return _run_beside_the_loop(run)
        return context.call(run, expires=expires)

    def _after_the_end(self) -> Context:
        context = self._context
        if context.kind is ContextKind.BLOCK:
            raise TransactionBlockEnded(
                f"A task used the database in {context!r}, which it has outlived: the transaction "
                "is over. Await the task inside the block, or start it outside."
            )
        return context.afterlife()


class EndExecutor(ContextExecutor):
    """For the calls that begin and end a block itself, also once that takes no others. They wait
    for their turn without a limit, except with ``expires``."""

    def __init__(self, context: Context, *, expires: bool) -> None:
        super().__init__(context)
        self._expires = expires

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        run = functools.partial(fn, *args, **kwargs)
        return self._submit(self._context, run, expires=self._expires)


def _run_in_the_loop(run: Callable[[], Any]) -> Future[Any]:
    """At once. The future is the loop's own, which ``run_in_executor`` passes through as it is:
    any other takes a round through the selector to be seen as done."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _run_here(run)
    future: asyncio.Future[Any] = loop.create_future()
    _set(future, run)
    return cast("Future[Any]", future)


def _run_in_block(block: Context, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Error as error:
        if block.cut and not isinstance(error, TransactionManagementError):
            raise TransactionBlockEnded(
                "The transaction block that a task used has ended by another task's doing, which "
                "stopped its statement. Await the task inside, also where something fails."
            ) from error
        raise


def _run_here(run: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    _set(future, run)
    return future


def _set(future: Future[Any] | asyncio.Future[Any], run: Callable[[], Any]) -> None:
    try:
        future.set_result(run())
    except BaseException as error:  # it is the caller's
        future.set_exception(error)


def _run_beside_the_loop(run: Callable[[], Any]) -> Future[Any]:
    with beside_the_loop():
        return _run_here(run)


@contextlib.contextmanager
def beside_the_loop() -> Iterator[None]:
    """In the running loop's own thread, but not as its code: that has no part in the thread's
    connections, and Django refuses to use any there."""
    loop = asyncio.get_running_loop()
    events._set_running_loop(None)  # noqa: SLF001 - documented, for those who write loops
    try:
        yield
    finally:
        events._set_running_loop(loop)  # noqa: SLF001


def _expire(call_ref: weakref.ref[Call]) -> None:
    call = call_ref()
    if call is not None:
        call.context.workers.expire(call)


class ContextScope(ThreadSensitiveContext):
    """Makes a context the one of everything awaited inside.

    Unlike asgiref's it leaves a task that outlives it where it is: its calls go to the same
    executor, which gives it a context of its own (design.md, invariant 11).
    """

    def __init__(self, context: Context, executor: ContextExecutor | None = None) -> None:
        self._context_executor = executor or ContextExecutor(context)
        super().__init__(executor=self._context_executor)
        self.context = context
        self.is_left = False

    def enter(self) -> None:
        self._outer = SyncToAsync.thread_sensitive_context.get(None)
        self.token = SyncToAsync.thread_sensitive_context.set(self)
        SyncToAsync.context_to_thread_executor[self] = self._context_executor
        # A parent async_to_sync has priority in asgiref; inside, calls go to the workers.
        self._old_executor = getattr(AsyncToSync.executors, "current", None)
        if self._old_executor is not None:
            AsyncToSync.executors.current = None
        if self._old_executor is not None or current_worker() is not None:
            self.context.home.beneath_a_worker = _waits_on_a_worker(self._old_executor)
            self.context.thread_above = getattr(self._old_executor, "_work_thread", None)

    def exit(self) -> None:
        """Give back what routed calls before. An asynchronous generator may do that in
        another task than the one that entered, or while a context inside of it is open: then
        what routes calls there stays."""
        self.is_left = True
        token, self.token = self.token, None
        old_executor, self._old_executor = self._old_executor, None
        if token is None or SyncToAsync.thread_sensitive_context.get(None) is not self:
            return
        outer: Any = self._outer  # asgiref takes None for none
        if isinstance(outer, ContextScope) and outer.is_left:
            while isinstance(outer, ContextScope) and outer.is_left:
                outer = outer._outer  # noqa: SLF001 - it was left before this one
            SyncToAsync.thread_sensitive_context.set(outer)
        else:
            try:
                SyncToAsync.thread_sensitive_context.reset(token)
            except ValueError:  # of another task
                SyncToAsync.thread_sensitive_context.set(outer)
        if old_executor is not None:
            AsyncToSync.executors.current = old_executor

    async def __aenter__(self) -> ContextScope:
        self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.exit()


def _waits_on_a_worker(executor: Any) -> bool:
    """Whether the thread that waits above (``async_to_sync``) is a worker's. asgiref does not
    say; where it does not show, it is taken for one."""
    if current_worker() is not None:
        return True
    thread = getattr(executor, "_work_thread", None)
    return thread is None or Worker.of_thread(thread) is not None


def current_context() -> Context | None:
    """The context of the running task, if it is one of ours."""
    scope = SyncToAsync.thread_sensitive_context.get(None)
    return scope.context if isinstance(scope, ContextScope) else None
