"""``python -m loadtests leaks``: what it says and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import loadtests.__main__ as program
from loadtests.bench.peers import ROOT
from loadtests.leaks import cli
from loadtests.leaks.cli import CLEAN, FAILED, FOUND
from loadtests.leaks.controls import Control
from loadtests.leaks.options import RunOptions
from loadtests.leaks.outcome import Outcome, ScenarioResult
from loadtests.leaks.oversockets import NotServed
from loadtests.leaks.report.json import read_json, write_json
from loadtests.leaks.run import Progress
from mssql_async.contrib.leaks.findings import Detector

PATIENCE = 120.0

RanWith = list[RunOptions]


@pytest.fixture
def outcome() -> Outcome:
    """What the next run comes to."""
    return Outcome(scenarios=[ScenarioResult("exceptions", contexts=3)])


@pytest.fixture(autouse=True)
def ran_with(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> RanWith:
    ran: RanWith = []

    async def run(options: RunOptions, progress: Progress, _outcome: Outcome) -> None:
        ran.append(options)

    monkeypatch.setattr(cli, "run", run)
    monkeypatch.setattr(cli, "outcome_of", lambda _options: outcome)
    return ran


@pytest.fixture
def controls(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        name: Control(Detector.STATE_BLEED, ["set_options"], 40, 4, name, "It is broken.")
        for name in ("one", "two")
    }
    monkeypatch.setattr(cli, "controls", lambda: known)


class TestItsStatus:
    def test_is_0_where_nothing_is_found(self) -> None:
        assert cli.main(["--quiet"]) == CLEAN == 0

    def test_is_1_where_something_is_found(self, outcome: Outcome) -> None:
        outcome.scenarios[0].findings = {Detector.GROWTH: 1}
        assert cli.main(["--quiet"]) == FOUND == 1

    def test_is_0_with_errors_that_are_no_leaks(
        self, outcome: Outcome, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outcome.scenarios[0].errors = {"answer 500: oh no": 1}
        assert cli.main(["--quiet"]) == CLEAN
        assert "oh no" in capsys.readouterr().out

    def test_is_2_where_most_contexts_failed(
        self, outcome: Outcome, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outcome.scenarios[0].errors = {"answer 500: oh no": 2}
        assert cli.main(["--quiet"]) == FAILED
        assert "exceptions" in capsys.readouterr().err

    def test_is_2_where_a_context_hung(
        self, outcome: Outcome, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outcome.scenarios[0].hung = 1
        assert cli.main(["--quiet"]) == FAILED
        assert "contexts of exceptions hung" in capsys.readouterr().err

    def test_is_2_with_any_error_if_it_has_to_be_strict(
        self, outcome: Outcome, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["--quiet", "--strict"]) == CLEAN
        outcome.scenarios[0].errors = {"answer 500: oh no": 1}
        assert cli.main(["--quiet", "--strict"]) == FAILED
        assert "contexts of exceptions failed" in capsys.readouterr().err

    def test_is_2_where_nothing_ran(
        self, outcome: Outcome, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outcome.scenarios[0].skipped = "needs the embedded server"
        assert cli.main(["--quiet"]) == FAILED
        assert "no scenario could run" in capsys.readouterr().err

    def test_is_1_where_most_contexts_failed_and_something_is_found(self, outcome: Outcome) -> None:
        outcome.scenarios[0].errors = {"answer 500: oh no": 2}
        outcome.scenarios[0].findings = {Detector.GROWTH: 1}
        assert cli.main(["--quiet"]) == FOUND

    def test_is_2_where_there_is_no_such_scenario(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.undo()
        assert cli.main(["nonsense"]) == FAILED == 2
        assert "no scenario nonsense" in capsys.readouterr().err

    def test_is_2_where_there_is_no_such_control(
        self, controls: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["--control", "nonsense"]) == FAILED
        assert "there are: one, two" in capsys.readouterr().err

    def test_is_2_where_the_server_is_not_there(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("MSSQL_HOST", "127.0.0.1")
        monkeypatch.setenv("MSSQL_PORT", "1")
        monkeypatch.setenv("MSSQL_PASSWORD", "s3cret")
        assert cli.main(["exceptions", "--quiet"]) == FAILED
        told = capsys.readouterr()
        assert "cannot be reached" in told.err
        assert "s3cret" not in told.out + told.err

    def test_is_2_for_words_that_nobody_knows(self) -> None:
        with pytest.raises(SystemExit) as end:
            cli.main(["--nonsense"])
        assert end.value.code == FAILED


class TestItsOptions:
    def test_say_what_is_run(self, ran_with: RanWith) -> None:
        cli.main(
            [
                "exceptions",
                "on_commit",
                "--engine",
                "mssql",
                "--conn-max-age",
                "600",
                "--contexts",
                "9",
                "--concurrency",
                "3",
                "--over",
                "uvicorn",
                "--processes",
                "4",
                "--seed",
                "5",
                "--quiet",
            ]
        )
        assert ran_with == [
            RunOptions(
                ("exceptions", "on_commit"), engine="mssql", conn_max_age=600, contexts=9,
                concurrency=3, over="uvicorn", processes=4, seed=5,
            )
        ]  # fmt: skip

    def test_are_what_the_command_repeats(self, ran_with: RanWith) -> None:
        cli.main(
            [
                "exceptions",
                "--conn-max-age",
                "none",
                "--loops",
                "2",
                "--wave",
                "50",
                "--seed",
                "5",
                "--quiet",
            ]
        )
        (first,) = ran_with
        cli.main([*first.command()[4:], "--quiet"])
        assert ran_with[1] == first
        assert first.conn_max_age is None

    def test_choose_a_seed_and_say_which(
        self, ran_with: RanWith, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cli.main([])
        cli.main([])
        assert ran_with[0].seed != ran_with[1].seed
        assert f"seed {ran_with[0].seed}" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "wrong",
        [
            *("--contexts 0", "--conn-max-age -3", "--over nonsense", "--context-patience nan"),
            *("--rest-patience -1", "--rest-patience inf", "--control all --contexts 7"),
            *("exceptions --control all", "--json /no/such/folder/o.json", "--html /"),
        ],
    )
    def test_have_to_make_sense(self, wrong: str) -> None:
        with pytest.raises(SystemExit):
            cli.main(wrong.split())


class TestAControl:
    def test_is_run_as_it_says(self, controls: None, ran_with: RanWith) -> None:
        cli.main(["--control", "one", "--quiet", "--seed", "1"])
        (options,) = ran_with
        assert options.control == "one"
        assert options.names == ("set_options",)
        assert (options.contexts, options.concurrency) == (40, 4)

    def test_gives_way_to_the_command_line(self, controls: None, ran_with: RanWith) -> None:
        cli.main(["exceptions", "--control", "one", "--contexts", "7", "--quiet"])
        assert ran_with[0].names == ("exceptions",)
        assert ran_with[0].contexts == 7

    def test_is_caught_by_the_detector_that_has_to(
        self, controls: None, outcome: Outcome, tmp_path: Path
    ) -> None:
        outcome.scenarios[0].findings = {Detector.STATE_BLEED: 4}
        file = tmp_path / "outcome.json"
        assert cli.main(["--control", "one", "--quiet", "--json", str(file)]) == CLEAN
        (control,) = read_json(file).controls
        assert control.caught
        assert control.findings == 4

    def test_is_not_caught_by_another_one(
        self, controls: None, outcome: Outcome, capsys: pytest.CaptureFixture[str]
    ) -> None:
        outcome.scenarios[0].findings = {Detector.GROWTH: 4}
        assert cli.main(["--control", "one", "--quiet"]) == FOUND
        assert outcome.silent

    @pytest.mark.parametrize(
        ("found", "status"), [({"one", "two"}, CLEAN), ({"one"}, FOUND), (set(), FOUND)]
    )
    def test_all_have_to_be_caught(
        self,
        found: set[str],
        status: int,
        controls: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def in_a_process(name: str, given: object, seed: int) -> Outcome:
            result = ScenarioResult("set_options", contexts=1)
            if name in found:
                result.findings = {Detector.STATE_BLEED: 1}
            return Outcome(scenarios=[result])

        monkeypatch.setattr(cli, "_in_a_process", in_a_process)
        assert cli.main(["--control", "all", "--quiet"]) == status

    def test_that_could_not_run_is_not_caught(
        self, controls: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli, "_in_a_process", lambda *_: None)
        assert cli.main(["--control", "all", "--quiet"]) == FOUND


class TestItsFiles:
    def test_are_written(self, outcome: Outcome, tmp_path: Path) -> None:
        json, html = tmp_path / "o.json", tmp_path / "o.html"
        cli.main(["--quiet", "--json", str(json), "--html", str(html)])
        assert read_json(json).scenarios == outcome.scenarios
        assert "exceptions" in html.read_text()

    def test_are_written_to_standard_output_for_a_pipe(
        self, outcome: Outcome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cli.main(["--quiet", "--json", "-"])
        told = capsys.readouterr()
        (tmp_path / "piped.json").write_text(told.out)
        assert read_json(tmp_path / "piped.json").scenarios == outcome.scenarios
        assert "Nothing found" in told.err

    def test_are_as_the_terminal_has_it(self, outcome: Outcome, tmp_path: Path) -> None:
        write_json(outcome, tmp_path / "o.json")
        assert read_json(tmp_path / "o.json").contexts == 3


class TestARunThatIsBrokenOff:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "o.json"

    @pytest.fixture(params=[NotServed("A process under test has ended."), KeyboardInterrupt()])
    def end(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BaseException:
        async def run(*_: object) -> None:
            raise request.param

        monkeypatch.setattr(cli, "run", run)
        error: BaseException = request.param
        return error

    def test_tells_what_it_has_found_until_then(
        self, end: BaseException, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["--quiet", "--json", str(file)]) == FAILED
        told = capsys.readouterr()
        assert "Nothing found in 3 contexts; broken off: " in told.out
        assert "proves nothing" in told.err
        assert read_json(file).broken_off == (str(end) or "The run was interrupted.")

    def test_has_leaks_all_the_same(self, end: BaseException, outcome: Outcome, file: Path) -> None:
        outcome.scenarios[0].findings = {Detector.GROWTH: 1}
        assert cli.main(["--quiet", "--json", str(file)]) == FOUND
        assert read_json(file).found == 1

    def test_catches_no_control(
        self, end: BaseException, controls: None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["--control", "one", "--quiet"]) != CLEAN

    def test_writes_nothing_before_there_is_something(
        self, end: BaseException, outcome: Outcome, file: Path
    ) -> None:
        outcome.scenarios.clear()
        assert cli.main(["--quiet", "--json", str(file)]) == FAILED
        assert not file.exists()


def test_one_that_is_interrupted_for_real_writes_its_report(tmp_path: Path) -> None:
    file = tmp_path / "o.json"
    command = [sys.executable, "-m", "loadtests", "leaks", "forked_workers", "sync_views"]
    with subprocess.Popen(
        [*command, "--contexts", "200000", "--json", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout is not None
        # The first cannot run in memory, and says so once everything is ready for the second.
        next(line for line in running.stdout if "forked_workers: skipped" in line)
        # As Ctrl-C does; only that a shell has its background jobs ignore SIGINT.
        running.terminate()
        try:
            told, _ = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert running.returncode == FAILED, told
    assert "Traceback" not in told
    assert "interrupted" in read_json(file).broken_off


def leaks(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout


def test_it_lists_what_there_is_with_a_line_for_each() -> None:
    listed = leaks("leaks", "--list").splitlines()
    scenarios = listed[: listed.index("Controls:")]
    assert any(line.startswith("  exceptions  ") and line.endswith(".") for line in scenarios)
    assert any(line.startswith("  no_reset  ") for line in listed[len(scenarios) :])


class TestLoadtests:
    def test_says_what_there_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert program.main(["--help"]) == 0
        assert "leaks" in capsys.readouterr().out

    @pytest.mark.parametrize("words", [[], ["nonsense"]])
    def test_does_nothing_without_being_told_what(self, words: list[str]) -> None:
        assert program.main(words) == 2

    def test_hands_over_the_rest_of_the_words(self) -> None:
        assert program.main(["leaks", "--quiet"]) == CLEAN
