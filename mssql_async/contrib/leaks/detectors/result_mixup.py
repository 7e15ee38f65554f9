"""A context read a row, a message or an error that answers another's statement.

Each question carries a number that is never used again, and only one answer fits.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..findings import Detector, Finding
from ..record import Answer, Record
from .index import Index, known, on, shown


def detect(record: Record) -> Iterator[Finding]:
    """One finding for each wrong answer. Who asked for what came instead is the culprit."""
    index = Index(record)
    asked: dict[str, Answer] | None = None
    for answer in record.answers:
        if answer.got == answer.expected:
            continue
        if asked is None:
            asked = {each.expected: each for each in record.answers}
        yield _finding(index, answer, asked.get(answer.got))


def _finding(index: Index, answer: Answer, meant: Answer | None) -> Finding:
    who, kind = index.name(answer.token), answer.kind.value
    got = shown(repr(answer.got)) if answer.got else "nothing"
    if meant is None:
        whose = ""
    elif meant.token == answer.token:
        whose = ", which answers another question of its own"
    else:
        whose = f", which answers {index.name(meant.token)}"
    culprit = None
    if meant is not None and meant.token != answer.token:
        culprit = index.of_part(meant)
    return Finding(
        Detector.RESULT_MIX_UP,
        f"{who} got the {kind} {got}{on(answer.session)}{whose}, where only "
        f"{shown(repr(answer.expected))} fits.",
        index.scenario_of(answer.token),
        index.record.seed,
        answer.at,
        culprit=culprit,
        victim=index.of_part(answer),
        session=known(answer.session),
    )
