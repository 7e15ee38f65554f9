"""What owns leases: a request, a WebSocket, a task, a transaction block.

A context routes the thread-sensitive calls of everything awaited in it (asgiref's
``ThreadSensitiveContext``) to the workers, one at a time, and ends what they left behind
when it is over.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import logging
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext

from .calls import Call
from .workers import Worker, WorkerPool

logger = logging.getLogger("mssql_async.context")

_numbers = itertools.count(1)

#: Seconds that the end of a context may be waited for; what takes longer goes on by itself.
GRACE = 0.1


class ContextKind(enum.Enum):
    REQUEST = "request"
    WEBSOCKET = "websocket"
    TASK = "task"
    BLOCK = "transaction block"
    CONNECTION = "connection of its own"


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
        self.home: Context = self if parent is None else parent.home
        """Whose worker runs its calls: the outermost block's."""
        # Under the workers' lock:
        self.calls: deque[Call] = deque()
        self.inner: Context | None = None
        """The nested block that is open now: until it ends its calls go first."""
        self.ended = False
        # Those of the home only:
        self.running: Call | None = None
        self.pinned_to: Worker | None = None
        self.in_line = False

        self.adopted: dict[str, Any] = {}
        """Alias -> connection of another thread that its calls use: a test's transaction."""
        self.inline: Callable[[Callable[[], Any]], bool] | None = None
        """Says which calls need no worker, because they touch nothing that belongs to one."""
        self.executor = ContextExecutor(self)
        self._afterlives: weakref.WeakKeyDictionary[asyncio.Task[Any], Context] = (
            weakref.WeakKeyDictionary()
        )

    def __repr__(self) -> str:
        state = "ended" if self.ended else "pinned" if self.home.pinned_to else "open"
        return f"<Context {self.number} ({self.kind.value}) {state}>"

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

    def call(self, run: Callable[[], Any]) -> Future[Any]:
        """Run a function on a worker of this context, after the calls before it. Called in
        the thread of an event loop."""
        call = Call(self, run, time.monotonic() + self.acquire_timeout)
        if not self.workers.submit(call):
            asyncio.get_running_loop().call_later(self.acquire_timeout, self.workers.expire, call)
        return call.future

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
        if not self.workers.end(self):
            return None
        running = self.home.running
        if running is not None and not running.interrupted:
            return None  # the worker looks after what it leaves
        call = Call(self, self._leave, time.monotonic() + self.acquire_timeout)
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
        if self.workers.quarantine(self):
            logger.warning(
                "A call of %r does not return; its worker and connection are in quarantine until "
                "it does.", self,
            )  # fmt: skip


class ContextExecutor(Executor):
    """What asgiref submits the thread-sensitive calls of a context to."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __repr__(self) -> str:
        return f"<ContextExecutor of {self._context!r}>"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        context = self._context
        if args or kwargs:
            function = fn

            def run() -> Any:
                return function(*args, **kwargs)
        else:
            run = fn
        if context.inline is not None and context.inline(fn):
            future: Future[Any] = Future()
            try:
                future.set_result(run())
            except BaseException as error:  # it is the caller's
                future.set_exception(error)
            return future
        if context.ended:
            context = self._after_the_end()
        return context.call(run)

    def _after_the_end(self) -> Context:
        from .errors import TransactionBlockEnded

        context = self._context
        if context.kind is ContextKind.BLOCK:
            raise TransactionBlockEnded(
                f"A task used the database in {context!r}, which it has outlived: the transaction "
                "is over. Await the task inside the block, or start it outside."
            )
        return context.afterlife()


class ContextScope(ThreadSensitiveContext):
    """Makes a context the one of everything awaited inside.

    Unlike asgiref's it leaves a task that outlives it where it is: its calls go to the same
    executor, which gives it a context of its own (design.md, invariant 11).
    """

    def __init__(self, context: Context) -> None:
        super().__init__(executor=context.executor)
        self.context = context

    def enter(self) -> None:
        self.token = SyncToAsync.thread_sensitive_context.set(self)
        SyncToAsync.context_to_thread_executor[self] = self.context.executor
        # A parent async_to_sync has priority in asgiref; inside, calls go to the workers.
        self._old_executor = getattr(AsyncToSync.executors, "current", None)
        if self._old_executor is not None:
            AsyncToSync.executors.current = None

    def exit(self) -> None:
        if self.token is not None:
            SyncToAsync.thread_sensitive_context.reset(self.token)
            self.token = None
            if self._old_executor is not None:
                AsyncToSync.executors.current = self._old_executor
                self._old_executor = None

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


def current_context() -> Context | None:
    """The context of the running task, if it is one of ours."""
    scope = SyncToAsync.thread_sensitive_context.get(None)
    return scope.context if isinstance(scope, ContextScope) else None
