"""One pool under 64 threads at once: plain ones, and the workers of four event loops."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mssql_async.pool import Pool, PooledConnection, PoolSettings
from mssql_async.pool.runtime import Gate, Lock, SystemRuntime

from .stubs import StubConnector

PLAIN_THREADS = 32
LOOPS = 4
WORKERS_PER_LOOP = 8
THREADS = PLAIN_THREADS + LOOPS * WORKERS_PER_LOOP
MAX_SIZE = 20
#: Cycles that a worker does for its loop between two turns of the loop.
AT_A_TIME = 5
#: Of so many leases one ends with a dead connection.
ONE_DIES_IN = 500
#: In one of so many its holder lets all others run, else there is hardly ever somebody who waits.
ONE_LASTS_IN = 8
#: Runs of a control, for whether two threads meet is up to chance.
TRIES = 20
#: Seconds for a thread to end that has nothing more to do.
PATIENCE = 30.0


class Stress:
    """``cycles`` leases, each of which looks whether it has its connection for itself."""

    def __init__(self, pool: Pool, cycles: int) -> None:
        self.pool = pool
        self.wrong: list[str] = []
        self.done = itertools.count()
        self._left = iter(range(cycles))  # next() on it is one step of the interpreter
        self._holders: dict[PooledConnection, object] = {}

    def cycle(self) -> bool:
        """One lease; whether there are more to do."""
        number = next(self._left, None)
        if number is None or self.wrong:
            return False
        me = object()
        try:
            connection = self.pool.acquire()
            assert connection is not None
            if self._holders.setdefault(connection, me) is not me:
                self.wrong.append(f"{connection} was lent to two")
            if connection.raw.closed:
                self.wrong.append(f"{connection} was lent and is closed")
            if number % ONE_LASTS_IN == 0:
                time.sleep(1e-5)
            if random.randrange(ONE_DIES_IN) == 0:
                connection.raw.alive = False
                connection.broken = True
            if self._holders.pop(connection, None) is not me:
                self.wrong.append(f"{connection} was lent to another meanwhile")
            self.pool.release(connection, reset=number % 7 == 0)
        except Exception as error:  # whatever it is, it is one too many
            self.wrong.append(f"{type(error).__name__}: {error}")
        else:
            next(self.done)
        return True

    def run(self) -> None:
        start = threading.Barrier(PLAIN_THREADS + LOOPS)

        def plain() -> None:
            start.wait()
            while self.cycle():
                pass

        def loop() -> None:
            start.wait()
            asyncio.run(self._drive())

        jobs = [plain] * PLAIN_THREADS + [loop] * LOOPS
        threads = [threading.Thread(target=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def _drive(self) -> None:
        """What an application does: its loop's tasks have workers do what blocks."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(WORKERS_PER_LOOP) as workers:

            async def task() -> None:
                while await loop.run_in_executor(workers, self._some_cycles):
                    pass

            await asyncio.gather(*(task() for _ in range(WORKERS_PER_LOOP)))

    def _some_cycles(self) -> bool:
        return all(self.cycle() for _ in range(AT_A_TIME))


@pytest.fixture(autouse=True)
def threads_take_turns_often() -> Iterator[None]:
    """The interpreter changes between threads every 5 ms, in which a thousand leases fit."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def failed_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What ended a thread, such as one of the pool's own; none runs on when the test is over."""
    before = set(threading.enumerate())
    failed: list[str] = []

    def note(failure: threading.ExceptHookArgs) -> None:
        failed.append(f"{failure.thread}: {failure.exc_value!r}")

    monkeypatch.setattr(threading, "excepthook", note)
    yield failed
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)


def stress(pool: Pool, connector: StubConnector, cycles: int) -> list[str]:
    """Everything that was wrong."""
    run = Stress(pool, cycles)
    run.run()
    if run.wrong:
        return run.wrong
    s = pool.statistics()
    found = {
        "cycles": next(run.done),
        "acquired": s.acquired >= cycles,  # more: a dead one is lent, and replaced unseen
        "in use, waiting and opening": (s.in_use, s.waiting, s.opening),
        "opened": s.opened,
        "open": connector.open_now,
        "timeouts": s.timeouts,
    }
    expected = {
        "cycles": cycles,
        "acquired": True,
        "in use, waiting and opening": (0, 0, 0),
        "opened": len(connector.opened),
        "open": s.idle,
        "timeouts": 0,
    }
    wrong = [f"{what}: {found[what]}, not {expected[what]}" for what in found
             if found[what] != expected[what]]  # fmt: skip
    if s.idle > MAX_SIZE:
        wrong.append(f"{s.idle} connections of {MAX_SIZE}")
    pool.close()
    if connector.open_now:
        wrong.append(f"{connector.open_now} still open in the end")
    return wrong


def settings(acquire_timeout: float) -> PoolSettings:
    return PoolSettings(max_size=MAX_SIZE, acquire_timeout=acquire_timeout)


@pytest.mark.parametrize(
    "cycles", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)], ids="{:,}".format
)
def test_nothing_is_lost_and_nobody_shares(connector: StubConnector, cycles: int) -> None:
    pool = Pool(connector, settings(acquire_timeout=60.0))
    assert stress(pool, connector, cycles) == []
    assert len(connector.opened) > MAX_SIZE  # some died, and were replaced


class Hesitant(SystemRuntime):
    """Lets other threads run between the decision to wait and the place in the queue, which are
    both under the lock: without one, a release in between is surely missed."""

    def gate(self) -> Gate:
        time.sleep(1e-5)
        return super().gate()


class OpenLock:
    """Admits everybody."""

    def acquire(self, blocking: bool = True) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *exc_info: object) -> None:
        pass


class Lockless(Hesitant):
    def lock(self) -> Lock:
        return OpenLock()


def is_found_out(connector: StubConnector, failed_threads: list[str]) -> bool:
    pool = Pool(connector, settings(acquire_timeout=1.0), runtime=Lockless())
    wrong = stress(pool, connector, 20_000)
    with contextlib.suppress(Exception):  # its books may be wrong by now
        pool.close()
    return bool(wrong or failed_threads)


def test_without_its_lock_a_pool_is_found_out(failed_threads: list[str]) -> None:
    """The positive control. On a very busy machine one run in ten finds nothing."""
    assert any(is_found_out(StubConnector(), failed_threads) for _ in range(TRIES))


def test_with_it_hesitation_does_no_harm(connector: StubConnector) -> None:
    """The control of the control."""
    pool = Pool(connector, settings(acquire_timeout=60.0), runtime=Hesitant())
    assert stress(pool, connector, 5_000) == []
