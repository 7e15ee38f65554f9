"""One thread for what becomes due in every pool of the process; it sleeps when nothing is.

Idle connections past their time, the smallest size, the next attempt after a failure, leases
held too long. The thread starts when something is due for the first time.
"""

from __future__ import annotations

import heapq
import itertools
import os
import queue
import threading
import time
import weakref

from .runtime import THREAD_PREFIX, Maintained

_Entry = tuple[float, int, weakref.ref[Maintained]]


class Maintenance:
    """Calls ``maintain`` of pools at the times they asked for."""

    def __init__(self) -> None:
        # Reentrant by its documentation: a finalizer in the middle of a put cannot deadlock.
        self._news: queue.SimpleQueue[_Entry] = queue.SimpleQueue()
        self._order = itertools.count()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        running = self._thread is not None and self._thread.is_alive()
        return f"<Maintenance {'running' if running else 'not started'}>"

    def call_at(self, when: float, what: weakref.ref[Maintained]) -> None:
        """``when`` is a reading of :func:`time.monotonic`. A pool that is gone is skipped."""
        self._news.put((when, next(self._order), what))
        if self._thread is None:
            with self._start_lock:
                if self._thread is None:
                    thread = threading.Thread(
                        target=self._run, name=f"{THREAD_PREFIX}maintenance", daemon=True
                    )
                    try:
                        thread.start()
                    except RuntimeError:
                        return  # the interpreter is going down: nothing will be due any more
                    self._thread = thread

    def _run(self) -> None:
        due: list[_Entry] = []
        while True:
            timeout = max(due[0][0] - time.monotonic(), 0.0) if due else None
            try:
                heapq.heappush(due, self._news.get(timeout=timeout))
            except queue.Empty:
                what = heapq.heappop(due)[2]()
                if what is not None:
                    what.maintain()
                    del what  # no reference is kept while the thread sleeps


_current = Maintenance()


def maintenance() -> Maintenance:
    """The process's."""
    return _current


def _start_anew() -> None:
    global _current
    _current = Maintenance()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
