"""A finding names the line of the application that asked, whatever task or thread did the work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadtests.leaks.outcome import Outcome
from mssql_async.contrib.leaks.findings import Finding, Party

from .test_run import run_leaks

APPLICATIONS = ("loadtests/leaks/scenarios/", "loadtests/leaks/controls/")


def parties(outcome: Outcome, scenario: str = "") -> Iterator[tuple[Finding, Party]]:
    """Who is named, of the contexts that ran in the scenario."""
    for finding in outcome.findings:
        if finding.scenario == scenario or not scenario:
            for party in (finding.culprit, finding.victim):
                if party is not None and party.token:
                    yield finding, party


def places(outcome: Outcome, scenario: str) -> set[str]:
    """Of that scenario's own contexts, without their lines. Who left what they came upon may have
    been another's."""
    found = (
        party.place
        for _finding, party in parties(outcome, scenario)
        if f" of {scenario} (" in party.what
    )
    return {place.replace(f":{line_of(place)} ", " ") for place in found}


def line_of(place: str) -> str:
    return place.partition(":")[2].partition(" ")[0]


def assert_all_are_named(outcome: Outcome) -> None:
    for finding, party in parties(outcome):
        assert party.place.startswith(APPLICATIONS), finding.describe()
        assert party.statement, finding.describe()
        if party.at is not None and party.acquired_at is not None:
            assert party.acquired_at <= party.at, finding.describe()


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Sessions that are not reset, in tasks of ``gather``'s and in WebSockets."""
    _status, outcome, _text = run_leaks(
        tmp_path_factory.mktemp("dirty"), "--control", "no_reset", "websockets", "set_options",
        "gather_in_a_view", "--seed", "1",
    )  # fmt: skip
    return outcome


@pytest.fixture(scope="module")
def outliving(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Tasks that outlive their request, on a backend that closes nothing after them."""
    _status, outcome, _text = run_leaks(
        tmp_path_factory.mktemp("outliving"), "--engine", "mssql", "--conn-max-age", "600",
        "outliving_tasks", "atomic_requests", "--contexts", "60", "--seed", "1",
    )  # fmt: skip
    return outcome


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Connections that are left open by contexts that never asked which session they had."""
    _status, outcome, _text = run_leaks(
        tmp_path_factory.mktemp("unseen"), "--engine", "mssql", "--conn-max-age", "600",
        "identity_insert", "several_aliases", "exceptions", "killed_sessions",
        "--contexts", "200", "--seed", "1",
    )  # fmt: skip
    return outcome


@pytest.fixture(scope="module")
def mixed_up(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Messages of statements whose lease is over when they return."""
    _status, outcome, _text = run_leaks(
        tmp_path_factory.mktemp("mixed_up"), "--control", "messages_of_others", "--seed", "1"
    )
    return outcome


def test_whoever_is_named_has_a_session_a_place_a_statement_and_a_time(
    dirty: Outcome, outliving: Outcome, unseen: Outcome, mixed_up: Outcome
) -> None:
    for outcome in (dirty, outliving, unseen, mixed_up):
        assert_all_are_named(outcome)
        assert all(party.acquired_at is not None for _finding, party in parties(outcome))
        assert all(finding.session for finding in outcome.findings)


def test_tasks_of_gather_are_told_of_with_the_line_of_the_view(dirty: Outcome) -> None:
    found = places(dirty, "gather_in_a_view")
    assert found == {"loadtests/leaks/scenarios/gather_in_a_view.py in view"}


def test_websockets_are_told_of_with_the_line_that_serves_them(dirty: Outcome) -> None:
    found = places(dirty, "websockets")
    file = "loadtests/leaks/scenarios/websockets.py"
    assert found
    assert found <= {f"{file} in {name}" for name in ("websocket", "undo", "dirty")}


def test_tasks_that_outlive_their_request_are_told_of_with_their_own_lines(
    outliving: Outcome,
) -> None:
    found = places(outliving, "outliving_tasks")
    file = "loadtests/leaks/scenarios/outliving_tasks.py"
    assert f"{file} in go_on" in found
    assert found <= {f"{file} in {name}" for name in ("view", "go_on", "begin_and_forget")}


def test_a_terminal_shows_when_a_lease_was_acquired(dirty: Outcome) -> None:
    for finding, party in parties(dirty):
        assert f"lease acquired at: {party.place}, " in finding.describe()
