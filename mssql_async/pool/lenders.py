"""What a lease needs of where its connections come from."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from .connection import PooledConnection
from .connector import NO_PROFILE, Profile
from .statistics import PoolStatistics

Held = Callable[[], Collection[PooledConnection]]
"""Says which connections cannot come back before the caller gets one: those that it holds
itself, and those of whoever waits for it. Asked where it would have to wait, without the lock."""


class Lender(Protocol):
    """What a lease needs of where it comes from."""

    def acquire(
        self, profile: Profile = NO_PROFILE, *, wait: bool = True
    ) -> PooledConnection | None: ...

    def release(self, connection: PooledConnection, *, reset: bool = False) -> None: ...

    def abandon(self, connection: PooledConnection) -> None: ...

    def condemn(self, connection: PooledConnection) -> None: ...

    def forsake(self, connection: PooledConnection) -> None: ...


class ConnectionSource(Lender, Protocol):
    """Where leases come from: a :class:`.pool.Pool`, or a :class:`.nullpool.NullPool` that keeps
    nothing."""

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
