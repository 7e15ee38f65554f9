"""What a pool has and owes: its state, under its lock.

Everything here decides and nothing acts: no method opens, asks or closes anything, so all of it
may run while the lock is held.
"""

from __future__ import annotations

import enum
from collections import deque
from types import TracebackType

from .breaker import Breaker
from .connection import ConnectionState, PooledConnection
from .connector import Connector
from .errors import PoolClosed
from .lenders import LentConnection, lent
from .runtime import SYSTEM, Runtime
from .settings import PoolSettings
from .statistics import Counters, PoolStatistics
from .waiters import WaiterQueue

#: A process without other threads that is younger than this (seconds) gets no maintenance thread
#: for its idle connections: most such processes end before anything is due.
_SHORT_LIVED = 5.0


class PoolState(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


# A member of an enum costs a look-up each time, 50 ns on Python 3.11: these are asked for in
# every acquire and release.
_IDLE, _IN_USE = ConnectionState.IDLE, ConnectionState.IN_USE


class _Guard:
    """The pool's lock; what was left for after it is done when it is let go."""

    __slots__ = ("_books",)

    def __init__(self, books: Books) -> None:
        self._books = books

    def __enter__(self) -> None:
        self._books._lock.acquire()  # noqa: SLF001 - a part of it

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._books._lock.release()  # noqa: SLF001
        if self._books._afterwards:  # noqa: SLF001
            self._books._catch_up()  # noqa: SLF001


class Books:
    """The state of a pool. Names with an underscore are for the layers above: logins
    (:mod:`.openings`), what comes with time (:mod:`.upkeep`), lending (:mod:`.pool`).
    """

    notes_in_full: bool = False
    """Whether each acquire notes the whole stack it comes from; set on the class, of every pool
    without a setting of its own."""

    def __init__(
        self,
        connector: Connector,
        settings: PoolSettings | None = None,
        *,
        name: str = "default",
        runtime: Runtime = SYSTEM,
    ) -> None:
        self.name = name
        self.settings = settings or PoolSettings()
        self._connector = connector
        self._runtime = runtime
        self._now = runtime.now
        self._created_at = runtime.now()
        self._max_idle = self.settings.max_idle
        self._window = self.settings.health_check_window
        self._leak_threshold = self.settings.leak_threshold
        if self._leak_threshold is not None:
            self.notes_in_full = True
        self._start_empty()

    def _start_empty(self) -> None:
        """Nothing open, nothing counted; also what a forked child begins with."""
        self._lock = self._runtime.lock()
        self._guard = _Guard(self)
        # All of the following is read and written under the lock only.
        self._state = PoolState.OPEN
        self._idle: deque[PooledConnection] = deque()
        self._in_use: set[PooledConnection] = set()
        self._opening = 0
        self._opening_apart = 0  # those of them that are not for the queue
        self._closing = 0  # gone, but still open at the server
        self._arrivals = 0
        self._waiters = WaiterQueue()
        self._generation = 0
        self._counters = Counters()
        self._breaker = Breaker(self.settings.retry)
        self._last_connect_error: str | None = None
        self._needed_at = self._runtime.now()  # when somebody found no idle connection
        self._wake_at: float | None = None  # the earliest of the next
        # When maintain() will be called, the latest first: what was asked for is not taken
        # back, and asking again for what is coming anyway would go on for ever.
        self._wakes: list[float] = []
        self._wake_announced: float | None = None
        # Whether something was left to do until the lock is free: a wake-up to announce, or
        # what is in the next one.
        self._afterwards = False
        # Filled by finalizers, which may run at any instruction of any thread, so also
        # while the lock is held by this very thread: see abandon().
        self._abandoned: deque[PooledConnection] = deque()

    def _numbers(self) -> str:
        return (
            f"size {self._size()} of {self.settings.max_size}, in use {len(self._in_use)}, "
            f"idle {len(self._idle)}, opening {self._opening}, waiting {len(self._waiters)}"
        )

    def _size(self) -> int:
        return len(self._in_use) + len(self._idle) + self._opening

    def _room(self) -> int:
        return self.settings.max_size - self._size() - self._closing

    def _is_lendable(self, connection: PooledConnection, now: float) -> bool:
        """However long it was idle."""
        return (
            connection.generation == self._generation
            and connection.reusable
            and (connection.expires_at is None or now < connection.expires_at)
            and connection.credential == self._connector.credential
        )

    def _is_to_be_kept(self) -> bool:
        """Whether the smallest size keeps what has been idle for too long."""
        return self._size() <= self.settings.min_size

    def _lend(self, connection: PooledConnection, now: float) -> None:
        connection.state = _IN_USE
        connection.lent_at = now
        self._in_use.add(connection)
        connection.lease = self._counters.acquired = self._counters.acquired + 1
        if self._leak_threshold is not None:
            self._schedule(now + self._leak_threshold)

    def _drop(self, connection: PooledConnection) -> None:
        self._in_use.discard(connection)
        connection.state = ConnectionState.CLOSED
        self._closing += 1
        self._counters.closed += 1

    def _hand_on(self, connection: PooledConnection, now: float) -> None:
        """To the first waiter, or to the others that are idle."""
        if self._waiters.queue:
            self._lend(connection, now)
            self._waiters.hand_to_first(connection)
            return
        self._in_use.discard(connection)
        connection.state = _IDLE
        connection.idle_since = now
        connection.origin = ()
        self._idle.append(connection)
        wake_at, expires_at = self._wake_at, connection.expires_at
        # Also where it is far: what min_size keeps waits for the end of its lifetime only.
        if (
            wake_at is None
            or now + self._max_idle < wake_at
            or (expires_at is not None and expires_at < wake_at)
        ):
            self._schedule_expiry(connection, now)

    def _require_open(self) -> None:
        if self._state is PoolState.CLOSED:
            raise PoolClosed(f"The connection pool {self.name!r} is closed.")

    def _schedule(self, when: float) -> None:
        """Have :meth:`maintain` called then, unless that happens earlier anyway."""
        if self._wake_at is None or when < self._wake_at:
            if self._wake_announced is not None:
                self._wakes.pop()  # it was not asked for yet
            self._wakes.append(when)
            self._wake_at = self._wake_announced = when
            self._afterwards = True  # outside the lock: it may have to start a thread

    def _schedule_expiry(self, connection: PooledConnection, now: float) -> None:
        if now - self._created_at < _SHORT_LIVED and self._runtime.alone():
            return
        due = now + self._max_idle
        if connection.expires_at is not None:
            due = min(due, connection.expires_at)
        self._schedule(due)

    def is_unused(self) -> bool:
        """Whether it has nothing open and nobody has asked for long."""
        with self._guard:
            quiet = self._now() - self._needed_at > self._max_idle
            return quiet and not self._size() and not len(self._waiters)

    def leases(self) -> list[LentConnection]:
        """Who holds a connection at this moment. The longest first."""
        with self._guard:
            held = list(self._in_use)
        return lent(held)

    def open_connections(self) -> list[int]:
        """Their numbers: idle or lent."""
        with self._guard:
            return [connection.number for connection in (*self._idle, *self._in_use)]

    def statistics(self) -> PoolStatistics:
        """The pool at this moment."""
        with self._guard:
            c = self._counters
            return PoolStatistics(
                name=self.name,
                state=self._state.value,
                breaker=self._breaker.state.value,
                max_size=self.settings.max_size,
                size=self._size(),
                in_use=len(self._in_use),
                idle=len(self._idle),
                opening=self._opening,
                waiting=len(self._waiters),
                generation=self._generation,
                acquired=c.acquired,
                opened=c.opened,
                closed=c.closed,
                connect_errors=c.connect_errors,
                proved=c.proved,
                proofs_failed=c.proofs_failed,
                hung_up=c.hung_up,
                waits=c.waits,
                timeouts=c.timeouts,
                refused=c.refused,
                abandoned=c.abandoned,
                leaks=c.leaks,
                wait_time=c.wait.snapshot(),
                use_time=c.use.snapshot(),
                create_time=c.create.snapshot(),
                last_connect_error=self._last_connect_error,
            )

    def _catch_up(self) -> None:
        """Do what was left until the lock was free."""
        raise NotImplementedError
