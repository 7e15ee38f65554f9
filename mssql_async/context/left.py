"""What a context still held when it ended."""

from __future__ import annotations

from dataclasses import dataclass

from ..pool import origin
from ..pool.origin import Origin


@dataclass(frozen=True, slots=True)
class Left:
    """One lease, found at the end of its context."""

    what: str
    """A few words that go on after "still held"."""
    is_a_mistake: bool
    """False for the state of a session, which may stay until the context ends."""
    connections: tuple[tuple[int, Origin], ...]
    """Number and place of acquisition of each connection that it held."""

    def where(self) -> str:
        """Where each was acquired, as the lines that follow a log message."""
        return "".join(
            f"\nConnection #{number}, acquired at\n{origin.describe(place)}"
            for number, place in self.connections
        )
