"""One physical connection and what the pool knows about it."""

from __future__ import annotations

import enum
import itertools
from typing import Any, Protocol

from . import inherited
from .connector import NO_PROFILE, Profile
from .origin import Origin

_numbers = itertools.count(1)


class ConnectionState(enum.Enum):
    IDLE = "idle"
    IN_USE = "in use"
    RETURNING = "returning"
    """Released, and being reset before it is lent or kept."""
    FORSAKEN = "forsaken"
    """Lent to somebody who does not come back: counted no more, closed if he ever does."""
    CLOSED = "closed"


class SessionBound(Protocol):
    """What lives and dies with the server's session, such as prepared statements."""

    def session_was_reset(self) -> None:
        """The server has forgotten everything. Must send no message."""


class PooledConnection:
    """A physical connection with its age, generation and standing.

    The pool owns it; whoever acquired it may use :attr:`raw` until it is released.
    Times are readings of :func:`time.monotonic`.
    """

    __slots__ = (
        "__weakref__",
        "broken",
        "cancels_wait",
        "credential",
        "expires_at",
        "generation",
        "holder",
        "idle_since",
        "leak_reported",
        "lease",
        "lent_at",
        "number",
        "opened_at",
        "origin",
        "profile",
        "proved_at",
        "raw",
        "reusable",
        "state",
        "statements",
    )

    def __init__(
        self,
        raw: Any,
        *,
        generation: int,
        opened_at: float,
        expires_at: float | None,
        credential: int = 0,
        cancels_wait: bool = False,
    ) -> None:
        self.raw = raw
        """The driver's connection object."""
        self.number = next(_numbers)
        """Which connection of this process it is; for people, in logs and errors."""
        self.generation = generation
        self.credential = credential
        self.cancels_wait = cancels_wait
        """See :attr:`Opened.cancels_wait <.connector.Opened.cancels_wait>`."""
        self.opened_at = opened_at
        self.expires_at = expires_at
        self.proved_at = opened_at
        """When the server last answered on it: at login, at a proof, or to a statement."""
        self.idle_since = opened_at
        self.lent_at = opened_at
        self.origin: Origin = ()
        """The place that acquired it, while it is lent: two frames, which is what one statement
        can afford; more (2.4 us) where a lease is to last or leaks are looked for."""
        self.holder = 0
        """The thread that acquired it (:func:`threading.get_ident`)."""
        self.leak_reported = False
        self.lease = 0
        """Which of the pool's leases it is in, or was in last."""
        self.state = ConnectionState.IN_USE
        self.broken = False
        """Set by whoever uses it once an error has shown that it is dead."""
        self.reusable = True
        """Unset by whoever changed it in a way that no reset undoes: closed on its return."""
        self.profile: Profile = NO_PROFILE
        """What the session has been set to on top of the baseline."""
        self.statements: SessionBound | None = None
        """The session layer's prepared statements on this connection."""
        inherited.note(self)

    def __repr__(self) -> str:
        return (
            f"<PooledConnection #{self.number} {self.state.value}"
            f"{' broken' if self.broken else ''}, generation {self.generation}>"
        )
