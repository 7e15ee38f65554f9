"""The threads that cancel."""

from __future__ import annotations

import threading

import pytest

from mssql_async.session import attendants
from mssql_async.session.attendants import MOST_FREE, ThreadAttendants
from tests.context.project import until


def cancellers() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.endswith("canceller")}


def burst(of: ThreadAttendants, count: int) -> set[threading.Thread]:
    """Jobs that all run at the same time. Says which threads were there for them."""
    before = cancellers()
    go_on, begun = threading.Event(), threading.Semaphore(0)

    def job() -> None:
        begun.release()
        go_on.wait(20)

    for _ in range(count):
        of.soon(job)
    for _ in range(count):
        assert begun.acquire(timeout=20)
    there = cancellers() - before
    go_on.set()
    return there


def test_a_job_that_does_not_return_holds_up_no_other() -> None:
    there = burst(ThreadAttendants(), 20)
    assert len(there) == 20
    assert until(lambda: sum(thread.is_alive() for thread in there) <= MOST_FREE)


def test_after_a_burst_a_few_threads_are_left_that_do_the_next_jobs() -> None:
    own = ThreadAttendants()
    there = burst(own, 20)
    assert until(lambda: own._free == MOST_FREE)
    assert until(lambda: sum(thread.is_alive() for thread in there) == MOST_FREE)
    done: list[threading.Thread] = []
    for number in range(1, 51):
        own.soon(lambda: done.append(threading.current_thread()))
        assert until(lambda n=number: len(done) == n and own._free == MOST_FREE)  # type: ignore[misc]
    assert set(done) <= there


def test_all_would_be_left_if_their_number_had_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(attendants, "MOST_FREE", 1000)
    own = ThreadAttendants()
    there = burst(own, 20)
    assert until(lambda: own._free == 20)
    assert all(thread.is_alive() for thread in there)
