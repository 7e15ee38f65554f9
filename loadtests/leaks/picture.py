"""What of a wave is drawn: some lanes of it, around what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mssql_async.contrib.leaks.findings import Finding, describe
from mssql_async.contrib.leaks.record import Record, Session, Token, Unit

from .outcome import Bar, Lane, Told

MOST_BARS = 300
MOST_COLLIDING = 100
"""Of the sessions with findings, so that there is room for their neighbours."""

_Key = tuple[Session, int]


def draw(record: Record, findings: Sequence[Finding]) -> tuple[list[Lane], dict[Token, Told]]:
    """Lanes in the order of their first bars, and the stories of all who have a bar."""
    colliding = collisions(record.units)
    chosen = _chosen(record.units, findings)
    lanes: dict[_Key, list[Bar]] = {}
    for unit in sorted(chosen, key=lambda unit: unit.began_at):
        bar = Bar(
            unit.token, unit.use, unit.began_at, unit.ended_at, unit.statement, unit.place,
            id(unit) in colliding,
        )  # fmt: skip
        lanes.setdefault((unit.session, unit.process), []).append(bar)
    tokens = {unit.token for unit in chosen}
    told = {
        story.token: Told(
            describe(story, story.token), story.kind.value, story.began_at, story.ended_at,
            story.outcome, story.task, story.process,
        )
        for story in record.stories
        if story.token in tokens
    }  # fmt: skip
    return [Lane(session, process, tuple(bars)) for (session, process), bars in lanes.items()], told


def collisions(units: Iterable[Unit]) -> set[int]:
    """The ``id`` of each unit during which another context used the same session."""
    by_session: dict[_Key, list[Unit]] = {}
    for unit in units:
        by_session.setdefault((unit.session, unit.process), []).append(unit)
    found: set[int] = set()
    for each in by_session.values():
        each.sort(key=lambda unit: unit.began_at)
        open_now: list[Unit] = []
        for unit in each:
            open_now = [other for other in open_now if other.ended_at > unit.began_at]
            others = [other for other in open_now if other.token != unit.token]
            if others:
                found.add(id(unit))
                found.update(map(id, others))
            open_now.append(unit)
    return found


def _chosen(units: Sequence[Unit], findings: Sequence[Finding]) -> list[Unit]:
    """The bars nearest in time to the first findings, those of their sessions before others."""
    ordered = sorted(units, key=lambda unit: unit.began_at)
    if len(ordered) <= MOST_BARS:
        return ordered
    if not findings:
        return ordered[:MOST_BARS]
    first = findings[0]
    at = first.victim.at if first.victim is not None and first.victim.at else first.at

    def distance(unit: Unit) -> float:
        return max(unit.began_at - at, at - unit.ended_at, 0.0)

    sessions = {finding.session for finding in findings if finding.session is not None}
    near = sorted((u for u in ordered if u.session in sessions), key=distance)[:MOST_COLLIDING]
    have = set(map(id, near))
    rest = sorted((u for u in ordered if id(u) not in have), key=distance)
    return near + rest[: MOST_BARS - len(near)]
