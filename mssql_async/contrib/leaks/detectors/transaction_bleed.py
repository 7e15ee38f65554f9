"""A context saw, committed or rolled back another's uncommitted rows, or left a transaction open.

- a context is in a transaction that it has not begun;
- it sees a row that was rolled back, or that nobody is known to have committed;
- at rest, the table has a row that was rolled back, or lacks one that was committed;
- at rest, the server shows an open transaction.

A row whose fate its context does not know (a client that hung up) may be there or not at the end;
one that is there at the end was committed, so that whoever saw it did not see too much.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Detector, Finding
from ..record import Fate, Record, Seen, ServerSession, Session, Sight, Token, Unit, Written
from .index import Index, known, on


def detect(record: Record) -> Iterator[Finding]:
    index = Index(record)
    written = {row.row: row for row in record.written}  # what is known of it in the end
    yield from _strange_transactions(index)
    yield from _dirty_reads(index, written)
    yield from _wrong_fates(index, written)
    told: set[Session] = set()
    for seen in record.at_rest:
        if seen.transactions > 0 and seen.session not in told:
            told.add(seen.session)
            yield _left_open(index, seen)


def _strange_transactions(index: Index) -> Iterator[Finding]:
    """One finding for each context and session."""
    told: set[tuple[Token, Session, int]] = set()
    for sight in index.record.sights:
        which = sight.token, sight.session, sight.process
        if sight.state.transactions > 0 and not sight.in_transaction and which not in told:
            told.add(which)
            yield _in_a_strange_one(index, sight)


def _in_a_strange_one(index: Index, sight: Sight) -> Finding:
    last = index.last_user(sight.session, sight.process, sight.at, but=sight.token)
    whose = f", as {index.name(last.token)} left it" if last is not None else ""
    return Finding(
        Detector.TRANSACTION_BLEED,
        f"{index.name(sight.token)} is in a transaction on {sight.session} that it has not begun "
        f"(@@TRANCOUNT {sight.state.transactions}){whose}.",
        index.scenario_of(sight.token),
        index.record.seed,
        sight.at,
        culprit=None if last is None else index.of_unit(last),
        victim=index.of_part(sight),
        session=sight.session,
    )


def _dirty_reads(index: Index, written: dict[str, Written]) -> Iterator[Finding]:
    """One finding for each row and context that saw it."""
    left = index.record.rows
    committed = frozenset(left or ())
    told: set[tuple[Token, str]] = set()
    for seen in index.record.seen:
        row = written.get(seen.row)
        if row is None or row.token == seen.token or row.fate is Fate.COMMITTED:
            continue
        if row.fate is Fate.OPEN and row.row in committed:
            continue
        if (seen.token, seen.row) not in told:
            told.add((seen.token, seen.row))
            yield _dirty_read(index, seen, row)


def _dirty_read(index: Index, seen: Seen, row: Written) -> Finding:
    fate = "rolled back" if row.fate is Fate.ROLLED_BACK else "never committed"
    where = on(row.session)
    if where and row.session == seen.session:
        where = " on the same one"
    return Finding(
        Detector.TRANSACTION_BLEED,
        f"{index.name(seen.token)} saw the row {row.row!r}{on(seen.session)}, which "
        f"{index.name(row.token)} wrote{where} and has {fate}.",
        index.scenario_of(seen.token, row.token),
        index.record.seed,
        seen.at,
        culprit=index.of_part(row),
        victim=index.of_part(seen),
        session=known(seen.session),
    )


def _wrong_fates(index: Index, written: dict[str, Written]) -> Iterator[Finding]:
    """One finding for each row."""
    if index.record.rows is None:
        return
    there = frozenset(index.record.rows)
    for row in written.values():
        if row.fate is Fate.ROLLED_BACK and row.row in there:
            yield _wrong_fate(index, row, "has rolled back", "is there: it was committed")
        elif row.fate is Fate.COMMITTED and row.row not in there:
            yield _wrong_fate(index, row, "has committed", "is not there: it was rolled back")


def _wrong_fate(index: Index, row: Written, own: str, found: str) -> Finding:
    other = _who_interfered(index, row)
    by = f" by {index.name(other.token)}, which used the session meanwhile" if other else ""
    return Finding(
        Detector.TRANSACTION_BLEED,
        f"The row {row.row!r}, which {index.name(row.token)} wrote{on(row.session)} and {own}, "
        f"{found}{by}.",
        index.scenario_of(row.token),
        index.record.seed,
        row.at,
        culprit=None if other is None else index.of_unit(other),
        victim=index.of_part(row),
        session=known(row.session),
    )


def _who_interfered(index: Index, row: Written) -> Unit | None:
    """Who used the session between the writing of a row and the end of its context."""
    story = index.story_of(row.token)
    ended = row.at if story is None or story.ended_at is None else story.ended_at
    return index.user_during(row.session, row.process, row.at, ended, but=row.token)


def _left_open(index: Index, seen: ServerSession) -> Finding:
    last = index.last_user(seen.session, seen.process, seen.at)
    who = "its last context" if last is None else index.name(last.token)
    return Finding(
        Detector.TRANSACTION_BLEED,
        f"{who} left {seen.session} at rest with an open transaction "
        f"(open transactions: {seen.transactions}).",
        index.scenario_of(last.token if last is not None else 0),
        index.record.seed,
        seen.at,
        culprit=None if last is None else index.of_unit(last),
        session=seen.session,
    )
