"""Every control is caught by the detector that it names: the harness finds what it says it finds.

Each control breaks a process of its own, which is the harness's command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtests.leaks.catalogue import catalogue as scenarios
from loadtests.leaks.controls import Control, NotAControl, catalogue, control_of
from loadtests.leaks.outcome import Outcome
from loadtests.leaks.report.json import read_json
from mssql_async.contrib.leaks.findings import Detector

from .test_places import assert_all_are_named

ROOT = Path(__file__).parents[2]
CONTROLS = catalogue()
ONE_OF_EACH = {
    "cached_results",
    "forgotten_connections",
    "kept_leases",
    "no_reset",
    "one_wrapper_for_all",
    "open_transactions",
    "threads_left",
}
"""One for each detector is run always, the others with ``-m slow``."""
AT_ONCE = 3
"""Mostly they wait for something to come to rest."""
PATIENCE = 240
"""Seconds."""


@dataclass(frozen=True)
class Ran:
    status: int
    printed: str
    outcome: Outcome


def run(control: str, folder: Path, **environment: str) -> Ran:
    file = folder / f"{control}.json"
    return harness("-m", "loadtests", *ARGUMENTS, "--control", control, file=file, **environment)


ARGUMENTS = ["leaks", "--quiet", "--seed", "7"]


def harness(*arguments: str, file: Path, **environment: str) -> Ran:
    """Run Python with these arguments, which make it the command line of the harness."""
    ended = subprocess.run(
        [sys.executable, *arguments, "--json", str(file)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    assert file.exists(), f"{arguments} did not run:\n{printed}"
    return Ran(ended.returncode, printed, read_json(file))


def silencing(detector: Detector, folder: Path) -> dict[str, str]:
    """An environment in which a detector is switched off in every Python that is started."""
    folder.joinpath("sitecustomize.py").write_text(
        "from mssql_async.contrib.leaks import detectors\n"
        "from mssql_async.contrib.leaks.findings import Detector\n"
        f"off = Detector({detector.value!r})\n"
        "detectors.DETECTORS = {**detectors.DETECTORS, off: lambda record: ()}\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


@pytest.fixture(scope="module")
def ran(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Ran]]:
    """The runs of the controls that were asked for, several at a time."""
    folder = tmp_path_factory.mktemp("controls")
    asked = {
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path == Path(__file__)
        and hasattr(item, "callspec")
        and "name" in item.callspec.params
    }
    with ThreadPoolExecutor(AT_ONCE) as threads:
        runs: dict[str, Future[Ran]] = {
            name: threads.submit(run, name, folder) for name in CONTROLS if name in asked
        }
        yield lambda name: runs[name].result()
        for each in runs.values():
            each.cancel()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ONE_OF_EACH else pytest.mark.slow)
        for name in CONTROLS
    ],
)
def test_is_caught_by_the_detector_that_it_names(name: str, ran: Callable[[str], Ran]) -> None:
    control, seen = CONTROLS[name], ran(name)
    [result] = seen.outcome.controls
    assert (result.name, result.detector) == (name, control.detector)
    assert result.caught, f"{name} was not caught:\n{seen.printed}"
    found = [each for each in seen.outcome.findings if each.detector is control.detector]
    assert found
    assert seen.outcome.found_by(control.detector) == result.findings >= len(found)
    assert_all_are_named(seen.outcome)


STATE = {
    "application_locks": "application lock",
    "context_info": "context info",
    "identity_insert": "identity insert",
    "isolation_level": "isolation level",
    "set_options": "lock timeout",
    "temporary_tables": "temporary table",
    "use_database": "database",
}
"""What a scenario leaves in its session -> what the finding calls it."""


@pytest.mark.slow
def test_every_kind_of_state_is_seen_that_a_pool_without_a_reset_lends_on(tmp_path: Path) -> None:
    seen = harness(
        "-m", "loadtests", *ARGUMENTS, "--control", "no_reset", *STATE, "--contexts", "280",
        file=tmp_path / "outcome.json",
    )  # fmt: skip
    told = " ".join(each.message for each in seen.outcome.findings)
    assert {name for name, word in STATE.items() if word in told} == set(STATE), seen.printed


def test_every_detector_has_two_controls() -> None:
    caught = [control.detector for control in CONTROLS.values()]
    assert {detector: caught.count(detector) >= 2 for detector in Detector} == dict.fromkeys(
        Detector, True
    )


def test_one_control_of_every_detector_is_run_always() -> None:
    assert {CONTROLS[name].detector for name in ONE_OF_EACH} == set(Detector)


@pytest.mark.parametrize("control", CONTROLS.values(), ids=CONTROLS)
def test_says_what_is_broken_and_with_which_scenarios(control: Control) -> None:
    assert control.title.endswith(".")
    assert control.scenarios
    assert set(control.scenarios) <= set(scenarios())


def test_a_control_that_does_not_exist_is_refused() -> None:
    with pytest.raises(NotAControl, match="no control 'nonsense'"):
        control_of("nonsense")


def only(control: str) -> str:
    """The command for all controls, as if there were no other one."""
    return (
        "import sys\n"
        "from loadtests.leaks import cli\n"
        f"one = {{{control!r}: cli.controls()[{control!r}]}}\n"
        "cli.controls = lambda: one\n"
        "sys.exit(cli.main(sys.argv[2:]))"
    )


CHEAP = "cached_results"


def test_the_command_for_all_controls_succeeds_where_they_are_caught(tmp_path: Path) -> None:
    seen = harness(
        "-c", only(CHEAP), *ARGUMENTS, "--control", "all", file=tmp_path / "outcome.json"
    )  # fmt: skip
    assert (seen.status, seen.outcome.silent) == (0, [])
    assert CHEAP in seen.printed
    assert "SILENT" not in seen.printed


def test_the_command_for_all_controls_fails_where_a_detector_is_silent(tmp_path: Path) -> None:
    seen = harness(
        "-c", only(CHEAP), *ARGUMENTS, "--control", "all", file=tmp_path / "outcome.json",
        **silencing(CONTROLS[CHEAP].detector, tmp_path),
    )  # fmt: skip
    assert seen.status == 1
    assert [each.name for each in seen.outcome.silent] == [CHEAP]
    assert "SILENT" in seen.printed


def test_the_documentation_lists_every_control_under_its_detector() -> None:
    text = ROOT.joinpath("docs", "leaks.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    for name, control in CONTROLS.items():
        [row] = [row for row in rows if f"`{name}`" in row]
        assert row.endswith(f"| {control.detector.value} |")
