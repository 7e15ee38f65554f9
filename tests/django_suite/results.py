"""What the last recorded runs gave, in numbers: a file that ``docs/django-suite.md`` is made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .baseline import Comparison, Reason
from .outcomes import Outcome

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of a module, or of several. Failures are expected ones, by reason, or unexpected."""

    tests: int = 0
    passed: int = 0
    skipped: int = 0
    dialect: int = 0
    stand_in: int = 0
    ours: int = 0
    unexpected: int = 0
    seconds: int = 0

    def __add__(self, other: Numbers) -> Numbers:
        mine, others = asdict(self), asdict(other)
        return Numbers(**{name: mine[name] + others[name] for name in mine})

    @property
    def counting(self) -> int:
        """The tests that are not known to fail on SQL Server, less those that Django skips."""
        return self.passed + self.stand_in + self.ours + self.unexpected

    @property
    def share(self) -> float:
        """Per cent of those that pass."""
        return 100 * self.passed / self.counting if self.counting else 0.0


def numbers(comparison: Comparison) -> Numbers:
    module = comparison.module
    return Numbers(
        tests=len(module.tests),
        passed=module.count(Outcome.PASSED),
        skipped=module.count(Outcome.SKIPPED),
        dialect=comparison.count(Reason.DIALECT),
        stand_in=comparison.count(Reason.STAND_IN),
        ours=comparison.count(Reason.OURS),
        unexpected=len(comparison.unexpected),
        seconds=round(module.seconds),
    )


def total(several: Iterable[Numbers]) -> Numbers:
    return sum(several, start=Numbers())


@dataclass(frozen=True, slots=True)
class Results:
    """The runs under one version of Django, such as ``"6.1.3"``; modules by their labels."""

    version: str
    modules: Mapping[str, Numbers]


def read_results(path: Path = RESULTS) -> dict[str, Results]:
    """By the version's first two numbers: ``"6.1"``."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {
        series: Results(
            entry["version"],
            {label: Numbers(**counts) for label, counts in entry["modules"].items()},
        )
        for series, entry in found.items()
    }


def record(version: str, comparisons: Iterable[Comparison], path: Path = RESULTS) -> None:
    """Put a run in the place of what was recorded of its modules under that version. Runs that
    broke off are not recorded."""
    results = read_results(path)
    series = ".".join(version.split(".")[:2])
    before = results.get(series)
    modules = dict(before.modules) if before and before.version == version else {}
    modules.update((c.module.label, numbers(c)) for c in comparisons if not c.module.broken)
    results[series] = Results(version, dict(sorted(modules.items())))
    lines = ",\n".join(
        f'  {json.dumps(name)}: {{\n    "version": {json.dumps(entry.version)},\n'
        f'    "modules": {{\n{_modules(entry.modules)}\n    }}\n  }}'
        for name, entry in sorted(results.items())
    )
    path.write_text(f"{{\n{lines}\n}}\n", "utf-8")


def _modules(modules: Mapping[str, Numbers]) -> str:
    """A line for each, so that a change of one is a change of one line."""
    return ",\n".join(
        f"      {json.dumps(label)}: {json.dumps(asdict(counts))}"
        for label, counts in modules.items()
    )
