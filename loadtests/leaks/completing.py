"""Completes what was recorded of a wave by what only the server, or an earlier wave, knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from mssql_async.contrib.leaks.detectors.index import Key, key
from mssql_async.contrib.leaks.record import Held, Record, ServerSession, Session, Story, Unit

from .probe import HARNESS_ASKS

MOST = 10_000
"""Sessions whose last user is remembered."""


class LastUsers:
    """Who used each session last, from wave to wave: who has left what the next wave comes upon
    is in the record of an earlier one."""

    def __init__(self) -> None:
        self._last: dict[Key, tuple[Unit, Story]] = {}

    def join(self, record: Record) -> None:
        """Add to the record those of the sessions that it tells of; remember its own instead."""
        here = _last_units(record)
        stories = {story.token: story for story in record.stories}
        seen = {*here, *(key(each.session, each.process) for each in record.at_rest)}
        before = [self._last[session] for session in seen if session in self._last]
        record.units += [unit for unit, _story in before]
        known = {story.token: story for _unit, story in before if story.token not in stories}
        record.stories += known.values()
        for session, unit in here.items():
            story = stories.get(unit.token)
            if story is not None and story.ended_at is not None:
                self._last.pop(session, None)  # so that those used last come last
                self._last[session] = unit, story
        for session in list(self._last)[: max(0, len(self._last) - MOST)]:
            del self._last[session]


def _last_units(record: Record) -> dict[Key, Unit]:
    """Of each session. One without an end is told of once."""
    last: dict[Key, Unit] = {}
    for unit in record.units:
        session = key(unit.session, unit.process)
        before = last.get(session)
        if unit.ended_at < float("inf") and (before is None or before.began_at <= unit.began_at):
            last[session] = unit
    return last


def name_sessions(record: Record) -> None:
    """Connections were asked for the number of their session only: the server knows the rest."""
    there = {(each.process, each.session.spid): each.session for each in record.at_rest}

    def named(parts: Sequence[Any]) -> list[Any]:
        return [
            each if (found := _named(each.session, each.process, there)) is each.session
            else replace(each, session=found)
            for each in parts
        ]  # fmt: skip

    record.units = named(record.units)
    record.answers = named(record.answers)
    record.written = named(record.written)
    record.seen = named(record.seen)
    record.held = named(record.held)


def _named(
    session: Session | None, process: int, there: dict[tuple[int, int], Session]
) -> Session | None:
    if session is None or session.login_time or not session.spid:
        return session
    return there.get((process, session.spid), session)


def told_by_the_application(seen: ServerSession, held: Iterable[Held]) -> ServerSession:
    """Where the last statement of a session is the harness's own question which one it is: the
    last one before that."""
    if HARNESS_ASKS not in seen.statement:
        return seen
    before = (
        each.statement
        for each in held
        if each.session is not None
        and (each.process, each.session.spid) == (seen.process, seen.session.spid)
    )
    return replace(seen, statement=next(before, ""))
