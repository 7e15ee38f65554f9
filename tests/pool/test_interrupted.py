"""A thread that is interrupted (KeyboardInterrupt, a signal handler that raises) at any line of an
acquire loses none of the pool's places."""

from __future__ import annotations

import contextlib
import linecache
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

from mssql_async.pool import Pool
from mssql_async.pool.waiters import Waiter

from .stubs import StubConnector, StubRuntime
from .support import make_pool

#: Where something is lent already, or a place in the queue is taken, and nobody knows of it yet.
#: What they call to write it down, under the lock, is a matter of a few instructions.
FUNCTIONS: tuple[Callable[..., Any], ...] = (
    Pool.acquire, Pool._acquire_slowly, Pool._take_or_queue, Pool._wait, Pool._is_fit,
    Pool._prove,
)  # fmt: skip


class Interruption:
    """Raises ``KeyboardInterrupt`` at the n-th line of these functions."""

    def __init__(self, nth: int) -> None:
        self._left = nth
        self.where = ""
        self._codes: set[CodeType] = {function.__code__ for function in FUNCTIONS}

    @property
    def came(self) -> bool:
        return self._left <= 0

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code not in self._codes:
            return None
        if event == "line" and not self.came and not _is_about_a_lock(frame):
            self._left -= 1
            if self.came:
                line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
                self.where = f"{frame.f_code.co_name}: {line}"
                raise KeyboardInterrupt
        return self._trace


def _is_about_a_lock(frame: FrameType) -> bool:
    """The line of a ``with`` comes again where it ends, before the lock is let go. No signal
    arrives there, but this would."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return line.lstrip().startswith("with ")


def idle(pool: Pool, clock: StubRuntime, connector: StubConnector) -> None:
    pool.release(pool.acquire())


def idle_outside_of_the_window(pool: Pool, clock: StubRuntime, connector: StubConnector) -> None:
    idle(pool, clock, connector)
    clock.time += 10


def idle_for_too_long(pool: Pool, clock: StubRuntime, connector: StubConnector) -> None:
    idle(pool, clock, connector)
    clock.time += 61


def idle_and_hung_up(pool: Pool, clock: StubRuntime, connector: StubConnector) -> None:
    idle(pool, clock, connector)
    connector.opened[-1].alive = False


def two_idle_one_of_them_older(pool: Pool, clock: StubRuntime, connector: StubConnector) -> None:
    first, second = pool.acquire(), pool.acquire()
    pool.release(second)
    pool.release(first)
    first.generation -= 1


SITUATIONS = [
    idle, idle_outside_of_the_window, idle_for_too_long, idle_and_hung_up,
    two_idle_one_of_them_older,
]  # fmt: skip


def interrupted_at_every_line(situation: Callable[..., None]) -> list[str]:
    """What was lost, and at which line of how many."""
    lost = []
    for nth in range(1, 1000):
        connector, clock = StubConnector(), StubRuntime()
        pool = make_pool(connector, clock=clock, max_size=2, max_idle=60, acquire_timeout=5)
        situation(pool, clock, connector)
        with Interruption(nth) as interruption, contextlib.suppress(KeyboardInterrupt):
            pool.release(pool.acquire())
        s = pool.statistics()
        if (s.in_use, s.waiting, pool._closing) != (0, 0, 0):
            lost.append(f"{interruption.where}: {s}")
        if not interruption.came:
            assert nth > 10
            return lost
    raise AssertionError("it never ends")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_interrupted_acquire_loses_no_place(situation: Callable[..., None]) -> None:
    assert interrupted_at_every_line(situation) == []


def test_a_pool_that_took_nothing_back_would_lose_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(Pool, "_take_back", lambda *_: None)
    assert interrupted_at_every_line(idle)


def test_a_close_that_is_interrupted_frees_its_place(clock: StubRuntime) -> None:
    class Interrupted(StubConnector):
        def close(self, raw: Any) -> None:
            raise KeyboardInterrupt

    pool = make_pool(Interrupted(), clock=clock, max_size=1, max_idle=60, acquire_timeout=5)
    pool.release(pool.acquire())
    clock.time += 61
    with pytest.raises(KeyboardInterrupt):
        pool.acquire()
    assert pool.acquire() is not None


def test_who_was_interrupted_with_what_it_was_handed_gives_that_back(
    connector: StubConnector, clock: StubRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(connector, clock=clock, max_size=1)
    lent = pool.acquire()

    def handed_at_once(waiter: Waiter, seconds: float) -> bool:
        pool.release(lent)
        monkeypatch.setattr(Waiter, "handed", property(_interrupt))
        return True

    def _interrupt(waiter: Waiter) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Waiter, "wait", handed_at_once)
    with pytest.raises(KeyboardInterrupt):
        pool.acquire()
    assert pool.statistics().in_use == 0
    assert pool.acquire() is lent
