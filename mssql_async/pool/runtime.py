"""What the pool takes from the machine: time, locks, threads.

Apart, so that a test can put the pool on a scheduler of its own, which decides at every
lock and every wait who goes on, and in whose time hours pass at once.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

#: Names of the pool's own threads begin with this: they acquire nothing for themselves.
THREAD_PREFIX = "mssql_async-"


class Lock(Protocol):
    def acquire(self, blocking: bool = True) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Gate(Protocol):
    """Opened once; who waits for it goes on then, or when the time is over."""

    def wait(self, seconds: float) -> bool:
        """Whether it is open; waits for that, at most ``seconds``."""

    def open(self) -> None:
        """Let the waiter go on. Called under the pool's lock, so it must not block."""


class Maintained(Protocol):
    """What asks for maintenance at some time."""

    def maintain(self) -> None: ...


class Runtime(Protocol):
    """Where a pool runs. Times are in seconds; ``now`` never goes back."""

    def now(self) -> float: ...

    def lock(self) -> Lock: ...

    def gate(self) -> Gate: ...

    def start(self, job: Callable[[], None]) -> bool:
        """Run a job on another thread. False where no thread can be started (the
        interpreter is going down): then the caller has to run it itself."""

    def alone(self) -> bool:
        """Whether no other thread runs that could give a connection back meanwhile."""

    def call_at(self, when: float, what: weakref.ref[Maintained]) -> None:
        """Have :meth:`Maintained.maintain` called at that time, on the maintenance thread."""

    def sleep(self, seconds: float) -> None: ...


class ThreadGate:
    """A gate between threads."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))

    def open(self) -> None:
        self._lock.release()


class SystemRuntime:
    """Real time and real threads."""

    now = staticmethod(time.monotonic)  # no call of ours around it: asked twice for each lease

    def lock(self) -> Lock:
        return threading.Lock()

    def gate(self) -> Gate:
        return ThreadGate()

    def start(self, job: Callable[[], None]) -> bool:
        # A daemon: a login that hangs must not keep the process from ending.
        try:
            threading.Thread(target=job, name=f"{THREAD_PREFIX}connector", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def alone(self) -> bool:
        if threading.active_count() == 1:
            return True
        here = threading.current_thread()
        return all(
            thread is here or thread.name.startswith(THREAD_PREFIX)
            for thread in threading.enumerate()
        )

    def call_at(self, when: float, what: weakref.ref[Maintained]) -> None:
        from .maintenance import maintenance  # it runs on this module's names

        maintenance().call_at(when, what)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM = SystemRuntime()
