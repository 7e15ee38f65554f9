"""The ``TEST_RUNNER`` of the runs: Django's, writing down what becomes of each test."""

from __future__ import annotations

import os
import unittest
from pathlib import Path
from typing import Any

from django.test.runner import DiscoverRunner
from django.test.utils import iter_test_cases  # type: ignore[attr-defined]  # not in the stubs

from .outcomes import JOURNAL_VARIABLE, LEFT_OUT_VARIABLE, Journal, Outcome


def _journal() -> Journal:
    return Journal(Path(os.environ[JOURNAL_VARIABLE]))


class RecordingResult(unittest.TextTestResult):
    """A result that tells a journal, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._journal = _journal()

    def _note(self, test: Any, outcome: Outcome, text: str = "") -> None:
        self._journal.write(event=outcome.value, test=test.id(), text=text)

    def startTest(self, test: Any) -> None:  # noqa: N802 - unittest's names
        super().startTest(test)
        self._journal.write(event="start", test=test.id())

    def addSuccess(self, test: Any) -> None:  # noqa: N802
        super().addSuccess(test)
        self._note(test, Outcome.PASSED)

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._note(test, Outcome.FAILED, self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._note(test, Outcome.FAILED, self.failures[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            known = self.failures if issubclass(err[0], test.failureException) else self.errors
            self._note(test, Outcome.FAILED, f"{subtest}\n{known[-1][1]}")

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self._note(test, Outcome.SKIPPED, reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
        super().addExpectedFailure(test, err)
        self._note(test, Outcome.PASSED)

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self._note(test, Outcome.FAILED, "it passed, and Django expects it to fail")


class RecordingRunner(DiscoverRunner):
    """Django's runner with that result, less the tests that the run leaves out."""

    def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:
        suite: unittest.TestSuite = super().build_suite(*args, **kwargs)
        left_out = set(os.environ.get(LEFT_OUT_VARIABLE, "").split())
        journal = _journal()
        run = []
        for test in iter_test_cases(suite):
            if test.id() in left_out:
                journal.write(event=Outcome.LEFT_OUT.value, test=test.id())
            else:
                run.append(test)
        return type(suite)(run)

    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return RecordingResult

    def suite_result(self, suite: Any, result: Any, **kwargs: Any) -> int:
        _journal().write(event="end")
        return super().suite_result(suite, result, **kwargs)
