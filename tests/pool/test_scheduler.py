"""The scheduler on which the pool's interleavings are tried: it finds what it is for."""

from __future__ import annotations

import textwrap
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from .scheduler import (
    BEGINNING,
    Deadlock,
    Livelock,
    Scheduler,
    TaskFailed,
    VirtualLock,
    points_belong_to,
    preemptible,
)

SEEDS = range(50)


class NoLock(VirtualLock):
    """Broken: admits everybody."""

    def acquire(self, blocking: bool = True) -> bool:
        self._scheduler.point("acquires")
        return True

    def release(self) -> None:
        self._scheduler.point("released")


def lost_updates(seed: int, make_lock: Callable[[Scheduler], VirtualLock]) -> int:
    """Three tasks count to five each, under a lock. How much is missing."""
    scheduler = Scheduler(seed)
    lock = make_lock(scheduler)
    total = 0

    def count() -> None:
        nonlocal total
        for _ in range(5):
            with lock:
                seen = total
                scheduler.point("counts")
                total = seen + 1

    for number in range(3):
        scheduler.spawn(f"counter {number}", count)
    scheduler.run()
    return 15 - total


class TestLocks:
    def test_admit_one_at_a_time(self) -> None:
        assert [lost_updates(seed, VirtualLock) for seed in SEEDS] == [0] * len(SEEDS)

    def test_one_that_admits_two_is_found(self) -> None:
        assert sum(lost_updates(seed, NoLock) > 0 for seed in SEEDS) > len(SEEDS) / 2

    def test_say_that_they_are_taken_to_those_who_do_not_wait(self) -> None:
        scheduler = Scheduler(1, stay=0.0)
        lock = scheduler.lock()
        answers = set()

        def hold() -> None:
            with lock:
                for _ in range(20):
                    scheduler.point("works")

        def try_it() -> None:
            for _ in range(20):
                admitted = lock.acquire(blocking=False)
                answers.add(admitted)
                if admitted:
                    lock.release()

        scheduler.spawn("holder", hold)
        scheduler.spawn("other", try_it)
        scheduler.run()
        assert answers == {True, False}

    def test_are_not_released_by_others(self) -> None:
        scheduler = Scheduler(1)
        lock = scheduler.lock()
        scheduler.spawn("task", lock.release)
        with pytest.raises(TaskFailed, match="held by None was released by <Task task>"):
            scheduler.run()

    def test_are_not_kept(self) -> None:
        scheduler = Scheduler(1)
        lock = scheduler.lock()
        scheduler.spawn("task", lock.acquire)
        with pytest.raises(TaskFailed, match="task ended holding a lock"):
            scheduler.run()


class TestDeadlocks:
    @staticmethod
    def opposite_orders(seed: int) -> None:
        scheduler = Scheduler(seed)
        one, two = scheduler.lock(), scheduler.lock()

        def nested(outer: VirtualLock, inner: VirtualLock) -> None:
            with outer, inner:
                pass

        scheduler.spawn("up", lambda: nested(one, two))
        scheduler.spawn("down", lambda: nested(two, one))
        scheduler.run()

    def test_are_found_and_name_who_waits(self) -> None:
        found = []
        for seed in SEEDS:
            try:
                self.opposite_orders(seed)
            except Deadlock as error:
                found.append(str(error))
        assert 0 < len(found) < len(SEEDS)
        assert set(found) == {
            "nobody can run: down waits for a lock and holds a lock, "
            "up waits for a lock and holds a lock"
        }

    def test_a_lock_taken_twice_is_one(self) -> None:
        scheduler = Scheduler(1)
        lock = scheduler.lock()

        def twice() -> None:
            with lock, lock:
                pass

        scheduler.spawn("task", twice)
        with pytest.raises(Deadlock, match="task waits for a lock and holds a lock"):
            scheduler.run()

    def test_a_run_without_an_end_is_found_too(self) -> None:
        scheduler = Scheduler(1, most_steps=1000)

        def spin() -> None:
            while True:
                scheduler.point("spins")

        scheduler.spawn("task", spin)
        with pytest.raises(Livelock, match="task can run"):
            scheduler.run()

    def test_what_a_task_was_doing_is_undone_after_a_failure(self) -> None:
        scheduler = Scheduler(1)
        lock, undone = scheduler.lock(), []

        def twice() -> None:
            try:
                with lock, lock:
                    pass
            finally:
                undone.append(True)

        scheduler.spawn("task", twice)
        with pytest.raises(Deadlock):
            scheduler.run()
        assert undone == [True]


class TestSeeds:
    @staticmethod
    def trace(seed: int) -> list[tuple[float, str, str]]:
        scheduler = Scheduler(seed)
        lock = scheduler.lock()

        def work() -> None:
            for _ in range(5):
                with lock:
                    scheduler.point("works")
                scheduler.sleep(scheduler.random.random())

        for number in range(3):
            scheduler.spawn(f"worker {number}", work)
        scheduler.run()
        return scheduler.trace

    def test_the_same_seed_makes_the_same_run(self) -> None:
        assert [self.trace(seed) for seed in SEEDS] == [self.trace(seed) for seed in SEEDS]

    def test_others_make_others(self) -> None:
        assert len({tuple(self.trace(seed)) for seed in SEEDS}) == len(SEEDS)

    def test_a_story_tells_the_seed_and_the_last_steps(self) -> None:
        scheduler = Scheduler(7)

        def work() -> None:
            for number in range(5):
                scheduler.point(f"point {number}")

        scheduler.spawn("task", work)
        scheduler.run()
        told = scheduler.story(last=2).splitlines()
        assert told[:2] == ["seed 7: 5 steps", "... 3 steps left out"]
        assert [line.split(maxsplit=1)[1] for line in told[2:]] == [
            "task           point 3",
            "task           point 4",
        ]


class TestTime:
    def test_passes_only_while_nobody_can_run(self) -> None:
        scheduler = Scheduler(1, stay=0.0)
        seen = {}

        def sleep(seconds: float) -> None:
            scheduler.sleep(seconds)
            seen[seconds] = scheduler.now() - BEGINNING

        def run() -> None:
            for _ in range(100):
                scheduler.point("works")
            seen[0.0] = scheduler.now() - BEGINNING

        scheduler.spawn("short", lambda: sleep(5.0))
        scheduler.spawn("long", lambda: sleep(3600.0))
        scheduler.spawn("busy", run)
        scheduler.run()
        assert seen == {0.0: 0.0, 5.0: 5.0, 3600.0: 3600.0}

    def test_ends_a_wait_at_a_gate(self) -> None:
        scheduler = Scheduler(1)
        gate = scheduler.gate()
        answers = []
        scheduler.spawn("waiter", lambda: answers.append((gate.wait(5.0), scheduler.now())))
        scheduler.run()
        assert answers == [(False, BEGINNING + 5.0)]

    def test_a_gate_that_opens_in_the_last_instant_lets_some_through_and_some_not(self) -> None:
        def answer(seed: int) -> bool:
            scheduler = Scheduler(seed)
            gate = scheduler.gate()
            answers = []

            def open_late() -> None:
                scheduler.sleep(5.0)
                gate.open()

            scheduler.spawn("waiter", lambda: answers.append(gate.wait(5.0)))
            scheduler.spawn("opener", open_late)
            scheduler.run()
            return answers.pop()

        assert {answer(seed) for seed in SEEDS} == {True, False}

    def test_maintenance_is_called_when_it_asked_to_be(self) -> None:
        class Maintained:
            def __init__(self) -> None:
                self.called: list[float] = []

            def maintain(self) -> None:
                self.called.append(scheduler.now() - BEGINNING)
                scheduler.call_at(scheduler.now() + 10.0, weakref.ref(self))

        scheduler = Scheduler(1)
        maintained = Maintained()
        scheduler.call_at(scheduler.now() + 10.0, weakref.ref(maintained))
        scheduler.spawn("task", lambda: scheduler.sleep(35.0))
        scheduler.run()
        assert maintained.called == [10.0, 20.0, 30.0]


class TestWhatComesFromOutside:
    def test_an_interruption_is_raised_at_a_gate_and_nowhere_else(self) -> None:
        scheduler = Scheduler(1, stay=0.0)
        gate = scheduler.gate()
        raised = []

        def wait() -> None:
            scheduler.sleep(1.0)
            try:
                gate.wait(100.0)
            except KeyboardInterrupt:
                raised.append(scheduler.now() - BEGINNING)

        def interrupt() -> None:
            assert not scheduler.interrupt(waiter, KeyboardInterrupt())  # asleep, not at a gate
            scheduler.sleep(2.0)
            assert scheduler.interrupt(waiter, KeyboardInterrupt())

        waiter = scheduler.spawn("waiter", wait)
        scheduler.spawn("interrupter", interrupt)
        scheduler.run()
        assert raised == [2.0]

    def test_a_finalizer_runs_in_the_middle_of_others_and_under_their_locks(self) -> None:
        def held(seed: int) -> int:
            scheduler = Scheduler(seed)
            lock = scheduler.lock()
            locks = []

            def work() -> None:
                for _ in range(10):
                    with lock:
                        scheduler.point("works")

            scheduler.spawn("worker", work)
            scheduler.finalize(lambda: locks.append(scheduler.current.holds))
            scheduler.run()
            return locks.pop()

        assert {held(seed) for seed in SEEDS} == {0, 1}

    def test_whether_others_run_is_known(self) -> None:
        scheduler = Scheduler(1)
        answers = []

        def last() -> None:
            scheduler.sleep(5.0)
            answers.append(scheduler.alone())

        def first() -> None:
            answers.append(scheduler.alone())

        scheduler.spawn("last", last)
        scheduler.spawn("first", first)
        scheduler.run()
        assert answers == [False, True]


UNLOCKED = textwrap.dedent(
    '''
    """Counts without a lock."""

    total = 0

    def count():
        """Once."""
        global total
        seen = total
        total = seen + 1
    '''
)


class TestPreemption:
    @pytest.fixture
    def unlocked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        (tmp_path / "unlocked_for_test.py").write_text(UNLOCKED)
        monkeypatch.syspath_prepend(tmp_path)
        return "unlocked_for_test"

    @staticmethod
    def lost(module: str, seed: int, points: bool) -> int:
        scheduler = Scheduler(seed)
        copy = preemptible(module)
        points_belong_to(scheduler if points else None)
        try:
            for number in range(5):
                scheduler.spawn(f"counter {number}", copy.count)
            scheduler.run()
        finally:
            points_belong_to(None)
        return 5 - int(copy.total)

    def test_finds_what_lacks_a_lock(self, unlocked: str) -> None:
        assert sum(self.lost(unlocked, seed, points=True) > 0 for seed in SEEDS) > 0

    def test_which_points_at_locks_alone_do_not(self, unlocked: str) -> None:
        """The control of the test above."""
        assert sum(self.lost(unlocked, seed, points=False) for seed in SEEDS) == 0
