"""One physical connection and what the pool knows about it."""

from __future__ import annotations

import enum
import itertools
from typing import Any

_numbers = itertools.count(1)


class ConnectionState(enum.Enum):
    IDLE = "idle"
    IN_USE = "in use"
    RETURNING = "returning"
    """Released, and being reset before it is lent or kept."""
    CLOSED = "closed"


class PooledConnection:
    """A physical connection with its age, generation and standing.

    The pool owns it; whoever acquired it may use :attr:`raw` until it is released.
    Times are readings of :func:`time.monotonic`.
    """

    __slots__ = (
        "broken",
        "expires_at",
        "generation",
        "idle_since",
        "number",
        "opened_at",
        "proved_at",
        "raw",
        "reusable",
        "state",
    )

    def __init__(
        self, raw: Any, *, generation: int, opened_at: float, expires_at: float | None
    ) -> None:
        self.raw = raw
        """The driver's connection object."""
        self.number = next(_numbers)
        """Which connection of this process it is; for people, in logs and errors."""
        self.generation = generation
        self.opened_at = opened_at
        self.expires_at = expires_at
        self.proved_at = opened_at
        """When the server last answered on it: at login, at a proof, or at a clean return."""
        self.idle_since = opened_at
        self.state = ConnectionState.IN_USE
        self.broken = False
        """Set by whoever uses it once an error has shown that it is dead."""
        self.reusable = True
        """Unset by whoever changed it in a way that no reset undoes: closed on its return."""

    def __repr__(self) -> str:
        return (
            f"<PooledConnection #{self.number} {self.state.value}"
            f"{' broken' if self.broken else ''}, generation {self.generation}>"
        )
