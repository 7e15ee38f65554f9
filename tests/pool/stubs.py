"""A driver in a few lines, so that the pool is tested without one."""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass, field

from mssql_async.pool import NO_PROFILE, Opened, Profile
from mssql_async.pool.runtime import Maintained, SystemRuntime


@dataclass(eq=False)
class StubConnection:
    number: int
    alive: bool = True
    """False: hung up, and the driver knows."""
    frozen: bool = False
    """True: the driver knows nothing, but a round trip fails."""
    closed: bool = False
    resets: int = 0
    proofs: int = 0
    profile: Profile = NO_PROFILE


@dataclass
class StubConnector:
    """Counts what it is asked. ``opening`` holds logins back until it is set."""

    failures: list[Exception] = field(default_factory=list)
    """What the next logins fail with. :class:`Transient` ones are worth another attempt."""
    opening: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    opened: list[StubConnection] = field(default_factory=list)
    attempts: int = 0
    credential: int = 0
    expires_at: float | None = None
    """What the next connections get as their token's limit."""
    cancels_wait: bool = False
    refused: set[Profile] = field(default_factory=set)
    """Profiles whose statements fail at the server."""
    threads: list[threading.Thread] = field(default_factory=list)
    """Who opened."""

    def __post_init__(self) -> None:
        self.opening.set()
        self._numbers = itertools.count(1)

    def open(self, deadline: float) -> Opened:
        self.attempts += 1
        self.threads.append(threading.current_thread())
        self.entered.release()
        self.opening.wait()
        if self.failures:
            raise self.failures.pop(0)
        connection = StubConnection(next(self._numbers))
        self.opened.append(connection)
        return Opened(connection, self.expires_at, self.credential, self.cancels_wait)

    def is_transient(self, error: BaseException) -> bool:
        return isinstance(error, Transient)

    def explain(self, error: BaseException, attempts: int) -> BaseException:
        return type(error)(f"{error} (after {attempts} attempts)")

    def reset(self, raw: StubConnection, profile: Profile) -> None:
        self.prove(raw)
        raw.proofs -= 1
        raw.resets += 1
        raw.profile = NO_PROFILE
        if profile in self.refused:
            raise LookupError("no such language")
        raw.profile = profile

    def prove(self, raw: StubConnection) -> None:
        if raw.frozen or not raw.alive:
            raise ConnectionError("communication link failure")
        raw.proofs += 1

    def peer_hung_up(self, raw: StubConnection) -> bool:
        return not raw.alive

    def close(self, raw: StubConnection) -> None:
        raw.closed = True

    @property
    def open_now(self) -> int:
        return sum(not connection.closed for connection in self.opened)


class Transient(Exception):
    """A server that will serve again in a moment."""


class StubRuntime(SystemRuntime):
    """Real threads, but time passes when a test says so, and maintenance comes on order."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.others = False
        """Whether other threads could give a connection back; then logins get their own."""
        self.wanted: list[tuple[float, weakref.ref[Maintained]]] = []

    def now(self) -> float:
        return self.time

    def alone(self) -> bool:
        return not self.others

    def call_at(self, when: float, what: weakref.ref[Maintained]) -> None:
        self.wanted.append((when, what))

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass, with the maintenance that becomes due in it."""
        self.time += seconds
        while due := [entry for entry in self.wanted if entry[0] <= self.time]:
            self.wanted = [entry for entry in self.wanted if entry not in due]
            for _, what in due:
                maintained = what()
                if maintained is not None:
                    maintained.maintain()
