"""A record, arranged so that each question of a detector costs next to nothing.

A wave has thousands of contexts and ten times as many units: what is asked once for each of them
may not walk through the others.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from functools import cached_property

from ..findings import Party
from ..record import Answer, Record, Seen, Session, Sight, Story, Token, Unit, Written
from ..secrets import without_secrets

#: One session of one server. Where the server does not say when it began, numbers of different
#: processes are taken for different sessions.
Key = tuple[Session, int]

#: No context has that number.
NOBODY: Token = -1

#: Characters of a statement in a sentence.
_SHOWN = 100


def key(session: Session, process: int) -> Key:
    return (session, 0) if session.login_time else (session, process)


class Timeline:
    """The units of one session in the order of their beginnings."""

    def __init__(self, units: list[Unit]) -> None:
        self.units = sorted(units, key=lambda unit: (unit.began_at, unit.ended_at))
        self._began = [unit.began_at for unit in self.units]

    @cached_property
    def _last_other(self) -> list[int]:
        """For each unit the position of the last one before it of another context, or -1."""
        positions: list[int] = []
        for at, unit in enumerate(self.units):
            if at and self.units[at - 1].token == unit.token:
                positions.append(positions[at - 1])
            else:
                positions.append(at - 1)
        return positions

    @cached_property
    def _by_token(self) -> dict[Token, list[Unit]]:
        units: dict[Token, list[Unit]] = {}
        for unit in self.units:
            units.setdefault(unit.token, []).append(unit)
        return units

    def last_before(self, token: Token, at: float) -> Unit | None:
        """The last unit of another context than ``token`` that had begun by then."""
        return self._other_at(bisect_right(self._began, at) - 1, token)

    def last_of(self, token: Token, at: float) -> Unit | None:
        """The last unit of that very context that had begun by then."""
        units = self._by_token.get(token, [])
        position = bisect_right(units, at, key=lambda unit: unit.began_at) - 1
        return units[position] if position >= 0 else None

    def during(self, token: Token, began: float, ended: float) -> Unit | None:
        """A unit of another context than ``token`` that shares time with that span: the last."""
        unit = self._other_at(bisect_left(self._began, ended) - 1, token)
        return unit if unit is not None and unit.ended_at > began else None

    def _other_at(self, position: int, token: Token) -> Unit | None:
        if position >= 0 and self.units[position].token == token:
            position = self._last_other[position]
        return self.units[position] if position >= 0 else None


class Index:
    """What the detectors look up in a record. It is read when first asked for."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @cached_property
    def _stories(self) -> dict[Token, Story]:
        return {story.token: story for story in self.record.stories}

    @cached_property
    def timelines(self) -> dict[Key, Timeline]:
        units: dict[Key, list[Unit]] = {}
        for unit in self.record.units:
            if unit.session.spid:
                units.setdefault(key(unit.session, unit.process), []).append(unit)
        return {which: Timeline(each) for which, each in units.items()}

    def story_of(self, token: Token) -> Story | None:
        return self._stories.get(token)

    def scenario_of(self, *tokens: Token) -> str:
        """The record's, or where it has several, that of the first context that is known."""
        if self.record.scenario:
            return self.record.scenario
        known = (self._stories.get(token) for token in tokens)
        return next((story.scenario for story in known if story is not None), "")

    def party(
        self, token: Token, *, statement: str = "", place: str = "", at: float | None = None,
        acquired_at: float | None = None,
    ) -> Party:  # fmt: skip
        return Party.of(
            self, token, statement=statement, place=place, at=at, acquired_at=acquired_at
        )

    def of_unit(self, unit: Unit) -> Party:
        return self.party(
            unit.token, statement=unit.statement, place=unit.place, at=unit.began_at,
            acquired_at=unit.acquired_at,
        )  # fmt: skip

    def of_part(self, part: Sight | Answer | Seen | Written) -> Party:
        """Who saw, asked or wrote that, and since when it had the session for it."""
        timeline = self.timelines.get(key(part.session, part.process))
        unit = None if timeline is None else timeline.last_of(part.token, part.at)
        return self.party(
            part.token, statement=part.statement, place=part.place, at=part.at,
            acquired_at=None if unit is None else unit.acquired_at,
        )  # fmt: skip

    def name(self, token: Token) -> str:
        """As a sentence has it: short."""
        story = self._stories.get(token)
        return f"{story.kind.value} {token}" if story is not None else f"context {token}"

    def last_user(
        self, session: Session, process: int, at: float, *, but: Token = NOBODY
    ) -> Unit | None:
        """The last unit on a session that had begun by then, of another context than ``but``."""
        timeline = self.timelines.get(key(session, process))
        return None if timeline is None else timeline.last_before(but, at)

    def user_during(
        self, session: Session, process: int, began: float, ended: float, *, but: Token
    ) -> Unit | None:
        timeline = self.timelines.get(key(session, process))
        return None if timeline is None else timeline.during(but, began, ended)


def known(session: Session | None) -> Session | None:
    """``None`` where nobody could tell which one it was: 0 is no session's number."""
    return session if session is not None and session.spid else None


def on(session: Session | None) -> str:
    """As a sentence goes on: " on session 51", or nothing."""
    session = known(session)
    return "" if session is None else f" on {session}"


def shown(text: str) -> str:
    """A statement or a value, fit for a sentence."""
    # Before it is cut: half of a secret may not look like one any more.
    line = " ".join(without_secrets(text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if math.isfinite(seconds) else "without an end"
