"""What owns leases: a request, a WebSocket, a task, a transaction block.

A context routes the thread-sensitive calls of everything awaited in it (asgiref's
``ThreadSensitiveContext``) to the workers, one at a time, and ends what they left behind
when it is over.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import itertools
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from asgiref.sync import SyncToAsync

from .calls import Call, running_task
from .threads import WaitingThread
from .worker import GRACE, LEAVE_TIME, NO_SESSIONS, Worker
from .workers import WorkerPool

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
        """Of a block: whether those that it has taken are not begun, either. Of a connection of
        its own: whether no block opens in it any more, because it has ended."""
        # Those of the home only:
        self.running: Call | None = None
        self.pinned_to: Worker | None = None
        self.in_line_since: float | None = None
        """When it came into the line of those that have a call to run and no worker."""
        self.sessions = NO_SESSIONS
        """The aliases that it has a session with state on, or a transaction. Written on the
        worker, after each call."""
        self.unread = NO_SESSIONS
        """The aliases that it has unread rows on. Written with them."""
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
    def in_line(self) -> bool:
        return self.in_line_since is not None

    @property
    def may_go_on(self) -> bool:
        """Whether its calls need nothing of each other, so that it can do without one."""
        return not self.is_tied and self.inner is None

    @property
    def is_tied(self) -> bool:
        """Whether it is made for a transaction or a connection: all that is done in it is
        meant to be done there."""
        return self.kind in _TIED

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

    def call(
        self, run: Callable[[], Any], *, expires: bool = True, sends_nothing: bool = False
    ) -> Future[Any]:
        """Run a function on a worker of this context, after the calls before it.

        :param expires: whether it fails when it has waited for a worker for ``acquire_timeout``.
        :param sends_nothing: whether there will be no statement to stop.
        """
        call = Call(self, run, running_task(), sends_nothing=sends_nothing)
        if self.workers.submit(call):
            return call.future
        if self.home.in_line:
            self._refuse_if_it_waits_for_itself(call)
        if expires:
            # Weakly: most calls are over long before.
            self.expire_later(weakref.ref(call), self.acquire_timeout)
        return call.future

    def expire_later(self, call: weakref.ref[Call], seconds: float) -> None:
        expire = functools.partial(_expire, call)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # somebody uses the executor from a thread without one
            self.workers.attendants.later(seconds, expire)
        else:
            loop.call_later(seconds, expire)

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
        """End it, and wait for that, but no longer than :data:`GRACE`. A worker that is held up,
        or whose server does not answer for :data:`LEAVE_TIME`, is put in quarantine, and ends it
        when it comes back."""
        future = self.end_soon()
        if future is None:
            return
        wrapped = asyncio.wrap_future(future)
        await asyncio.wait([wrapped], timeout=GRACE)
        if wrapped.done():
            return
        if future.running():
            self.workers.attendants.later(
                LEAVE_TIME - GRACE, functools.partial(self._quarantine_unless, future)
            )
        else:
            self.quarantine()

    def _quarantine_unless(self, over: Future[Any]) -> None:
        if not over.done():
            self.quarantine()

    def quarantine(self) -> None:
        """Its running call does not come back: another worker takes that one's place."""
        self.workers.quarantine(self)


def current_context() -> Context | None:
    """The context of the running task, if it is one of ours."""
    scope: Any = SyncToAsync.thread_sensitive_context.get(None)
    if getattr(scope, "is_left", False):
        scope = scope.go_back()
    context = getattr(scope, "context", None)
    return context if isinstance(context, Context) else None


def _expire(call_ref: weakref.ref[Call]) -> None:
    call = call_ref()
    if call is not None:
        left = call.context.workers.expire(call)
        if left is not None:
            call.context.expire_later(call_ref, left)
