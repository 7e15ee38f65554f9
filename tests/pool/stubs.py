"""A driver in a few lines, so that the pool is tested without one."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field


@dataclass(eq=False)
class StubConnection:
    number: int
    alive: bool = True
    """False: hung up, and the driver knows."""
    frozen: bool = False
    """True: the driver knows nothing, but a round trip fails."""
    closed: bool = False
    resets: int = 0


@dataclass
class StubConnector:
    """Counts what it is asked. ``opening`` holds logins back until it is set."""

    failures: list[Exception] = field(default_factory=list)
    opening: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    opened: list[StubConnection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.opening.set()
        self._numbers = itertools.count(1)

    def open(self, deadline: float) -> StubConnection:
        self.entered.release()
        self.opening.wait()
        if self.failures:
            raise self.failures.pop(0)
        connection = StubConnection(next(self._numbers))
        self.opened.append(connection)
        return connection

    def reset(self, raw: StubConnection) -> None:
        if raw.frozen or not raw.alive:
            raise ConnectionError("communication link failure")
        raw.resets += 1

    def peer_hung_up(self, raw: StubConnection) -> bool:
        return not raw.alive

    def close(self, raw: StubConnection) -> None:
        raw.closed = True

    @property
    def open_now(self) -> int:
        return sum(not connection.closed for connection in self.opened)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
