"""What a lease needs of where its connections come from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from . import origin
from .connection import PooledConnection
from .connector import NO_PROFILE, Profile
from .origin import Origin
from .statistics import PoolStatistics

Held = Callable[[], Collection[PooledConnection]]
"""Says which connections cannot come back before the caller gets one: those that it holds
itself, and those of whoever waits for it. Asked where it would have to wait, without the lock."""


@dataclass(frozen=True, slots=True)
class LentConnection:
    """A connection that is lent at this moment: to whom, since when, from where."""

    number: int
    lent_at: float
    """A reading of :func:`time.monotonic`."""
    holder: int
    """The thread that acquired it (:func:`threading.get_ident`); 0: it is not noted."""
    origin: Origin

    def place(self) -> str:
        """Where it was acquired, or where its thread is now if that is not known."""
        if origin.is_known(self.origin) or not self.holder:
            return origin.place(self.origin)
        return f"by a thread that is now at {origin.place(origin.current(self.holder))}"


def lent(connections: Iterable[PooledConnection]) -> list[LentConnection]:
    """In the order in which they were lent."""
    leases = [LentConnection(c.number, c.lent_at, c.holder, c.origin) for c in connections]
    return sorted(leases, key=lambda lease: lease.lent_at)


class Lender(Protocol):
    """What a lease needs of where it comes from."""

    def acquire(
        self, profile: Profile = NO_PROFILE, *, wait: bool = True
    ) -> PooledConnection | None: ...

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None: ...

    def abandon(self, connection: PooledConnection) -> None: ...

    def condemn(self, connection: PooledConnection) -> None: ...

    def forsake(self, connection: PooledConnection) -> None: ...

    def call_off(self, thread: int) -> None: ...


class ConnectionSource(Lender, Protocol):
    """Where leases come from: a :class:`.pool.Pool`, or a :class:`.nullpool.NullPool` that keeps
    nothing."""

    name: str
    """Of the alias that it was made for."""

    def acquire(
        self,
        profile: Profile = NO_PROFILE,
        *,
        wait: bool = True,
        waited: float = 0.0,
        held: Held | None = None,
    ) -> PooledConnection | None: ...

    def close(self) -> None: ...

    def warm(self) -> None: ...

    def is_unused(self) -> bool: ...

    def statistics(self) -> PoolStatistics: ...

    def leases(self) -> list[LentConnection]: ...

    def open_connections(self) -> list[int]: ...
