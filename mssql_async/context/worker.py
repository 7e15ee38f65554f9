"""A warm thread that runs the synchronous calls of contexts, one call at a time, and stops them
when it is told to."""

from __future__ import annotations

import contextlib
import enum
import functools
import itertools
import logging
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from asgiref.sync import SyncToAsync

from ..session.attendants import Attendants
from .calls import Call, settle

if TYPE_CHECKING:
    from .context import Context

logger = logging.getLogger("mssql_async.context")

_numbers = itertools.count(1)

#: A worker that had nothing to do for so many seconds ends.
IDLE_TIME = 60.0

#: Seconds after which a call that was told to stop, and whose server does not react to that,
#: is waited for no longer. Also for how long the end of a context may be waited for.
GRACE = 0.1

#: Seconds that giving back what a context has left may take. On a long way to the server the
#: reset of its session takes more than :data:`GRACE`, and says nothing of the server.
LEAVE_TIME = 3.0

NO_SESSIONS: frozenset[str] = frozenset()

#: Seconds until a call is told again: the driver may have been about to begin its statement.
_AGAIN = (0.02, 0.1, 0.5, 2.5)


class Word(enum.Enum):
    """What a worker is told between calls, also by finalizers: they run at any instruction, and
    a queue may be put to even there."""

    FORGOTTEN = "forgotten"
    """The context that it is pinned to is gone."""
    LOOK_AGAIN = "look again"
    """Something that may have tied it to its context has been given up elsewhere."""


class Cancellable(Protocol):
    """A lease: what of it a worker has to know. Every method may be called from any thread."""

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the driver has been told to cancel and has not returned yet."""

    def interrupt(self) -> bool:
        """Stop what runs and begin nothing more until :meth:`resume`. May block."""

    def resume(self) -> None: ...

    def forsake(self) -> None:
        """Its connections are counted no more."""


class Surroundings(Protocol):
    """What a thread carries from one call to the next: Django's connections."""

    def enter(self, context: Any, *, other: bool) -> None:
        """A call of ``context`` begins; ``other``: the last one here was another context's."""

    def at_rest(self) -> bool:
        """Whether nothing ties this thread to the context whose call is over."""

    def holds_a_place(self) -> bool:
        """Of a thread that is not at rest: whether what ties it is what the number of workers
        is to bound."""

    def tidy(self) -> None:
        """End here what was given up elsewhere. It runs as a call of its context."""

    def sessions(self) -> frozenset[str]:
        """Of what ties it: the aliases whose next block belongs into the same session."""

    def unread(self) -> frozenset[str]:
        """Of what ties it: the aliases on which there are rows to read."""

    def leave(self, context: Any) -> None:
        """The context has ended: end what it left here, and say what should not have been
        here. Must not raise."""


class Employer(Protocol):
    """Whose worker it is: what it asks when a call is over, or has nothing to do."""

    surroundings: Surroundings
    attendants: Attendants

    def finished(self, worker: Worker, call: Call, *, at_rest: bool) -> Call | None:
        """What it runs next; the same call: what that left has to be ended first."""

    def fill_up(self) -> None:
        """One that is not counted may have left a place to those who wait."""

    def forgotten(self, worker: Worker) -> Call | None:
        """The context that it was pinned to exists no more. What it runs next."""

    def call_for_pinned(self, worker: Worker, run: Callable[[], Any]) -> None:
        """Have a function run for the context that it is pinned to, if it is."""

    def retire_if_idle(self, worker: Worker) -> bool:
        """Whether it may end."""

    def give_up_if_stuck(self, call: Call) -> None:
        """A call was told to stop :data:`GRACE` ago."""


class _Local(threading.local):
    worker: Worker | None = None


_local = _Local()


def current_worker() -> Worker | None:
    """The worker whose thread this is."""
    return _local.worker


class _Leases:
    """Leases made by calls on one thread. Others look at them, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refs: list[weakref.ref[Cancellable]] = []

    def add(self, lease: Cancellable) -> None:
        with self._lock:
            self._refs = [ref for ref in self._refs if ref() is not None]
            self._refs.append(weakref.ref(lease))

    def alive(self) -> list[Cancellable]:
        return [lease for ref in self._refs if (lease := ref()) is not None]


class Worker:
    """One thread. Belongs to a context while that is pinned, else to nobody between calls."""

    _by_thread: ClassVar[weakref.WeakKeyDictionary[threading.Thread, weakref.ref[Worker]]] = (
        weakref.WeakKeyDictionary()
    )

    def __init__(self, pool: Employer) -> None:
        self.number = next(_numbers)
        self._pool = pool
        self.calls: queue.SimpleQueue[Call | Word] = queue.SimpleQueue()
        """What to run next."""
        self.pinned_by: weakref.ref[Context] | None = None
        """Under the workers' lock."""
        self.retired = False
        """Whether its thread ends; also under the workers' lock."""
        self.is_extra = False
        """Whether it is not counted while it is pinned: written on its thread between calls."""
        self.last_home: weakref.ref[Context] | None = None
        self.call: Call | None = None
        """What it runs. Changes under :attr:`call_lock`."""
        self.call_lock = threading.Lock()
        self._stopping: threading.Event | None = None
        """Set while somebody else stops :attr:`call`, which must not end meanwhile."""
        self.leases = _Leases()
        self.waited = 0.0
        """Seconds that the current call has waited for this worker."""
        # Not with the prefix of the pool's own threads: workers do acquire connections.
        self.thread = threading.Thread(
            target=self._work, name=f"mssql_async worker {self.number}", daemon=True
        )
        self._by_thread[self.thread] = weakref.ref(self)

    @classmethod
    def of_thread(cls, thread: threading.Thread) -> Worker | None:
        """The worker that a thread is."""
        ref = cls._by_thread.get(thread)
        return None if ref is None else ref()

    def __repr__(self) -> str:
        return f"<Worker {self.number}: {self.call or 'idle'}>"

    # --- stopping a call, from other threads -------------------------------------------------

    def interrupt(self, call: Call) -> None:
        """Have ``call`` stopped, if it still runs when it comes to that. Returns at once."""
        self._pool.attendants.soon(functools.partial(self._stop, call, 0))

    def _stop(self, call: Call, times: int) -> None:
        with self.call_lock:
            if self.call is not call or self._stopping is not None:
                return
            stopping = self._stopping = threading.Event()
        # From now on, not from when this thread was asked for: a busy machine starts it late.
        give_up = functools.partial(self._pool.give_up_if_stuck, call)
        self._pool.attendants.later(GRACE, give_up)
        try:
            for lease in self.leases.alive():
                lease.interrupt()
        finally:
            with self.call_lock:
                self._stopping = None
            stopping.set()
        if times < len(_AGAIN):
            again = functools.partial(self._stop, call, times + 1)
            attendants = self._pool.attendants
            attendants.later(_AGAIN[times], functools.partial(self._stop_again, call, again))

    def _stop_again(self, call: Call, again: Callable[[], None]) -> None:
        if self.call is call:
            self._pool.attendants.soon(again)

    def is_stuck(self, call: Call) -> bool:
        """Whether the driver has not returned from cancelling what ``call`` runs."""
        return self.call is call and any(lease.is_being_cancelled for lease in self.leases.alive())

    def is_stopping(self, call: Call) -> bool:
        """Whether somebody is about to tell the driver to cancel what ``call`` runs."""
        return self.call is call and self._stopping is not None

    def forsake(self, call: Call) -> None:
        """If ``call`` still runs, the pool is to count its connections no more."""
        with self.call_lock:
            if self.call is not None and self.call.outermost() is call:
                for lease in self.leases.alive():
                    lease.forsake()

    def take_waited(self) -> float:
        """Seconds that this call has waited already; told once, to the first who asks."""
        waited, self.waited = self.waited, 0.0
        return waited

    # --- on its thread -----------------------------------------------------------------------

    def _work(self) -> None:
        _local.worker = self
        while not self.retired:
            try:
                call = self.calls.get(timeout=IDLE_TIME)
            except queue.Empty:
                if self._pool.retire_if_idle(self):
                    return
                continue
            following = self._heed(call) if isinstance(call, Word) else call
            del call
            while following is not None:
                following = self._run(following)

    def look_again(self) -> None:
        """From any thread and in finalizers: what tied it may be gone."""
        self.calls.put(Word.LOOK_AGAIN)

    def _heed(self, word: Word) -> Call | None:
        if word is Word.FORGOTTEN:
            self._leave("A context that was never ended")
            return self._pool.forgotten(self)
        # As a call, because it may have to wait for the server, as any call's statement does.
        self._pool.call_for_pinned(self, self._pool.surroundings.tidy)
        return None

    def _run(self, call: Call) -> Call | None:
        pool, context = self._pool, call.context
        future = call.future
        if not future.set_running_or_notify_cancel():
            future.forget_call()
            return self._finish(call)
        home = context.home
        last = None if self.last_home is None else self.last_home()
        if last is not home:
            self.last_home = weakref.ref(home)
        self.waited = call.waited
        result: Any = None
        error: BaseException | None = None
        with self.call_lock:
            self.call = call
            too_late = call.interrupted  # whoever did that may have looked before
        try:
            if too_late:
                raise CancelledError
            pool.surroundings.enter(context, other=last is not home)
            result = call.run()
        except BaseException as raised:  # it is the caller's, whatever it is
            error = raised
        self._call_is_over(call)
        following = self._finish(call)
        # Only now: whoever awaits it finds the context's worker decided.
        future.forget_call()
        try:
            settle(future, result, error)
        finally:
            del error, result  # a traceback refers to this frame
        return following

    @contextlib.contextmanager
    def beneath(self, call: Call) -> Iterator[None]:
        """While the call that it runs waits for asynchronous code, it runs this one."""
        with self.call_lock:
            above, self.call = self.call, call
            too_late = call.interrupted  # whoever did that may have looked before
        try:
            if too_late:
                raise CancelledError
            yield
        finally:
            self._call_is_over(call)
            with self.call_lock:
                self.call = above
            if above is not None and above.interrupted:
                self.interrupt(above)  # meanwhile nobody could

    def _finish(self, call: Call) -> Call | None:
        """Decide whose worker this is now; returns what it runs next."""
        at_rest = self._at_rest()
        self.is_extra = not at_rest and not self._holds_a_place()
        home = call.context.home
        if home.block is None:  # all that is done in a block belongs to it, whatever the alias
            around = self._pool.surroundings
            home.sessions = NO_SESSIONS if at_rest else around.sessions()
            home.unread = NO_SESSIONS if at_rest else around.unread()
        following = self._pool.finished(self, call, at_rest=at_rest)
        if following is call:  # nobody comes back for what it left
            self._leave(call.context)
            self.is_extra = False
            following = self._pool.finished(self, call, at_rest=True)
        if self.is_extra:
            self._pool.fill_up()
        return following

    def _call_is_over(self, call: Call) -> None:
        with self.call_lock:
            self.call = None
            stopping = self._stopping
        if stopping is not None:
            self._sit_out(stopping)  # it must hit no statement of the next call
        if call.interrupted:
            for lease in self.leases.alive():
                lease.resume()

    def _sit_out(self, stopping: threading.Event) -> None:
        stopping.wait()

    def _at_rest(self) -> bool:
        try:
            return self._pool.surroundings.at_rest()
        except Exception:  # a foreign backend's: the context keeps the worker
            return False

    def _holds_a_place(self) -> bool:
        try:
            return self._pool.surroundings.holds_a_place()
        except Exception:
            return True

    def _leave(self, context: object) -> None:
        try:
            self._pool.surroundings.leave(context)
        except Exception:
            logger.exception("Ending what %r left on %r.", context, self)


def run_beneath(worker: Worker, call: Call) -> Any:
    """On a worker's thread, which waits for asynchronous code: run a call of that."""
    call.above = worker.call
    call.worker = worker  # from now on it can be stopped
    # asgiref leaves this to the last call of a thread; the one above goes on after this one.
    tasks = getattr(SyncToAsync.threadlocal, "task_context", None)
    try:
        with worker.beneath(call):
            return call.run()
    finally:
        SyncToAsync.threadlocal.task_context = tasks


def forget_worker() -> None:
    """In a forked child this thread is no worker's."""
    _local.worker = None
