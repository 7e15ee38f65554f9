"""The benchmark of requests: it counts what it says it counts. No times here."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import django
import pytest

from loadtests.bench import requests
from loadtests.bench.requests_load import Load, Order, carry_out, load_process, percentile
from loadtests.bench.requests_measures import LOADED, RequestsFailed, Work, count, throughput
from loadtests.bench.requests_sites import (
    CANDIDATES,
    OURS,
    STOCK,
    Candidate,
    Database,
    Site,
    place_for,
)
from mssql_async.devserver import DevServer

OURS_WITH_DJANGOS_ENTRY = next(each for each in CANDIDATES if each.key == "ours-django-entry")
TINY = requests.Sizes(counted=2, clients=(2,), rounds=1, seconds=0.05, warm_up=0.0)

#: Messages of one request of this project, from the round-trip budget of its design.
FLOOR = {
    "no query": 0,
    "1 query": 1,
    "3 queries": 3,
    "acreate()": 1,
    "atomic: read, write": 4,
    "the same, write in a savepoint": 5,
    # Django 5.2 begins a transaction for it.
    "abulk_create() of 100": 1 if django.VERSION >= (6, 1) else 3,
    "prefetch_related()": 2,
}


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    with load_process() as process:
        yield process


@pytest.fixture
def on_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSSQL_HOST", raising=False)


# --- counting ------------------------------------------------------------------------------


@pytest.mark.parametrize("candidate", [OURS, OURS_WITH_DJANGOS_ENTRY], ids=lambda each: each.key)
def test_requests_of_this_project_cost_no_round_trip_too_many(
    candidate: Candidate, load: Load
) -> None:
    counts = requests.counted([candidate], TINY, load)
    assert {each.work: each.messages for each in counts} == FLOOR
    assert {each.logins for each in counts} == {0}


def test_a_site_that_logs_in_for_every_request_is_seen(load: Load) -> None:
    counts = {each.work: each for each in requests.counted([STOCK], TINY, load)}
    assert counts["no query"].messages == 0
    assert counts["1 query"].logins == 1
    assert counts["1 query"].messages > FLOOR["1 query"] + 2  # a login alone is two


def test_a_site_that_answers_with_errors_is_not_measured(load: Load) -> None:
    missing = Work("a path that nobody serves", "/nowhere")
    with (
        DevServer() as server,
        requests.all_served([OURS], Database(server.host, str(server.port)), False) as sites,
    ):
        with pytest.raises(RequestsFailed, match="a path that nobody serves: 1 failed"):
            count(sites, [missing], server, load, 1)
        with pytest.raises(RequestsFailed):
            throughput(sites, [missing], [1], load, rounds=1, seconds=0.0, warm_up=0.0)


# --- under load ----------------------------------------------------------------------------


@pytest.mark.usefixtures("on_the_embedded_server")
def test_a_run_fills_every_table() -> None:
    result = requests.run([OURS, STOCK], TINY, "a test")
    assert [(each.name, each.work, each.clients) for each in result.throughput] == [
        (name, work.name, 2) for work in LOADED for name in (OURS.name, STOCK.name)
    ]
    assert [each.failed for each in result.throughput] == [0] * 10
    text = requests.report(result)
    assert "a test" in text
    assert "5 (0)" in text
    written = json.dumps(asdict(result))
    assert json.loads(written)["machine"]["command"] == "a test"
    assert Database("host", "1").password not in written + text


@pytest.mark.usefixtures("on_the_embedded_server")
def test_djangos_default_middleware_changes_no_count() -> None:
    sizes = dataclasses.replace(TINY, seconds=0.0)
    result = requests.run([OURS], sizes, "a test", middleware=True)
    assert {each.work: each.messages for each in result.counts} == FLOOR
    assert "Django's default middleware" in requests.report(result)


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
    ordered = [float(n) for n in range(1, 101)]
    assert (percentile(ordered, 0.5), percentile(ordered, 0.99)) == (51, 100)
    assert percentile([7.0], 0.99) == 7
    assert percentile([], 0.5) is None


# --- where sites are served ----------------------------------------------------------------


def test_a_site_that_does_not_start_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        place_for(Database("127.0.0.1", "1")) as place,
        pytest.raises(RuntimeError, match="nobody's did not start"),
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


def test_options_of_the_command_line_replace_single_sizes() -> None:
    options = requests.parse(
        ["--quick", "--clients", "4", "8", "--counted", "0", "--loaded", "no-query"]
    )
    sizes = requests.sizes_of(options)
    assert sizes == dataclasses.replace(
        requests.QUICK, clients=(4, 8), counted=0, loaded=("no-query",)
    )
    assert requests.sizes_of(requests.parse([])) == requests.Sizes()
