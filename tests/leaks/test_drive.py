"""Clients of the leak harness, in memory and over sockets, against tiny applications."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvicorn

from loadtests.leaks.drive import MOST_HUNG, Clients, Tally, Wave, chance_of, run_wave, shared
from loadtests.leaks.inprocess import InProcess, LoopThreads, Message, Refused
from loadtests.leaks.oversockets import OverSockets
from loadtests.leaks.scenario import Reply, Scenario, Visit
from loadtests.leaks.server import CannotDo
from loadtests.leaks.signals import GONE, Signals

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PATIENCE = 20.0


class Nobody(Scenario):
    name = "nobody"


# --- an application that tells what it was told ----------------------------------------------


class Told:
    """What the application under test was told, in its order."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.messages: list[Message] = []
        self.raised: list[BaseException] = []
        self.is_over = asyncio.Event()

    async def until_over(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.is_over.wait()


def application(told: Told, signals: Signals) -> App:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        told.scopes.append(scope)
        serve = websocket if scope["type"] == "websocket" else http
        try:
            await serve(scope, receive, send)
        except BaseException as error:
            told.raised.append(error)
            raise
        finally:
            told.is_over.set()

    async def http(scope: Message, receive: Receive, send: Send) -> None:
        told.messages.append(await receive())
        headers = dict(scope["headers"])
        token = int(headers[b"x-leaks-token"])
        if scope["path"] == "/nobody/fails/":
            raise ZeroDivisionError
        if scope["path"] == "/nobody/waits/":
            signals.tell(token, "waiting")
            told.messages.append(await receive())
            await send(start())
            return
        await send(start())
        if scope["path"] == "/nobody/breaks/":
            await send(body(b"half", more=True))
            raise ZeroDivisionError
        if scope["path"] == "/nobody/streams/":
            await send(body(b"first", more=True))
            told.messages.append(await receive())
            return
        await send(body(scope["query_string"] + b" for " + str(token).encode()))

    async def websocket(scope: Message, receive: Receive, send: Send) -> None:
        told.messages.append(await receive())
        if scope["path"] == "/nobody/refuses/":
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            told.messages.append(message)
            if message["type"] == "websocket.disconnect":
                with suppress(OSError):
                    await send({"type": "websocket.send", "text": "too late"})
                    raise AssertionError("nobody has got this, and nobody has said so")
                return
            if message["text"] == "bye":
                await send({"type": "websocket.close", "code": 1000})
                return
            await send({"type": "websocket.send", "text": message["text"].upper()})

    return app


def start() -> Message:
    return {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def clients_of(way: str, app: App, signals: Signals) -> AsyncIterator[Clients]:
    if way == "in memory":
        yield InProcess(app, signals)
        return
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE):
        while not server.started:  # noqa: ASYNC110 - it has nothing else to wait for
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with OverSockets([port], signals) as clients:
            yield clients
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(params=["in memory", "over sockets"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
async def told() -> Told:
    return Told()


@pytest.fixture
async def clients(way: str, told: Told, signals: Signals) -> AsyncIterator[Clients]:
    async with clients_of(way, application(told, signals), signals) as clients:
        yield clients


@asynccontextmanager
async def visiting(clients: Clients, token: int = 7) -> AsyncIterator[Visit]:
    async with (
        asyncio.timeout(PATIENCE),
        clients.visit(Nobody(), 0, token, random.Random(1)) as visit,
    ):
        yield visit


async def test_clients_over_sockets_share_connections_until_they_are_told_to_hang_up(
    told: Told, signals: Signals
) -> None:
    async with clients_of("over sockets", application(told, signals), signals) as clients:
        assert isinstance(clients, OverSockets)
        for is_last in (False, True):
            async with visiting(clients) as visit:
                await visit.get()
                await visit.get()
            if not is_last:
                await clients.hang_up()
    first, second, third, fourth = (scope["client"] for scope in told.scopes)
    assert first == second
    assert third == fourth
    assert first != third


class TestAClient:
    async def test_asks_with_its_token(self, clients: Clients) -> None:
        async with visiting(clients) as visit:
            reply = await visit.get(work="a b", n=2)
        assert reply == Reply(200, b"work=a+b&n=2 for 7")

    async def test_has_a_path_for_each_part(self, clients: Clients, told: Told) -> None:
        async with visiting(clients) as visit:
            await visit.get()
            await visit.get("other")
        assert [scope["path"] for scope in told.scopes] == ["/nobody/", "/nobody/other/"]

    async def test_has_500_from_an_application_that_fails(self, clients: Clients) -> None:
        async with visiting(clients) as visit:
            assert (await visit.get("fails")).status == 500

    async def test_has_no_answer_where_it_is_cut_short(self, clients: Clients) -> None:
        async with visiting(clients) as visit:
            assert await visit.get("breaks") == Reply(0, b"half")

    async def test_hangs_up_once_the_application_has_said_so(
        self, clients: Clients, told: Told, signals: Signals
    ) -> None:
        async with visiting(clients) as visit:
            assert (await visit.hang_up_once("waiting", "waits")).status == 0
        await told.until_over()
        assert told.messages[-1] == {"type": "http.disconnect"}
        assert signals.was_told(7, GONE)

    async def test_hangs_up_after_a_while(self, clients: Clients, told: Told) -> None:
        async with visiting(clients) as visit:
            assert (await visit.hang_up_after(0.05, "waits")).status == 0
        await told.until_over()
        assert told.messages[-1] == {"type": "http.disconnect"}

    async def test_has_its_answer_where_that_comes_first(
        self, clients: Clients, signals: Signals
    ) -> None:
        async with visiting(clients) as visit:
            assert (await visit.hang_up_after(PATIENCE)).body == b" for 7"
        assert not signals.was_told(7, GONE)

    async def test_reads_a_stream_and_vanishes_from_it(
        self, clients: Clients, told: Told, signals: Signals
    ) -> None:
        async with visiting(clients) as visit, visit.stream("streams") as stream:
            assert stream.status == 200
            assert await stream.read() == b"first"
            stream.vanish()
        await told.until_over()
        assert told.messages[-1] == {"type": "http.disconnect"}
        assert signals.was_told(7, GONE)

    async def test_reads_a_stream_to_its_end(self, clients: Clients, signals: Signals) -> None:
        async with visiting(clients) as visit, visit.stream() as stream:
            assert await stream.read() == b" for 7"
            assert await stream.read() is None
        assert not signals.was_told(7, GONE)

    async def test_talks_over_a_websocket(self, clients: Clients, told: Told) -> None:
        async with visiting(clients) as visit, visit.websocket(room="1") as talk:
            await talk.send("hello")
            assert await talk.receive() == "HELLO"
            await talk.send("bye")
            assert await talk.receive() is None
        assert told.scopes[0]["query_string"] == b"room=1"
        assert dict(told.scopes[0]["headers"])[b"x-leaks-token"] == b"7"

    async def test_is_told_that_a_websocket_is_refused(self, clients: Clients) -> None:
        with pytest.raises(Refused):
            async with visiting(clients) as visit, visit.websocket("refuses"):
                pytest.fail("refused")

    async def test_closes_a_websocket(self, clients: Clients, told: Told) -> None:
        async with visiting(clients) as visit, visit.websocket() as talk:
            await talk.close()
        await told.until_over()
        assert told.messages[-1]["type"] == "websocket.disconnect"
        assert told.messages[-1]["code"] == 1000

    async def test_vanishes_from_a_websocket(
        self, clients: Clients, told: Told, signals: Signals
    ) -> None:
        async with visiting(clients) as visit, visit.websocket() as talk:
            talk.vanish()
        await told.until_over()
        assert told.messages[-1]["type"] == "websocket.disconnect"
        # Nothing was said (1006), which Uvicorn tells as "no code" (1005).
        assert told.messages[-1]["code"] in (1005, 1006)
        assert signals.was_told(7, GONE)
        assert not told.raised


async def test_the_application_has_nothing_of_its_clients_context(signals: Signals) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        await send(start())
        await send(body(b""))

    variable.set("the client's")
    async with visiting(InProcess(app, signals)) as visit:
        await visit.get()
    assert seen == ["nothing"]


# --- waves -------------------------------------------------------------------------------------


class Scripted(Scenario):
    """Does what it is told to, without an application."""

    name = "scripted"

    def __init__(self, script: Callable[[Visit], Awaitable[Reply | None]]) -> None:
        self._script = script

    async def visit(self, visit: Visit) -> Reply | None:
        return await self._script(visit)


def nobody_is_there() -> Clients:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        raise AssertionError

    return InProcess(app, Signals())


async def driven(
    scenario: Scenario,
    contexts: int = 10,
    concurrency: int = 4,
    *,
    seed: int = 1,
    loops: int = 1,
    faults: Any = None,
    **bounds: float,
) -> Tally:
    tally = Tally()
    wave = Wave(scenario, shared(range(contexts)), 100, seed, tally, **bounds)
    with LoopThreads(loops - 1) as further:
        await run_wave(wave, nobody_is_there(), concurrency, faults, further.loops)
    return tally


class TestAWave:
    async def test_has_each_number_once(self) -> None:
        numbers = []

        async def script(visit: Visit) -> None:
            await asyncio.sleep(0)
            numbers.append(visit.number)

        tally = await driven(Scripted(script), 50)
        assert sorted(numbers) == list(range(50))
        assert tally.done == len(tally.latencies) == 50

    async def test_keeps_so_many_busy_and_no_more(self) -> None:
        now, most = 0, 0

        async def script(visit: Visit) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

        await driven(Scripted(script), 40, 8)
        assert most == 8

    async def test_heeds_what_a_scenario_bears(self) -> None:
        now, most = 0, 0

        async def script(visit: Visit) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

        scenario = Scripted(script)
        scenario.most_at_once = 2  # type: ignore[misc]
        await driven(scenario, 40, 8)
        assert most == 2

    async def test_leaves_nothing_to_chance_but_the_order(self) -> None:
        async def drawn(seed: int, concurrency: int) -> dict[int, float]:
            found = {}

            async def script(visit: Visit) -> None:
                await asyncio.sleep(0)
                found[visit.number] = visit.rand.random()

            await driven(Scripted(script), 20, concurrency, seed=seed)
            return found

        once = await drawn(3, 1)
        assert await drawn(3, 7) == once
        assert await drawn(4, 7) != once
        assert len(set(once.values())) == 20

    async def test_spreads_over_loops(self) -> None:
        threads = set()
        barrier = threading.Barrier(3)

        async def script(visit: Visit) -> None:
            threads.add(threading.get_ident())
            if visit.number < 3:
                await asyncio.to_thread(barrier.wait, PATIENCE)

        tally = await driven(Scripted(script), 12, 3, loops=3)
        assert len(threads) == 3
        assert tally.done == 12
        assert not tally.errors

    async def test_counts_answers_and_those_that_are_not_in_order(self) -> None:
        async def script(visit: Visit) -> Reply:
            return Reply(503 if visit.number == 3 else 200, b"why\nand more")

        tally = await driven(Scripted(script))
        assert tally.statuses == {200: 9, 503: 1}
        assert tally.errors == {"answer 503: why": 1}

    async def test_counts_failures_and_goes_on(self) -> None:
        async def script(visit: Visit) -> None:
            if visit.number % 2:
                raise ConnectionError("no\nanswer")

        tally = await driven(Scripted(script))
        assert tally.done == 10
        assert tally.errors == {"ConnectionError: no answer": 5}

    async def test_counts_errors_that_differ_in_numbers_as_one(self) -> None:
        async def script(visit: Visit) -> None:
            raise ConnectionError(f"no answer for {visit.number}.5 s")

        tally = await driven(Scripted(script), 10, 1)
        assert tally.errors == {"ConnectionError: no answer for 0.5 s": 10}

    async def test_gives_a_context_up_that_hangs(self) -> None:
        ended = []

        async def script(visit: Visit) -> None:
            if visit.number == 3:
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.append(visit.number)

        tally = await driven(Scripted(script), context_patience=0.1)
        assert ended == [3]
        assert tally.done == 10
        assert tally.hung == 1
        (text,) = tally.errors
        assert "scripted" in text
        assert "number 3" in text

    async def test_takes_a_scenarios_own_timeout_for_a_failure(self) -> None:
        async def script(visit: Visit) -> None:
            raise TimeoutError("nobody told")

        tally = await driven(Scripted(script), 1)
        assert tally.errors == {"TimeoutError: nobody told": 1}
        assert not tally.hung

    async def test_begins_no_further_ones_where_many_hang(self) -> None:
        async def script(visit: Visit) -> None:
            await asyncio.Event().wait()

        tally = await driven(Scripted(script), 1000, 4, context_patience=0.05)
        assert MOST_HUNG <= tally.hung == tally.done < MOST_HUNG + 4

    async def test_is_bounded_in_time(self) -> None:
        async def script(visit: Visit) -> None:
            await asyncio.Event().wait()

        tally = await driven(Scripted(script), 4, 4, wave_patience=0.1)
        (text,) = tally.errors
        assert "scripted: 4 clients were not done" in text

    async def test_stops_where_the_server_cannot_do_what_is_needed(self) -> None:
        async def script(visit: Visit) -> None:
            raise CannotDo("no right to KILL")

        tally = await driven(Scripted(script), 100, 1)
        assert tally.cannot == "no right to KILL"
        assert not tally.errors


class TestWhatDisturbsAWave:
    async def test_runs_beside_the_visits_and_ends_with_them(self) -> None:
        seen = []

        class Disturbed(Scripted):
            async def disturb(self, faults: Any, over: Callable[[], bool]) -> None:
                seen.append(faults)
                begun.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    seen.append(over())

        begun = asyncio.Event()

        async def script(visit: Visit) -> None:
            await begun.wait()

        tally = await driven(Disturbed(script), faults="faults")
        assert seen == ["faults", True]
        assert not tally.errors

    async def test_is_an_error_where_it_fails(self) -> None:
        class Disturbed(Scripted):
            async def disturb(self, faults: Any, over: Callable[[], bool]) -> None:
                raise ZeroDivisionError("oh")

        async def script(visit: Visit) -> None:
            await asyncio.sleep(0.01)

        tally = await driven(Disturbed(script), faults="faults")
        assert tally.errors == {"disturb(): ZeroDivisionError: oh": 1}


def test_chance_is_decided_by_seed_scenario_and_number() -> None:
    def draw(*of: Any) -> float:
        return chance_of(*of).random()

    assert draw(1, "a", 2) == draw(1, "a", 2)
    assert len({draw(1, "a", 2), draw(2, "a", 2), draw(1, "b", 2), draw(1, "a", 3)}) == 4
