"""The runner of Django's own test suite: what it writes down, compares, fetches and says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.django_suite import __main__ as program
from tests.django_suite import page, report, source
from tests.django_suite.baseline import (
    BadBaseline,
    Baseline,
    Expected,
    Reason,
    compare,
    gone,
    left_out,
    read_baseline,
)
from tests.django_suite.modules import ALL, CORE, LISTED, MORE, labels
from tests.django_suite.outcomes import (
    Journal,
    ModuleReport,
    Outcome,
    TestReport,
    read_journal,
)
from tests.django_suite.results import Numbers, Results, read_results, record, total
from tests.django_suite.run import Suite
from tests.django_suite.source import CannotFetch, WrongContent

DIALECT = Expected(Reason.DIALECT, "it always does")


def module(**outcomes: Outcome) -> ModuleReport:
    tests = tuple(TestReport(f"m.{name}", outcome) for name, outcome in outcomes.items())
    return ModuleReport("m", tests, 1.0)


class TestComparing:
    def test_a_failure_that_is_expected_is_none(self) -> None:
        comparison = compare(
            module(a=Outcome.PASSED, b=Outcome.FAILED, c=Outcome.LEFT_OUT),
            {"m.b": DIALECT, "m.c": DIALECT},
        )
        assert comparison.is_as_expected
        assert comparison.count(Reason.DIALECT) == 2

    def test_one_that_is_not_is(self) -> None:
        comparison = compare(module(a=Outcome.PASSED, b=Outcome.FAILED), {})
        assert not comparison.is_as_expected
        assert comparison.unexpected == ("m.b",)
        assert "FAILED m.b" in report.details([comparison])

    def test_a_pass_that_nobody_expected_is_noted(self) -> None:
        comparison = compare(module(a=Outcome.PASSED), {"m.a": DIALECT})
        assert comparison.is_as_expected
        assert "m.a was expected to fail and did not" in report.details([comparison])

    def test_a_run_that_broke_off_is_never_as_expected(self) -> None:
        broken = ModuleReport("m", (), 1.0, broken="it ended with -6")
        assert not compare(broken, {}).is_as_expected

    def test_expected_failures_that_do_not_exist_are_found_in_whole_modules(self) -> None:
        baseline: Baseline = {"m.a": DIALECT, "m.z": DIALECT, "other.a": DIALECT}
        assert gone([module(a=Outcome.FAILED)], baseline) == ["m.z"]

    def test_the_share_leaves_out_what_fails_on_sql_server_too(self) -> None:
        comparison = compare(
            module(
                a=Outcome.PASSED, b=Outcome.PASSED, c=Outcome.PASSED,
                d=Outcome.FAILED, e=Outcome.FAILED, f=Outcome.SKIPPED,
            ),
            {"m.d": DIALECT, "m.e": Expected(Reason.STAND_IN, "not done")},
        )  # fmt: skip
        assert report.share([comparison]).startswith("3 of 4 tests")
        assert report.missing([comparison]).split() == ["1", "not", "done"]


class TestJournal:
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        return Journal(tmp_path / "journal")

    def test_a_failure_wins_over_what_is_said_of_the_same_test(self, journal: Journal) -> None:
        """Of a subtest, or of a clean-up after the test has passed."""
        for event in ("start", "failed", "passed"):
            journal.write(event=event, test="m.a", text=event)
        [test], complete = read_journal(journal.path)
        assert (test.outcome, test.text) == (Outcome.FAILED, "failed")
        assert not complete

    def test_the_test_in_which_the_process_ended_has_failed(self, journal: Journal) -> None:
        journal.write(event="start", test="m.a")
        [test], _ = read_journal(journal.path)
        assert test.outcome is Outcome.FAILED

    def test_the_end_is_known(self, journal: Journal) -> None:
        journal.write(event="end")
        assert read_journal(journal.path) == ((), True)

    def test_without_a_journal_nothing_was_run(self, tmp_path: Path) -> None:
        assert read_journal(tmp_path / "none") == ((), False)


class TestBaseline:
    def write(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / "expected.toml"
        path.write_text(text, "utf-8")
        return path

    def test_versions_have_their_own(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path,
            '[[expected]]\nreason = "the dialect"\nwhy = "both"\ntests = "m.a"\n'
            '[[expected]]\nreason = "the stand-in"\nwhy = "new"\ndjango = ["6.1"]\n'
            'run = false\ntests = """\nm.b\nm.c\n"""\n',
        )
        assert set(read_baseline("5.2", path)) == {"m.a"}
        newer = read_baseline("6.1", path)
        assert set(newer) == {"m.a", "m.b", "m.c"}
        assert left_out(newer) == {"m.b", "m.c"}

    @pytest.mark.parametrize(
        "text",
        [
            '[[expected]]\nreason = "whatever"\nwhy = "x"\ntests = "m.a"\n',
            '[[expected]]\nreason = "ours"\ntests = "m.a"\n',
            '[[expected]]\nreason = "ours"\nwhy = "x"\ntests = "m.a"\nextra = 1\n',
            '[[expected]]\nreason = "ours"\nwhy = "x"\ntests = "m.a m.a"\n',
        ],
    )
    def test_nonsense_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(BadBaseline):
            read_baseline("6.1", self.write(tmp_path, text))

    @pytest.mark.parametrize("version", ["5.2", "6.1"])
    def test_the_committed_one_has_no_bug_of_ours(self, version: str) -> None:
        assert [t for t, e in read_baseline(version).items() if e.reason is Reason.OURS] == []

    @pytest.mark.parametrize("version", ["5.2", "6.1"])
    def test_the_core_has_no_expected_failure(self, version: str) -> None:
        core = {label.partition("@")[0] for label in CORE}
        assert [t for t in read_baseline(version) if t.partition(".")[0] in core] == []


def test_modules_are_those_named_else_a_list() -> None:
    assert labels(["basic", "basic"], core=True) == ["basic"]
    assert labels([], core=True) == list(CORE)
    assert labels([], listed=True) == list(LISTED)
    assert labels([]) == list(ALL)


def test_no_module_is_in_both_lists() -> None:
    assert len(set(ALL)) == len(ALL) == len(LISTED) + len(MORE)


class TestResults:
    COMPARISON = compare(
        module(a=Outcome.PASSED, b=Outcome.FAILED, c=Outcome.FAILED, d=Outcome.SKIPPED),
        {"m.b": DIALECT, "m.c": Expected(Reason.STAND_IN, "not done")},
    )

    def test_they_are_kept_by_version_and_module(self, tmp_path: Path) -> None:
        path = tmp_path / "results.json"
        record("6.1.3", [self.COMPARISON], path)
        record("5.2.19", [self.COMPARISON], path)
        record("6.1.3", [compare(ModuleReport("n", (), 1.0), {})], path)
        results = read_results(path)
        assert {series: set(entry.modules) for series, entry in results.items()} == {
            "5.2": {"m"},
            "6.1": {"m", "n"},
        }
        expected = Numbers(tests=4, passed=1, skipped=1, dialect=1, stand_in=1, seconds=1)
        assert results["5.2"].modules["m"] == expected
        assert (expected.counting, expected.share) == (2, 50.0)

    def test_those_of_another_release_are_gone(self, tmp_path: Path) -> None:
        path = tmp_path / "results.json"
        record("6.1.2", [self.COMPARISON], path)
        record("6.1.3", [compare(ModuleReport("n", (), 1.0), {})], path)
        assert set(read_results(path)["6.1"].modules) == {"n"}

    def test_a_run_that_broke_off_is_not_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "results.json"
        record("6.1.3", [compare(ModuleReport("m", (), 1.0, broken="it ended"), {})], path)
        assert read_results(path)["6.1"].modules == {}


class TestPage:
    """docs/django-suite.md says what results.json and expected.toml say."""

    def test_it_has_the_facts_of_now(self) -> None:
        """Else: ``python -m tests.django_suite.page``."""
        written = page.PAGE.read_text("utf-8")
        assert page.made(written, read_results()) == written

    def test_facts_that_have_changed_change_it(self) -> None:
        written = page.PAGE.read_text("utf-8")
        results = read_results()
        modules = {**results["6.1"].modules, "basic": Numbers(tests=80, passed=60, ours=20)}
        now = page.made(written, {**results, "6.1": Results("6.1.3", modules)})
        assert "60 of 80" in now
        assert page.made(now, results) == written

    def test_a_page_without_a_place_for_them_is_refused(self) -> None:
        with pytest.raises(page.NoSuchPart, match="measure"):
            page.made("# Django's own test suite", read_results())

    @pytest.mark.parametrize("series", ["5.2", "6.1"])
    @pytest.mark.parametrize("among", [LISTED, MORE])
    def test_what_was_recorded_is_whole_and_enough(
        self, series: str, among: tuple[str, ...]
    ) -> None:
        """Of all modules, and at least 92 per cent of what passes on SQL Server."""
        recorded = read_results()[series].modules
        assert total(recorded[label] for label in among).share >= 92


class TestSource:
    def test_what_is_not_what_django_published_is_refused(self, tmp_path: Path) -> None:
        archive = tmp_path / "django-1.0.tar.gz"
        archive.write_bytes(b"something")
        sums = tmp_path / "sums"
        sums.write_text(f"{hashlib.sha256(b'something').hexdigest()}  {archive.name}\n")
        assert source.verify(archive, sums)
        archive.write_bytes(b"something else")
        with pytest.raises(WrongContent):
            source.verify(archive, sums)

    def test_of_a_version_without_a_sum_only_the_index_vouches(self, tmp_path: Path) -> None:
        assert not source.verify(tmp_path / "django-0.1.tar.gz")

    def test_without_an_index_it_cannot_be_fetched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        with pytest.raises(CannotFetch, match="No matching distribution"):
            source.suite("5.2.1", tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []


class TestProgram:
    def offline(self, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
        def fetch(version: str) -> Path:
            raise CannotFetch("no route to host")

        monkeypatch.setattr(program, "suite", fetch)
        return program.main(arguments)

    def test_offline_it_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.offline(monkeypatch=monkeypatch) == 2

    def test_unless_it_may_be_skipped_which_it_says(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.offline("--skip-offline", monkeypatch=monkeypatch) == 0
        assert "SKIPPED" in capsys.readouterr().out


RUNTESTS = """
import os, sys
from tests.django_suite.outcomes import Journal, JOURNAL_VARIABLE
from pathlib import Path

journal = Journal(Path(os.environ[JOURNAL_VARIABLE]))
journal.write(event="start", test="m.a")
if "crashes" in sys.argv[-1]:
    os.abort()
if "hangs" in sys.argv[-1]:
    sys.stdin = open("/dev/zero", "rb")
    while True:
        sys.stdin.read(1)
journal.write(event="passed", test="m.a")
journal.write(event="end")
print(os.environ["DJANGO_SUITE_ENTRY_POINT"], os.environ["MSSQL_PORT"])
"""


class TestRunningAModule:
    """With a stub where Django's runtests.py would be, and a real server."""

    @pytest.fixture
    def tests(self, tmp_path: Path) -> Path:
        (tmp_path / "runtests.py").write_text(RUNTESTS)
        return tmp_path

    def test_what_it_wrote_is_the_report(self, tests: Path) -> None:
        module = Suite(tests).run("m")
        assert [(test.id, test.outcome) for test in module.tests] == [("m.a", Outcome.PASSED)]
        assert not module.broken

    @pytest.mark.parametrize("label", ["crashes", "hangs"])
    def test_one_that_does_not_come_to_its_end_is_broken(self, tests: Path, label: str) -> None:
        module = Suite(tests, limit=5 if label == "hangs" else 60).run(label)
        assert "before its end" in module.broken
        assert set(module.failures) == {"m.a"}


def test_pytest_collects_nothing_of_it() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/django_suite"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
