"""A context ended and still holds a lease.

``Record.held`` is asked for when every context of a process has ended: whatever is lent then is a
finding. So is a unit without an end (an infinite one): a cursor or a transaction that its context
never let go of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..findings import Detector, Finding
from ..record import Held, Record, Session, Token
from .index import Index, known, on, shown


def detect(record: Record) -> Iterator[Finding]:
    """One finding for each lease, and for each context and session with a unit left open."""
    index = Index(record)
    told: set[tuple[int, Token, Session]] = set()
    leases: set[tuple[object, ...]] = set()
    for held in record.held:
        which = (held.process, held.token, held.session, held.since, held.place, held.what)
        if which in leases:  # asked for twice
            continue
        leases.add(which)
        if held.session is not None:
            told.add((held.process, held.token, held.session))
        yield _of_lease(index, held)
    for unit in record.units:
        who = unit.process, unit.token, unit.session
        if math.isfinite(unit.ended_at) or who in told:
            continue
        told.add(who)
        yield Finding(
            Detector.RETAINED_LEASE,
            f"{index.name(unit.token)} has ended without the end of a {unit.use.value} that it "
            f"began{on(unit.session)}.",
            index.scenario_of(unit.token),
            record.seed,
            unit.began_at,
            culprit=index.of_unit(unit),
            session=known(unit.session),
        )


def _of_lease(index: Index, held: Held) -> Finding:
    last = None
    if held.session is not None:
        last = index.last_user(held.session, held.process, held.at)
    token = held.token or (last.token if last is not None else 0)
    who = index.name(token) if token else f"a context of process {held.process}"
    since = f" {held.at - held.since:.1f} s after it was acquired" if held.since is not None else ""
    statement = held.statement
    if not statement and last is not None and last.token == token:
        statement = last.statement
    return Finding(
        Detector.RETAINED_LEASE,
        f"{who} has ended and still holds {shown(held.what)}{on(held.session)}{since}.",
        index.scenario_of(token),
        index.record.seed,
        held.at,
        culprit=index.party(
            token, statement=statement, place=held.place, at=held.since, acquired_at=held.since
        ),
        session=known(held.session),
    )  # fmt: skip
