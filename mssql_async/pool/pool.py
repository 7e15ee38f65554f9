"""The pool: acquire, release, and the rules by which a connection is lent again.

Decide under the lock, act outside it: opening, proving and closing never happen while
the lock is held, so a slow login delays nobody who merely waits for a release (design.md,
invariants 8 and 10).
"""

from __future__ import annotations

import enum
import logging
import os
import random
import weakref
from collections import deque
from collections.abc import Callable, Collection
from threading import get_ident
from types import TracebackType
from typing import Any, Protocol

from . import origin
from .breaker import FIRST_PAUSE, Breaker, Verdict
from .connection import ConnectionState, PooledConnection
from .connector import NO_PROFILE, Connector, Opened, Profile
from .errors import PoolClosed, PoolTimeout, TooManyWaiters, WaitsForItself
from .runtime import SYSTEM, Runtime
from .settings import PoolSettings
from .statistics import Counters, PoolStatistics
from .waiters import Closed, Refusal, Turn, Waiter, WaiterQueue

logger = logging.getLogger("mssql_async.pool")

#: A process without other threads that is younger than this (seconds) gets no maintenance thread
#: for its idle connections: most such processes end before anything is due.
_SHORT_LIVED = 5.0

_all_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
# Kept for good in a forked child: collecting them would close the parent's connections.
_inherited: list[object] = []


class PoolState(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


# A member of an enum costs a look-up each time, 50 ns on Python 3.11: these are asked for in
# every acquire and release.
_IDLE, _IN_USE, _OPEN = ConnectionState.IDLE, ConnectionState.IN_USE, PoolState.OPEN


Held = Callable[[], Collection[PooledConnection]]
"""Says which connections cannot come back before the caller gets one: those that it holds
itself, and those of whoever waits for it. Asked where it would have to wait, without the lock."""


class Lender(Protocol):
    """What a lease needs of where it comes from."""

    def acquire(
        self, profile: Profile = NO_PROFILE, *, wait: bool = True
    ) -> PooledConnection | None: ...

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None: ...

    def abandon(self, connection: PooledConnection) -> None: ...

    def condemn(self, connection: PooledConnection) -> None: ...

    def forsake(self, connection: PooledConnection) -> None: ...


class ConnectionSource(Lender, Protocol):
    """Where leases come from: a :class:`Pool`, or a :class:`.nullpool.NullPool` that keeps
    nothing."""

    def acquire(
        self,
        profile: Profile = NO_PROFILE,
        *,
        wait: bool = True,
        waited: float = 0.0,
        held: Held | None = None,
    ) -> PooledConnection | None: ...

    def close(self) -> None: ...

    def warm(self) -> None: ...

    def is_unused(self) -> bool: ...

    def statistics(self) -> PoolStatistics: ...


class _Guard:
    """The pool's lock; what was left for after it is done when it is let go."""

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        self._pool._lock.acquire()  # noqa: SLF001 - a part of the pool

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool._lock.release()  # noqa: SLF001
        if self._pool._afterwards:  # noqa: SLF001
            self._pool._catch_up()  # noqa: SLF001


class _ProfileRefused(Exception):
    """The statements of a profile fail on a connection that is alive."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Request:
    """A call of :meth:`Pool.acquire` that was not served at once."""

    __slots__ = ("asked_at", "deadline", "had_turn", "held", "mine", "started", "turn", "wait")

    def __init__(self, started: float, deadline: float, wait: bool, held: Held | None) -> None:
        self.started = started
        self.deadline = deadline
        self.wait = wait
        self.held = held
        self.mine: Collection[PooledConnection] | None = None
        """What ``held`` said, once it was asked."""
        self.asked_at = 0
        """How many connections had been lent by then."""
        self.turn: Turn | None = None
        self.had_turn = False
        """Whether it was lent a connection already, which was dead."""


class Pool:
    """A bounded set of connections shared by every thread of the process.

    Idle connections are lent newest first, so that a quiet pool shrinks to what it needs;
    waiters are served strictly in the order of their arrival, by hand-off, so nobody
    overtakes, with whatever comes first: a connection released or a new one. Connections
    are opened on threads of their own, several at a time; in a process without other threads,
    where nothing could be released meanwhile, by the caller. A connection is lent only after
    the driver was asked whether the peer hung up, and, outside the health-check window, after
    one round trip that proves it. One connection found dead raises the generation:
    every older connection is replaced at its next touch instead of costing another caller
    a failure.
    """

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
        self._start_empty()
        _all_pools.add(self)

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

    def __repr__(self) -> str:
        s = self.statistics()
        return (
            f"<Pool {self.name!r} {s.state}: {s.size} of {s.max_size} connections, "
            f"{s.in_use} in use, {s.idle} idle, {s.opening} opening, {s.waiting} waiting, "
            f"breaker {s.breaker}>"
        )

    # --- acquire ---------------------------------------------------------------------------

    def acquire(
        self,
        profile: Profile = NO_PROFILE,
        *,
        wait: bool = True,
        waited: float = 0.0,
        held: Held | None = None,
    ) -> PooledConnection | None:
        """A connection for exclusive use until :meth:`release`, its session at ``profile``.

        With ``wait=False`` never in the queue: ``None`` where the pool is full. Whoever holds
        a connection already asks for another one like this, and cannot wait for itself.
        ``waited`` seconds of ``acquire_timeout`` are used up already.

        :raises PoolTimeout: nothing became free within ``acquire_timeout``.
        :raises WaitsForItself: nothing ever could, because ``held`` is all there is.
        :raises TooManyWaiters: ``max_waiting`` callers wait already.
        :raises PoolClosed: the pool is closed.
        :raises Exception: what the connector raises when it cannot open a connection, with
            an explanation.
        """
        started = self._now()
        connection: PooledConnection | None = None
        with self._lock:
            if self._idle:
                candidate = self._idle[-1]
                if (
                    self._is_lendable(candidate, started)
                    and started < candidate.idle_since + self._max_idle
                ):
                    connection = self._idle.pop()
                    self._lend(connection, started)
            lent = self._counters.acquired
        if self._afterwards:
            self._catch_up()
        if connection is None or not self._is_fit(connection, started, profile):
            request = _Request(
                started, started + self.settings.acquire_timeout - waited, wait, held
            )
            if connection is not None:
                request.turn, request.had_turn = (lent, 0), True
            found = self._acquire_slowly(request, profile)
            if found is None:
                return None
            connection = found
        connection.holder = get_ident()
        connection.origin = (
            origin.capture_two(2) if self._leak_threshold is None else origin.capture(2)
        )
        return connection

    def _acquire_slowly(self, request: _Request, profile: Profile) -> PooledConnection | None:
        """No idle connection is at hand, or the one that was is dead."""
        while True:
            got = self._take_or_queue(request)
            if isinstance(got, Waiter):
                got = self._wait(got, request.started)
            if got is None or self._is_fit(got, self._now(), profile):
                return got
            request.had_turn = True  # and is the next again

    def _take_or_queue(self, request: _Request) -> PooledConnection | Waiter | None:
        """Decide, under the lock, how this caller will get its connection."""
        while True:
            stale: list[PooledConnection] = []
            with self._guard:
                self._require_open()
                self._needed_at = now = self._now()
                turn = self._turn_of(request)
                connection = self._take_idle(now, stale)
                ask = connection is None and not stale and self._is_to_say(request)
                if connection is None and not stale and not ask:
                    decision, jobs = self._decide(request, turn, now)
                    break
            if ask and request.held is not None:
                request.mine = request.held()
                continue
            self._close_all(stale)  # before others are opened in their place
            if connection is not None:
                return connection
        if isinstance(decision, Waiter):
            try:
                self._start_openings(jobs, request.deadline)
            except BaseException:
                self._leave_queue(decision)
                raise
            return decision
        if isinstance(decision, Refusal):
            raise self._explained(decision)
        return self._open_apart(request.deadline) if decision else None

    def _take_idle(self, now: float, stale: list[PooledConnection]) -> PooledConnection | None:
        """The newest that may be lent; those before it, which may not, go to ``stale``."""
        while self._idle:
            connection = self._idle.pop()
            if self._is_lendable(connection, now) and now < connection.idle_since + self._max_idle:
                self._lend(connection, now)
                return connection
            self._drop(connection)
            stale.append(connection)
        return None

    def _turn_of(self, request: _Request) -> Turn:
        if request.turn is None:
            self._arrivals += 1
            request.turn = self._counters.acquired, self._arrivals
        return request.turn

    def _decide(
        self, request: _Request, turn: Turn, now: float
    ) -> tuple[Waiter | Refusal | bool, int]:
        """What a caller gets when nothing is idle: a place in the queue, an error, or whether
        it may open one for itself; and how many connections to open for the queue."""
        if self._size() < self.settings.min_size:
            self._schedule(now)
        hopeless = self._refusal_if_hopeless(now)
        if hopeless is not None:
            self._counters.refused += 1
            return hopeless, 0
        if not request.wait:
            if len(self._waiters) or self._room() < 1 or self._breaker_holds(now):
                return False, 0
            self._opening += 1
            self._opening_apart += 1
            return True, 0
        self._refuse_if_it_waits_for_itself(request)
        self._refuse_if_crowded(request.had_turn)
        waiter = Waiter(self._runtime.gate(), request.deadline, turn)
        self._waiters.join(waiter)
        return waiter, self._plan_openings(now)

    def _require_open(self) -> None:
        if self._state is PoolState.CLOSED:
            raise PoolClosed(f"The connection pool {self.name!r} is closed.")

    def _refusal_if_hopeless(self, now: float) -> Refusal | None:
        """The breaker is open, and nobody could give a connection back either."""
        error = self._breaker.last_error
        if self._in_use or error is None or not self._breaker.refuses(now):
            return None
        return Refusal(error, self._breaker.attempts)

    def _only_releases_help(self) -> bool:
        """Whether nothing can be lent until somebody gives a connection back."""
        return self._room() < 1 and not self._opening and not self._closing

    def _is_to_say(self, request: _Request) -> bool:
        """Whether the caller has yet to say what it holds, before it may wait."""
        ask = (
            request.held is not None
            and request.mine is None
            and request.wait
            and self._only_releases_help()
        )
        if ask:
            request.asked_at = self._counters.acquired
        return ask

    def _refuse_if_it_waits_for_itself(self, request: _Request) -> None:
        mine = request.mine
        if (
            mine is not None
            and self._only_releases_help()
            and request.asked_at == self._counters.acquired  # or somebody did give one back
            and all(connection in mine for connection in self._in_use)
        ):
            self._counters.refused += 1
            places = sorted({origin.place(c.origin) for c in self._in_use})
            raise WaitsForItself(
                f"Every connection of the pool {self.name!r} is held by the context that asks "
                "for another one, or by those that wait for it, so none can ever come back "
                f"({self._numbers()}; acquired at {', '.join(places[:3])}). End the transaction or "
                "close the cursor before, work on the connection that is held, or raise "
                "OPTIONS['pool']['max_size']."
            )

    def _refuse_if_crowded(self, had_turn: bool) -> None:
        limit = self.settings.max_waiting
        beyond_room = len(self._waiters) - (self.settings.max_size - len(self._in_use))
        if limit and not had_turn and beyond_room >= limit:
            self._counters.refused += 1
            raise TooManyWaiters(
                f"The connection pool {self.name!r} refused a caller: {len(self._waiters)} "
                f"are already waiting and max_waiting is {limit} ({self._numbers()})."
            )

    def _wait(self, waiter: Waiter, started: float) -> PooledConnection:
        try:
            woken = waiter.wait(waiter.deadline - self._now())
        except BaseException:
            # Interrupted (KeyboardInterrupt): what was handed over meanwhile must not be lost.
            self._leave_queue(waiter)
            raise
        with self._guard:
            waited = self._now() - started
            self._counters.waits += 1
            self._counters.wait.add(waited)
            if not woken and self._waiters.leave(waiter):
                self._counters.timeouts += 1
                raise PoolTimeout(self._timeout_message(waited))
        # Woken, or something was handed over in the last instant: then that is kept.
        handed = waiter.handed
        if isinstance(handed, PooledConnection):
            return handed
        if isinstance(handed, Refusal):
            raise self._explained(handed)
        raise PoolClosed(f"The connection pool {self.name!r} was closed while waiting for it.")

    def _leave_queue(self, waiter: Waiter) -> None:
        with self._guard:
            if self._waiters.leave(waiter):
                return
        if isinstance(waiter.handed, PooledConnection):
            self.release(waiter.handed)

    def _explained(self, refusal: Refusal) -> BaseException:
        explained = self._connector.explain(refusal.error, refusal.attempts)
        if explained is not refusal.error:
            explained.__cause__ = refusal.error
        return explained

    def _timeout_message(self, waited: float) -> str:
        text = (
            f"No connection became free in the pool {self.name!r} within {waited:.1f} s "
            f"({self._numbers()}). "
        )
        if self._in_use:
            longest = min(self._in_use, key=lambda connection: connection.lent_at)
            text += (
                f"Held longest: connection #{longest.number}, for "
                f"{self._now() - longest.lent_at:.1f} s, {_holder_of(longest)}. "
            )
        if self._last_connect_error:
            text += f"Last connect error: {self._last_connect_error}. "
        return text + (
            "Look for work that holds a connection while it waits for something else, or "
            "raise OPTIONS['pool']['max_size'] or ['acquire_timeout']."
        )

    def _numbers(self) -> str:
        return (
            f"size {self._size()} of {self.settings.max_size}, in use {len(self._in_use)}, "
            f"idle {len(self._idle)}, opening {self._opening}, waiting {len(self._waiters)}"
        )

    # --- open ------------------------------------------------------------------------------

    def _plan_openings(self, now: float, *, at_least: int = 0) -> int:
        """Reserve places for the connections that are needed and may be opened now.

        As many as callers wait, less those already being opened; with ``at_least`` so many
        altogether.
        """
        needed = len(self._waiters) - (self._opening - self._opening_apart)
        needed = max(needed, at_least - self._size())
        count = min(needed, self._room(), self.settings.max_opening - self._opening)
        allowed = self._breaker.allows(now, self._opening)
        if allowed is not None:
            count = min(count, allowed)
            due = self._breaker.next_attempt_at
            if needed > 0 and due is not None and due > now:
                self._schedule(due)
        if count < 1:
            return 0
        self._breaker.attempting()
        self._opening += count
        return count

    def _breaker_holds(self, now: float) -> bool:
        return self._breaker.allows(now, self._opening) == 0

    def _start_openings(self, count: int, deadline: float) -> None:
        """Elsewhere, unless nobody else is there; then a login ends by the caller's deadline."""
        if count and self._runtime.alone():
            for _ in range(count):
                self._run_openings(deadline)
        else:
            self._start_openings_elsewhere(count)

    def _start_openings_elsewhere(self, count: int) -> None:
        for _ in range(count):
            if not self._runtime.start(self._run_openings):
                self._run_openings()

    def _run_openings(self, deadline: float | None = None) -> None:
        """Open in a place that was reserved, and go on for as long as there is need.

        ``deadline``: of the caller that has to do it itself.
        """
        while True:
            until = self._now() + self.settings.acquire_timeout if deadline is None else deadline
            try:
                connection = self._open(until)
            except Exception as error:  # whatever the driver raises is somebody's answer
                more = self._opening_failed(error)
            except BaseException:
                self._opening_interrupted(apart=False)
                raise
            else:
                more = self._opening_succeeded(connection)
            if not more:
                return
            if deadline is not None and self._now() >= deadline:
                self._start_openings_elsewhere(1)
                return

    def _open(self, deadline: float) -> PooledConnection:
        with self._guard:
            generation = self._generation
        started = self._now()
        opened = self._connector.open(deadline)
        now = self._now()
        connection = PooledConnection(
            opened.raw,
            generation=generation,
            opened_at=now,
            expires_at=self._expiry(opened, now),
            credential=opened.credential,
        )
        with self._guard:
            self._counters.opened += 1
            self._counters.create.add(now - started)
            self._breaker.succeeded()
        return connection

    def _expiry(self, opened: Opened, now: float) -> float | None:
        lifetime = self.settings.max_lifetime
        if lifetime is None:
            return opened.expires_at
        spread = 1 - self.settings.lifetime_jitter * random.random()  # noqa: S311
        expires_at = now + lifetime * spread
        return expires_at if opened.expires_at is None else min(expires_at, opened.expires_at)

    def _opening_succeeded(self, connection: PooledConnection) -> int:
        now = self._now()
        with self._guard:
            self._opening -= 1
            closed = self._state is PoolState.CLOSED
            if closed:
                self._drop(connection)
            else:
                self._hand_on(connection, now)
                if self._size() < self.settings.min_size:
                    self._schedule(now)  # max_opening allowed no more than this one
            jobs = 0 if closed else self._plan_openings(now)
        if closed:
            self._close_all([connection])
        return self._keep_one(jobs)

    def _opening_failed(self, error: Exception) -> int:
        now = self._now()
        transient = self._connector.is_transient(error)
        with self._guard:
            self._opening -= 1
            jobs = self._record_failure(error, transient, now)
            if transient and self._size() < self.settings.min_size:
                # Nobody may be waiting for it, so nobody else would try again.
                self._schedule(max(now + FIRST_PAUSE, self._breaker.next_attempt_at or now))
        return self._keep_one(jobs)

    def _opening_interrupted(self, *, apart: bool) -> None:
        """Nobody knows how it would have ended: another may be opened in its place."""
        with self._guard:
            self._opening -= 1
            self._opening_apart -= apart
            self._breaker.abandoned()
            jobs = self._plan_openings(self._now())
        self._start_openings_elsewhere(jobs)

    def _record_failure(self, error: Exception, transient: bool, now: float) -> int:
        self._counters.connect_errors += 1
        self._last_connect_error = describe_error(error)
        deadline = self._waiters.last_deadline(now)
        attempts = self._breaker.attempts + 1
        verdict = self._breaker.failed(now, error, transient=transient, deadline=deadline)
        if verdict is Verdict.GIVE_UP and not self._in_use and len(self._waiters):
            self._waiters.hand_to_first(Refusal(error, attempts))
            self._give_up_on_waiters(now)
        return self._plan_openings(now)

    def _give_up_on_waiters(self, now: float) -> None:
        """Nobody will give a connection back and none may be opened: say so now."""
        if self._opening:
            return  # its outcome decides
        refusal = self._refusal_if_hopeless(now)
        if refusal is not None:
            self._waiters.hand_to_all(refusal)

    def _keep_one(self, jobs: int) -> int:
        """Of the openings planned this thread goes on with one itself."""
        self._start_openings_elsewhere(jobs - 1)
        return jobs

    def _open_apart(self, deadline: float) -> PooledConnection:
        """For a caller that must not wait in the queue: it opens for itself."""
        try:
            connection = self._open(deadline)
        except Exception as error:
            now = self._now()
            transient = self._connector.is_transient(error)
            with self._guard:
                self._opening -= 1
                self._opening_apart -= 1
                jobs = self._record_failure(error, transient, now)
                attempts = self._breaker.attempts
            self._start_openings_elsewhere(jobs)
            raise self._explained(Refusal(error, attempts)) from error
        except BaseException:
            self._opening_interrupted(apart=True)
            raise
        with self._guard:
            self._opening -= 1
            self._opening_apart -= 1
            closed = self._state is PoolState.CLOSED
            if closed:
                self._drop(connection)
            else:
                self._lend(connection, self._now())
            # Those in the queue may have had to wait for this login, at max_opening.
            jobs = 0 if closed else self._plan_openings(self._now())
        if closed:
            self._close_all([connection])
            raise PoolClosed(f"The connection pool {self.name!r} was closed.")
        try:
            self._start_openings_elsewhere(jobs)
        except BaseException:
            self.release(connection)
            raise
        return connection

    # --- proof -----------------------------------------------------------------------------

    def _is_fit(self, connection: PooledConnection, now: float, profile: Profile) -> bool:
        """Whether what was lent answers and stands at ``profile``; otherwise it is retired."""
        try:
            if self._connector.peer_hung_up(connection.raw):
                with self._guard:
                    self._counters.hung_up += 1
            elif connection.profile != profile:
                if self._reset(connection, profile):
                    return True
            elif now - connection.proved_at < self._window or self._prove(connection):
                return True
        except _ProfileRefused as refused:
            self.release(connection)
            raise refused.error  # noqa: B904 - it is the caller's own statement that failed
        except BaseException:
            # Interrupted in the middle of a round trip: nobody knows what it would read.
            self._retire(connection)
            raise
        self._retire(connection)
        return False

    def _prove(self, connection: PooledConnection) -> bool:
        """One round trip that leaves the session, and its prepared statements, alone."""
        try:
            self._connector.prove(connection.raw)
        except Exception:
            return self._proved(connection, False)  # whatever it was: not fit to be lent
        return self._proved(connection, True)

    def _reset(self, connection: PooledConnection, profile: Profile) -> bool:
        """Reset the session, replay the profile and prove the connection.

        Where it is the profile that fails, it answers without: then nothing is wrong with the
        connection, and another one would fail in the same way.

        :raises _ProfileRefused: the connection stands at the baseline.
        """
        connection.profile = NO_PROFILE
        try:
            self._connector.reset(connection.raw, profile)
        except Exception as error:
            answered = self._proved(connection, False)
            if profile and self._reset(connection, NO_PROFILE):
                raise _ProfileRefused(error) from error
            return answered
        finally:
            if connection.statements is not None:
                connection.statements.session_was_reset()
        connection.profile = profile
        return self._proved(connection, True)

    def _proved(self, connection: PooledConnection, answered: bool) -> bool:
        if answered:
            connection.proved_at = self._now()
        with self._guard:
            self._counters.proved += 1
            self._counters.proofs_failed += not answered
        return answered

    # --- release ---------------------------------------------------------------------------

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
        """Give a connection back, from any thread.

        ``reset`` says that its session may differ from its profile: it is reset now, in
        one round trip, so that locks and temporary tables end with the context that made
        them. A broken connection (:attr:`PooledConnection.broken`) is closed and retires
        its generation.

        :raises ValueError: it is not lent by this pool (released twice, for instance).
        """
        now = self._now()
        unusual = reset or connection.broken
        with self._lock:
            if connection.state is not _IN_USE or connection not in self._in_use:
                if connection.state is not ConnectionState.FORSAKEN:
                    raise ValueError(f"{connection!r} is not lent by the pool {self.name!r}.")
                connection.state = ConnectionState.CLOSED
                forsaken, kept = True, False
            else:
                forsaken = False
                self._counters.use.add(now - connection.lent_at)
                kept = not unusual and self._state is _OPEN and self._is_lendable(connection, now)
                if kept:
                    self._hand_on(connection, now)
                else:
                    connection.state = ConnectionState.RETURNING
        if self._afterwards:
            self._catch_up()
        if connection.leak_reported:
            self._report_return(connection, now)
        if forsaken:
            self._connector.close(connection.raw)
        elif not kept:
            self._release_unusual(connection, reset)

    def _release_unusual(self, connection: PooledConnection, reset: bool) -> None:
        """It has to be reset, or goes."""
        broken = connection.broken
        if not broken and reset and connection.reusable and self._state is _OPEN:
            try:
                broken = not self._reset(connection, connection.profile)
            except _ProfileRefused:
                pass  # reset it is; the next context with that profile hears of it
            except BaseException:
                self._retire(connection)
                raise
        if broken:
            self._retire(connection)
            return
        now = self._now()
        with self._guard:
            kept = self._state is _OPEN and self._is_lendable(connection, now)
            if kept:
                self._hand_on(connection, now)
            else:
                self._drop(connection)
        if not kept:
            self._close_all([connection])

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
        expires_at = connection.expires_at
        if self._wake_at is None or (expires_at is not None and expires_at < self._wake_at):
            self._schedule_expiry(connection, now)

    def condemn(self, connection: PooledConnection) -> None:
        """A lent connection was found dead: it will be closed when it comes back, and every
        connection as old is replaced at its next touch from now on."""
        with self._guard:
            connection.broken = True
            if connection.generation == self._generation:
                self._generation += 1

    def forsake(self, connection: PooledConnection) -> None:
        """Whoever has it does not come back: a driver's call that a frozen peer keeps from
        returning. Its place goes to others, and its generation is replaced; should it be
        released after all, it is closed. Of a connection that is not lent, nothing."""
        with self._guard:
            if connection.state is not _IN_USE or connection not in self._in_use:
                return
            self._in_use.discard(connection)
            connection.state = ConnectionState.FORSAKEN
            connection.broken = True
            self._counters.closed += 1
            if connection.generation == self._generation:
                self._generation += 1
            jobs = self._fill_gap(self._now())
        logger.warning(
            "The pool %r counts connection #%d no more: the server keeps a call on it from "
            "returning. It is closed if it ever does.", self.name, connection.number,
        )  # fmt: skip
        self._start_openings_elsewhere(jobs)

    def _retire(self, connection: PooledConnection) -> None:
        """A connection was found dead: it goes, and its whole generation with it."""
        with self._guard:
            self._drop(connection)
            if connection.generation == self._generation:
                self._generation += 1
        self._close_all([connection])

    def _fill_gap(self, now: float) -> int:
        """A connection went: others wait for one to be opened in its place."""
        if self._state is PoolState.CLOSED:
            return 0
        if self._size() < self.settings.min_size:
            self._schedule(now)
        jobs = self._plan_openings(now)
        if not jobs:
            self._give_up_on_waiters(now)
        return jobs

    def abandon(self, connection: PooledConnection) -> None:
        """The owner of a lease ceased to exist (garbage collected, thread dead).

        Called by finalizers, which may interrupt a thread that holds the pool's lock, so
        it must not wait for the lock: whoever has it reclaims after letting go of it.
        """
        self._abandoned.append(connection)
        self._afterwards = True
        self._catch_up()

    def _catch_up(self) -> None:
        """What was left to do until the lock was free."""
        while self._afterwards:
            if not self._lock.acquire(blocking=False):
                return  # the holder looks again after letting go of it
            reclaimed: list[PooledConnection] = []
            forsaken: list[PooledConnection] = []
            try:
                # Only under the lock: or it is lost on a holder who looks just now.
                self._afterwards = False
                while self._abandoned:
                    connection = self._abandoned.popleft()
                    self._counters.abandoned += 1
                    if connection.state is ConnectionState.FORSAKEN:
                        connection.state = ConnectionState.CLOSED
                        forsaken.append(connection)
                        continue
                    self._drop(connection)
                    reclaimed.append(connection)
                wake_at, self._wake_announced = self._wake_announced, None
            finally:
                self._lock.release()
            if wake_at is not None:
                self._runtime.call_at(wake_at, weakref.ref(self))
            # Their threads may have died in the middle of anything: never lent again.
            self._close_all(reclaimed)
            for connection in forsaken:  # counted no more
                self._connector.close(connection.raw)

    def warm(self) -> None:
        """Open ``min_size`` connections now. Raises what the connector raises."""
        held: list[PooledConnection] = []
        try:
            for _ in range(self.settings.min_size):
                connection = self.acquire(wait=False)
                if connection is None:
                    return  # others are opening them, or use them
                held.append(connection)
        finally:
            for connection in held:
                self.release(connection)

    # --- maintenance -----------------------------------------------------------------------

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

    def maintain(self) -> None:
        """Close what idles too long, keep the smallest size, report leases held too long.

        Called by the maintenance thread at the times that were asked for.
        """
        now = self._now()
        gone: list[PooledConnection] = []
        leaks: list[PooledConnection] = []
        with self._guard:
            while self._wakes and self._wakes[-1] <= now:
                self._wakes.pop()
                self._wake_announced = None
            self._wake_at = self._wakes[-1] if self._wakes else None
            if self._state is PoolState.CLOSED:
                return
            keep: deque[PooledConnection] = deque()
            spare = max(self._size() - self.settings.min_size, 0)
            for connection in self._idle:  # the oldest first
                over_idle = now >= connection.idle_since + self._max_idle
                if not self._is_lendable(connection, now) or (over_idle and spare > len(gone)):
                    gone.append(connection)
                else:
                    keep.append(connection)
            self._idle = keep
            for connection in gone:
                self._drop(connection)
            if self._leak_threshold is not None:
                leaks = [
                    connection
                    for connection in self._in_use
                    if not connection.leak_reported
                    and now >= connection.lent_at + self._leak_threshold
                ]
                for connection in leaks:
                    connection.leak_reported = True
                self._counters.leaks += len(leaks)
            jobs = self._plan_openings(now, at_least=self.settings.min_size)
            self._schedule_what_comes(now)
        self._close_all(gone)
        for connection in leaks:
            self._report_leak(connection, now)
        self._start_openings_elsewhere(jobs)

    def _schedule_what_comes(self, now: float) -> None:
        times = [
            connection.idle_since + self._max_idle
            for connection in self._idle
            if now < connection.idle_since + self._max_idle
        ]
        times += [c.expires_at for c in self._idle if c.expires_at is not None]
        if self._leak_threshold is not None:
            times += [
                connection.lent_at + self._leak_threshold
                for connection in self._in_use
                if not connection.leak_reported
            ]
        if times:
            self._schedule(min(times))

    def _report_leak(self, connection: PooledConnection, now: float) -> None:
        logger.warning(
            "A lease of the pool %r has been held for %.1f s (leak_threshold: %s s): connection "
            "#%d, acquired at\n%s",
            self.name, now - connection.lent_at, self._leak_threshold, connection.number,
            origin.describe(connection.origin),
        )  # fmt: skip

    def _report_return(self, connection: PooledConnection, now: float) -> None:
        connection.leak_reported = False
        logger.warning(
            "The lease of the pool %r reported before came back after %.1f s: connection #%d.",
            self.name, now - connection.lent_at, connection.number,
        )  # fmt: skip

    # --- closing ---------------------------------------------------------------------------

    def close(self) -> None:
        """Close idle connections now and lent ones as they come back. Idempotent."""
        with self._guard:
            self._state = PoolState.CLOSED
            idle = list(self._idle)
            self._idle.clear()
            for connection in idle:
                self._drop(connection)
            self._waiters.hand_to_all(Closed())
        self._close_all(idle)

    def _close_all(self, connections: list[PooledConnection]) -> None:
        """Close what was dropped. Until then it takes its place, as it does at the server."""
        if not connections:
            return
        for connection in connections:
            self._connector.close(connection.raw)
        with self._guard:
            self._closing -= len(connections)
            jobs = self._fill_gap(self._now())
        self._start_openings_elsewhere(jobs)

    # --- under the lock --------------------------------------------------------------------

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

    def _lend(self, connection: PooledConnection, now: float) -> None:
        connection.state = _IN_USE
        connection.lent_at = now
        self._in_use.add(connection)
        self._counters.acquired += 1
        if self._leak_threshold is not None:
            self._schedule(now + self._leak_threshold)

    def _drop(self, connection: PooledConnection) -> None:
        self._in_use.discard(connection)
        connection.state = ConnectionState.CLOSED
        self._closing += 1
        self._counters.closed += 1

    def is_unused(self) -> bool:
        """Whether it has nothing open and nobody has asked for long."""
        with self._guard:
            quiet = self._now() - self._needed_at > self._max_idle
            return quiet and not self._size() and not len(self._waiters)

    # --- looking in ------------------------------------------------------------------------

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


def _holder_of(connection: PooledConnection) -> str:
    if origin.is_known(connection.origin):
        return f"acquired at {origin.place(connection.origin)}"
    return f"by a thread that is now at {origin.place(origin.current(connection.holder))}"


def describe_error(error: BaseException) -> str:
    """An error in one line. Drivers put no secret into their messages; a connection string
    never comes here."""
    text: Any = error.args[-1] if error.args else error
    return f"{type(error).__name__}: {text}".splitlines()[0][:500]


def _start_empty_after_fork() -> None:
    """A child never touches the parent's connections, and its lock may have been held."""
    for pool in list(_all_pools):
        _inherited.append((pool._idle, pool._in_use))  # noqa: SLF001 - a part of this module
        pool._start_empty()  # noqa: SLF001


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty_after_fork)
