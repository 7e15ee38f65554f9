"""The table that a run prints, and what follows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple

from .baseline import Comparison, Reason
from .results import numbers, total

_HEADINGS = (
    "tests", "passed", "skipped", "dialect", "stand-in", "ours", "unexpected", "seconds",
)  # fmt: skip


def table(comparisons: Sequence[Comparison]) -> str:
    """A line per module, and their sum. ``dialect``, ``stand-in`` and ``ours`` are expected
    failures."""
    several = {comparison.module.label: numbers(comparison) for comparison in comparisons}
    several["all"] = total(list(several.values()))
    rows: list[tuple[str, Sequence[object]]] = [
        ("module", _HEADINGS),
        *((label, astuple(counts)) for label, counts in several.items()),
    ]
    width = max(len(label) for label, _ in rows)
    return "\n".join(
        f"{label:<{width}}" + "".join(f"{cell:>12}" for cell in cells) for label, cells in rows
    )


def share(comparisons: Sequence[Comparison]) -> str:
    """How many of the tests that pass on SQL Server pass here, as far as is known."""
    sums = total(numbers(comparison) for comparison in comparisons)
    if not sums.counting:
        return "No test was run."
    return (
        f"{sums.passed} of {sums.counting} tests that are not expected to fail on SQL Server "
        f"pass: {sums.share:.2f}%."
    )


def missing(comparisons: Sequence[Comparison]) -> str:
    """What the stand-in lacks, by the number of tests that want it."""
    counts = Counter(
        expected.why
        for comparison in comparisons
        for expected in comparison.expected.values()
        if expected.reason is Reason.STAND_IN
    )
    return "\n".join(f"{number:>5}  {why}" for why, number in counts.most_common())


def details(comparisons: Sequence[Comparison], *, tracebacks: bool = True) -> str:
    """What is not as the baseline has it."""
    parts = []
    for comparison in comparisons:
        module = comparison.module
        if module.broken:
            parts.append(f"BROKEN {module.label}: {module.broken}")
        for test in comparison.unexpected:
            text = f"FAILED {test}"
            if tracebacks:
                text += f"\n{module.failures[test].text.rstrip()}\n"
            parts.append(text)
        parts += [f"note: {test} was expected to fail and did not" for test in comparison.passes]
    return "\n".join(parts)
