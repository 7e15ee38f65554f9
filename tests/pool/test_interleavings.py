"""Random programs of random tasks on one pool, each run in an order of the scheduler's choice.

What must hold at every moment is in :mod:`.world`; here is what the tasks do. A failure names
its seed, and ``tell(seed)`` has the same run again, step by step. In every second run the
scheduler stops at each statement of the pool instead of its locks and waits only.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import pytest

from mssql_async.pool import (
    NO_PROFILE,
    Pool,
    PoolClosed,
    PooledConnection,
    PoolSettings,
    PoolTimeout,
    Profile,
    Replay,
    RetryPolicy,
    TooManyWaiters,
    WaitCalledOff,
)
from mssql_async.pool import pool as pool_module
from mssql_async.pool.waiters import Waiter, WaiterQueue

from .scheduler import Task, points_belong_to, preemptible
from .world import (
    Call,
    Hazards,
    Interrupted,
    Refused,
    WatchedScheduler,
    World,
    check_numbers,
)

RUNS = 600
SLOW_RUNS = 10_000

FRENCH: Profile = (Replay("SET LANGUAGE French"),)
PROFILES: tuple[Profile, ...] = (NO_PROFILE, NO_PROFILE, NO_PROFILE, FRENCH)


def random_settings(rand: random.Random) -> PoolSettings:
    max_size = rand.randint(1, 4)
    return PoolSettings(
        min_size=rand.choice([0, 0, rand.randint(0, max_size)]),
        max_size=max_size,
        max_opening=rand.randint(1, 3),
        acquire_timeout=rand.choice([0.5, 2.0, 10.0]),
        max_waiting=rand.choice([0, 0, 1, 2]),
        max_idle=rand.choice([1.0, 5.0, 600.0]),
        max_lifetime=rand.choice([None, 3.0, 3600.0]),
        health_check_window=rand.choice([0.0, 0.5, 5.0]),
        leak_threshold=rand.choice([None, None, 1.0]),
        retry=RetryPolicy(retries=rand.choice([0, 0, 1, 3]), backoff=rand.choice([0.1, 0.5, 1.0])),
    )


def random_hazards(rand: random.Random) -> Hazards:
    """Each of them is absent from most programs, so that each is also seen alone."""
    return Hazards(
        transient=rand.choice([0.0, 0.0, 0.3]),
        definite=rand.choice([0.0, 0.0, 0.2]),
        slow=rand.choice([0.0, 0.3, 0.6]),
        failing_proof=rand.choice([0.0, 0.0, 0.3]),
        interruption=rand.choice([0.0, 0.0, 0.05]),
        slow_close=rand.choice([0.0, 0.0, 0.3]),
        short_token=rand.choice([0.0, 0.0, 0.3]),
        no_threads=rand.choice([0.0, 0.0, 0.0, 0.2]),
    )


@dataclass
class Program:
    """One run: a pool, its world and the tasks that use it."""

    seed: int
    pool_class: type[Pool] = Pool
    rand: random.Random = field(init=False)
    scheduler: WatchedScheduler = field(init=False)
    world: World = field(init=False)
    pool: Pool = field(init=False)
    actors: list[Task] = field(default_factory=list)
    left_for_others: deque[tuple[PooledConnection, bool]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.rand = rand = random.Random(self.seed)
        settings, hazards = random_settings(rand), random_hazards(rand)
        preempted = self.pool_class.__module__.endswith("__preemptible")
        self.scheduler = WatchedScheduler(
            rand.randrange(2**32),
            # Statements are many: most of them are passed, or every run were a random walk.
            stay=rand.choice([0.8, 0.95, 0.99]) if preempted else None,
            refuse_starts=hazards.no_threads,
        )
        self.rand = self.scheduler.random
        self.world = World(
            self.scheduler,
            hazards,
            settings.max_size,
            settings.acquire_timeout,
            settings.health_check_window,
        )
        self.pool = self.pool_class(self.world, settings, runtime=self.scheduler)
        self.world.pool = self.pool
        closes = rand.random() < 0.1
        for number in range(rand.randint(1, 6)):
            deeds = rand.choices(
                [
                    self.borrow, self.borrow_two, self.pause, self.cancel_somebody,
                    self.kill_one, self.fail_over, self.renew_token, self.maintain, self.look_in,
                    self.give_back_for_another, self.call_somebody_off,
                ],
                weights=[12, 2, 3, 2, 1, 0.5, 0.5, 1, 1, 1, 2],
                k=rand.randint(1, 6),
            )  # fmt: skip
            if closes and number == 0:
                deeds.append(self.close)
            self.actors.append(self.scheduler.spawn(f"actor {number}", self._doing(deeds)))

    @staticmethod
    def _doing(deeds: list[Callable[[], None]]) -> Callable[[], None]:
        def do_all() -> None:
            for deed in deeds:
                deed()

        return do_all

    # --- what tasks do ----------------------------------------------------------------------

    def borrow(self) -> None:
        connection = self.acquire(wait=self.rand.random() < 0.85)
        if connection is not None:
            self.give_back(connection, self.hold(connection))

    def borrow_two(self) -> None:
        """As a query within the loop over another: the second must not wait in the queue."""
        first = self.acquire(wait=True)
        if first is None:
            return
        second = self.acquire(wait=False)
        if second is not None:
            self.give_back(second, self.hold(second))
        self.give_back(first, self.hold(first))

    def acquire(self, *, wait: bool) -> PooledConnection | None:
        world = self.world
        profile = self.rand.choice(PROFILES)
        call = world.begin_call()
        try:
            connection = self.pool.acquire(profile, wait=wait)
        except (
            PoolTimeout, TooManyWaiters, PoolClosed, WaitCalledOff, Refused, Interrupted
        ) as error:  # fmt: skip
            self.note_refusal(call, error, wait)
            return None
        finally:
            world.end_call(call)
        if connection is None:
            world.note("gets nothing")
            world.require(not wait, "acquire gave nothing to somebody who would have waited")
            return None
        world.lent(connection, call, profile)
        return connection

    def note_refusal(self, call: Call, error: BaseException, wait: bool) -> None:
        world, now = self.world, self.scheduler.now()
        world.note(f"gets {type(error).__name__}: {str(error)[:60]}")
        match error:
            case PoolTimeout():
                world.require(now >= call.deadline - 1e-6, "timed out before its time")
                world.require(wait, "somebody timed out who would not wait")
            case TooManyWaiters():
                world.require(self.pool.settings.max_waiting > 0, "refused without a limit")
                world.require(wait, "somebody was refused a wait who would not wait")
            case PoolClosed():
                world.require(world.closed, "told that the pool is closed, which it is not")
            case WaitCalledOff():
                world.require(call.called_off, "called off by nobody")
            case Interrupted():
                world.require(call.interrupted, "interrupted by nobody")

    def hold(self, connection: PooledConnection) -> bool:
        """Use it for a while; whether its session was changed."""
        changed = self.rand.random() < 0.3
        if changed:
            connection.raw.dirty = True
        for _ in range(self.rand.randint(0, 3)):
            if self.rand.random() < 0.3:
                self.scheduler.sleep(self.rand.random() * 1.5)
            if not self.world.use(connection):
                self.report_dead(connection)
                break
        return changed

    def report_dead(self, connection: PooledConnection) -> None:
        if self.rand.random() < 0.5:
            self.pool.condemn(connection)
            self.world.retired = max(self.world.retired, connection.generation)
            self.scheduler.sleep(self.rand.random())  # it is some time until it is given back
        else:
            connection.broken = True

    def give_back(self, connection: PooledConnection, changed: bool) -> None:
        drawn = self.rand.random()
        if drawn < 0.05:
            self.world.note(f"leaves {connection.raw} for the garbage collector")
            connection.raw.abandoned = True
            self.scheduler.finalize(lambda: self.pool.abandon(connection))
            return
        if drawn < 0.1:
            connection.reusable = False
        elif drawn < 0.13:
            # What uses it does not come back before somebody gives it back much later.
            self.world.forsaken(connection)
            self.pool.forsake(connection)
            self.world.retired = max(self.world.retired, connection.generation)
            self.left_for_others.append((connection, changed))
            return
        elif drawn < 0.18:
            self.left_for_others.append((connection, changed))
            return
        self.release(connection, changed)

    def release(self, connection: PooledConnection, changed: bool) -> None:
        self.world.note(f"releases {connection.raw}{', changed' if changed else ''}")
        self.world.given_back(connection)
        broken = connection.broken
        self.pool.release(connection, reset=changed)
        if broken:
            self.world.retired = max(self.world.retired, connection.generation)

    def give_back_for_another(self) -> None:
        if self.left_for_others:
            self.release(*self.left_for_others.popleft())

    def pause(self) -> None:
        self.scheduler.sleep(self.rand.choice([0.0, 0.3, 1.0, 5.0]))

    def cancel_somebody(self) -> None:
        victim = self.rand.choice(self.actors)
        if self.scheduler.interrupt(victim, Interrupted()):
            self.world.calls[victim].interrupted = True
            self.world.note(f"interrupts {victim.name}")

    def call_somebody_off(self) -> None:
        victim = self.rand.choice(self.actors)
        call = self.world.calls.get(victim)
        if call is None or victim is self.scheduler.current:
            return
        call.called_off = True
        waited = call.waits(self.scheduler.now()) and call.gate
        self.world.note(f"calls off {victim.name}")
        self.world.calling_off.append(victim)
        self.pool.call_off(id(victim))
        self.world.calling_off.remove(victim)
        waits = self.world.calls.get(victim) is call and call.waits(self.scheduler.now())
        self.world.require(
            not (waited and waits and call.gate is waited), f"{victim.name} waits on, called off"
        )

    def kill_one(self) -> None:
        candidates = [raw for raw in self.world.raws if not raw.closed]
        if candidates:
            self.world.kill(self.rand.choice(candidates), unseen=self.rand.random() < 0.5)

    def fail_over(self) -> None:
        self.world.fail_over(unseen=self.rand.random() < 0.5)

    def renew_token(self) -> None:
        self.world.credential += 1
        self.world.note("has a new token")

    def maintain(self) -> None:
        self.pool.maintain()

    def look_in(self) -> None:
        s = self.pool.statistics()
        self.world.require(s.size == s.in_use + s.idle + s.opening, f"sizes differ: {s}")
        # One that has just been opened is counted as such, and still as being opened.
        known = s.in_use + s.idle
        self.world.require(known <= s.opened - s.closed <= s.size, f"numbers differ: {s}")

    def close(self) -> None:
        self.scheduler.sleep(self.rand.random() * 3)
        self.world.closed = True
        self.world.note("closes the pool")
        self.pool.close()

    # --- the run ----------------------------------------------------------------------------

    def run(self) -> list[str]:
        """What was wrong."""
        state = random.getstate()
        random.seed(self.seed)  # the pool draws its jitter there
        names = vars(sys.modules[Pool.__module__]), vars(PREEMPTIBLE)
        for each in names:
            each["get_ident"] = lambda: id(self.scheduler.current)
        points_belong_to(self.scheduler)
        try:
            self.scheduler.run()
            self.in_a_task(self.return_what_is_left)
            check_numbers(self.world, self.pool.statistics())
            if not self.world.closed:
                self.in_a_task(self.settle)
                self.in_a_task(self.close)
                check_numbers(self.world, self.pool.statistics())
            self.world.require(self.pool.statistics().idle == 0, "idle connections after the end")
        except AssertionError as error:
            self.world.wrong.append(f"{type(error).__name__}: {error}")
        finally:
            points_belong_to(None)
            random.setstate(state)
            for each in names:
                each["get_ident"] = threading.get_ident
        return self.world.wrong

    def in_a_task(self, job: Callable[[], None]) -> None:
        self.scheduler.spawn("last", job)
        self.scheduler.run()

    def return_what_is_left(self) -> None:
        while self.left_for_others:
            self.release(*self.left_for_others.popleft())
        while self.scheduler._finalizers:
            self.scheduler.point("waits for the garbage collector")

    def settle(self) -> None:
        """Without hazards, and in some time, the pool comes to its smallest size."""
        self.world.hazards = Hazards()
        self.world.fail_over(unseen=True)
        self.scheduler.sleep(40.0)  # longer than any pause of the breaker
        connection = self.acquire(wait=True)
        if connection is None:  # told the last error while the attempt that decides is made
            self.scheduler.sleep(1.0)
            connection = self.acquire(wait=True)
        self.world.require(connection is not None, "nothing to be had of a healthy server")
        if connection is not None:
            self.release(connection, changed=False)
        settings = self.pool.settings
        expire = settings.max_idle < 100.0
        self.scheduler.sleep(2 * settings.max_idle if expire else 10.0)
        s = self.pool.statistics()
        self.world.require(
            settings.min_size <= s.idle + s.opening <= (settings.min_size if expire else s.size),
            f"{s.idle} idle and {s.opening} opening in the end, not {settings.min_size}",
        )


PREEMPTIBLE = preemptible(
    *(f"mssql_async.pool.{layer}" for layer in ("books", "openings", "upkeep", "pool"))
)


@pytest.fixture(autouse=True)
def no_reports_of_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be thousands."""
    monkeypatch.setattr(pool_module.logger, "disabled", True)


def run(seed: int, twin: Callable[[ModuleType], type[Pool]] | None = None) -> Program:
    module = PREEMPTIBLE if seed % 2 else pool_module
    program = Program(seed, module.Pool if twin is None else twin(module))
    program.run()
    return program


def tell(seed: int, last: int = 300) -> str:
    """A run again, step by step."""
    program = run(seed)
    return f"{program.scheduler.story(last)}\n{program.pool.settings}\n{program.world.hazards}"


def assert_nothing_wrong(seeds: range) -> None:
    for seed in seeds:
        program = run(seed)
        if program.world.wrong:
            wrong = "\n".join(program.world.wrong)
            pytest.fail(f"seed {seed} of tell(seed):\n{program.scheduler.story()}\n{wrong}")


def test_nothing_goes_wrong_in_any_order() -> None:
    assert_nothing_wrong(range(RUNS))


@pytest.mark.slow
def test_nor_in_ten_thousand() -> None:
    assert_nothing_wrong(range(RUNS, RUNS + SLOW_RUNS))


class TestBrokenTwins:
    """Each of these pools is broken in one place, and the random programs find it.

    They are made of the module that they twin: of the pool itself, and of the copy in which every
    statement is a point.
    """

    @staticmethod
    def assert_found(
        twin: Callable[[ModuleType], type[Pool]], complaint: str, runs: int = RUNS
    ) -> None:
        """Within the runs of every day one complains of it, in these words."""
        seen = set()
        for seed in range(runs):
            wrong = run(seed, twin).world.wrong
            if any(complaint in one for one in wrong):
                return
            seen.update(wrong)
        pytest.fail(f"{complaint!r} was never said, only {seen}")

    def test_a_pool_that_is_not_broken_is_not_found(self) -> None:
        """The control of those below: a twin by itself is nothing to complain of."""

        def twin(module: ModuleType) -> type[Pool]:
            class Unbroken(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

            return Unbroken

        assert [seed for seed in range(100) if run(seed, twin).world.wrong] == []

    def test_an_interrupted_waiter_that_swallows_what_it_was_handed(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Swallowing(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _leave_queue(self, waiter: Waiter) -> None:
                    with self._guard:
                        self._waiters.leave(waiter)

            return Swallowing

        self.assert_found(twin, "in use")

    def test_a_waiter_that_times_out_although_it_was_handed_one_in_the_last_instant(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Inattentive(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _wait(self, waiter: Waiter, started: float) -> PooledConnection:
                    class Impatient:
                        deadline = waiter.deadline
                        handed = property(lambda _: waiter.handed)

                        def wait(self, seconds: float) -> bool:
                            if not waiter.wait(seconds):
                                raise PoolTimeout
                            return True

                    try:
                        found: PooledConnection = super()._wait(Impatient(), started)
                    except PoolTimeout:
                        with self._guard:
                            self._waiters.leave(waiter)
                        raise
                    return found

                def _leave_queue(self, waiter: Waiter) -> None:
                    if isinstance(waiter, module.Waiter):
                        super()._leave_queue(waiter)

            return Inattentive

        self.assert_found(twin, "in use")

    def test_newcomers_that_overtake(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class LastComeFirstServed(WaiterQueue):
                def join(self, waiter: Waiter) -> None:
                    self.queue.appendleft(waiter)

            class Barging(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _start_empty(self) -> None:
                    super()._start_empty()
                    self._waiters = LastComeFirstServed()

            return Barging

        self.assert_found(twin, "who came first")

    def test_a_release_to_the_idle_ones_past_those_who_wait(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class PastTheQueue(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _hand_on(self, connection: PooledConnection, now: float) -> None:
                    waiters, self._waiters = self._waiters, WaiterQueue()
                    super()._hand_on(connection, now)
                    self._waiters = waiters

            return PastTheQueue

        self.assert_found(twin, "overtook")

    def test_a_place_that_is_not_passed_on(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Forgetful(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _fill_gap(self, now: float) -> int:
                    return 0

            return Forgetful

        self.assert_found(twin, "wait for nothing")

    def test_a_login_under_the_lock(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Locking(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def __init__(self, connector: World, *args: object, **options: object) -> None:
                    super().__init__(connector, *args, **options)
                    login = connector.open

                    def open_under_lock(deadline: float) -> object:
                        with self._lock:
                            return login(deadline)

                    connector.open = open_under_lock  # type: ignore[method-assign, assignment]

            return Locking

        self.assert_found(twin, "login under the lock")

    def test_a_caller_that_waits_on_although_it_was_called_off(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Deaf(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def call_off(self, thread: int) -> None:
                    pass

            return Deaf

        self.assert_found(twin, "waits on, called off")

    def test_a_caller_called_off_that_stays_in_the_queue(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Confused(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def call_off(self, thread: int) -> None:
                    with self._guard:
                        for waiter in self._waiters.queue:
                            if waiter.thread == thread:  # and leaves it in the queue
                                waiter.hand(module.CalledOff())
                                return

            return Confused

        self.assert_found(twin, "opened twice")

    def test_a_forsaken_connection_that_is_counted_on(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Loyal(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def forsake(self, connection: PooledConnection) -> None:
                    pass

            return Loyal

        self.assert_found(twin, "in use, of which")

    def test_one_connection_lent_to_two(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Generous(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _lend(self, connection: PooledConnection, now: float) -> None:
                    super()._lend(connection, now)
                    if not self._idle:
                        self._idle.append(connection)

            return Generous

        self.assert_found(twin, "was lent twice")

    def test_a_lock_that_admits_everybody(self) -> None:
        """Only where every statement is a point: otherwise nobody is put aside in between."""

        def twin(module: ModuleType) -> type[Pool]:
            class Open:
                def acquire(self, blocking: bool = True) -> bool:
                    return True

                def release(self) -> None:
                    pass

                def __enter__(self) -> bool:
                    return True

                def __exit__(self, *exc_info: object) -> None:
                    pass

            class Lockless(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _start_empty(self) -> None:
                    super()._start_empty()
                    self._lock = Open()

            return Lockless

        self.assert_found(twin, "connections open and")

    def test_a_finalizer_that_waits_for_the_lock(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Waiting(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def abandon(self, connection: PooledConnection) -> None:
                    with self._guard:
                        self._drop(connection)
                    self._close_all([connection])

            return Waiting

        self.assert_found(twin, "Deadlock")

    def test_an_abandoned_connection_of_which_the_lock_holder_is_not_told(self) -> None:
        """As it was until these tests: the flag went down before the lock was had."""

        def twin(module: ModuleType) -> type[Pool]:
            class Losing(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _catch_up(self) -> None:
                    self._afterwards = False
                    if self._lock.acquire(blocking=False):
                        self._lock.release()
                        self._afterwards = True
                        super()._catch_up()

            return Losing

        self.assert_found(twin, "in use")

    def test_a_connection_lent_unproved(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Trusting(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _prove(self, connection: PooledConnection) -> bool:
                    return True

            return Trusting

        self.assert_found(twin, "without a proof")

    def test_a_generation_that_outlives_the_dead(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Unwary(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def condemn(self, connection: PooledConnection) -> None:
                    connection.broken = True

            return Unwary

        # One run in three hundred, of this code and of what it was before.
        self.assert_found(twin, "retired generation", runs=5 * RUNS)

    def test_a_session_lent_as_it_came_back(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Careless(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def release(self, connection: PooledConnection, *, reset: bool = False) -> None:
                    super().release(connection)

            return Careless

        self.assert_found(twin, "lent dirty")

    def test_a_place_given_on_before_its_connection_is_closed(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Hasty(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _room(self) -> int:
                    return self.settings.max_size - self._size()

            return Hasty

        self.assert_found(twin, "being opened, of")

    def test_maintenance_that_is_not_asked_for(self) -> None:
        def twin(module: ModuleType) -> type[Pool]:
            class Idle(module.Pool):  # type: ignore[misc, name-defined]
                __module__ = module.__name__

                def _schedule(self, when: float) -> None:
                    pass

            return Idle

        self.assert_found(twin, "in the end")


class TestRuns:
    def test_the_same_seed_is_the_same_run(self) -> None:
        for seed in range(20):
            assert run(seed).scheduler.trace == run(seed).scheduler.trace

    def test_they_see_what_they_are_for(self) -> None:
        """The control of all: what the programs are to bring about does happen."""
        seen = [run(seed) for seed in range(100)]
        steps = [what for program in seen for _, _, what in program.scheduler.trace]
        for expected in (
            "gets PoolTimeout", "gets TooManyWaiters", "gets PoolClosed", "gets Refused",
            "gets Interrupted", "gets nothing", "runs a finalizer", "finds it locked", "has raw",
            "proof of raw", "reset of raw", "freezes", "is hung up on", "has a new token",
        ):  # fmt: skip
            assert any(step.startswith(expected) or expected in step for step in steps), expected
