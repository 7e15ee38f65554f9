"""The benchmark of open contexts: it holds them, counts what they keep, and stops in time."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from loadtests.bench import scale
from loadtests.bench.observer import Observer, observing
from loadtests.bench.requests_sites import Database, Place, place_for
from loadtests.bench.scale_contexts import Contexts, InMemory, OverSockets
from loadtests.bench.scale_measures import SPARE_FILES, Limits, Plan, Process
from loadtests.bench.scale_measures import scale as measure
from loadtests.bench.waiting import OURS, STOCK
from mssql_async.devserver import DevServer

TINY = Plan(contexts=(3, 6), period=0.2, requests=3, steps=2)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with DevServer() as server:
        yield Database(server.host, str(server.port))


@pytest.fixture(scope="module")
def place(database: Database) -> Iterator[Place]:
    with place_for(database) as found:
        found.prepare()
        yield found


@pytest.fixture
def observer(database: Database) -> Iterator[Observer]:
    with observing(database) as found:
        yield found


# --- measured ------------------------------------------------------------------------------


def test_contexts_of_stock_keep_a_session_each_and_ours_share_few(
    place: Place, observer: Observer
) -> None:
    found = list(measure(place, [OURS, STOCK], observer, TINY))
    assert [(each.name, each.opened, each.over) for each in found] == [
        (name, contexts, "sockets") for name in (OURS.name, STOCK.name) for contexts in (3, 6)
    ]
    assert [(each.failed, each.stopped) for each in found] == [(0, "")] * 4
    assert all(each.p50 and each.p99 for each in found)
    ours, stock = found[1], found[3]
    assert ours.connections is not None
    assert 1 <= ours.connections <= 20  # the pool's size, whatever the number of contexts
    assert stock.connections is not None
    assert stock.connections >= 6


@pytest.mark.skipif(Process.seen(os.getpid()).threads is None, reason="the system does not tell")
def test_a_candidate_with_too_many_threads_is_stopped_and_says_so(
    place: Place, observer: Observer
) -> None:
    plan = replace(TINY, limits=Limits(threads=2))
    found = list(measure(place, [STOCK], observer, plan))
    assert len(found) == 1
    assert found[0].stopped.endswith(" threads")
    assert found[0].opened < 6
    result = scale.run([], plan, "a test")
    result.scale = found
    assert f"no more: {found[0].stopped}" in scale.report(result)


@pytest.mark.skipif(Process.seen(os.getpid()).resident is None, reason="the system does not tell")
def test_a_candidate_with_too_much_memory_is_stopped(place: Place, observer: Observer) -> None:
    plan = replace(TINY, limits=Limits(memory=1))
    (found,) = measure(place, [OURS], observer, plan)
    assert found.stopped.endswith("GiB resident")


def test_where_the_server_has_no_more_sessions_that_is_told(
    place: Place, observer: Observer
) -> None:
    plan = replace(TINY, limits=Limits(sessions=4))
    ours_small, ours, small, stopped = measure(place, [OURS, STOCK], observer, plan)
    assert (ours_small.stopped, ours.stopped, small.stopped) == ("", "", "")
    assert ours.opened == 6
    assert (stopped.wanted, stopped.opened) == (6, 4)
    assert stopped.stopped == "the server has files for 4 sessions"
    assert stopped.p50 is not None


def test_more_contexts_than_a_process_may_have_sockets_are_held_in_memory(
    place: Place, observer: Observer
) -> None:
    plan = replace(TINY, limits=Limits(files=SPARE_FILES + 8))
    found = list(measure(place, [OURS, STOCK], observer, plan))
    assert [(each.name, each.wanted, each.over) for each in found] == [
        (OURS.name, 3, "sockets"),
        (OURS.name, 6, "sockets"),
        (STOCK.name, 3, "sockets"),
        (STOCK.name, 6, "memory"),  # two sockets each
    ]
    assert [(each.opened, each.failed, each.stopped) for each in found] == [
        (each.wanted, 0, "") for each in found
    ]
    in_memory = found[-1]
    assert in_memory.connections is not None
    assert in_memory.connections >= 6
    assert in_memory.p50 is not None


def test_a_run_makes_a_table_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSSQL_HOST", raising=False)
    told: list[str] = []
    plan = replace(TINY, contexts=(2,))
    result = scale.run([OURS], plan, "a test", lambda so_far: told.append(so_far.scale[-1].name))
    assert told == [OURS.name]
    text = scale.report(result)
    assert "a test" in text
    assert "embedded server" in text
    written = json.dumps(asdict(result))
    assert json.loads(written)["scale"][0]["opened"] == 2
    assert Database("host", "1").password not in written + text


# --- contexts that are held ----------------------------------------------------------------


async def _application(scope: Any, receive: Any, send: Any) -> None:
    """Streams for ever, or as the path says."""
    path = scope["path"]
    status = 500 if path.startswith("/stream/500") else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    if path.startswith("/stream/404"):
        raise LookupError
    await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
    if path.startswith("/stream/1"):
        await asyncio.get_running_loop().create_future()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@pytest.mark.parametrize(
    ("milliseconds", "still_open", "failed"),
    [(1, 3, 0), (500, 0, 3), (404, 0, 3)],
    ids=["that stay", "refused", "that break"],
)
async def test_streams_in_memory_are_told_apart(
    milliseconds: int, still_open: int, failed: int
) -> None:
    contexts = Contexts(InMemory(_application))
    opened = await contexts.open(3, milliseconds)
    assert (opened.open, opened.failed) == (still_open, failed)


async def test_streams_that_end_are_open_no_longer() -> None:
    contexts = Contexts(InMemory(_application))
    await contexts.open(2, milliseconds=3)  # an event, and the end
    opened = await contexts.open(1, milliseconds=1)
    assert (opened.open, opened.failed) == (1, 2)


async def test_requests_in_memory_are_counted_by_their_answers() -> None:
    async def every_other(scope: Any, receive: Any, send: Any) -> None:
        number = int(scope["path"].rpartition("/")[2])
        assert (await receive())["type"] == "http.request"
        status = 200 if number % 2 else 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    answers = await Contexts(InMemory(every_other)).requests(5)
    assert (answers.served, answers.failed) == (3, 2)
    assert answers.p99 is not None


@pytest.mark.parametrize(
    ("answer", "still_open", "failed"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\ndata: x\n\n", 2, 0),
        (b"HTTP/1.1 500 Oh\r\n\r\ndata: x\n\n", 0, 2),
        (b"", 0, 2),
    ],
    ids=["that stay", "refused", "hung up on"],
)
async def test_streams_over_sockets_are_told_apart(
    answer: bytes, still_open: int, failed: int
) -> None:
    paths: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
        if not answer:
            writer.close()
            return
        writer.write(answer[:5])  # in parts, so that the status has to be looked for
        await writer.drain()
        writer.write(answer[5:])
        held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        contexts = Contexts(OverSockets(server.sockets[0].getsockname()[1]))
        opened = await contexts.open(2, milliseconds=7)
        assert (opened.open, opened.failed) == (still_open, failed)
        for writer in held:
            writer.close()
    assert paths == [b"/stream/7"] * 2


# --- the command ---------------------------------------------------------------------------


def test_options_of_the_command_line_replace_single_sizes() -> None:
    options = scale.parse(["--contexts", "50", "5", "--memory", "0.5", "--threads", "7"])
    plan = scale.plan_of(options, files=1000)
    assert plan.contexts == (5, 50)
    assert plan.limits == Limits(threads=7, memory=2**29, files=1000)
    assert (plan.period, plan.requests) == (scale.DEFAULT.period, scale.DEFAULT.requests)
    assert scale.plan_of(scale.parse(["--quick"]), 0).contexts == scale.QUICK.contexts


def test_what_nobody_says_of_a_process_is_not_known() -> None:
    assert Process.seen(-1) == Process(None, None)
