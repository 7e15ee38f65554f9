"""The report in a terminal and as JSON, and what all reports have in common."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.leaks.outcome import LATENCY_BOUNDS, Latencies, Outcome, ScenarioResult
from loadtests.leaks.report.html import write_html
from loadtests.leaks.report.json import SCHEMA, UnknownReport, read_json, write_json
from loadtests.leaks.report.terminal import LiveProgress, print_verdict
from loadtests.leaks.report.words import duration, short_number, verdict
from mssql_async.contrib.leaks.findings import Detector, Finding

from .outcomes import outcome


def terminal(width: int = 80, *, interactive: bool = False, encoding: str = "utf-8") -> Console:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    return Console(
        file=file,
        width=width,
        force_terminal=interactive,
        color_system="truecolor" if interactive else None,
        legacy_windows=False,
    )


def written_to(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.TextIOWrapper)
    file.flush()
    buffer = file.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(file.encoding)


def verdict_of(result: Outcome, **options: int | str) -> str:
    console = terminal(**options)  # type: ignore[arg-type]
    print_verdict(result, console)
    return written_to(console)


# --- the verdict in a terminal -----------------------------------------------------------------


def test_each_count_stands_under_its_detector() -> None:
    result = outcome()
    lines = verdict_of(result).splitlines()
    columns = {
        detector: next(line for line in lines if f"{detector.value} ┐" in line).index("┐")
        for detector in Detector
    }
    for scenario in result.scenarios:
        row = next(line for line in lines if line.startswith(scenario.name))
        for detector, column in columns.items():
            count = scenario.findings.get(detector, 0)
            cell = row[column - 3 : column + 1].strip()
            assert cell == (short_number(count) if count else "·")


def test_nothing_of_the_table_is_wider_than_eighty_columns() -> None:
    result = outcome(skipped=["failover_while_requests_with_long_names_run"])
    result.command = []
    assert max(map(len, verdict_of(result).splitlines())) <= 80


def test_the_last_lines_have_the_verdict_and_what_repeats_the_run() -> None:
    result = outcome(seed=4711)
    *_, last_but_one, last = verdict_of(result).splitlines()
    assert f"{result.found:,} findings in 2 of 5 scenarios" in last_but_one
    assert "1 control not caught" in last_but_one
    assert "seed 4711" in last_but_one
    assert last == f"Again: {result.command_line}"
    assert last.endswith("--seed 4711")


def test_the_first_finding_of_each_kind_is_described_with_both_contexts() -> None:
    result = outcome()
    text = " ".join(verdict_of(result).split())
    first = result.findings[0]
    assert first.culprit is not None
    assert first.victim is not None
    assert f"1. {first.detector.value}: {first.message}" in text
    assert f"by {first.culprit.what}" in text
    assert f"seen by {first.victim.what}" in text
    assert first.culprit.at is not None
    assert first.victim.at is not None
    for what, at in (
        (f"by {first.culprit.what} at", first.culprit.at),
        (f"seen by {first.victim.what} at", first.victim.at),
        (f"seed {first.seed}, seen at", first.at),
    ):
        moment = datetime.fromtimestamp(at, UTC)
        assert f"{what} {moment:%H:%M:%S}.{moment.microsecond // 1000:03d}" in text
    assert f"lease acquired at: {first.culprit.place}" in text
    assert {re.sub(r"\W", " ", each) for each in re.findall(r"\d\. ([a-z ]+):", text)} == {
        each.detector.value for each in result.findings
    }
    left = result.found - 5
    assert f"and {left:,} other findings" in text


def test_a_control_that_nobody_caught_is_not_overlooked() -> None:
    text = verdict_of(outcome())
    (line,) = [line for line in text.splitlines() if line.startswith("control_growth")]
    assert "SILENT" in line
    caught = [line for line in text.splitlines() if re.match(r"control_.* caught ", line)]
    assert len(caught) == len(Detector) - 1


def test_a_clean_run_says_so_and_describes_nothing() -> None:
    text = verdict_of(outcome(leaking=()))
    assert "Nothing found in" in text
    assert "seen by" not in text
    assert "SILENT" not in text


def test_what_did_not_run_says_why() -> None:
    text = verdict_of(outcome(skipped=["failover"]))
    assert re.search(r"^failover +skipped: needs the embedded server$", text, re.MULTILINE)


def test_what_could_not_be_looked_for_is_not_shown_as_nothing(tmp_path: Path) -> None:
    result = outcome()
    first, second, *_ = result.scenarios
    for scenario in result.scenarios:
        scenario.unseen = {Detector.GROWTH: "it takes 7 waves"}
    first.unseen[Detector.ORPHAN_SESSION] = "This login lacks a right."
    text = verdict_of(result, width=200)
    rows = {each.name: next(r for r in text.splitlines() if r.startswith(each.name))
            for each in (first, second)}  # fmt: skip
    assert rows[first.name].count("?") == 2
    assert rows[second.name].count("?") == 1
    sentences = [
        "Not looked for: growth, in all scenarios: it takes 7 waves.",
        f"Not looked for: orphan session, in {first.name}: This login lacks a right.",
    ]
    write_html(result, tmp_path / "o.html")
    page = (tmp_path / "o.html").read_text("utf-8")
    for sentence in sentences:
        assert sentence in text
        assert sentence in page
    assert page.count(">?<") == len(result.scenarios) + 1
    write_json(result, tmp_path / "o.json")
    assert read_json(tmp_path / "o.json") == result


def test_what_the_contexts_cost_at_the_server_is_told(tmp_path: Path) -> None:
    result = outcome()
    result.scenarios = result.scenarios[:2]
    for scenario in result.scenarios:
        scenario.contexts, scenario.logins, scenario.statements = 100, 50, 1_000
    told = "100 logins and 2,000 statements at the server, 0.50 and 10.0 a context"
    assert told in verdict_of(result, width=200)
    write_html(result, tmp_path / "o.html")
    assert told in (tmp_path / "o.html").read_text("utf-8")
    for scenario in result.scenarios:
        scenario.logins = scenario.statements = None
    assert "at the server" not in verdict_of(result, width=200)


def test_a_run_that_was_broken_off_says_so(tmp_path: Path) -> None:
    result = outcome(leaking=())
    result.broken_off = "A process under test has ended."
    write_html(result, tmp_path / "o.html")
    for text in (verdict_of(result, width=200), (tmp_path / "o.html").read_text("utf-8")):
        assert "broken off: A process under test has ended" in text


def test_brackets_in_statements_are_no_markup() -> None:
    result = outcome()
    result.scenarios[0].errors = {"[bold]08S01[/bold] [Microsoft][ODBC]": 2}
    text = verdict_of(result, width=200)
    assert "[bold]08S01[/bold] [Microsoft][ODBC]" in text
    assert "UPDATE [subject_note] SET [fate]" in text


def test_a_terminal_without_unicode_gets_ascii() -> None:
    result = outcome()
    console = terminal(encoding="ascii")
    with LiveProgress(console) as progress:
        for scenario in result.scenarios:
            progress.scenario_ended(scenario)
    result.findings = []
    console_text = written_to(console)
    assert "LEAK tasks_outlive_request" in console_text
    assert "growth ." in verdict_of(result, encoding="ascii")


# --- progress ----------------------------------------------------------------------------------


def run_through(progress: LiveProgress, result: Outcome) -> None:
    with progress:
        for scenario in result.scenarios:
            progress.scenario_began(scenario.name, scenario.contexts)
            progress.progressed(scenario.contexts // 2)
            progress.progressed(scenario.contexts, scenario.failed, scenario.found)
            progress.scenario_ended(scenario)


def test_a_file_gets_one_plain_line_for_each_scenario() -> None:
    console = terminal()
    result = outcome(skipped=["failover"])
    run_through(LiveProgress(console), result)
    lines = written_to(console).splitlines()
    assert [line.split()[1].rstrip(":") for line in lines] == [s.name for s in result.scenarios]
    assert "\x1b" not in written_to(console)
    assert "1,184 state bleed" in lines[3]
    assert lines[-1].endswith("skipped, needs the embedded server")


def test_a_terminal_sees_how_far_it_is() -> None:
    console = terminal(interactive=True)
    result = outcome()
    with LiveProgress(console) as progress:
        progress.scenario_began("sync_views", 1_000)
        progress.progressed(250, 1, 3)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written_to(console))
    assert "250/1000" in text
    assert "3 findings" in text
    assert "1 error" in text
    run_through(LiveProgress(console), result)


@pytest.mark.parametrize("interactive", [False, True])
def test_quiet_says_nothing(interactive: bool) -> None:
    console = terminal(interactive=interactive)
    run_through(LiveProgress(console, quiet=True), outcome())
    assert written_to(console) == ""


# --- JSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_what_was_written_can_be_read_again(tmp_path: Path, seed: int) -> None:
    result = outcome(seed, skipped=["failover"])
    write_json(result, tmp_path / "run.json")
    assert read_json(tmp_path / "run.json") == result


def test_machines_find_the_verdict_at_the_top(tmp_path: Path) -> None:
    result = outcome()
    write_json(result, tmp_path / "run.json")
    plain = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert plain["verdict"] == {
        "clean": False,
        "findings": result.found,
        "errors": 6,
        "broken_off": "",
        "silent_controls": ["control_growth"],
    }
    assert plain["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": SCHEMA + 1}, f"has schema {SCHEMA + 1}; this version reads schema {SCHEMA}"),
        ({"schema": None}, "has schema None"),
        ({"format": "something else"}, "is not a report of the leak harness"),
        ({"outcome": {}}, "does not follow it: KeyError"),
    ],
)
def test_a_report_of_another_version_is_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    path = tmp_path / "run.json"
    write_json(outcome(), path)
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(UnknownReport, match=re.escape(complaint)):
        read_json(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "7"])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, "utf-8")
    with pytest.raises(UnknownReport, match=r"is not JSON|is not a report"):
        read_json(tmp_path / "run.json")


# --- what all have in common -------------------------------------------------------------------

SECRET = "Tr0ub4dor&3"


@pytest.mark.parametrize(
    "said",
    [
        f"DRIVER={{ODBC Driver 18}};SERVER=db;UID=sa;PWD={SECRET};Encrypt=yes",
        f"PWD={{{SECRET}}};Encrypt=yes",
        f"CREATE LOGIN x WITH PASSWORD = N'{SECRET}'",
        f"password='{SECRET}'",
        f'access_token: "{SECRET}"',
    ],
)
def test_no_report_shows_what_looks_like_a_secret(tmp_path: Path, said: str) -> None:
    result = outcome(bars=40)
    result.command = ["python", "-m", "loadtests", "leaks", said]
    result.scenarios[0].errors = {said: 1}
    result.server = said
    result.findings = [
        Finding(Detector.STATE_BLEED, said, result.scenarios[3].name, 1, result.started_at)
    ]
    write_json(result, tmp_path / "run.json")
    write_html(result, tmp_path / "run.html")
    texts = [
        (tmp_path / "run.json").read_text("utf-8"),
        (tmp_path / "run.html").read_text("utf-8"),
        verdict_of(result, width=300),
    ]
    for text in texts:
        assert SECRET not in text
        assert SECRET.replace("&", "&amp;") not in text
        assert SECRET.replace("&", "\\u0026") not in text
        assert "…" in text


def test_the_html_is_one_file_whatever_it_embeds(tmp_path: Path) -> None:
    write_html(outcome(), tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text("utf-8")
    assert page.count("</script>") == 2
    assert page.count("<!--") == 0
    assert (
        re.findall(r"""(?:src|href)=["']?(?!#|data:,)[^"'\s>]+""", page.split("<script")[0]) == []
    )
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.0, "0 µs"),
        (0.000_84, "840 µs"),
        (0.000_999_9, "1.00 ms"),
        (0.0124, "12.4 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.00 s"),
        (99.94, "99.9 s"),
        (245.2, "4 min 05 s"),
        (7_260.0, "2 h 01 min"),
    ],
)
def test_durations_have_three_digits(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0"), (999, "999"), (1_184, "1k"), (99_499, "99k"), (118_000, ".1M"), (3_000_000, "3M")],
)
def test_short_numbers_fit_three_characters(count: int, words: str) -> None:
    assert short_number(count) == words


def test_the_verdict_does_not_call_a_run_clean_whose_controls_are_silent() -> None:
    result = outcome(leaking=())
    assert result.is_clean
    result.controls = outcome().controls
    assert not result.is_clean
    assert verdict(result) == "1 control not caught"
    assert verdict(Outcome()) == "Nothing ran"
    result.scenarios = []
    result.controls = outcome(leaking=()).controls
    assert verdict(result) == "7 controls caught"


def test_latencies_are_counted_where_they_belong() -> None:
    latencies = Latencies.of([0.000_01, 0.001, 0.001_01, 5_000.0])
    assert latencies.counts == (
        (LATENCY_BOUNDS[0], 1),
        (0.001, 1),
        (LATENCY_BOUNDS[LATENCY_BOUNDS.index(0.001) + 1], 1),
        (LATENCY_BOUNDS[-1], 1),
    )
    assert (latencies.p50, latencies.p99, latencies.max) == (0.001, 5_000.0, 5_000.0)
    assert Latencies.of([]) == Latencies()


def test_a_scenario_without_figures_has_a_row(tmp_path: Path) -> None:
    result = Outcome(started_at=1.0, ended_at=2.0, scenarios=[ScenarioResult("bare", contexts=3)])
    assert re.search(r"^bare +3 ", verdict_of(result), re.MULTILINE)
    write_json(result, tmp_path / "run.json")
    assert read_json(tmp_path / "run.json") == result
