"""A context saw or left a session's state that is not the baseline.

Three looks at the same thing:

- the first sight of a unit: what is not the baseline, and not this context's own doing, is what
  somebody else left;
- a later sight: what is neither the baseline nor what this context has set was changed meanwhile;
- the server, at rest: settings, application locks and temporary tables of sessions nobody uses.

Open transactions are told of by :mod:`.transaction_bleed`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from ..findings import Detector, Finding, Party
from ..record import Record, ServerSession, Sight, State, Token, Unit
from .index import NOBODY, Index, Key, key, shown

#: A setting, its value in the session, and what it should be.
Difference = tuple[str, str, str]


def detect(record: Record) -> Iterator[Finding]:
    """One finding for each context, session and set of settings."""
    index = Index(record)
    changes = _Changes(record)
    told: set[tuple[Token, Key, tuple[str, ...]]] = set()
    for sight in record.sights:
        baseline = record.baseline.get(sight.alias)
        if baseline is None:
            continue
        differences = _differences(sight, baseline)
        which = sight.token, key(sight.session, sight.process), tuple(d[0] for d in differences)
        if differences and which not in told:
            told.add(which)
            yield _seen(index, changes, sight, differences)
    for seen in record.at_rest:
        yield from _left(index, changes, seen)


class _Changes:
    """Which contexts are known to have set something on a session, and when."""

    def __init__(self, record: Record) -> None:
        self._by: dict[tuple[Key, str, str], list[tuple[float, Token]]] = {}
        for sight in record.sights:
            for name, value in sight.expected:
                which = key(sight.session, sight.process), name, value
                self._by.setdefault(which, []).append((sight.at, sight.token))
        for which, changes in self._by.items():
            changes.sort()
            # The first of those in a row of one context, so that who comes next is the next one.
            self._by[which] = [
                change
                for position, change in enumerate(changes)
                if not position or changes[position - 1][1] != change[1]
            ]

    def last(self, session: Key, name: str, value: str, at: float, but: Token) -> Token | None:
        changes = self._by.get((session, name, value))
        if changes is None:
            return None
        position = bisect_right(changes, at, key=lambda change: change[0]) - 1
        if position >= 0 and changes[position][1] == but:
            position -= 1
        return changes[position][1] if position >= 0 else None


def _differences(sight: Sight, baseline: State) -> list[Difference]:
    own = dict(sight.expected)
    if sight.is_first:
        return sight.state.differences(baseline, ignoring=own)
    due = State(tuple({**dict(baseline.settings), **own}.items()))
    return sight.state.differences(due)


def _seen(
    index: Index, changes: _Changes, sight: Sight, differences: list[Difference]
) -> Finding:  # fmt: skip
    culprit = _culprit(
        index, changes, key(sight.session, sight.process),
        index.last_user(sight.session, sight.process, sight.at, but=sight.token),
        differences, sight.at, sight.token,
    )  # fmt: skip
    who, where = index.name(sight.token), sight.session
    what = _list(differences)
    if sight.is_first:
        message = f"{who} came upon {where} with {what}"
    else:
        message = f"{where} changed under {who}: {what}"
    after = f", after {index.name(culprit.token)} had used it" if culprit is not None else ""
    return Finding(
        Detector.STATE_BLEED,
        f"{message}{after}.",
        index.scenario_of(sight.token),
        index.record.seed,
        sight.at,
        culprit=culprit,
        victim=index.of_part(sight),
        session=sight.session,
    )


def _culprit(
    index: Index, changes: _Changes, session: Key, last: Unit | None,
    differences: list[Difference], at: float, victim: Token,
) -> Party | None:  # fmt: skip
    """Who is known to have set just that; or else the last one who used the session."""
    for name, value, _ in differences:
        token = changes.last(session, name, value, at, victim)
        if token is not None:
            return _as_user(index, session, token, at)
    return None if last is None else index.of_unit(last)


def _as_user(index: Index, session: Key, token: Token, at: float) -> Party:
    timeline = index.timelines.get(session)
    use = None if timeline is None else timeline.last_of(token, at)
    return index.party(token) if use is None else index.of_unit(use)


def _left(index: Index, changes: _Changes, seen: ServerSession) -> Iterator[Finding]:
    last = index.last_user(seen.session, seen.process, seen.at)
    differences = _at_rest(seen, _baselines(index.record, last))
    left = [_list(differences)] if differences else []
    if seen.locks:
        left.append(f"the application locks {', '.join(map(shown, seen.locks))}")
    if seen.temporary:
        left.append(f"the temporary tables {', '.join(map(shown, seen.temporary))}")
    if not left:
        return
    session = key(seen.session, seen.process)
    culprit = _culprit(index, changes, session, last, differences, seen.at, NOBODY)
    who = "its last context" if culprit is None else index.name(culprit.token)
    yield Finding(
        Detector.STATE_BLEED,
        f"{who} left {seen.session} at rest with {'; '.join(left)}.",
        index.scenario_of(culprit.token if culprit is not None else 0),
        index.record.seed,
        seen.at,
        culprit=culprit,
        session=seen.session,
    )


def _baselines(record: Record, last: Unit | None) -> list[State]:
    """What the session may look like: as one of the alias that it was last used for."""
    if last is not None and last.alias in record.baseline:
        return [record.baseline[last.alias]]
    return list(record.baseline.values())


def _at_rest(seen: ServerSession, baselines: Iterable[State]) -> list[Difference]:
    """What is no baseline's, of the settings that both sides show; the fewest there are."""
    best: list[Difference] | None = None
    shows = dict(seen.settings)
    if seen.database:
        shows.setdefault("database", seen.database)
    for baseline in baselines:
        due = dict(baseline.settings)
        found = [
            (name, shows[name], due[name])
            for name in sorted(shows.keys() & due.keys())
            if shows[name] != due[name]
        ]
        if best is None or len(found) < len(best):
            best = found
    return best or []


def _list(differences: list[Difference]) -> str:
    return ", ".join(
        f"{name} {shown(value)!r} instead of {shown(due)!r}" for name, value, due in differences
    )
