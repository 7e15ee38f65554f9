"""The benchmark of statements side by side, given up, and checked: what it counts. No times."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from loadtests.bench import parallel
from loadtests.bench.beside_measures import MANNERS, Manner
from loadtests.bench.checks_measures import CANDIDATES as CHECKED
from loadtests.bench.checks_measures import Pause
from loadtests.bench.counting import Counted, Counting
from loadtests.bench.hangup_measures import NothingHappened, hang_ups
from loadtests.bench.observer import Observer, observing
from loadtests.bench.requests_measures import RequestsFailed
from loadtests.bench.requests_sites import Database, place_for
from loadtests.bench.waiting import OURS, STOCK, STOCK_PERSISTENT
from mssql_async.devserver import DevServer

TINY = parallel.Sizes(
    requests=2, statement=0.5, hang_ups=1, pauses=(Pause(0.0, 3), Pause(0.6, 1)), rounds=1
)


@pytest.fixture(autouse=True)
def _on_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSSQL_HOST", raising=False)


def manner(name: str) -> Manner:
    return next(each for each in MANNERS if each.name == name)


# --- side by side --------------------------------------------------------------------------


def test_statements_side_by_side_cost_a_message_each_and_leave_what_the_pool_holds() -> None:
    subjects = parallel.Subjects(manners=MANNERS[:2])
    result = parallel.run(subjects, TINY, "a test", ["beside"])
    assert [(each.name, each.messages, each.logins) for each in result.beside] == [
        ("mssql_async, async_new_connection", 8, 0),
        ("mssql_async, gather alone", 8, 0),
    ]
    beside, alone = result.beside
    assert beside.left == 8
    assert alone.left == 1


@pytest.mark.slow
def test_connections_that_stock_leaves_to_threads_are_seen() -> None:
    subjects = parallel.Subjects(
        manners=[
            manner("mssql, CONN_MAX_AGE 0, gather"),
            manner("mssql, CONN_MAX_AGE 0, thread_sensitive=False"),
        ]
    )
    gathered, threaded = parallel.run(subjects, TINY, "a test", ["beside"]).beside
    assert gathered.logins == 1
    assert gathered.left == 0
    assert threaded.left > 1


def test_a_manner_that_a_backend_lacks_is_not_measured() -> None:
    subjects = parallel.Subjects(manners=[Manner("stock, beside", STOCK, "/beside")])
    with pytest.raises(RequestsFailed, match="answered with 501"):
        parallel.run(subjects, TINY, "a test", ["beside"])


# --- given up ------------------------------------------------------------------------------


def test_a_hang_up_costs_the_statement_and_its_end() -> None:
    subjects = parallel.Subjects(hanging_up=[OURS, STOCK])
    ours, stock = parallel.run(subjects, TINY, "a test", ["hang-up"]).hang_ups
    assert ours.messages == 2  # the statement, and the attention that ends it
    assert stock.messages is not None
    assert stock.messages > 2


class _Blind(Observer):
    """Sees no statement."""

    def waiting(self) -> int:
        return 0


def test_a_statement_that_is_never_seen_is_an_error() -> None:
    with DevServer() as server:
        database = Database(server.host, str(server.port))
        with (
            place_for(database) as place,
            observing(database) as observer,
            pytest.raises(NothingHappened, match="to run 1 such"),
        ):
            observer.__class__ = _Blind
            place.prepare()
            hang_ups(place, [OURS], 0.1, 1, Counting(server), observer, patience=0.2)


# --- checked -------------------------------------------------------------------------------


def test_a_check_costs_this_project_nothing_inside_its_window_and_a_message_past_it() -> None:
    result = parallel.run(parallel.Subjects(), TINY, "a test", ["checks"])
    found = {(each.name, each.pause): (each.messages, each.logins) for each in result.checks}
    checked = f"{STOCK_PERSISTENT.name}, CONN_HEALTH_CHECKS"
    for name in (OURS.name, f"{OURS.name}, CONN_HEALTH_CHECKS"):
        assert found[name, 0.0] == (1, 0)
        assert found[name, 0.6] == (2, 0)
    for pause in (0.0, 0.6):
        unchecked_messages, _ = found[STOCK_PERSISTENT.name, pause]
        checked_messages, logins = found[checked, pause]
        assert unchecked_messages is not None
        assert checked_messages == unchecked_messages + 1
        assert logins == 0
        assert found[STOCK.name, pause][1] == 1
    assert len(found) == 2 * len(CHECKED)


# --- counting, report, command -------------------------------------------------------------


def test_on_another_server_nothing_is_counted() -> None:
    assert Counting(None).of(lambda: "done") == (Counted(None, None), "done")


@pytest.mark.slow
def test_the_report_has_every_part_and_no_secret() -> None:
    subjects = parallel.Subjects([MANNERS[1]], [OURS], [OURS])
    result = parallel.run(subjects, TINY, "a test")
    text = parallel.report(result)
    assert "a test" in text
    assert "mssql_async, gather alone" in text
    assert "The client hangs up in a statement of 0.5 s" in text
    assert "pause s" in text
    written = json.dumps(asdict(result))
    assert {key for key, value in json.loads(written).items() if value == []} == set()
    assert Database("host", "1").password not in written + text


@pytest.mark.slow
def test_what_is_not_counted_is_left_empty_in_the_report() -> None:
    subjects = parallel.Subjects(manners=[MANNERS[1]])
    result = parallel.run(subjects, TINY, "a test", ["beside"])
    result.beside[0] = replace(result.beside[0], messages=None, logins=None)
    last = parallel.report(result).splitlines()[-1].removeprefix(MANNERS[1].name).split()
    assert len(last) == 3  # first, median, left


def test_options_choose_parts_and_sizes() -> None:
    options = parallel.parse(["--quick", "--parts", "checks"])
    assert options.quick
    assert options.parts == ["checks"]
    assert tuple(parallel.parse([]).parts) == parallel.PARTS
