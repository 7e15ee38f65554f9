"""The failures that are expected, each with its reason, and how a run compares with them."""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .modules import ENTRY_POINT
from .outcomes import ModuleReport

EXPECTED = Path(__file__).with_name("expected.toml")


class Reason(enum.Enum):
    DIALECT = "the dialect"
    """It fails on SQL Server with mssql-django too."""
    STAND_IN = "the stand-in"
    """The embedded server does not do it."""
    OURS = "ours"
    """A bug of this backend. To stay empty."""


class BadBaseline(Exception):
    """The file of expected failures says something that makes no sense."""


@dataclass(frozen=True, slots=True)
class Expected:
    reason: Reason
    why: str
    run: bool = True
    """False for a test that would fail those after it, too: it is left out."""


Baseline = Mapping[str, Expected]


def read_baseline(django: str, path: Path = EXPECTED) -> Baseline:
    """Id of a test -> why it fails, under a version of Django such as ``"6.1"``.

    The file has ``[[expected]]`` tables: ``reason``, ``why`` (a sentence), ``tests`` (a text of
    ids, one a line) and, where it is not all versions, ``django`` (a list of them); ``run =
    false`` leaves them out.

    :raises BadBaseline: an entry lacks a key, has an unknown one, or repeats a test.
    """
    baseline: dict[str, Expected] = {}
    for entry in tomllib.loads(path.read_text("utf-8")).get("expected", []):
        if unknown := set(entry) - {"reason", "why", "tests", "django", "run"}:
            raise BadBaseline(f"{path.name}: unknown keys {sorted(unknown)}")
        try:
            expected = Expected(Reason(entry["reason"]), entry["why"], entry.get("run", True))
            tests = entry["tests"].split()
        except (KeyError, ValueError) as error:
            raise BadBaseline(f"{path.name}: {error} in {entry}") from error
        if django not in entry.get("django", [django]):
            continue
        for test in tests:
            if test in baseline:
                raise BadBaseline(f"{path.name} has {test} twice")
            baseline[test] = expected
    return baseline


@dataclass(frozen=True)
class Comparison:
    """A run of a module beside the baseline."""

    module: ModuleReport
    expected: dict[str, Expected] = field(default_factory=dict)
    """Failures that the baseline names."""
    unexpected: tuple[str, ...] = ()
    """Failures that it does not name."""
    passes: tuple[str, ...] = ()
    """Tests that it names and that passed or were skipped."""

    @property
    def is_as_expected(self) -> bool:
        """Passes that nobody expected are good news, and to be written down."""
        return not self.unexpected and not self.module.broken

    def count(self, reason: Reason) -> int:
        return sum(expected.reason is reason for expected in self.expected.values())


def left_out(baseline: Baseline) -> frozenset[str]:
    """The tests that no run begins."""
    return frozenset(test for test, expected in baseline.items() if not expected.run)


def compare(module: ModuleReport, baseline: Baseline) -> Comparison:
    """The failures of a module by whether they are expected."""
    failures = module.failures
    return Comparison(
        module,
        {test: baseline[test] for test in failures if test in baseline},
        tuple(sorted(test for test in failures if test not in baseline)),
        tuple(
            sorted(
                test.id for test in module.tests if test.id not in failures and test.id in baseline
            )
        ),
    )


def gone(modules: Iterable[ModuleReport], baseline: Baseline) -> list[str]:
    """Tests of the baseline that belong to modules that were run whole, and are not there."""
    modules = list(modules)
    whole = {m.label.removesuffix(ENTRY_POINT) for m in modules if not m.broken}
    there = {test.id for module in modules for test in module.tests}
    return sorted(
        test for test in baseline if test.partition(".")[0] in whole and test not in there
    )
