"""Threads that do what event loops and workers must not wait for: cancelling, and what is due
after a while.

An event loop must not cancel a statement itself: with a frozen peer the driver does not return
before the statement does. For the same reason each cancellation has a thread to itself.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ..pool.runtime import THREAD_PREFIX

logger = logging.getLogger("mssql_async.session")

#: Seconds without work after which a thread ends.
IDLE_TIME = 30.0
#: Threads that wait for the next cancellation. A burst needs as many as it has, and then leaves no
#: more than that: threads that take turns would all be kept by a few cancellations a second.
MOST_FREE = 4

Job = Callable[[], None]


class Attendants(Protocol):
    """Both methods return at once, and may be called from any thread."""

    def soon(self, job: Job) -> None:
        """Run a job that may block."""

    def later(self, seconds: float, job: Job) -> None:
        """Run a job that does not block, in so many seconds."""


class ThreadAttendants:
    """Threads that come as they are needed and go when they are not."""

    def __init__(self) -> None:
        self._start_empty()

    def _start_empty(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._changed = threading.Condition(threading.Lock())
        self._lock = self._changed
        # Under the lock:
        self._free = 0  # threads that wait for a job that is not on its way to them yet
        self._due: list[tuple[float, int, Job]] = []
        self._order = itertools.count()
        self._keeps_time = False

    def soon(self, job: Job) -> None:
        with self._lock:
            is_new = self._free == 0
            if not is_new:
                self._free -= 1
        self._jobs.put(job)
        if is_new:
            _start("canceller", self._work)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_TIME)
            except queue.Empty:
                with self._lock:
                    if self._free:
                        self._free -= 1
                        return
                continue  # one is on its way
            _run(job)
            del job
            with self._lock:
                if self._free >= MOST_FREE:
                    return
                self._free += 1

    def later(self, seconds: float, job: Job) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), job))
            is_new, self._keeps_time = not self._keeps_time, True
            self._changed.notify()
        if is_new:
            _start("timer", self._keep_time)

    def _keep_time(self) -> None:
        while True:
            with self._changed:
                if not self._due and not self._changed.wait(IDLE_TIME) and not self._due:
                    self._keeps_time = False
                    return
                wait = self._due[0][0] - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                job = heapq.heappop(self._due)[2]
            _run(job)
            del job


def _start(what: str, target: Job) -> None:
    try:
        threading.Thread(target=target, name=f"{THREAD_PREFIX}{what}", daemon=True).start()
    except RuntimeError:  # the interpreter is going down, and the connections with it
        logger.debug("No %s could be started.", what, exc_info=True)


def _run(job: Job) -> None:
    try:
        job()
    except Exception:
        logger.exception("Stopping a call failed.")


#: Those of this process.
ATTENDANTS = ThreadAttendants()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ATTENDANTS._start_empty)  # noqa: SLF001
