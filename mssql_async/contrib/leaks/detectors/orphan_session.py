"""A server session that no pool knows.

What the server shows of each process at rest is held against what its pools (or wrappers) know.
Where they name their sessions, every other one is an orphan; where they only count them, those
beyond the count are. A session of a process that nobody could ask, while others were asked, is
one too: its process is gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Detector, Finding
from ..record import Known, Record, ServerSession, Unit
from .index import Index, shown


def detect(record: Record) -> Iterator[Finding]:
    """One finding for each session too many. Nothing where no process was asked."""
    index = Index(record)
    known = _latest(record)
    if not known:
        return
    for process, sessions in sorted(_at_server(record).items()):
        told = known.get(process)
        if told is None:
            for seen in sessions:
                yield _finding(index, seen, f"process {process}, which is gone", "")
            continue
        # By number alone: SQL Server may tell another time of login after a reset.
        named = {session.spid for session in told.sessions}
        strangers = [seen for seen in sessions if seen.session.spid not in named]
        # Last those that a context has used: what was never used was opened in advance.
        strangers.sort(key=lambda seen: _last_user(index, seen) is not None)
        # A connection whose session is gone at the server is known, and makes no room.
        unnamed = max(0, told.count - len(named))
        surplus = len(strangers) - unnamed
        for seen in strangers[len(strangers) - surplus :] if surplus > 0 else ():
            among = "" if surplus == len(strangers) else f", or another of {len(strangers)}"
            yield _finding(
                index, seen, f"process {process}",
                f"{among} (at the server {len(sessions)}, known {told.count})",
            )  # fmt: skip


def _latest(record: Record) -> dict[int, Known]:
    latest: dict[int, Known] = {}
    for known in record.known:
        if known.process not in latest or known.at >= latest[known.process].at:
            latest[known.process] = known
    return latest


def _at_server(record: Record) -> dict[int, list[ServerSession]]:
    """The sessions under test of each process, each once, in the order of their numbers."""
    each = {
        (seen.session.spid, seen.process): seen
        for seen in record.at_rest
        if not record.program or seen.program == record.program
    }
    found: dict[int, list[ServerSession]] = {}
    for seen in sorted(each.values(), key=lambda seen: (seen.session.spid, seen.at)):
        found.setdefault(seen.process, []).append(seen)
    return found


def _last_user(index: Index, seen: ServerSession) -> Unit | None:
    return index.last_user(seen.session, seen.process, seen.at)


def _finding(index: Index, seen: ServerSession, whose: str, numbers: str) -> Finding:
    last = _last_user(index, seen)
    doing = f", last statement {shown(seen.statement)!r}" if seen.statement else ""
    who = "no context is known to have used it"
    if last is not None:
        who = f"{index.name(last.token)} used it last"
    return Finding(
        Detector.ORPHAN_SESSION,
        f"The server has {seen.session} ({seen.status}{doing}) of {whose}, which no pool "
        f"knows{numbers}; {who}.",
        index.scenario_of(last.token if last is not None else 0),
        index.record.seed,
        seen.at,
        culprit=None if last is None else index.of_unit(last),
        session=seen.session,
    )
