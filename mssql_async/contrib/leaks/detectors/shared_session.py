"""A context used a server session while another one was using it.

A unit is exclusive use: a statement, an open cursor, a transaction. Two units of different
contexts on one session that share any time at all are a finding; those that touch are none.
Units of one context may overlap as they like: a statement is inside of a transaction. What a
context has started (a task, a thread) is a context of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Detector, Finding
from ..record import Record, Token, Unit
from .index import Index, Timeline, milliseconds


def detect(record: Record) -> Iterator[Finding]:
    """One finding for each two contexts on each session."""
    index = Index(record)
    for timeline in index.timelines.values():
        for had, came in _collisions(timeline):
            shared = min(had.ended_at, came.ended_at) - came.began_at
            yield Finding(
                Detector.SHARED_SESSION,
                f"{index.name(came.token)} used {came.session} (a {came.use.value}) while "
                f"{index.name(had.token)} had it to itself (a {had.use.value}): "
                f"{milliseconds(shared)} at the same time.",
                index.scenario_of(came.token, had.token),
                record.seed,
                came.began_at,
                culprit=index.of_unit(came),
                victim=index.of_unit(had),
                session=came.session,
            )


def _collisions(timeline: Timeline) -> Iterator[tuple[Unit, Unit]]:
    """Who had the session, and who came: in one pass.

    Of all units that have begun, only two matter to the next: the one that lasts longest, and
    the one that lasts longest of the other contexts.
    """
    longest: Unit | None = None
    longest_other: Unit | None = None
    told: set[tuple[Token, Token]] = set()
    for unit in timeline.units:
        had = longest if longest is None or longest.token != unit.token else longest_other
        if had is not None and had.ended_at > unit.began_at:
            pair = min(had.token, unit.token), max(had.token, unit.token)
            if pair not in told:
                told.add(pair)
                yield had, unit
        if longest is None or unit.ended_at > longest.ended_at:
            if longest is not None and longest.token != unit.token:
                longest_other = longest
            longest = unit
        elif unit.token != longest.token and (
            longest_other is None or unit.ended_at > longest_other.ended_at
        ):
            longest_other = unit
