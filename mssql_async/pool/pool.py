"""The pool: acquire, release, and the rules by which a connection is lent again.

Decide under the lock, act outside it: opening, proving and closing never happen while
the lock is held, so a slow login delays nobody but its own caller (design.md,
invariants 8 and 10).
"""

from __future__ import annotations

import enum
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from .connection import ConnectionState, PooledConnection
from .connector import Connector
from .errors import PoolClosed, PoolTimeout, TooManyWaiters
from .settings import PoolSettings
from .statistics import Counters, PoolStatistics


class PoolState(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


class Lender(Protocol):
    """What a lease needs of where it comes from."""

    def acquire(self) -> PooledConnection: ...

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None: ...

    def abandon(self, connection: PooledConnection) -> None: ...


class ConnectionSource(Lender, Protocol):
    """Where leases come from: a :class:`Pool`, or a :class:`NullPool` that keeps nothing."""

    def close(self) -> None: ...

    def statistics(self) -> PoolStatistics: ...


class _Grant(enum.Enum):
    """What a waiter gets instead of a connection: the right to open one itself."""

    OPEN_ONE = "open one"


class _Waiter:
    """A caller in the queue. Its gate opens once, when something was handed to it."""

    __slots__ = ("_gate", "handed")

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self.handed: PooledConnection | _Grant | None = None

    def wait(self, seconds: float) -> bool:
        return self._gate.acquire(timeout=max(seconds, 0.0))

    def hand(self, what: PooledConnection | _Grant | None) -> None:
        """Called under the pool's lock, once; ``None`` says that the pool was closed."""
        self.handed = what
        self._gate.release()


class _Guard:
    """The pool's lock, with a look at what was abandoned meanwhile after each release."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        self._pool._lock.acquire()  # noqa: SLF001 - a part of the pool

    def __exit__(self, *exc_info: object) -> None:
        self._pool._lock.release()  # noqa: SLF001
        if self._pool._abandoned:  # noqa: SLF001
            self._pool._reclaim_abandoned()  # noqa: SLF001


class Pool:
    """A bounded set of connections shared by every thread of the process.

    Idle connections are lent newest first, so that a quiet pool shrinks to what it needs;
    waiters are served strictly in the order of their arrival, by hand-off, so nobody
    overtakes. A connection is lent only after the driver was asked whether the peer hung
    up, and, outside the health-check window, after one round trip that resets the session
    and proves it. One connection found dead raises the generation: every older connection
    is replaced at its next touch instead of costing another caller a failure.
    """

    def __init__(
        self,
        connector: Connector,
        settings: PoolSettings | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.settings = settings or PoolSettings()
        self._connector = connector
        self._clock = clock
        self._lock = threading.Lock()
        self._guard = _Guard(self)
        # All of the following is read and written under the lock only.
        self._state = PoolState.OPEN
        self._idle: deque[PooledConnection] = deque()
        self._in_use: set[PooledConnection] = set()
        self._opening = 0
        self._waiters: deque[_Waiter] = deque()
        self._generation = 0
        self._counters = Counters()
        self._last_connect_error: str | None = None
        # Filled by finalizers, which may run at any instruction of any thread, so also
        # while the lock is held by this very thread: see abandon().
        self._abandoned: deque[PooledConnection] = deque()

    def __repr__(self) -> str:
        s = self.statistics()
        return (
            f"<Pool {self.name!r} {s.state}: {s.size} of {s.max_size} connections, "
            f"{s.in_use} in use, {s.idle} idle, {s.opening} opening, {s.waiting} waiting>"
        )

    # --- acquire ---------------------------------------------------------------------------

    def acquire(self) -> PooledConnection:
        """A connection for exclusive use until :meth:`release`.

        :raises PoolTimeout: nothing became free within ``acquire_timeout``.
        :raises TooManyWaiters: ``max_waiting`` callers wait already.
        :raises PoolClosed: the pool is closed.
        :raises Exception: whatever the connector raises when it cannot open a connection.
        """
        started = self._clock()
        deadline = started + self.settings.acquire_timeout
        candidate = self._take_or_queue(started)
        if isinstance(candidate, _Waiter):
            candidate = self._wait(candidate, started, deadline)
        if isinstance(candidate, PooledConnection):
            try:
                proved = self._prove(candidate)
            except BaseException:
                # Interrupted in the middle of a round trip: nobody knows what it would read.
                self._retire(candidate)
                raise
            if proved:
                return candidate
            # Its place stays with this caller, who has waited for it.
            self._retire(candidate, keep_slot=True)
        return self._open(deadline)

    def _take_or_queue(self, started: float) -> PooledConnection | _Grant | _Waiter:
        """Decide, under the lock, how this caller will get its connection."""
        stale: list[PooledConnection] = []
        try:
            with self._guard:
                if self._state is PoolState.CLOSED:
                    raise PoolClosed(f"The connection pool {self.name!r} is closed.")
                while self._idle:
                    connection = self._idle.pop()
                    if self._is_lendable(connection, started):
                        self._lend(connection)
                        return connection
                    self._drop(connection)
                    stale.append(connection)
                if self._size() < self.settings.max_size:
                    self._opening += 1
                    return _Grant.OPEN_ONE
                limit = self.settings.max_waiting
                if limit and len(self._waiters) >= limit:
                    self._counters.refused += 1
                    raise TooManyWaiters(
                        f"The connection pool {self.name!r} refused a caller: {len(self._waiters)} "
                        f"are already waiting and max_waiting is {limit} ({self._numbers()})."
                    )
                waiter = _Waiter()
                self._waiters.append(waiter)
                return waiter
        finally:
            self._close_all(stale)

    def _wait(self, waiter: _Waiter, started: float, deadline: float) -> PooledConnection | _Grant:
        try:
            woken = waiter.wait(deadline - self._clock())
        except BaseException:
            # Interrupted (KeyboardInterrupt): what was handed over meanwhile must not be lost.
            self._leave_queue(waiter)
            raise
        if not woken:
            self._leave_queue(waiter, on_timeout=started)
        with self._guard:
            self._counters.waits += 1
            self._counters.wait_seconds += self._clock() - started
        if waiter.handed is None:
            raise PoolClosed(f"The connection pool {self.name!r} was closed while waiting for it.")
        return waiter.handed

    def _leave_queue(self, waiter: _Waiter, on_timeout: float | None = None) -> None:
        """Stop waiting. With ``on_timeout`` (when the wait began) raise :class:`PoolTimeout`,
        unless something was handed over in the last instant: then that is kept."""
        with self._guard:
            if waiter.handed is None and waiter in self._waiters:
                self._waiters.remove(waiter)
                if on_timeout is None:
                    return
                self._counters.timeouts += 1
                raise PoolTimeout(self._timeout_message(self._clock() - on_timeout))
            handed = waiter.handed
        if on_timeout is not None:
            return
        if isinstance(handed, PooledConnection):
            self.release(handed)
        elif handed is _Grant.OPEN_ONE:
            self._give_up_slot()

    def _timeout_message(self, waited: float) -> str:
        last = self._last_connect_error
        return (
            f"No connection became free in the pool {self.name!r} within {waited:.1f} s "
            f"({self._numbers()}). "
            + (f"Last connect error: {last}. " if last else "")
            + "Look for work that holds a connection while it waits for something else, or "
            "raise OPTIONS['pool']['max_size'] or ['acquire_timeout']."
        )

    def _numbers(self) -> str:
        return (
            f"size {self._size()} of {self.settings.max_size}, in use {len(self._in_use)}, "
            f"idle {len(self._idle)}, opening {self._opening}, waiting {len(self._waiters)}"
        )

    # --- open ------------------------------------------------------------------------------

    def _open(self, deadline: float) -> PooledConnection:
        """Open a connection in the place that was reserved for it."""
        with self._guard:
            generation = self._generation
        try:
            raw = self._connector.open(deadline)
        except BaseException as error:
            self._give_up_slot(error)
            raise
        now = self._clock()
        connection = PooledConnection(
            raw, generation=generation, opened_at=now, expires_at=self._expiry(now)
        )
        with self._guard:
            self._opening -= 1
            self._counters.opened += 1
            closed = self._state is PoolState.CLOSED
            if closed:
                self._drop(connection)
            else:
                self._lend(connection)
        if closed:
            self._close_all([connection])
            raise PoolClosed(f"The connection pool {self.name!r} was closed.")
        return connection

    def _expiry(self, now: float) -> float | None:
        lifetime = self.settings.max_lifetime
        if lifetime is None:
            return None
        return now + lifetime * (1 - self.settings.lifetime_jitter * random.random())  # noqa: S311

    def _give_up_slot(self, error: BaseException | None = None) -> None:
        """A place reserved for a new connection is not used: the next waiter may have it."""
        with self._guard:
            self._opening -= 1
            if error is not None:
                self._counters.connect_errors += 1
                self._last_connect_error = _describe(error)
            self._pass_on_slot()

    # --- proof -----------------------------------------------------------------------------

    def _prove(self, connection: PooledConnection) -> bool:
        """Whether an idle connection may be lent. Spends a message only past the window."""
        if self._connector.peer_hung_up(connection.raw):
            with self._guard:
                self._counters.hung_up += 1
            return False
        if self._clock() - connection.proved_at < self.settings.health_check_window:
            return True
        return self._reset(connection)

    def _reset(self, connection: PooledConnection) -> bool:
        """Reset the session and prove the connection, in one round trip."""
        try:
            self._connector.reset(connection.raw)
        except Exception:
            proved = False  # whatever it was, this connection is not fit to be lent
        else:
            proved = True
            connection.proved_at = self._clock()
        with self._guard:
            self._counters.proved += 1
            self._counters.proofs_failed += not proved
        return proved

    # --- release ---------------------------------------------------------------------------

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        """Give a connection back, from any thread.

        ``reset`` says that its session may differ from the baseline: it is reset now, in
        one round trip, so that locks and temporary tables end with the context that made
        them. A broken connection (:attr:`PooledConnection.broken`) is closed and retires
        its generation.

        :raises ValueError: it is not lent by this pool (released twice, for instance).
        """
        with self._guard:
            if connection not in self._in_use or connection.state is not ConnectionState.IN_USE:
                raise ValueError(f"{connection!r} is not lent by the pool {self.name!r}.")
            connection.state = ConnectionState.RETURNING
        broken = connection.broken
        if not broken and reset and connection.reusable:
            broken = not self._reset(connection)
        if broken:
            self._retire(connection)
            return
        now = self._clock()
        with self._guard:
            lendable = self._state is PoolState.OPEN and self._is_lendable(connection, now)
            if lendable:
                self._hand_on(connection, now)
            else:
                self._drop(connection)
                self._pass_on_slot()
        if not lendable:
            self._close_all([connection])

    def _hand_on(self, connection: PooledConnection, now: float) -> None:
        if self._waiters:
            self._lend(connection)
            self._waiters.popleft().hand(connection)
        else:
            self._in_use.discard(connection)
            connection.state = ConnectionState.IDLE
            connection.idle_since = now
            self._idle.append(connection)

    def _retire(self, connection: PooledConnection, *, keep_slot: bool = False) -> None:
        """A connection was found dead: it goes, and its whole generation with it.

        With ``keep_slot`` its place is reserved for the caller, who opens another.
        """
        with self._guard:
            self._drop(connection)
            if connection.generation == self._generation:
                self._generation += 1
            if keep_slot:
                self._opening += 1
            else:
                self._pass_on_slot()
        self._close_all([connection])

    def abandon(self, connection: PooledConnection) -> None:
        """The owner of a lease ceased to exist (garbage collected, thread dead).

        Called by finalizers, which may interrupt a thread that holds the pool's lock, so
        it must not wait for the lock: whoever has it reclaims after letting go of it.
        """
        self._abandoned.append(connection)
        self._reclaim_abandoned()

    def _reclaim_abandoned(self) -> None:
        while self._abandoned:
            if not self._lock.acquire(blocking=False):
                return  # the holder looks again after letting go of it
            try:
                try:
                    connection = self._abandoned.popleft()
                except IndexError:
                    return
                self._counters.abandoned += 1
                self._drop(connection)
                self._pass_on_slot()
            finally:
                self._lock.release()
            # Its thread may have died in the middle of anything: never lent again.
            self._close_all([connection])

    # --- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close idle connections now and lent ones as they come back. Idempotent."""
        with self._guard:
            self._state = PoolState.CLOSED
            idle = list(self._idle)
            self._idle.clear()
            for connection in idle:
                self._drop(connection)
            waiters = list(self._waiters)
            self._waiters.clear()
            for waiter in waiters:
                waiter.hand(None)
        self._close_all(idle)

    def _close_all(self, connections: list[PooledConnection]) -> None:
        for connection in connections:
            self._connector.close(connection.raw)

    # --- under the lock --------------------------------------------------------------------

    def _size(self) -> int:
        return len(self._in_use) + len(self._idle) + self._opening

    def _is_lendable(self, connection: PooledConnection, now: float) -> bool:
        return (
            connection.generation == self._generation
            and connection.reusable
            and (connection.expires_at is None or now < connection.expires_at)
            and (
                connection.state is not ConnectionState.IDLE
                or now - connection.idle_since < self.settings.max_idle
            )
        )

    def _lend(self, connection: PooledConnection) -> None:
        connection.state = ConnectionState.IN_USE
        self._in_use.add(connection)
        self._counters.acquired += 1

    def _drop(self, connection: PooledConnection) -> None:
        self._in_use.discard(connection)
        connection.state = ConnectionState.CLOSED
        self._counters.closed += 1

    def _pass_on_slot(self) -> None:
        """A place became free: the first waiter may open a connection in it."""
        if self._waiters and self._size() < self.settings.max_size:
            self._opening += 1
            self._waiters.popleft().hand(_Grant.OPEN_ONE)

    # --- looking in ------------------------------------------------------------------------

    def statistics(self) -> PoolStatistics:
        """The pool at this moment."""
        with self._guard:
            c = self._counters
            return PoolStatistics(
                name=self.name,
                state=self._state.value,
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
                wait_seconds=c.wait_seconds,
                timeouts=c.timeouts,
                refused=c.refused,
                abandoned=c.abandoned,
                last_connect_error=self._last_connect_error,
            )


class NullPool:
    """Keeps nothing: every acquire opens and every release really closes.

    What ``DATABASE_CONNECTION_POOLING = False`` asks for.
    """

    def __init__(
        self, connector: Connector, settings: PoolSettings | None = None, *, name: str = "default"
    ) -> None:
        self.name = name
        self.settings = settings or PoolSettings()
        self._connector = connector
        self._lock = threading.Lock()
        self._lent: set[PooledConnection] = set()
        self._counters = Counters()

    def acquire(self) -> PooledConnection:
        """Open a connection. :raises Exception: whatever the connector raises."""
        raw = self._connector.open(time.monotonic() + self.settings.acquire_timeout)
        connection = PooledConnection(
            raw, generation=0, opened_at=time.monotonic(), expires_at=None
        )
        with self._lock:
            self._lent.add(connection)
            self._counters.acquired += 1
            self._counters.opened += 1
        return connection

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        """Close it. ``reset`` is of no matter: the session ends."""
        with self._lock:
            self._lent.discard(connection)
            self._counters.closed += 1
        connection.state = ConnectionState.CLOSED
        self._connector.close(connection.raw)

    def abandon(self, connection: PooledConnection) -> None:
        """As :meth:`Pool.abandon`; set and counter operations need no lock here."""
        self._lent.discard(connection)
        self._counters.abandoned += 1
        self._connector.close(connection.raw)

    def close(self) -> None:
        """Nothing is kept, so nothing is closed."""

    def statistics(self) -> PoolStatistics:
        """The connections that are lent right now; there are no others."""
        c, lent = self._counters, len(self._lent)
        return PoolStatistics(
            name=self.name, state="open", max_size=0, size=lent, in_use=lent, idle=0, opening=0,
            waiting=0, generation=0, acquired=c.acquired, opened=c.opened, closed=c.closed,
            connect_errors=0, proved=0, proofs_failed=0, hung_up=0, waits=0, wait_seconds=0.0,
            timeouts=0, refused=0, abandoned=c.abandoned, last_connect_error=None,
        )  # fmt: skip


def _describe(error: BaseException) -> str:
    """An error in one line. Drivers put no secret into their messages; a connection string
    never comes here."""
    text: Any = error.args[-1] if error.args else error
    return f"{type(error).__name__}: {text}".splitlines()[0][:500]
