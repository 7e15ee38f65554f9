"""The parts of ``docs/django-suite.md`` that are made from facts: what was recorded, and what
is expected to fail.

    python -m tests.django_suite.page

writes them; ``tests/test_django_suite.py`` holds that the page has them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .baseline import Reason, read_baseline
from .modules import LISTED, MORE
from .results import Numbers, Results, read_results, total

PAGE = Path(__file__).parents[2] / "docs" / "django-suite.md"


class NoSuchPart(Exception):
    """The page has no place for a part, or no end of it."""


def measure(results: Mapping[str, Results]) -> str:
    """The numbers of both lists, and their sum; failures by reason, "others" having none."""
    rows = []
    for _, entry in sorted(results.items()):
        for title, labels in (
            ("the list", LISTED),
            ("others", MORE),
            ("both", (*LISTED, *MORE)),
        ):
            known = [entry.modules[label] for label in labels if label in entry.modules]
            n = total(known)
            rows.append(
                (
                    f"{entry.version}, {title}", len(known), n.tests, n.passed, n.skipped,
                    n.dialect, n.stand_in, n.ours + n.unexpected, f"**{n.share:.2f}%**",
                    f"{n.seconds / 60:.0f} min",
                )
            )  # fmt: skip
    headings = (
        "Django", "modules", "tests", "passed", "skipped", "the dialect", "the stand-in", "others",
        "share", "time",
    )  # fmt: skip
    return _table(headings, rows)


def missing(_: Mapping[str, Results]) -> str:
    """What the stand-in lacks: the way from here to all of it."""
    return _reasons(Reason.STAND_IN, "what the stand-in does not do")


def dialect(_: Mapping[str, Results]) -> str:
    return _reasons(Reason.DIALECT, "what fails on SQL Server too")


def modules(results: Mapping[str, Results]) -> str:
    """Every module under every version: passed of those that count, and the failures."""
    series = sorted(results)
    labels = sorted({label for entry in results.values() for label in entry.modules})
    rows = [
        (f"`{label}`", *(_cell(results[name].modules.get(label)) for name in series))
        for label in labels
    ]
    return _table(("module", *(results[name].version for name in series)), rows)


def _cell(counts: Numbers | None) -> str:
    if counts is None:
        return "-"
    text = str(counts.passed)
    if counts.counting != counts.passed:
        text += f" of {counts.counting}"
    notes = [
        f"{number} {name}"
        for number, name in ((counts.skipped, "skipped"), (counts.dialect, "the dialect's"))
        if number
    ]
    return f"{text} ({', '.join(notes)})" if notes else text


def _reasons(reason: Reason, heading: str) -> str:
    series = sorted(read_results())
    counts = {
        name: Counter(e.why for e in read_baseline(name).values() if e.reason is reason)
        for name in series
    }
    whys = sorted(
        {why for counter in counts.values() for why in counter},
        key=lambda why: (-max(counter[why] for counter in counts.values()), why),
    )
    if not whys:
        return "Nothing."
    rows: list[Sequence[object]] = [
        (why.replace("|", "\\|"), *(counts[name][why] for name in series)) for why in whys
    ]
    rows.append(("**all**", *(counts[name].total() for name in series)))
    return _table((heading, *(f"tests, {name}" for name in series)), rows)


def _table(headings: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [headings, ["---", *("---:" for _ in headings[1:])], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


PARTS: Mapping[str, Callable[[Mapping[str, Results]], str]] = {
    "measure": measure,
    "missing": missing,
    "dialect": dialect,
    "modules": modules,
}


def made(page: str, results: Mapping[str, Results]) -> str:
    """The page with its parts as the facts are now.

    :raises NoSuchPart: it has no place for one.
    """
    for name, part in PARTS.items():
        place = re.compile(rf"(<!-- facts: {name}\b[^\n]*-->\n).*?(\n<!-- end of facts -->)", re.S)
        text = part(results)
        page, found = place.subn(lambda m, text=text: m[1] + text + m[2], page)
        if found != 1:
            raise NoSuchPart(name)
    return page


def main() -> int:
    PAGE.write_text(made(PAGE.read_text("utf-8"), read_results()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
