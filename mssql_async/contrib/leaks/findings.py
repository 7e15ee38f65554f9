"""What a detector says when it has found something."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from .record import Record, Session, Story, Token
from .secrets import without_secrets


class Stories(Protocol):
    """Who knows the contexts: a record, or, where many are asked for, an index of it."""

    def story_of(self, token: Token) -> Story | None: ...


class Detector(enum.StrEnum):
    """What can be found; the words of the verdict table."""

    SHARED_SESSION = "shared session"
    RETAINED_LEASE = "retained lease"
    ORPHAN_SESSION = "orphan session"
    STATE_BLEED = "state bleed"
    TRANSACTION_BLEED = "transaction bleed"
    RESULT_MIX_UP = "result mix-up"
    GROWTH = "growth"


@dataclass(frozen=True, slots=True)
class Party:
    """One of the contexts of a finding."""

    token: Token
    what: str
    """"request 17 of sync_views (task-3, process 42)", for people."""
    statement: str = ""
    place: str = ""
    """Where it acquired its lease."""
    at: float | None = None
    """When it did its part; in seconds since the epoch."""
    acquired_at: float | None = None
    """When it had acquired its lease; ``None``: not known."""

    @classmethod
    def of(
        cls, stories: Stories, token: Token, *, statement: str = "", place: str = "",
        at: float | None = None, acquired_at: float | None = None,
    ) -> Party:  # fmt: skip
        what = describe(stories.story_of(token), token)
        return cls(token, what, statement, place, at, acquired_at)


@dataclass(frozen=True, slots=True)
class Finding:
    """One leak. ``culprit`` left or did what ``victim`` came upon; either may be unknown."""

    detector: Detector
    message: str
    """One sentence: what happened, with the values."""
    scenario: str
    seed: int
    at: float
    """When it could be seen; in seconds since the epoch."""
    culprit: Party | None = None
    victim: Party | None = None
    session: Session | None = None

    def to_dict(self) -> dict[str, Any]:
        def party(each: Party | None) -> dict[str, Any] | None:
            if each is None:
                return None
            return {
                "token": each.token, "what": each.what, "statement": each.statement,
                "place": each.place, "at": each.at, "acquired_at": each.acquired_at,
            }  # fmt: skip

        return {
            "detector": self.detector.value,
            "message": self.message,
            "scenario": self.scenario,
            "seed": self.seed,
            "at": self.at,
            "session": None if self.session is None else self.session.spid,
            "culprit": party(self.culprit),
            "victim": party(self.victim),
        }

    def describe(self) -> str:
        """Several lines, for a terminal or a failed test, without what looks like a secret."""
        lines = [f"{self.detector.value}: {without_secrets(self.message)}"]
        for role, each in (("by", self.culprit), ("seen by", self.victim)):
            if each is None:
                continue
            when = "" if each.at is None else f" at {_clock(each.at)}"
            lines.append(f"  {role} {each.what}{when}")
            if each.statement:
                lines.append(f"     statement: {without_secrets(each.statement)}")
            acquired = [each.place] if each.place else []
            if each.acquired_at is not None:
                acquired.append(_clock(each.acquired_at))
            if acquired:
                lines.append(f"     lease acquired at: {', '.join(acquired)}")
        where = f"  on {self.session}, " if self.session else "  "
        seen = f"seen at {_clock(self.at)} UTC"
        lines.append(f"{where}scenario {self.scenario}, seed {self.seed}, {seen}")
        return "\n".join(lines)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


#: Looks through a record. Must not change it.
Detect = Callable[[Record], Iterable[Finding]]


def describe(story: Story | None, token: Token) -> str:
    if story is None:
        return f"context {token}" if token else "a context that is not known"
    task = f"{story.task}, " if story.task else ""
    return f"{story.kind.value} {token} of {story.scenario} ({task}process {story.process})"
