"""What became of tests, and the file in which a run writes it down."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JOURNAL_VARIABLE = "DJANGO_SUITE_JOURNAL"
"""Names the file to a run."""

LEFT_OUT_VARIABLE = "DJANGO_SUITE_LEFT_OUT"
"""Names tests to a run, separated by spaces, that it is not to begin."""


class Outcome(enum.Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    LEFT_OUT = "left out"
    """Not run, because what it leaves behind fails the tests after it. Counts as failed."""


@dataclass(frozen=True, slots=True)
class TestReport:
    """One test. ``text`` is the traceback of a failure, or the reason of a skip."""

    __test__ = False  # no class of tests, whatever pytest makes of the name

    id: str
    outcome: Outcome
    text: str = ""


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """All tests of a module. ``broken`` says why the run did not come to its end, if so."""

    label: str
    tests: tuple[TestReport, ...]
    seconds: float
    broken: str = ""

    def count(self, outcome: Outcome) -> int:
        return sum(test.outcome is outcome for test in self.tests)

    @property
    def failures(self) -> dict[str, TestReport]:
        bad = (Outcome.FAILED, Outcome.LEFT_OUT)
        return {test.id: test for test in self.tests if test.outcome in bad}


@dataclass
class Journal:
    """One line of JSON per event, written at once: it survives a process that does not."""

    path: Path
    _file: Any = field(default=None, repr=False)

    def write(self, **event: str) -> None:
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()


def read_journal(path: Path) -> tuple[tuple[TestReport, ...], bool]:
    """The tests of a journal, and whether its run came to its end.

    Of the events of one test a failure wins: subtests and clean-ups report theirs apart. A
    test that began and has no outcome is the one in which the process ended: it failed.
    """
    tests: dict[str, TestReport] = {}
    running: dict[str, None] = {}
    complete = False
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    for line in lines:
        event = json.loads(line)
        if event["event"] == "end":
            complete = True
        elif event["event"] == "start":
            running[event["test"]] = None
        else:
            name = event["test"]
            running.pop(name, None)
            report = TestReport(name, Outcome(event["event"]), event.get("text", ""))
            before = tests.get(name)
            if before is None or before.outcome is not Outcome.FAILED:
                tests[name] = report
    for name in running:
        tests.setdefault(name, TestReport(name, Outcome.FAILED, "the process ended in it"))
    return tuple(tests.values()), complete
