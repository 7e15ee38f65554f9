"""The pool: acquire, release, and the rules by which a connection is lent again.

Decide under the lock, act outside it: opening, proving and closing never happen while
the lock is held, so a slow login delays nobody who merely waits for a release (design.md,
invariants 8 and 10).
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Collection
from threading import get_ident

from . import origin
from .books import PoolState
from .connection import ConnectionState, PooledConnection
from .connector import NO_PROFILE, Connector, Profile
from .errors import (
    PoolClosed,
    PoolError,
    PoolTimeout,
    TooManyWaiters,
    WaitCalledOff,
    WaitsForItself,
)
from .lenders import Held
from .runtime import SYSTEM, Runtime
from .settings import PoolSettings
from .upkeep import Upkeep
from .waiters import CalledOff, Closed, Refusal, Turn, Waiter

logger = logging.getLogger("mssql_async.pool")

_all_pools: weakref.WeakSet[Pool] = weakref.WeakSet()

# Looked up once: see books.py.
_IN_USE, _OPEN = ConnectionState.IN_USE, PoolState.OPEN


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


class Pool(Upkeep):
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
        super().__init__(connector, settings, name=name, runtime=runtime)
        _all_pools.add(self)

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
        :raises WaitCalledOff: see :meth:`call_off`.
        :raises Exception: what the connector raises when it cannot open a connection, with
            an explanation.
        """
        started = self._now()
        connection: PooledConnection | None = None
        lease = 0
        try:
            with self._lock:
                if self._idle:
                    candidate = self._idle[-1]
                    if self._is_lendable(candidate, started) and (
                        started < candidate.idle_since + self._max_idle or self._is_to_be_kept()
                    ):
                        connection = self._idle.pop()
                        self._lend(connection, started)
                lease = self._counters.acquired
            if self._afterwards:
                self._catch_up()
            if connection is None or not self._is_fit(connection, started, profile):
                request = _Request(
                    started, started + self.settings.acquire_timeout - waited, wait, held
                )
                if connection is not None:
                    request.turn, request.had_turn = (lease, 0), True
                connection, lease = self._acquire_slowly(request, profile), 0
                if connection is None:
                    return None
            connection.holder = get_ident()
            connection.origin = origin.capture(2) if self.notes_in_full else origin.capture_two(2)
            return connection
        except BaseException:
            self._take_back(connection, lease)
            raise

    def _take_back(self, connection: PooledConnection | None, lease: int = 0) -> None:
        """Whoever was lent it is interrupted (KeyboardInterrupt) before he knows. Nothing, if he
        has given it up already: then this is not the lease that it is in now.

        :param lease: 0 where it can be no other.
        """
        if (
            connection is not None
            and connection.state is _IN_USE
            and lease in (0, connection.lease)
        ):
            self.release(connection)

    def _acquire_slowly(self, request: _Request, profile: Profile) -> PooledConnection | None:
        """No idle connection is at hand, or the one that was is dead."""
        while True:
            got, lease = None, 0
            try:
                got = self._take_or_queue(request)
                if isinstance(got, Waiter):
                    got = self._wait(got, request.started)
                if got is None:
                    return None
                lease = got.lease
                if self._is_fit(got, self._now(), profile):
                    return got
                request.had_turn = True  # and is the next again
            except PoolError:
                raise  # nothing was lent, and it waits no longer
            except BaseException:
                if isinstance(got, Waiter):
                    self._leave_queue(got)
                else:
                    self._take_back(got, lease)
                raise

    def _take_or_queue(self, request: _Request) -> PooledConnection | Waiter | None:
        """Decide, under the lock, how this caller will get its connection."""
        while True:
            stale: list[PooledConnection] = []
            connection: PooledConnection | None = None
            decision: Waiter | Refusal | bool | None = None
            jobs = 0
            try:
                with self._guard:
                    self._require_open()
                    self._needed_at = now = self._now()
                    turn = self._turn_of(request)
                    connection = self._take_idle(now, stale)
                    ask = connection is None and not stale and self._is_to_say(request)
                    if connection is None and not stale and not ask:
                        decision, jobs = self._decide(request, turn, now)
                if decision is not None:
                    return self._follow(decision, jobs, request)
                if ask and request.held is not None:
                    request.mine = request.held()
                    continue
                self._close_all(stale)  # before others are opened in their place
                if connection is not None:
                    return connection
            except BaseException:
                self._take_back(connection)
                self._close_all(stale)
                if isinstance(decision, Waiter):
                    self._leave_queue(decision)
                raise

    def _follow(
        self, decision: Waiter | Refusal | bool, jobs: int, request: _Request
    ) -> PooledConnection | Waiter | None:
        if isinstance(decision, Waiter):
            self._start_openings(jobs, request.deadline)
            return decision
        if isinstance(decision, Refusal):
            raise self._explained(decision)
        return self._open_apart(request.deadline) if decision else None

    def _take_idle(self, now: float, stale: list[PooledConnection]) -> PooledConnection | None:
        """The newest that may be lent; those before it, which may not, go to ``stale``."""
        while self._idle:
            connection = self._idle[-1]
            lendable = self._is_lendable(connection, now) and (
                now < connection.idle_since + self._max_idle or self._is_to_be_kept()
            )
            self._idle.pop()
            if lendable:
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
        waiter = Waiter(self._runtime.gate(), request.deadline, turn, get_ident())
        self._waiters.join(waiter)
        return waiter, self._plan_openings(now)

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
            places = sorted({_holder_of(connection) for connection in self._in_use})
            raise WaitsForItself(
                f"Every connection of the pool {self.name!r} is held by the context that asks "
                "for another one, or by those that wait for it, so none can ever come back "
                f"({self._numbers()}; {'; '.join(places[:3])}). End the transaction or "
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
            with self._guard:
                waited = self._now() - started
                self._counters.waits += 1
                self._counters.wait.add(waited)
                in_vain = not woken and self._waiters.leave(waiter)
                self._counters.timeouts += in_vain
                message = self._timeout_message(waited) if in_vain else ""
            # Woken, or something was handed over in the last instant: then that is kept.
            handed = waiter.handed
            if isinstance(handed, PooledConnection):
                return handed
        except BaseException:
            # Interrupted (KeyboardInterrupt): what was handed over meanwhile must not be lost.
            self._leave_queue(waiter)
            raise
        if in_vain:
            raise PoolTimeout(message)
        if isinstance(handed, Refusal):
            raise self._explained(handed)
        if isinstance(handed, CalledOff):
            raise WaitCalledOff(
                f"The call that waited for a connection of the pool {self.name!r} was cancelled "
                f"after {waited:.1f} s."
            )
        raise PoolClosed(f"The connection pool {self.name!r} was closed while waiting for it.")

    def _leave_queue(self, waiter: Waiter) -> None:
        with self._guard:
            if self._waiters.leave(waiter):
                return
            handed, waiter.handed = waiter.handed, CalledOff()  # given back once only
        if isinstance(handed, PooledConnection):
            self.release(handed)

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

    def condemn(self, connection: PooledConnection) -> None:
        """A lent connection was found dead: it will be closed when it comes back, and every
        connection as old is replaced at its next touch from now on."""
        with self._guard:
            connection.broken = True
            if connection.generation == self._generation:
                self._generation += 1

    def _retire(self, connection: PooledConnection) -> None:
        """A connection was found dead: it goes, and its whole generation with it."""
        with self._guard:
            self._drop(connection)
            if connection.generation == self._generation:
                self._generation += 1
        self._close_all([connection])

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

    def call_off(self, thread: int) -> None:
        """Whoever waits in the queue on a thread (:func:`threading.get_ident`) is to wait no
        longer: :exc:`WaitCalledOff` is raised there. From any other thread, whose care it is that
        no other work begins there meanwhile. What was handed over already stays so."""
        with self._guard:
            self._waiters.call_off(thread)

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
                # Maintenance, which the first one wakes, opens the others beside this thread.
                connection = self.acquire()
                if connection is not None:
                    held.append(connection)
        finally:
            for connection in held:
                self.release(connection)

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


def _holder_of(connection: PooledConnection) -> str:
    if origin.is_known(connection.origin):
        return f"acquired at {origin.place(connection.origin)}"
    return f"by a thread that is now at {origin.place(origin.current(connection.holder))}"


def _start_empty_after_fork() -> None:
    """A child never touches the parent's connections (:mod:`.inherited` keeps them from being
    finalized), and its lock may have been held."""
    for pool in list(_all_pools):
        pool._start_empty()  # noqa: SLF001 - a part of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty_after_fork)
