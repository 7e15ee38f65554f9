"""Sends cancellations from a thread of its own.

An event loop must not do it: the driver writes to a socket that a frozen peer may no longer
empty.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger("mssql_async.context")


class _Canceller:
    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started = False

    def put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if not self._started:
            with self._lock:
                if not self._started:
                    threading.Thread(
                        target=self._run, name="mssql_async-canceller", daemon=True
                    ).start()
                    self._started = True

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except Exception:
                logger.exception("Cancelling a statement failed.")
            del job


_canceller = _Canceller()


def cancel_soon(job: Callable[[], None]) -> None:
    """Run a cancellation, after those asked for earlier."""
    _canceller.put(job)


def _start_anew() -> None:
    global _canceller
    _canceller = _Canceller()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
