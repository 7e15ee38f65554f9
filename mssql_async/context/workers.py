"""All workers of a process, and which context's call each of them runs next.

asgiref starts and joins threads for every request; these live on. A context with nothing
pinned keeps no worker between two calls; one with an open transaction, cursor or pinned
lease keeps its own until that is over. Contexts that wait for a worker wait as
coroutines, first in first out.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..session.attendants import ATTENDANTS, Attendants
from .calls import Call, CallState
from .errors import WaitsForItself, WorkerTimeout
from .worker import GRACE, Surroundings, Word, Worker, forget_worker

if TYPE_CHECKING:
    from .context import Context

logger = logging.getLogger("mssql_async.context")

_all_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()

#: Seconds after which the pool counts the connections of such a call no more.
FORSAKE_AFTER = 30.0


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
    :param forsake_after: seconds after which the connections of a call in quarantine are given
        up; its thread goes on until the driver returns.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        max_workers: int = 64,
        acquire_timeout: float = 30.0,
        keep: bool = False,
        attendants: Attendants = ATTENDANTS,
        forsake_after: float = FORSAKE_AFTER,
    ) -> None:
        self.surroundings = surroundings
        self.acquire_timeout = acquire_timeout
        self.max_workers = max_workers
        self.keep = keep
        self.attendants = attendants
        self.forsake_after = forsake_after
        self.epoch = 0
        """Counts forks: the contexts of an earlier one have their threads in the parent."""
        self._start_empty()
        _all_pools.add(self)

    def _start_empty(self) -> None:
        self.lock = threading.Lock()
        """Guards what follows and the queues, turns and ends of all contexts."""
        # All of the following, and the queues of the contexts, under the lock only.
        self._idle: list[Worker] = []
        self._count = 0
        self._quarantined: set[Worker] = set()
        self._pinned = 0
        self._extra: set[Worker] = set()
        """Pinned, and not counted among those that ``max_workers`` bounds: what they hold is
        another backend's connection, of which a context has its own for as long as it likes."""
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
        self._start(new)
        return call.state is not CallState.QUEUED

    def _start(self, new: Worker | None) -> None:
        """Start a new worker's thread, outside the lock."""
        while new is not None:
            try:
                new.thread.start()
                return
            except RuntimeError as refused:  # no more threads, or the interpreter is going down
                call, new = self._could_not_start(new)
                error = refused
            if call is not None and call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
                call.future.forget_call()

    def _could_not_start(self, worker: Worker) -> tuple[Call | None, Worker | None]:
        with self.lock:
            self._count -= 1
            if worker in self._idle:
                self._idle.remove(worker)
                return None, None
            call = worker.calls.get_nowait()
            if isinstance(call, Word):
                return None, None
            call.state = CallState.OVER
            home = call.context.home
            home.running = None
            return call, self._dispatch(home.innermost())

    def _dispatch(self, context: Context) -> Worker | None:
        """Give the context's next call to a worker, if it may run now and there is one.

        Returns a worker whose thread has to be started, outside the lock.
        """
        home = context.home
        if home.running is not None or home.in_line or not context.has_turn:
            return None
        if home.thread is not None:
            call = self._begin(context, None)
            if home.thread.begin(call):
                return None
            call.state = CallState.OVER
            home.running = None
            return self._dispatch(home.innermost())
        worker = home.pinned_to
        new = None
        if worker is None:
            if self._idle:
                worker = self._idle.pop()
            elif self._has_place or home.beneath_a_worker:
                # One beneath another worker's call is what that one waits for.
                self._count += 1
                worker = new = Worker(self)
            else:
                home.in_line_since = time.monotonic()
                self._waiting.append(home)
                return None
        worker.calls.put(self._begin(context, worker))
        return new

    @property
    def _has_place(self) -> bool:
        return self._count - len(self._extra) < self.max_workers

    def _begin(self, context: Context, worker: Worker | None) -> Call:
        call = context.calls.popleft()
        call.worker = worker
        call.state = CallState.RUNNING
        context.home.running = call
        return call

    def is_abandoned(self, call: Call) -> bool:
        """Whether nobody comes back for what a call leaves on its worker. Under the lock."""
        home = call.context.home
        # The block of a task that has outlived its request ends by itself.
        return call.given_up or (home.ended and home.inner is None)

    def finished(self, worker: Worker, call: Call, *, at_rest: bool) -> Call | None:
        """A call is over. Decides whose call the worker runs next; ``None``: it waits. The
        same call: what it left has to be ended first, because nobody will come for it."""
        home = call.context.home
        with self.lock:
            if not at_rest and self.is_abandoned(call):
                return call
            call.state = CallState.OVER
            if worker in self._quarantined:
                self._quarantined.discard(worker)
                self._count += 1
            if call.given_up:
                return self._next_for(worker)
            home.running = None
            keeps = not at_rest or (self.keep and not home.ended)
            self._pin(home, worker if keeps else None)
            if not at_rest:
                if call.task is not None:
                    if home.users is None:
                        home.users = weakref.WeakSet()
                    home.users.add(call.task)
            elif home.users is not None:
                home.users = None
            context = home.innermost()
            if keeps:
                return self._begin(context, worker) if context.has_turn else None
            if context.has_turn:
                # Behind those who wait already: nobody is starved by a busy context.
                home.in_line_since = time.monotonic()
                if home.beneath_a_worker:
                    self._waiting.appendleft(home)
                else:
                    self._waiting.append(home)
            return self._next_for(worker)

    def finished_above(self, call: Call) -> Call | None:
        """The same for a call on a thread that waits."""
        home = call.context.home
        with self.lock:
            call.state = CallState.OVER
            home.running = None
            context = home.innermost()
            return self._begin(context, None) if context.has_turn else None

    def close(self, context: Context, *, cut: bool) -> tuple[list[Context], list[Call]]:
        """A block is about to end: it takes no more calls. With ``cut`` none is begun any
        more, and the nested blocks that are open end with it.

        Returns those, the innermost first, and the calls that will not be run.
        """
        with self.lock:
            context.closed = True
            if not cut:
                return [], []
            nested = self._cut_nested(context)
            return nested, self._drop([*nested, context])

    def cut_nested(self, context: Context) -> tuple[list[Context], list[Call]]:
        """A context ends that its transactions do not outlive: as :meth:`close` for the blocks
        in it. One whose own end has begun, by a commit for instance, comes to that end."""
        with self.lock:
            if context.inner is not None and context.inner.closed:
                context.cut = True
                return [], []
            nested = self._cut_nested(context)
            return nested, self._drop(nested)

    def _cut_nested(self, context: Context) -> list[Context]:
        """The blocks that were open in it, the innermost first. None opens any more."""
        nested: list[Context] = []
        inner, context.inner = context.inner, None
        while inner is not None:
            inner.closed = inner.cut = True
            nested.insert(0, inner)
            inner.inner, inner = None, inner.inner
        context.cut = True
        return nested

    def _drop(self, contexts: list[Context]) -> list[Call]:
        """Take back the calls that were not begun."""
        dropped = [call for context in contexts for call in context.calls]
        for context in contexts:
            context.calls.clear()
        for call in dropped:
            call.state = CallState.OVER
        return dropped

    def _next_for(self, worker: Worker) -> Call | None:
        """What a worker that belongs to nobody does next."""
        beneath = bool(self._waiting) and self._waiting[0].beneath_a_worker
        # One may be idle and others wait: a context that was not counted has come to be.
        is_needed = beneath or (bool(self._waiting) and bool(self._idle))
        if self._count - len(self._extra) > self.max_workers and not is_needed:
            self._count -= 1
            worker.retired = True
            return None
        following = self._next_in_line(worker)
        if following is None:
            self._idle.append(worker)
        return following

    def _next_in_line(self, worker: Worker) -> Call | None:
        while self._waiting:
            home = self._waiting.popleft()
            since, home.in_line_since = home.in_line_since or 0.0, None
            context = home.innermost()
            if context.has_turn and home.running is None:
                call = self._begin(context, worker)
                call.waited = time.monotonic() - max(since, call.queued_at)
                return call
        return None

    def _pin(self, home: Context, worker: Worker | None) -> None:
        pinned_to = home.pinned_to
        if worker is not None and worker.is_extra and not self.keep:
            self._extra.add(worker)
        elif self._extra:
            self._extra.difference_update({worker, pinned_to})
        if pinned_to is worker:
            return
        home.pinned_to = worker
        if worker is None:
            self._pinned -= 1
            if pinned_to is not None:
                pinned_to.pinned_by = None
        else:
            self._pinned += 1
            calls = worker.calls
            worker.pinned_by = weakref.ref(home, lambda _: calls.put(Word.FORGOTTEN))

    def forgotten(self, worker: Worker) -> Call | None:
        """The context that a worker was pinned to exists no more. What it runs next."""
        with self.lock:
            if worker.pinned_by is None:
                return None
            worker.pinned_by = None
            self._pinned -= 1
            self._extra.discard(worker)
            return self._next_for(worker)

    def call_for_pinned(self, worker: Worker, run: Callable[[], Any]) -> None:
        """Have a function run for the context that a worker is pinned to, before other calls of
        that; if it is pinned to none, it holds nothing of anybody's."""
        with self.lock:
            home = None if worker.pinned_by is None else worker.pinned_by()
            if home is None or home.ended:
                return
            context = home.innermost()
            context.calls.appendleft(Call(context, run))
            self._dispatch(context)

    def expire(self, call: Call) -> float | None:
        """Fail a call whose time to wait for a worker is over. Returns in how many seconds that
        may be; ``None``: never."""
        with self.lock:
            if call.state is not CallState.QUEUED:
                return None
            since = self._waits_since(call)
            now = time.monotonic()
            left = self.acquire_timeout - (0.0 if since is None else now - since)
            if left > 0:
                return left
            if not self._withdraw(call):
                return None
            error = WorkerTimeout(self._timeout_message(call, left))
        _fail(call, error)
        return None

    def _waits_since(self, call: Call) -> float | None:
        """Since when a call waits for what may never come; ``None``: it waits only for an
        earlier one of its context to be done, as long as that takes."""
        home = call.context.home
        if home.in_line_since is not None:
            return max(home.in_line_since, call.queued_at)
        running = home.running
        if (
            running is not None
            and home.thread is None
            and not running.nested
            and call.context.inner is None
        ):
            return None
        # Another task has to end its block first, or a thread waits for one: perhaps for the
        # one that makes this call.
        return call.queued_at

    def refuse_if_only(self, waiting: set[Worker], call: Call) -> None:
        """Of all workers only those could come that wait for ``call`` themselves."""
        with self.lock:
            counted = self._count - len(self._extra)
            # Those in quarantine may come back.
            others = counted > len(waiting - self._extra) or self._quarantined
            if others or not self._withdraw(call):
                return
            error = WaitsForItself(
                f"A call of {call.context!r} would wait for a worker for ever: all {self._count} "
                f"(max_workers {self.max_workers}) belong to contexts that wait for it. End the "
                "transaction or close the cursor before, work in the context that has it, or "
                "raise OPTIONS['pool']['max_workers']."
            )
        _fail(call, error)

    def _withdraw(self, call: Call) -> bool:
        """Take a call back that waits. False: it does not wait any more."""
        if call.state is not CallState.QUEUED:
            return False
        try:
            call.context.calls.remove(call)
        except ValueError:
            return False
        call.state = CallState.OVER
        return True

    def _timeout_message(self, call: Call, left: float) -> str:
        waited = self.acquire_timeout - left
        context = call.context
        if context.home.running is not None and context.inner is None:
            why = (
                "an earlier call of the same context is still running, and waits for "
                "asynchronous code"
            )
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

    def give_up_if_stuck(self, call: Call) -> None:
        """A call was told to stop :data:`GRACE` ago. If the driver has not returned from
        that, its server does not react: the context goes on without it."""
        worker = call.worker
        if worker is None:
            return
        if worker.is_stuck(call):
            self.quarantine(call.context, call)
        elif worker.is_stopping(call):
            # On a busy machine the driver may only be told after that time.
            self.attendants.later(GRACE, functools.partial(self.give_up_if_stuck, call))

    def quarantine(self, context: Context, call: Call | None = None) -> bool:
        """The call that runs for ``context`` does not come back: another worker may take this
        one's place until it does. False: none runs, or not ``call``."""
        with self.lock:
            running = context.home.running
            if running is None:
                return False
            # One on a thread that waits holds up the call that waits there.
            running = running.outermost()
            if call is not None and running is not call.outermost():
                return False
            home = running.context.home
            worker = running.worker
            if worker is None:
                return False
            is_new = worker not in self._quarantined
            if is_new:
                self._quarantined.add(worker)
                self._extra.discard(worker)
                self._count -= 1
            new = None
            is_left = running.interrupted or running.is_left
            if home.may_go_on and home.pinned_to is None and is_left:
                running.given_up = True
                home.running = None
                new = self._dispatch(home.innermost())
            if new is None:
                new = self._replacement()
        self._start(new)
        if call is not None:
            call.let_go()
        if is_new:
            logger.warning(
                "A call of %r does not return; its worker and connection are in quarantine until "
                "it does.", context,
            )  # fmt: skip
            self.attendants.later(self.forsake_after, functools.partial(worker.forsake, running))
        return True

    def fill_up(self) -> None:
        """Let those in line have the place of a worker that is not counted."""
        if not self._waiting:  # who comes into line afterwards sees that place
            return
        with self.lock:
            new = self._replacement()
        self._start(new)

    def _replacement(self) -> Worker | None:
        if not self._waiting or not self._has_place:
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
            if context.inner is not None:
                return False  # what is left ends with the block of a task that outlives it
            return context.home.pinned_to is not None or context.home.running is not None


def _fail(call: Call, error: Exception) -> None:
    if call.future.set_running_or_notify_cancel():
        call.future.set_exception(error)
    call.future.forget_call()


def _start_empty_after_fork() -> None:
    """The threads are the parent's, and so is whatever they run."""
    forget_worker()
    for pool in list(_all_pools):
        pool.epoch += 1
        pool._start_empty()  # noqa: SLF001 - a part of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty_after_fork)
