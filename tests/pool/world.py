"""A driver and a server on the virtual scheduler, and what must never be seen of a pool there.

Everything that is wrong is noted in :attr:`World.wrong` and in the scheduler's story, not
raised: the pool rightly survives whatever a driver raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mssql_async.pool import NO_PROFILE, BreakerState, Opened, Pool, PooledConnection, Profile
from mssql_async.pool.statistics import PoolStatistics

from .scheduler import Scheduler, Task, VirtualGate


class Refused(Exception):
    """A login failed."""

    def __init__(self, transient: bool, attempts: int = 0) -> None:
        super().__init__(f"{'transient' if transient else 'definite'}, attempts: {attempts}")
        self.transient = transient


class LinkFailure(Exception):
    """A round trip failed."""


class Interrupted(BaseException):
    """What :class:`KeyboardInterrupt` is outside of tests."""


@dataclass(eq=False)
class Raw:
    """The driver's connection, and the session at the server."""

    number: int
    answered_at: float
    alive: bool = True
    """False: the peer hung up, and the driver knows."""
    frozen: bool = False
    """The driver knows nothing, but round trips fail."""
    closed: bool = False
    lent_to: str = ""
    busy: str = ""
    """What the driver does with it at the moment."""
    leases: int = 0
    asked: bool = False
    """Whether the driver was asked about the peer since it came back."""
    dirty: bool = False
    profile: Profile = NO_PROFILE
    resets: int = 0
    abandoned: bool = False
    forsaken: bool = False

    def __repr__(self) -> str:
        return f"raw {self.number}"


class Statements:
    """Stands for the session layer's prepared statements."""

    def __init__(self) -> None:
        self.resets = 0

    def session_was_reset(self) -> None:
        self.resets += 1


@dataclass(eq=False)
class Call:
    """One acquire, as seen from outside."""

    task: Task
    deadline: float
    began: int
    """The step of the scheduler in which it began."""
    credential: int
    retired: int
    """The newest generation that had been retired then."""
    arrived: int = -1
    """By which step it had been decided in which order it is served; -1: not yet."""
    arrived_after: int = -1
    """After which step it was."""
    gate: WatchedGate | None = None
    queued: int = -1
    """In which step it joined the queue, the last time; -1: it never did."""
    last_answer: float = 0.0
    proved: Raw | None = None
    """What answered last within this call."""
    logs_in: bool = False
    interrupted: bool = False
    called_off: bool = False

    def waits(self, now: float) -> bool:
        """Whether it certainly stands in the queue."""
        return (
            self.gate is not None
            and not self.gate._open
            and self.task.waits_for == "gate"
            and self.task.wakes_at > now
        )


class WatchedGate(VirtualGate):
    """Notes in what order callers come and are let through."""

    def __init__(self, world: World, call: Call | None) -> None:
        super().__init__(world.scheduler)
        self._world = world
        self._call = call

    def wait(self, seconds: float) -> bool:
        world, call = self._world, self._call
        if call is not None:
            world.require(
                world.hazards.no_threads > 0  # then finalizers log in, before it began to count
                or world.scheduler.now() + seconds <= call.deadline + 1e-6,
                f"{call.task.name} would wait past its deadline",
            )
        return super().wait(seconds)

    def open(self) -> None:
        world, call = self._world, self._call
        if call is not None and not call.called_off:  # such a one is sent away, not served
            now = world.scheduler.now()
            for other in world.calls.values():
                if other is not call and other.waits(now):
                    world.require(
                        other.arrived >= call.arrived_after,
                        f"{call.task.name} is served before {other.task.name}, who came first",
                    )
        super().open()


class WatchedScheduler(Scheduler):
    """Has the world look at the pool whenever time is about to pass, and at its gates."""

    world: World

    def gate(self) -> VirtualGate:
        return self.world.new_gate()

    def _let_time_pass(self) -> None:
        self.world.look()
        super()._let_time_pass()


@dataclass
class Hazards:
    """How likely things go wrong, each time they could."""

    transient: float = 0.0
    definite: float = 0.0
    slow: float = 0.0
    failing_proof: float = 0.0
    interruption: float = 0.0
    slow_close: float = 0.0
    short_token: float = 0.0
    no_threads: float = 0.0
    """That a thread cannot be started, as when the interpreter goes down."""


@dataclass
class World:
    """Implements :class:`mssql_async.pool.connector.Connector`."""

    scheduler: WatchedScheduler
    hazards: Hazards
    max_size: int
    acquire_timeout: float
    health_check_window: float
    pool: Pool = field(init=False)
    raws: list[Raw] = field(default_factory=list)
    calls: dict[Task, Call] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    credential: int = 0
    logins: int = 0
    """Under way."""
    closing: set[Task] = field(default_factory=set)
    """Who closes a connection."""
    retired: int = -1
    """The newest generation of a connection that was reported dead."""
    closed: bool = False
    calling_off: list[Task] = field(default_factory=list)
    """Whom somebody is about to call off."""

    def __post_init__(self) -> None:
        self.scheduler.world = self
        self._draw = self.scheduler.random.random

    @property
    def _step(self) -> int:
        return len(self.scheduler.trace)

    def require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)
            self.note(f"WRONG: {otherwise}")

    def note(self, what: str) -> None:
        running = self.scheduler._running
        name = "(nobody)" if running is None else running.name
        self.scheduler.trace.append((self.scheduler.now(), name, what))

    def new_gate(self) -> WatchedGate:
        task = self.scheduler.current
        self.require(task.holds == 1, "a place in the queue was given outside of the lock")
        call = self.calls.get(task)
        gate = WatchedGate(self, call)
        if call is not None:
            call.gate, call.queued = gate, self._step
            self._arrived(call, exactly=True)
        return gate

    def _arrived(self, call: Call, *, exactly: bool) -> None:
        if call.arrived < 0:
            call.arrived = self._step
            call.arrived_after = self._step if exactly else call.began

    # --- the driver -------------------------------------------------------------------------

    @contextmanager
    def _message(self, what: str, raw: Raw | None = None) -> Iterator[None]:
        """Something that may take time: the lock must be free, and the connection nobody's."""
        task = self.scheduler.current
        subject = f"{what}{'' if raw is None else f' of {raw}'}"
        self.require(task.holds == 0, f"{subject} under the lock")
        if raw is not None:
            self.require(not raw.closed, f"{subject}, which is closed")
            self.require(not raw.busy, f"{subject} during its {raw.busy}")
            self.require(not raw.lent_to, f"{subject}, which is lent to {raw.lent_to}")
            raw.busy = what
        self.scheduler.point(subject)
        try:
            yield
        finally:
            if raw is not None:
                raw.busy = ""
            call = self.calls.get(task)
            if call is not None:
                call.last_answer = self.scheduler.now()

    def _slowly(self, probability: float, most: float) -> None:
        if self._draw() < probability:
            self.scheduler.sleep(self._draw() * most)

    def _maybe_interrupt(self) -> None:
        call = self.calls.get(self.scheduler.current)
        if self.hazards.no_threads:
            return  # it may be at anything, for anybody
        if call is not None and self._draw() < self.hazards.interruption:
            call.interrupted = True
            self.note("interrupted")
            raise Interrupted

    def open(self, deadline: float) -> Opened:
        hazards = self.hazards
        credential = self.credential
        call = self.calls.get(self.scheduler.current)
        if call is not None and not hazards.no_threads:
            self.require(deadline <= call.deadline + 1e-6, "a login may outlast its caller's time")
        self.logins += 1
        if call is not None:
            call.logs_in = True
        try:
            alive = sum(not (raw.closed or raw.forsaken) for raw in self.raws)
            self.require(
                alive + self.logins <= self.max_size,
                f"{alive} connections open and {self.logins} being opened, of {self.max_size}",
            )
            with self._message("login"):
                if self._draw() < hazards.slow:
                    left = max(deadline - self.scheduler.now(), 0.0)
                    takes = self._draw() * self.acquire_timeout * 1.5
                    self.scheduler.sleep(min(takes, left))
                    if takes > left:
                        raise Refused(transient=True)
                self._maybe_interrupt()
                drawn = self._draw()
                if drawn < hazards.transient:
                    raise Refused(transient=True)
                if drawn < hazards.transient + hazards.definite:
                    raise Refused(transient=False)
                raw = Raw(len(self.raws) + 1, answered_at=self.scheduler.now())
                self.raws.append(raw)
                self.note(f"opened {raw}")
        finally:
            self.logins -= 1
            if call is not None:
                call.logs_in = False
        expires_at = None
        if self._draw() < hazards.short_token:
            expires_at = self.scheduler.now() + 0.1 + self._draw() * 3.0
        return Opened(raw, expires_at, credential)

    def is_transient(self, error: BaseException) -> bool:
        return isinstance(error, Refused) and error.transient

    def explain(self, error: BaseException, attempts: int) -> BaseException:
        if not isinstance(error, Refused):
            return error
        return Refused(error.transient, attempts)

    def reset(self, raw: Raw, profile: Profile) -> None:
        with self._message("reset", raw):
            self._answer(raw)
            raw.dirty = False
            raw.profile = profile
            raw.resets += 1

    def prove(self, raw: Raw) -> None:
        with self._message("proof", raw):
            self._answer(raw)

    def _answer(self, raw: Raw) -> None:
        self._slowly(self.hazards.slow, 2.0)
        self._maybe_interrupt()
        if raw.frozen or not raw.alive or self._draw() < self.hazards.failing_proof:
            raw.frozen = True
            raise LinkFailure
        raw.answered_at = self.scheduler.now()
        call = self.calls.get(self.scheduler.current)
        if call is not None:
            call.proved = raw

    def peer_hung_up(self, raw: Raw) -> bool:
        task = self.scheduler.current
        self.require(task.holds == 0, f"a question about {raw} under the lock")
        self.require(not raw.closed, f"a question about {raw}, which is closed")
        self.require(not raw.lent_to, f"a question about {raw}, which is lent to {raw.lent_to}")
        call = self.calls.get(task)
        if call is not None:
            self._arrived(call, exactly=False)
        self.scheduler.point(f"asks about {raw}")
        raw.asked = True
        return not raw.alive

    def close(self, raw: Raw) -> None:
        if raw.abandoned:
            raw.lent_to = ""
        call = self.calls.get(self.scheduler.current)
        if call is not None and not raw.abandoned:
            self._arrived(call, exactly=False)  # it makes room for itself, and keeps its turn
        with self._message("close", raw):
            if not raw.abandoned:  # or any task at all would take so long for anything
                self.closing.add(self.scheduler.current)
                self._slowly(self.hazards.slow_close, 1.0)
                self.closing.discard(self.scheduler.current)
        raw.closed = True

    # --- what happens at the server ---------------------------------------------------------

    def kill(self, raw: Raw, *, unseen: bool) -> None:
        if unseen:
            raw.frozen = True
        else:
            raw.alive = False
        self.note(f"{raw} {'freezes' if unseen else 'is hung up on'}")

    def fail_over(self, *, unseen: bool) -> None:
        for raw in self.raws:
            if not raw.closed:
                self.kill(raw, unseen=unseen)

    # --- what is seen of the pool -----------------------------------------------------------

    def begin_call(self) -> Call:
        task = self.scheduler.current
        now = self.scheduler.now()
        self.note("calls acquire")
        call = Call(task, now + self.acquire_timeout, self._step, self.credential, self.retired)
        # Whoever calls off a thread takes care which call it hits: see Worker in context/worker.py.
        call.called_off = task in self.calling_off
        self.calls[task] = call
        return call

    def end_call(self, call: Call) -> None:
        del self.calls[call.task]
        now = self.scheduler.now()
        self.require(
            self.hazards.no_threads > 0 or now <= max(call.deadline, call.last_answer) + 1e-6,
            f"acquire took until {now - call.deadline:.3f} s past its deadline",
        )

    def lent(self, connection: PooledConnection, call: Call, profile: Profile) -> None:
        """``acquire`` has returned it."""
        raw: Raw = connection.raw
        now = self.scheduler.now()
        self.note(f"has {raw}")
        self.require(not raw.closed, f"{raw} was lent, and it is closed")
        self.require(not raw.lent_to, f"{raw} was lent twice: {raw.lent_to} has it")
        self.require(not raw.busy, f"{raw} was lent during its {raw.busy}")
        self.require(raw.asked, f"{raw} was lent and nobody asked whether its peer hung up")
        self.require(
            now - raw.answered_at < self.health_check_window or call.proved is raw,
            f"{raw} was lent without a proof, {now - raw.answered_at:.3f} s after its last",
        )
        self.require(not raw.dirty, f"{raw} was lent dirty")
        self.require(raw.profile == profile == connection.profile, f"{raw} was lent as another")
        statements = connection.statements
        if isinstance(statements, Statements):
            self.require(statements.resets == raw.resets, f"nobody heard of a reset of {raw}")
        else:
            connection.statements = fresh = Statements()
            fresh.resets = raw.resets
        expires_at = connection.expires_at
        self.require(
            self.hazards.no_threads > 0 or expires_at is None or connection.lent_at < expires_at,
            f"{raw} was lent, and is expired",
        )
        if raw.leases:
            self.require(connection.credential >= call.credential, f"{raw} has an old token")
            self.require(connection.generation > call.retired, f"{raw} is of a retired generation")
        if call.queued < 0:
            for other in self.calls.values():
                self.require(
                    not (other.waits(now) and other.queued < call.began),
                    f"{call.task.name} overtook {other.task.name}",
                )
        raw.lent_to = call.task.name
        raw.leases += 1
        raw.asked = False

    def forsaken(self, connection: PooledConnection) -> None:
        """Nobody counts on it any more, and its place is given on."""
        raw: Raw = connection.raw
        self.note(f"{raw} is forsaken")
        raw.forsaken = True

    def given_back(self, connection: PooledConnection) -> None:
        """It is about to be released."""
        raw: Raw = connection.raw
        self.require(not raw.closed, f"{raw} was closed while it was lent to {raw.lent_to}")
        raw.lent_to = ""
        raw.asked = False

    def use(self, connection: PooledConnection) -> bool:
        """A statement on a lent connection: whether it was answered."""
        raw: Raw = connection.raw
        self.scheduler.point(f"uses {raw}")
        self.require(not raw.closed, f"{raw} was closed while it was lent to {raw.lent_to}")
        self.require(not raw.busy, f"{raw} is used during its {raw.busy}")
        if raw.frozen or not raw.alive:
            return False
        raw.answered_at = connection.proved_at = self.scheduler.now()
        return True

    def look(self) -> None:
        """Nobody can run before time passes: nothing may be left undone until then.

        Reads the pool as it lies there: asking it would have it catch up first.
        """
        pool = self.pool
        in_use, idle, waiting = len(pool._in_use), len(pool._idle), len(pool._waiters)
        opening, breaker = pool._opening, pool._breaker.state
        out = [
            raw
            for raw in self.raws
            if (raw.lent_to and not raw.forsaken) or raw.busy in ("proof", "reset")
        ]
        if not self.hazards.no_threads:  # or anybody may log in for others, within anything
            # Who logs in on its own thread may be handed something meanwhile, and who closes
            # what is stale may have taken another.
            handed = sum(call.logs_in or call.task in self.closing for call in self.calls.values())
            self.require(
                len(out) <= in_use <= len(out) + handed,
                f"{in_use} in use, of which {len(out)} are: {out}",
            )
        self.require(in_use + idle + opening <= self.max_size, "the pool is too large")
        self.require(idle == 0 or waiting == 0, f"{waiting} wait and {idle} idle")
        if waiting and breaker is BreakerState.CLOSED:
            closing = pool._closing
            self.require(
                opening > 0 or in_use + closing >= self.max_size,
                f"{waiting} wait for nothing: {in_use} of {self.max_size} in use",
            )
        elif waiting and not opening and not in_use:
            self.require(bool(self.scheduler._timers), f"{waiting} wait, nothing will be tried")


def check_numbers(world: World, s: PoolStatistics) -> None:
    """Everybody is gone: the pool's numbers must add up, and agree with the server's."""
    still_open = [raw for raw in world.raws if not raw.closed]
    numbers: dict[str, tuple[Any, Any]] = {
        "in use": (s.in_use, 0),
        "waiting": (s.waiting, 0),
        "opening": (s.opening, 0),
        "opened and not closed": (s.opened - s.closed, s.idle),
        "opened": (s.opened, len(world.raws)),
        "open at the server": (len(still_open), s.idle),
    }
    for what, (found, expected) in numbers.items():
        world.require(found == expected, f"at the end {what}: {found}, not {expected}")
