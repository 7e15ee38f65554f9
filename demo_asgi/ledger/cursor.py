"""Where a reader of an ever growing table stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable

PATIENCE = 20
"""After how many polls a missing id counts as rolled back."""

MOST_GAPS = 500
"""SQL Server skips up to a thousand ids when it restarts; nobody will ever write those."""


class FeedCursor:
    """Remembers what was read of rows whose ids grow, in whatever order they commit.

    An id is given when a row is inserted, not when it is committed: of two concurrent
    transactions the one with the larger id may become visible first. Reading only
    beyond the largest id seen would miss the other for good, so the ids passed over are
    asked for again until they turn up or :data:`PATIENCE` runs out.
    """

    def __init__(self, position: int, recent: Collection[int] = (), window: int = 0) -> None:
        """Start after ``position``, where ``recent`` are the ids visible among the last
        ``window`` up to it."""
        self.position = position
        self._patience: dict[int, int] = {}
        self._note_gaps(max(position - window, 0), position, recent)

    @property
    def gaps(self) -> list[int]:
        """The ids passed over that may still turn up."""
        return list(self._patience)

    def advance(self, ids: Iterable[int]) -> None:
        """Note what a poll for everything beyond the position, and the gaps, brought."""
        seen = set(ids)
        for gap in list(self._patience):
            self._patience[gap] -= 1
            if gap in seen or not self._patience[gap]:
                del self._patience[gap]
        if seen and (largest := max(seen)) > self.position:
            self._note_gaps(self.position, largest, seen)
            self.position = largest

    def _note_gaps(self, after: int, up_to: int, seen: Collection[int]) -> None:
        after = max(after, up_to - MOST_GAPS)
        missing = (number for number in range(after + 1, up_to) if number not in seen)
        self._patience.update(dict.fromkeys(missing, PATIENCE))
