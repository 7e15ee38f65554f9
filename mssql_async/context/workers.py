"""Warm threads that run the synchronous calls of contexts, one call at a time.

asgiref starts and joins threads for every request; these live on. A context with nothing
pinned keeps no worker between two calls; one with an open transaction, cursor or pinned
lease keeps its own until that is over. Contexts that wait for a worker wait as
coroutines, first in first out.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .calls import Call, CallState
from .canceller import cancel_soon
from .errors import WorkerTimeout

if TYPE_CHECKING:
    from .context import Context

_numbers = itertools.count(1)

#: A worker that had nothing to do for so many seconds ends.
IDLE_TIME = 60.0


class Cancellable(Protocol):
    """A lease: what of it a worker has to know."""

    def cancel(self) -> None: ...


class Surroundings(Protocol):
    """What a thread carries from one call to the next: Django's connections."""

    def enter(self, context: Any, *, other: bool) -> None:
        """A call of ``context`` begins; ``other``: the last one here was another context's."""

    def at_rest(self) -> bool:
        """Whether nothing ties this thread to the context whose call is over."""

    def leave(self, context: Any) -> None:
        """The context has ended: end what it left here, and say what should not have been
        here. Must not raise."""


class _Local(threading.local):
    worker: Worker | None = None


_local = _Local()


def current_worker() -> Worker | None:
    """The worker whose thread this is."""
    return _local.worker


class Worker:
    """One thread. Belongs to a context while that is pinned, else to nobody between calls."""

    def __init__(self, pool: WorkerPool) -> None:
        self.number = next(_numbers)
        self._pool = pool
        self.calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self.last_context: weakref.ref[Context] | None = None
        self.call: Call | None = None
        """What it runs. Changes under :attr:`call_lock`."""
        self.call_lock = threading.Lock()
        self.leases: weakref.WeakSet[Cancellable] = weakref.WeakSet()
        """Leases made by calls on this thread, whose statements an interruption stops."""
        self.waited = 0.0
        """Seconds that the current call has waited for this worker."""
        self.thread = threading.Thread(
            target=self._work, name=f"mssql_async-worker-{self.number}", daemon=True
        )

    def __repr__(self) -> str:
        return f"<Worker {self.number}: {self.call or 'idle'}>"

    def interrupt(self, call: Call) -> None:
        """Stop the statement that runs for ``call``, if it still does when it comes to that.
        On a thread of its own: a peer that takes nothing any more may hold up the sending."""

        def cancel() -> None:
            with self.call_lock:
                if self.call is call:
                    for lease in list(self.leases):
                        lease.cancel()

        cancel_soon(cancel)

    def take_waited(self) -> float:
        """Seconds that this call has waited already; told once, to the first who asks."""
        waited, self.waited = self.waited, 0.0
        return waited

    def _work(self) -> None:
        _local.worker = self
        while True:
            try:
                call = self.calls.get(timeout=IDLE_TIME)
            except queue.Empty:
                if self._pool.retire_if_idle(self):
                    return
                continue
            if call is None:
                return
            next_call: Call | None = call
            while next_call is not None:
                next_call = self._run(next_call)
            del call

    def _run(self, call: Call) -> Call | None:
        pool, context = self._pool, call.context
        future = call.future
        if not future.set_running_or_notify_cancel():
            future.forget_call()
            return pool.finished(self, call, at_rest=self._at_rest())
        last = None if self.last_context is None else self.last_context()
        if last is not context:
            self.last_context = weakref.ref(context)
        self.waited = max(time.monotonic() - call.queued_at, 0.0)
        result: Any = None
        error: BaseException | None = None
        with self.call_lock:
            self.call = call
        try:
            pool.surroundings.enter(context, other=last is not context)
            result = call.run()
        except BaseException as raised:  # it is the caller's, whatever it is
            error = raised
        with self.call_lock:
            self.call = None
        at_rest = self._at_rest()
        if not at_rest and context.home.ended:
            # A call that outlived its context: what it left goes with it.
            pool.surroundings.leave(context)
            at_rest = True
        following = pool.finished(self, call, at_rest=at_rest)
        # Only now: whoever awaits it finds the context's worker decided.
        future.forget_call()
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        return following

    def _at_rest(self) -> bool:
        try:
            return self._pool.surroundings.at_rest()
        except Exception:  # a foreign backend's: the context keeps the worker
            return False


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """The workers at one moment. ``waiting`` contexts have calls and no worker."""

    max_workers: int
    workers: int
    idle: int
    pinned: int
    waiting: int
    quarantined: int


class WorkerPool:
    """All workers of the process.

    :param max_workers: threads at most, those in quarantine apart.
    :param acquire_timeout: seconds that a call may wait for a worker.
    :param keep: whether every context keeps its worker to its end, for code that relies on
        thread-locals between calls.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        max_workers: int = 64,
        acquire_timeout: float = 30.0,
        keep: bool = False,
    ) -> None:
        self.surroundings = surroundings
        self.acquire_timeout = acquire_timeout
        self.max_workers = max_workers
        self.keep = keep
        self.lock = threading.Lock()
        """Guards what follows and the queues, turns and ends of all contexts."""
        # All of the following, and the queues of the contexts, under the lock only.
        self._idle: list[Worker] = []
        self._count = 0
        self._quarantined: set[Worker] = set()
        self._pinned = 0
        self._waiting: deque[Context] = deque()

    def __repr__(self) -> str:
        s = self.statistics()
        return (
            f"<WorkerPool: {s.workers} of {s.max_workers} workers, {s.idle} idle, "
            f"{s.pinned} pinned, {s.waiting} contexts waiting>"
        )

    def statistics(self) -> WorkerStatistics:
        with self.lock:
            return WorkerStatistics(
                self.max_workers, self._count, len(self._idle), self._pinned,
                len(self._waiting), len(self._quarantined),
            )  # fmt: skip

    # --- calls -----------------------------------------------------------------------------

    def submit(self, call: Call) -> bool:
        """Queue a call behind the others of its context. False: it has to wait."""
        with self.lock:
            call.context.calls.append(call)
            new = self._dispatch(call.context)
        if new is not None:
            new.thread.start()
        return call.state is not CallState.QUEUED

    def _dispatch(self, context: Context) -> Worker | None:
        """Give the context's next call to a worker, if it may run now and there is one.

        Returns a worker whose thread has to be started, outside the lock.
        """
        home = context.home
        if home.running is not None or home.in_line or not context.has_turn:
            return None
        worker = home.pinned_to
        new = None
        if worker is None:
            if self._idle:
                worker = self._idle.pop()
            elif self._count < self.max_workers:
                self._count += 1
                worker = new = Worker(self)
            else:
                home.in_line = True
                self._waiting.append(home)
                return None
        worker.calls.put(self._begin(context, worker))
        return new

    def _begin(self, context: Context, worker: Worker) -> Call:
        call = context.calls.popleft()
        call.state = CallState.RUNNING
        call.worker = worker
        context.home.running = call
        return call

    def finished(self, worker: Worker, call: Call, *, at_rest: bool) -> Call | None:
        """A call is over. Decides whose call the worker runs next; ``None``: it waits."""
        home = call.context.home
        with self.lock:
            call.state = CallState.OVER
            home.running = None
            if worker in self._quarantined:
                self._quarantined.discard(worker)
                self._count += 1
            keeps = not at_rest or (self.keep and not home.ended)
            self._pin(home, worker if keeps else None)
            context = home.innermost()
            if keeps:
                return self._begin(context, worker) if context.has_turn else None
            if context.has_turn:
                # Behind those who wait already: nobody is starved by a busy context.
                home.in_line = True
                self._waiting.append(home)
            following = self._next_in_line(worker)
            if following is None:
                self._idle.append(worker)
            return following

    def _next_in_line(self, worker: Worker) -> Call | None:
        while self._waiting:
            home = self._waiting.popleft()
            home.in_line = False
            context = home.innermost()
            if context.has_turn and home.running is None:
                return self._begin(context, worker)
        return None

    def _pin(self, home: Context, worker: Worker | None) -> None:
        if (home.pinned_to is None) != (worker is None):
            self._pinned += 1 if worker is not None else -1
        home.pinned_to = worker

    def expire(self, call: Call) -> None:
        """Its time to wait for a worker is over."""
        with self.lock:
            if call.state is not CallState.QUEUED:
                return
            context = call.context
            try:
                context.calls.remove(call)
            except ValueError:
                return
            call.state = CallState.OVER
            message = self._timeout_message(call)
        if call.future.set_running_or_notify_cancel():
            call.future.set_exception(WorkerTimeout(message))
        call.future.forget_call()

    def _timeout_message(self, call: Call) -> str:
        waited = time.monotonic() - call.queued_at
        context = call.context
        if context.home.running is not None:
            why = "an earlier call of the same context is still running"
        elif context.inner is not None:
            why = "a nested transaction block of the same context is still open"
        else:
            why = (
                f"all {self._count} workers are busy (max_workers {self.max_workers}, "
                f"{self._pinned} pinned to contexts with an open transaction or cursor, "
                f"{len(self._waiting)} contexts waiting, {len(self._quarantined)} in quarantine)"
            )
        return (
            f"A call of {context!r} waited {waited:.1f} s for a worker: {why}. Look for work "
            "that keeps a transaction open while it waits for something else, or raise "
            "OPTIONS['pool']['max_workers'] or ['acquire_timeout']."
        )

    # --- workers ---------------------------------------------------------------------------

    def retire_if_idle(self, worker: Worker) -> bool:
        """Whether a worker that had nothing to do for long may end."""
        with self.lock:
            try:
                self._idle.remove(worker)
            except ValueError:
                return False  # a call is on its way to it
            self._count -= 1
            return True

    def quarantine(self, context: Context) -> bool:
        """The call that runs for ``context`` does not come back: another worker may take this
        one's place until it does. False: none runs."""
        with self.lock:
            running = context.home.running
            worker = None if running is None else running.worker
            if worker is None or worker in self._quarantined:
                return worker is not None
            self._quarantined.add(worker)
            self._count -= 1
            new = self._replacement()
        if new is not None:
            new.thread.start()
        return True

    def _replacement(self) -> Worker | None:
        if not self._waiting or self._count >= self.max_workers:
            return None
        self._count += 1
        worker = Worker(self)
        following = self._next_in_line(worker)
        if following is None:
            self._idle.append(worker)
        else:
            worker.calls.put(following)
        return worker

    def end(self, context: Context) -> bool:
        """The context takes no more calls of its own. Whether something is left of it on a
        worker: a pin, or a call that runs."""
        with self.lock:
            context.ended = True
            return context.home.pinned_to is not None or context.home.running is not None
