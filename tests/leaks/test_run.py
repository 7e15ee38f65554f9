"""A small run of everything, and what a run makes of what it has seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from loadtests.bench.peers import ROOT
from loadtests.leaks.drive import MOST_HUNG
from loadtests.leaks.options import RunOptions
from loadtests.leaks.outcome import Outcome, ScenarioResult
from loadtests.leaks.oversockets import NotServed, serving
from loadtests.leaks.picture import MOST_BARS, collisions, draw
from loadtests.leaks.report.json import read_json
from loadtests.leaks.run import (
    KEPT,
    Findings,
    KnownAlready,
    UnknownScenario,
    chosen,
    scenario_names,
)
from mssql_async.contrib.leaks.findings import Detector, Finding
from mssql_async.contrib.leaks.record import (
    Held,
    Kind,
    Record,
    ServerSession,
    Session,
    Story,
    Unit,
    Use,
)

PATIENCE = 300.0
SMALL = ("--contexts", "150", "--concurrency", "12", "--seed", "1")
OVER_SOCKETS = (
    "async_views", "exceptions", "websockets", "hang_up_in_a_stream", "hang_up_in_a_transaction",
    "killed_sessions", "forked_workers",
)  # fmt: skip


def run_leaks(folder: Path, *arguments: str) -> tuple[int, Outcome, str]:
    """In a process of its own, as Django has the tests' settings in this one."""
    file = folder / "outcome.json"
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", "leaks", *arguments, "--json", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert file.exists(), done.stdout
    return done.returncode, read_json(file), done.stdout


def told(outcome: Outcome, result: ScenarioResult) -> str:
    """What a failed test shows."""
    found = [each.describe() for each in outcome.findings if each.scenario == result.name]
    return "\n".join([outcome.command_line, *found, *result.errors])


Ran = tuple[int, Outcome, str]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """All scenarios, a few contexts each."""
    return run_leaks(tmp_path_factory.mktemp("leaks"), *SMALL)


@pytest.fixture(scope="module")
def results(ran: Ran) -> Mapping[str, ScenarioResult]:
    return {result.name: result for result in ran[1].scenarios}


class TestMssqlAsync:
    @pytest.mark.parametrize("name", scenario_names())
    def test_leaks_nothing(
        self,
        name: str,
        ran: Ran,
        results: Mapping[str, ScenarioResult],
    ) -> None:
        result = results[name]
        if result.skipped:
            assert "over uvicorn" in result.skipped, result.skipped
            pytest.skip(result.skipped)
        assert result.contexts
        assert not result.found, told(ran[1], result)
        assert not result.errors, told(ran[1], result)

    def test_says_so(self, ran: Ran) -> None:
        status, outcome, text = ran
        assert status == 0, text
        assert "Nothing found" in text
        assert outcome.command_line in text.replace("\n", " ")

    def test_was_looked_at(self, ran: Ran) -> None:
        _status, outcome, _text = ran
        busy = [result for result in outcome.scenarios if result.statements]
        assert len(busy) > len(outcome.scenarios) / 2
        assert any(moment.sessions for moment in outcome.series)
        assert any(moment.in_use for moment in outcome.series)
        drawn = [result for result in busy if result.lanes and result.stories]
        assert len(drawn) > len(busy) / 2
        assert outcome.marks

    def test_does_not_claim_that_nothing_grew_where_nobody_could_tell(self, ran: Ran) -> None:
        _status, outcome, text = ran
        unseen = [result for result in outcome.scenarios if Detector.GROWTH in result.unseen]
        assert unseen
        assert "Not looked for: growth, in" in text
        assert "it takes 7 waves: more contexts, or a smaller --wave" in " ".join(text.split())


def test_contexts_that_hang_prove_nothing(tmp_path: Path) -> None:
    status, outcome, text = run_leaks(
        tmp_path, "sync_views", "--context-patience", "0.0001", "--contexts", "500", "--seed", "1"
    )
    assert status == 2, text
    (result,) = outcome.scenarios
    assert result.hung >= MOST_HUNG
    assert result.contexts < 500
    not_begun = result.errors["contexts that were not begun or not ended"]
    assert not_begun == 500 - result.contexts
    assert "contexts of sync_views hung" in text


def test_growth_is_looked_for_once_there_are_waves_enough(tmp_path: Path) -> None:
    status, outcome, text = run_leaks(
        tmp_path, "sync_views", "--contexts", "56", "--concurrency", "8", "--seed", "1"
    )
    assert status == 0, text
    assert not outcome.scenarios[0].unseen
    assert "Not looked for" not in text


class TestOverSockets:
    @pytest.mark.parametrize("server", ["uvicorn", "daphne"])
    def test_nothing_leaks_and_all_is_seen(self, tmp_path: Path, server: str) -> None:
        if find_spec(server) is None:
            pytest.skip(f"{server} is not installed")
        status, outcome, text = run_leaks(
            tmp_path, *OVER_SOCKETS, "--over", server, "--contexts", "70",
            "--concurrency", "8", "--seed", "1",
        )  # fmt: skip
        assert status == 0, text
        assert [result.name for result in outcome.scenarios] == list(OVER_SOCKETS)
        for result in outcome.scenarios:
            assert result.contexts
            assert result.lanes, result.name
            assert not result.errors, told(outcome, result)
        processes = {lane.process for result in outcome.scenarios for lane in result.lanes}
        assert len(processes) >= 2
        assert server in outcome.versions

    async def test_a_server_that_is_not_installed_is_named(self) -> None:
        with pytest.raises(NotServed, match="pip install nobody_serves"):
            async with serving("nobody_serves", {}, 1):
                pass


def test_several_loops_of_one_process_leak_nothing(tmp_path: Path) -> None:
    status, outcome, text = run_leaks(
        tmp_path, "async_views", "exceptions", "--loops", "3", "--contexts", "60",
        "--concurrency", "9", "--seed", "1",
    )  # fmt: skip
    assert status == 0, text
    assert outcome.contexts == 60


def test_there_are_as_many_contexts_as_were_asked_for(ran: Ran) -> None:
    """And one more for each scenario whose share is less than one."""
    _status, outcome, _text = ran
    alone = [result for result in outcome.scenarios if result.contexts == 1]
    assert 150 <= outcome.contexts <= 150 + len(alone)


def test_what_leaks_is_found_and_named(tmp_path: Path) -> None:
    status, outcome, text = run_leaks(tmp_path, "--control", "no_reset", "--seed", "1")
    assert status == 0  # the control was caught
    assert not outcome.silent
    # Not one that was seen at rest, before anybody came upon it.
    seen = [f for f in outcome.findings if f.detector is Detector.STATE_BLEED and f.victim]
    (first, *_) = seen
    assert first.culprit is not None
    assert first.victim is not None
    assert first.culprit.token != first.victim.token
    assert "scenarios" in first.victim.place
    assert first.session is not None
    assert "state bleed" in text


# --- parts -------------------------------------------------------------------------------------


def unit(token: int, began: float, ended: float, spid: int = 51) -> Unit:
    return Unit(token, Session(spid, "now"), Use.STATEMENT, began, ended, 1)


class TestAPicture:
    def test_marks_what_collides(self) -> None:
        first, second, third = unit(1, 0, 3), unit(2, 2, 4), unit(3, 4, 5)
        assert collisions([third, second, first]) == {id(first), id(second)}

    def test_marks_all_that_a_long_one_collides_with(self) -> None:
        long, early, late = unit(1, 0, 9), unit(2, 1, 2), unit(3, 5, 6)
        assert collisions([long, early, late]) == {id(long), id(early), id(late)}

    def test_does_not_mark_what_is_within_one_context(self) -> None:
        assert not collisions([unit(1, 0, 9), unit(1, 2, 3)])

    def test_does_not_mark_what_is_on_several_sessions(self) -> None:
        assert not collisions([unit(1, 0, 9), unit(2, 2, 3, spid=52)])

    def test_has_a_lane_for_each_session_and_the_stories_of_its_bars(self) -> None:
        record = Record(
            stories=[Story(1, "s", Kind.REQUEST, 0.0, 1, 9.0), Story(2, "s", Kind.REQUEST, 0, 1)],
            units=[unit(1, 1, 2), unit(1, 0, 1, spid=52), unit(1, 3, 4)],
        )
        lanes, stories = draw(record, ())
        assert [(lane.session.spid, len(lane.bars)) for lane in lanes] == [(52, 1), (51, 2)]
        assert list(stories) == [1]

    def test_shows_what_was_found_where_there_is_more_than_fits(self) -> None:
        units = [unit(n, n, n + 0.5, spid=51 + n % 7) for n in range(20 * MOST_BARS)]
        far = units[-3]
        finding = Finding(
            Detector.SHARED_SESSION, "", "s", 1, far.began_at, session=far.session
        )  # fmt: skip
        lanes, _stories = draw(Record(units=units), [finding])
        bars = [bar for lane in lanes for bar in lane.bars]
        assert len(bars) == MOST_BARS
        assert far.token in {bar.token for bar in bars}


def finding(detector: Detector) -> Finding:
    return Finding(detector, "", "s", 1, 0.0)


def test_the_first_few_findings_of_each_detector_are_kept_and_all_are_counted() -> None:
    findings = Findings()
    findings.add([finding(Detector.GROWTH)] * (KEPT + 5))
    findings.add([finding(Detector.GROWTH), finding(Detector.STATE_BLEED)])
    assert findings.counts == {Detector.GROWTH: KEPT + 6, Detector.STATE_BLEED: 1}
    assert len(findings.kept) == KEPT + 1


class TestWhatIsKnownAlready:
    def record(self, *units: Unit) -> Record:
        return Record(
            units=list(units),
            held=[Held(1, 9.0, 7, Session(51, "now"), 1.0, "views.py:3")],
            at_rest=[ServerSession(9.0, Session(51, "now"), 1, "leaks", "sleeping", 1)],
        )

    def test_is_told_of_once(self) -> None:
        known, first, second = KnownAlready(), self.record(), self.record()
        known.strike_out(first)
        known.strike_out(second)
        assert first.held
        assert first.at_rest
        assert not second.held
        assert not second.at_rest

    def test_counts_anew_for_a_session_that_was_used_again(self) -> None:
        known, first, second = KnownAlready(), self.record(), self.record(unit(8, 2, 3))
        known.strike_out(first)
        known.strike_out(second)
        assert second.at_rest


class TestOptions:
    def test_repeat_themselves(self) -> None:
        options = RunOptions(("exceptions",), contexts=7, conn_max_age=None, seed=3)
        assert options.command() == [
            *("python", "-m", "loadtests", "leaks", "exceptions"),
            *("--conn-max-age", "none", "--contexts", "7", "--seed", "3"),
        ]

    @pytest.mark.parametrize(
        ("contexts", "wave"), [(96, 8), (600, 50), (100_000, 1000), (1000, 84)]
    )
    def test_have_waves_enough_to_see_growth(self, contexts: int, wave: int) -> None:
        assert RunOptions(concurrency=8).wave_of(contexts) == wave

    @pytest.mark.parametrize(("contexts", "wave"), [(5, 5), (8, 8), (15, 15), (24, 8), (30, 10)])
    def test_have_waves_of_as_many_as_run_at_a_time(self, contexts: int, wave: int) -> None:
        assert RunOptions(concurrency=8).wave_of(contexts) == wave

    def test_have_more_waves_where_a_scenario_allows_fewer_at_a_time(self) -> None:
        assert RunOptions(concurrency=8).wave_of(10, most_at_once=2) == 2

    def test_name_scenarios_that_there_are(self) -> None:
        assert chosen(RunOptions(("exceptions",))) == ("exceptions",)
        assert chosen(RunOptions()) == scenario_names()
        with pytest.raises(UnknownScenario, match=r"nonsense; there are: .*exceptions"):
            chosen(RunOptions(("nonsense",)))


def test_scenarios_are_named_without_django() -> None:
    names: Sequence[str] = scenario_names()
    assert "exceptions" in names
    assert not any(name.startswith("_") for name in names)
