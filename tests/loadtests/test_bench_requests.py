"""The benchmark of requests: it counts what it says it counts. No times here."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import cast

import django
import pytest

from loadtests.bench import requests
from loadtests.bench.requests_load import (
    Answers,
    Load,
    Order,
    carry_out,
    load_process,
    percentile,
)
from loadtests.bench.requests_measures import (
    ASYNC,
    ENOUGH,
    LOADED,
    NO_QUERY,
    SYNC,
    WORKS,
    RequestsFailed,
    Throughput,
    Turns,
    Work,
    count,
    throughput,
)
from loadtests.bench.requests_sites import (
    CANDIDATES,
    OF_RIVALS,
    OURS,
    OURS_WITH_DJANGOS_ENTRY,
    STOCK,
    STOCK_ODBC_POOLING,
    STOCK_PERSISTENT,
    Candidate,
    Database,
    DidNotStart,
    Site,
    place_for,
)
from mssql_async.devserver import DevServer

RIVALS = [each for each in CANDIDATES if each.engine != OURS.engine and each.needs]
BARE = next(each for each in CANDIDATES if each.key == "bare")
TINY = requests.Sizes(counted=2, clients=(2,), delays=(0.0,), rounds=1, seconds=0.05, warm_up=0.0)

#: Messages of one request of this project, from the round-trip budget of its design, whether
#: its view is asynchronous or not.
FLOOR = {
    "no-query": 0,
    "one-query": 1,
    "three-queries": 3,
    "create": 1,
    "atomic": 4,
    "savepoint": 5,
    # Django 5.2 begins a transaction for it.
    "bulk": 1 if django.VERSION >= (6, 1) else 3,
    "prefetch": 2,
}
EVERYWHERE = {work.name: FLOOR[work.key.removesuffix("-sync")] for work in WORKS}


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with load_process() as process:
        yield process


@pytest.fixture
def on_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSSQL_HOST", raising=False)


# --- counting ------------------------------------------------------------------------------


def counted(candidate: Candidate) -> dict[str, tuple[float, float]]:
    """Key of a kind of request -> its messages and logins."""
    sizes = dataclasses.replace(TINY, seconds=0.0)
    result = requests.run([candidate], sizes, "a test")
    assert result.left_out == []
    keys = {work.name: work.key for work in WORKS}
    return {keys[each.work]: (each.messages, each.logins) for each in result.counts}


def in_both_kinds_of_views(
    costs: dict[str, tuple[float, float]],
) -> dict[str, tuple[float, float]]:
    return {**costs, **{f"{key}-sync": cost for key, cost in costs.items()}}


@pytest.mark.parametrize("candidate", [OURS, OURS_WITH_DJANGOS_ENTRY], ids=lambda each: each.key)
@pytest.mark.usefixtures("on_the_embedded_server")
def test_requests_of_this_project_cost_no_round_trip_too_many(candidate: Candidate) -> None:
    floor = {key: (messages, 0) for key, messages in FLOOR.items()}
    assert counted(candidate) == in_both_kinds_of_views(floor)


IS_DJANGO_6_1 = django.VERSION >= (6, 1)
#: Messages and logins of stock mssql-django's requests, as docs/benchmarks.md says.
OF_STOCK = {
    "no-query": (0, 0),
    "one-query": (10, 1),
    "three-queries": (14, 1),
    "create": (11, 1),
    "atomic": (18, 1) if IS_DJANGO_6_1 else (17, 1),
    "savepoint": (20, 1) if IS_DJANGO_6_1 else (19, 1),
    "bulk": (11, 1) if IS_DJANGO_6_1 else (16, 1),
    "prefetch": (12, 1),
}
#: The same where unixODBC keeps the connections.
OF_STOCK_WITH_ODBC_POOLING = {
    "no-query": (0, 0),
    "one-query": (8, 0),
    "three-queries": (12, 0),
    "create": (9, 0),
    "atomic": (16, 0) if IS_DJANGO_6_1 else (15, 0),
    "savepoint": (18, 0) if IS_DJANGO_6_1 else (17, 0),
    "bulk": (9, 0) if IS_DJANGO_6_1 else (14, 0),
    "prefetch": (10, 0),
}


@pytest.mark.parametrize(
    ("stock", "costs"),
    [
        (STOCK, OF_STOCK),
        (STOCK_PERSISTENT, OF_STOCK),
        (STOCK_ODBC_POOLING, OF_STOCK_WITH_ODBC_POOLING),
    ],
    ids=lambda each: each.key if isinstance(each, Candidate) else "",
)
@pytest.mark.usefixtures("on_the_embedded_server")
@pytest.mark.slow
def test_requests_of_stock_cost_what_the_documentation_says(
    stock: Candidate, costs: dict[str, tuple[float, float]]
) -> None:
    assert counted(stock) == in_both_kinds_of_views(costs)


def test_every_kind_of_request_is_served_by_both_kinds_of_views() -> None:
    assert [work.key for work in ASYNC] == list(FLOOR)
    assert [work.key for work in SYNC] == [f"{work.key}-sync" for work in ASYNC]
    assert all(work.path.startswith("/sync/") for work in SYNC)


@pytest.mark.usefixtures("on_the_embedded_server")
def test_the_limit_sends_what_the_work_needs_and_no_more() -> None:
    assert counted(BARE) == {key: (FLOOR[key], 0) for key in OF_RIVALS}


#: Messages and logins of their requests: what the table in docs/benchmarks.md says.
OF_THE_RIVALS = {
    "wsgi-16": {
        "no-query": (0, 0),
        "one-query": (2, 0),
        "three-queries": (6, 0),
        "create": (3, 0),
        "atomic": (10, 0) if django.VERSION >= (6, 1) else (9, 0),
        "savepoint": (12, 0) if django.VERSION >= (6, 1) else (11, 0),
        "bulk": (3, 0) if django.VERSION >= (6, 1) else (8, 0),
        "prefetch": (4, 0),
    },
    "sqlalchemy": {
        "no-query": (0, 0),
        "one-query": (2, 0),
        "three-queries": (6, 0),
        "atomic": (5, 0),
    },
    "fastmssql": {
        "no-query": (0, 0),
        "one-query": (1, 0),
        "three-queries": (3, 0),
        "atomic": (4, 0),
    },
    "fastmssql-documented": {"atomic": (7, 1)},
}
OF_THE_RIVALS["wsgi-64"] = OF_THE_RIVALS["wsgi-16"]


@pytest.mark.parametrize("rival", RIVALS, ids=lambda each: each.key)
@pytest.mark.usefixtures("on_the_embedded_server")
def test_rivals_do_the_same_work(rival: Candidate) -> None:
    if missing := rival.missing():
        pytest.skip(f"not installed here, but in .venv-bench: {', '.join(missing)}")
    assert counted(rival) == OF_THE_RIVALS[rival.key]


def test_threads_of_wsgi_are_one_where_round_trips_are_counted() -> None:
    wsgi = [each for each in CANDIDATES if each.key.startswith("wsgi")]
    assert [each.module[-1] for each in wsgi] == ["16", "64"]
    assert [each.to_be_counted().module[-1] for each in wsgi] == ["1", "1"]
    assert OURS.to_be_counted() == OURS


def test_a_site_that_answers_with_errors_is_not_measured(load: Load) -> None:
    missing = Work("nowhere", "a path that nobody serves", "/nowhere")
    left_out: list[str] = []
    with (
        DevServer() as server,
        requests.all_served(
            [OURS], Database(server.host, str(server.port)), False, left_out.append
        ) as [site],
    ):
        with pytest.raises(RequestsFailed, match="a path that nobody serves: 1 failed"):
            count(site, missing, server, load, 1)
        cells = [(missing, 1), (NO_QUERY, 1)]
        broken, well = throughput(
            [site], cells, load, Turns(1, 0.0, 0.0), leave_out=left_out.append
        )
    assert broken == []
    assert [row.failed for row in well] == [0]
    assert left_out == [
        "mssql_async, a path that nobody serves at 1 clients and 0 ms: 1 failed, none was served"
    ]


BREAKS = Candidate("breaks", "one that breaks", entry="nobody.at_home")


@pytest.mark.usefixtures("on_the_embedded_server")
def test_a_site_that_does_not_start_is_left_out_and_the_others_go_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sizes = dataclasses.replace(TINY, loaded=("no-query",))
    result = requests.run([BREAKS, OURS], sizes, "a test")
    assert {each.candidate for each in result.counts} == {OURS.name}
    assert [row.candidate for row in result.throughput] == [OURS.name]
    assert result.left_out == ["one that breaks: did not start"]
    capfd.readouterr()


async def test_a_site_that_is_gone_counts_as_failing(load: Load) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        gone = Site(OURS, unused.getsockname()[1], process_id=-1)
        left_out: list[str] = []
        turns = Turns(1, 0.0, 0.0)
        [rows] = throughput([gone], [(NO_QUERY, 3)], load, turns, leave_out=left_out.append)
        answers = await carry_out(Order(gone.port, "/", clients=3, seconds=60.0))
    assert rows == []
    assert left_out == ["mssql_async, no query at 3 clients and 0 ms: 3 failed, none was served"]
    assert (answers.served, answers.failed, answers.per_second) == (0, 3, 0.0)


# --- under load ----------------------------------------------------------------------------


class Sites:
    """Stands for the load: who was asked, in order; every answer took one millisecond more."""

    def __init__(self, latencies: int) -> None:
        self.asked: list[int] = []
        self._latencies = latencies

    def __call__(self, order: Order) -> Answers:
        if order.requests is not None:
            return Answers(order.requests, order.requests, 0, 1.0, [])
        self.asked.append(order.port)
        first = self._latencies * self.asked.count(order.port)
        return Answers(1, 1, 0, 1.0, [float(first + n) for n in range(self._latencies)])


def under_the_load_of(sites: Sites, rounds: int) -> list[Throughput]:
    three = [Site(each, port, process_id=-1) for port, each in enumerate([OURS, STOCK, BARE])]
    turns = Turns(rounds, 0.0, 0.0)
    [rows] = throughput(three, [(NO_QUERY, 1)], cast("Load", sites), turns, leave_out=pytest.fail)
    return rows


def test_every_round_begins_with_another_site() -> None:
    sites = Sites(1)
    under_the_load_of(sites, 4)
    assert sites.asked == [0, 1, 2, 1, 2, 0, 2, 0, 1, 0, 1, 2]


def test_percentiles_are_of_the_latencies_of_all_rounds() -> None:
    [row, *_] = under_the_load_of(Sites(50), 2)
    assert (row.samples, row.p50, row.p99) == (100, 100.0, 149.0)


def test_there_is_no_99th_percentile_of_few_latencies() -> None:
    [row, *_] = under_the_load_of(Sites(33), 3)
    assert (row.samples, row.p50, row.p99) == (99, 82.0, None)


def test_a_turn_waits_for_its_share_of_the_latencies() -> None:
    turns = Turns(3, 0.5, 0.1, samples=200, samples_of_each=2)
    assert [turns.at_least(clients) for clients in (1, 64, 256)] == [67, 67, 171]
    default = requests.Sizes().turns()
    for clients in requests.Sizes().clients:
        assert default.rounds * default.at_least(clients) >= max(2 * ENOUGH, clients)


async def test_what_is_under_way_when_a_turn_ends_counts_too() -> None:
    async with serving(lambda _: MEASURED) as (port, _):
        order = Order(port, "/", clients=3, seconds=0.0, at_least=30, patience=60.0)
        answers = await carry_out(order)
    assert len(answers.latencies) == 32


@pytest.mark.usefixtures("on_the_embedded_server")
@pytest.mark.slow
def test_a_run_fills_every_table() -> None:
    result = requests.run([OURS, STOCK], TINY, "a test")
    rows = result.throughput
    assert [(row.candidate, row.work, row.clients, row.delay_ms) for row in rows] == [
        (name, work.name, 2, 0) for work in LOADED for name in (OURS.name, STOCK.name)
    ]
    assert [row.failed for row in rows] == [0] * 6
    assert (len(result.counts), result.left_out) == (2 * len(WORKS), [])
    text = requests.report(result)
    assert "a test" in text
    assert "5 (0)" in text
    assert all(row.samples > 0 for row in rows)
    written = json.dumps(asdict(result))
    assert json.loads(written)["machine"]["command"] == "a test"
    assert Database("host", "1").password not in written + text


@pytest.mark.usefixtures("on_the_embedded_server")
@pytest.mark.slow
def test_djangos_default_middleware_changes_no_count() -> None:
    sizes = dataclasses.replace(TINY, seconds=0.0)
    result = requests.run([OURS], sizes, "a test", middleware=True)
    assert {each.work: each.messages for each in result.counts} == EVERYWHERE
    assert "Django's default middleware" in requests.report(result)


@pytest.mark.usefixtures("on_the_embedded_server")
@pytest.mark.slow
def test_the_database_can_be_further_away() -> None:
    sizes = dataclasses.replace(TINY, counted=0, delays=(0.0, 2.0), seconds=0.1)
    result = requests.run([OURS], sizes, "a test")
    assert [(row.work, row.delay_ms, row.failed) for row in result.throughput] == [
        ("no query", 0, 0),
        ("1 query", 0, 0),
        ("atomic: read, write", 0, 0),
        ("1 query", 2, 0),
        ("atomic: read, write", 2, 0),
    ]
    assert "1 query, 2 clients, 2 ms further away each way" in requests.report(result)


@pytest.mark.usefixtures("on_the_embedded_server")
def test_a_run_that_takes_too_long_ends_and_says_what_is_missing() -> None:
    sizes = dataclasses.replace(TINY, counted=0, clients=(1, 2), limit=0.0)
    result = requests.run([OURS], sizes, "a test")
    assert result.throughput == []
    assert result.left_out == [
        "after 0 minutes: no query at 1 clients and 0 ms, no query at 2 clients and 0 ms, "
        "1 query at 1 clients and 0 ms, 1 query at 2 clients and 0 ms, "
        "atomic: read, write at 1 clients and 0 ms, atomic: read, write at 2 clients and 0 ms"
    ]


@pytest.mark.usefixtures("on_the_embedded_server")
@pytest.mark.slow
def test_who_is_not_installed_is_left_out_with_a_word() -> None:
    absent = Candidate("absent", "somebody absent", needs=("nobody_has_this",))
    result = requests.run([OURS, absent], dataclasses.replace(TINY, seconds=0.0), "a test")
    assert {each.candidate for each in result.counts} == {OURS.name}
    assert "left out: somebody absent: not installed: nobody_has_this" in requests.report(result)


# --- the load ------------------------------------------------------------------------------

Respond = Callable[[int], bytes]


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server whose n-th answer is ``respond(n)``; what it was asked. Empty: it hangs up."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                answer = respond(len(asked))
                if not answer:
                    break
                # In two parts, so that the end has to be looked for.
                writer.write(answer[:20])
                await writer.drain()
                writer.write(answer[20:])
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
MEASURED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
FAILED = b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"


@pytest.mark.parametrize("answer", [CHUNKED, MEASURED], ids=["chunked", "with a length"])
async def test_as_many_requests_are_sent_as_were_ordered(answer: bytes) -> None:
    async with serving(lambda _: answer) as (port, asked):
        answers = await carry_out(Order(port, "/item/{pk}", clients=3, requests=10))
    assert (answers.served, answers.received, answers.failed) == (10, 10, 0)
    assert sorted(asked)[0].startswith(b"GET /item/1 HTTP/1.1\r\n")
    assert len(set(asked)) == 10
    assert answers.p50 is not None


@pytest.mark.usefixtures("on_the_embedded_server")
def test_what_there_is_is_told_as_it_goes_and_kept_when_a_run_is_broken_off() -> None:
    told: list[tuple[int, int]] = []

    def tell(result: requests.Result) -> None:
        told.append((len(result.counts), len(result.throughput)))
        if len(told) == 2:
            raise KeyboardInterrupt

    sizes = dataclasses.replace(TINY, loaded=("no-query",), clients=(1, 2, 3))
    result = requests.run([BARE], sizes, "a test", tell=tell)
    assert told == [(4, 0), (4, 1), (4, 1)]
    assert result.broken_off
    assert result.left_out == [
        "broken off: no query at 2 clients and 0 ms, no query at 3 clients and 0 ms"
    ]


async def test_a_turn_goes_on_until_every_client_could_be_answered() -> None:
    async with serving(lambda _: MEASURED) as (port, asked):
        order = Order(port, "/", clients=3, seconds=0.0, at_least=30, patience=60.0)
        answers = await carry_out(order)
        assert answers.served == 30
        assert answers.received == len(asked) == 32  # the others were asked already
        without_patience = await carry_out(dataclasses.replace(order, patience=0.0))
        assert without_patience.served < 30


async def test_errors_and_broken_connections_are_failures() -> None:
    def every_other(number: int) -> bytes:
        return FAILED if number % 2 else MEASURED

    async with serving(every_other) as (port, _):
        answers = await carry_out(Order(port, "/", clients=1, requests=4))
    assert (answers.served, answers.failed) == (2, 2)

    async with serving(lambda _: b"") as (port, _):
        answers = await carry_out(Order(port, "/", clients=1, requests=4))
    assert (answers.served, answers.failed, answers.p50) == (0, 1, None)


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (51, 100)
    assert percentile([7.0], 0.99) == 7
    assert percentile([], 0.5) is None


# --- where sites are served ----------------------------------------------------------------


def test_a_site_that_does_not_start_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        place_for(Database("127.0.0.1", "1")) as place,
        pytest.raises(DidNotStart, match="nobody's: did not start"),
        place.serving(Candidate("nobody", "nobody's", entry="nobody.at_home")),
    ):
        pytest.fail("it started")
    capfd.readouterr()


def test_the_database_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSSQL_HOST", raising=False)
    assert Database.of_the_environment() is None
    monkeypatch.setenv("MSSQL_HOST", "db.example")
    monkeypatch.setenv("MSSQL_PASSWORD", "a secret")
    found = Database.of_the_environment()
    assert found is not None
    assert (found.host, found.environment()["MSSQL_PASSWORD"]) == ("db.example", "a secret")
    assert "a secret" not in repr(found)


def test_a_site_whose_process_is_gone_has_used_nothing_that_is_known() -> None:
    assert Site(OURS, port=1, process_id=-1).processor_seconds() is None


def test_a_site_of_several_processes_has_used_what_all_of_them_have() -> None:
    here = Site(OURS, port=1, process_id=os.getpid())
    before = here.processor_seconds()
    if before is None:
        pytest.skip("nobody says here")
    burn = "import time\nwhile time.process_time() < 0.3: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE) as child:
        while (here.processor_seconds() or 0.0) < before + 0.25:
            assert child.poll() is None
        assert child.stdin is not None
        child.stdin.write(b"\n")


def test_options_of_the_command_line_replace_single_sizes() -> None:
    load_only = ["--counted", "0", "--loaded", "no-query", "--delays", "2"]
    load_only += ["--samples", "7"]
    options = requests.parse(["--quick", "--clients", "4", "8", "--limit", "3", *load_only])
    sizes = requests.sizes_of(options)
    assert sizes == dataclasses.replace(
        requests.QUICK,
        clients=(4, 8),
        delays=(2,),
        counted=0,
        limit=3,
        loaded=("no-query",),
        samples=7,
    )
    assert requests.sizes_of(requests.parse([])) == requests.Sizes()


def test_alone_nothing_takes_part_that_would_have_to_be_installed() -> None:
    everybody = requests.candidates_of(requests.parse([]))
    alone = requests.candidates_of(requests.parse(["--alone"]))
    assert [each.key for each in alone] == [
        "ours", "stock", "stock-persistent", "stock-odbc-pooling", "bare",
    ]  # fmt: skip
    assert {each.key for each in everybody} > {each.key for each in alone}


def test_with_a_delay_the_lock_of_the_embedded_server_is_not_measured() -> None:
    sizes = requests.Sizes(clients=(1, 16), delays=(0.0, 5.0), loaded=("one-query", "atomic"))
    here = [(delay, work.key, clients) for delay, work, clients in sizes.cells()]
    assert here == [
        (0.0, "one-query", 1),
        (0.0, "one-query", 16),
        (0.0, "atomic", 1),
        (0.0, "atomic", 16),
        (5.0, "one-query", 1),
        (5.0, "one-query", 16),
        (5.0, "atomic", 1),
    ]
    elsewhere = [(work.key, clients) for _, work, clients in sizes.cells(embedded=False)]
    assert elsewhere[-2:] == [("atomic", 1), ("atomic", 16)]


def test_a_default_run_is_expected_to_end_within_its_limit() -> None:
    everybody = requests.candidates_of(requests.parse([]))
    sizes = requests.Sizes()
    assert sizes.estimate(everybody) < sizes.limit * 60
    assert sizes.estimate(everybody) > sizes.estimate([OURS])
    assert requests.QUICK.estimate(everybody) < sizes.estimate(everybody)


def test_what_may_be_missing_is_said_before() -> None:
    text = requests.announcement([OURS], dataclasses.replace(requests.Sizes(), limit=7))
    assert "Nothing is begun after 7 (--limit)" in text
    assert "beginning with 'atomic: read, write' at 1 clients and 5 ms" in text
    only_counted = dataclasses.replace(requests.Sizes(), seconds=0.0)
    assert "missing" not in requests.announcement([OURS], only_counted)
