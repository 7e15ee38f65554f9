"""Each scenario says what it shows, and together they cover what the issue lists."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from loadtests.leaks import scenarios
from loadtests.leaks.catalogue import catalogue, title_of
from loadtests.leaks.options import RunOptions
from loadtests.leaks.scenario import Need, Scenario
from mssql_async.contrib.leaks.detectors.growth import LEAST_SAMPLES

SCENARIOS = catalogue()

#: The words of the issue, and which scenarios are about them.
ASKED_FOR = {
    "sync and async views": ("sync_views", "async_views"),
    "gather in a view": ("gather_in_a_view", "blocks_of_tasks"),
    "tasks that outlive the request": ("outliving_tasks",),
    "streaming responses": ("streaming",),
    "event-stream responses": ("event_stream",),
    "WebSockets": ("websockets",),
    "client disconnects before the body": ("hang_up_before_the_body",),
    "client disconnects in a query": ("hang_up_in_a_query",),
    "client disconnects in a transaction": (
        "hang_up_in_a_transaction",
        "hang_up_in_an_async_block",
    ),
    "client disconnects in the commit": ("hang_up_in_the_commit", "hang_up_in_an_async_commit"),
    "client disconnects in a stream": ("hang_up_in_a_stream",),
    "cancellation": ("cancellation", "savepoints_cancelled"),
    "deadlines": ("deadlines",),
    "exceptions in and out of transactions": ("exceptions",),
    "nested atomic blocks": ("nested_blocks",),
    "on_commit": ("on_commit", "on_commit_coroutines"),
    "ATOMIC_REQUESTS": ("atomic_requests", "atomic_requests_async"),
    "thread_sensitive=False": (
        "thread_insensitive",
        "threads_left_dirty",
    ),
    "plain threads": ("plain_threads",),
    "raw cursors left open": ("open_cursors", "queries_in_a_loop"),
    "temporary tables": ("temporary_tables",),
    "SET": ("set_options", "isolation_level", "context_info", "identity_insert"),
    "USE": ("use_database",),
    "application locks": ("application_locks",),
    "pool exhaustion": ("pool_exhaustion", "waiting_for_itself"),
    "killed sessions": ("killed_sessions",),
    "failover": ("failover",),
    "frozen peers": ("frozen_peers",),
    "slow servers": ("slow_server",),
    "refused logins": ("refused_logins",),
    "expiring tokens": ("expiring_tokens",),
    "several aliases": ("several_aliases",),
    "several event loops": ("several_loops",),
    "forked workers": ("forked_workers",),
    "rows, messages and errors of others": ("mixed_answers",),
    "uncommitted rows of others": ("uncommitted_rows",),
    "deadlock victims": ("deadlock_victims", "retried_transactions"),
    "async_new_connection": ("new_connections",),
}


@pytest.mark.parametrize("words", ASKED_FOR)
def test_what_was_asked_for_is_there(words: str) -> None:
    assert set(ASKED_FOR[words]) <= set(SCENARIOS)


def test_nothing_is_there_that_nobody_asked_for() -> None:
    listed = {name for names in ASKED_FOR.values() for name in names}
    assert set(SCENARIOS) == listed


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
class TestEach:
    def test_says_in_one_line_what_it_shows_and_then_what_would_leak(
        self, scenario: Scenario
    ) -> None:
        module = inspect.getmodule(type(scenario))
        text = inspect.getdoc(module) or ""
        assert title_of(scenario).endswith(".")
        assert len(title_of(scenario)) <= 100
        assert len(text.splitlines()) >= 3

    def test_has_something_to_visit(self, scenario: Scenario) -> None:
        views = [name for name in vars(type(scenario)) if name.startswith("view")]
        assert views or hasattr(scenario, "websocket")

    def test_is_one_small_file(self, scenario: Scenario) -> None:
        file = Path(scenarios.__path__[0]) / f"{scenario.name}.py"
        assert len(file.read_text().splitlines()) < 150

    def test_gets_its_share(self, scenario: Scenario) -> None:
        assert 0 < scenario.share <= 1

    def test_whoever_disturbs_says_what_that_needs(self, scenario: Scenario) -> None:
        disturbs = type(scenario).disturb is not Scenario.disturb
        assert disturbs == any(need in (Need.FAULTS, Need.KILL) for need in scenario.needs)


def test_most_run_on_any_backend_for_sql_server() -> None:
    """The leaks of others are to be seen, too."""
    anybody = [each for each in SCENARIOS.values() if Need.OURS not in each.needs]
    assert len(anybody) > len(SCENARIOS) / 2


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_a_soak_has_waves_enough_of_each_to_see_growth(scenario: Scenario) -> None:
    soak = RunOptions(contexts=100_000, concurrency=64)
    share = scenario.share / sum(each.share for each in SCENARIOS.values())
    contexts = int(soak.contexts * share)
    waves = range(0, contexts, soak.wave_of(contexts, scenario.most_at_once))
    assert len(waves) >= LEAST_SAMPLES
