"""The relay that puts the database further away: all bytes arrive, in order, and not before."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from loadtests.bench.delay import Line, open_relay, punctual_loop, relay_process

DELAY = 0.005


class VirtualClock:
    """Time passes when it is told to. Timers of one moment fire in no order one could rely on."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._random = random.Random(1)
        self.timers_set = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], /) -> object:
        self.timers_set += 1
        timer = (when, self._random.random(), next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def advance_to(self, moment: float) -> None:
        while self._timers and self._timers[0][0] <= moment:
            when, _, _, callback = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            callback()
        self.now = moment


class TimerEach:
    """A line without the queue: a timer for every piece."""

    def __init__(self, delay: float, clock: VirtualClock) -> None:
        self._delay = delay
        self._clock = clock

    def send(self, deliver: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.time() + self._delay, deliver)


def arrivals(line: Line | TimerEach, clock: VirtualClock) -> list[tuple[float, int]]:
    """When each of twenty pieces arrives that leave in two bursts, 3 ms apart."""
    seen: list[tuple[float, int]] = []

    def piece(number: int) -> Callable[[], None]:
        return lambda: seen.append((clock.time(), number))

    for number in range(10):
        line.send(piece(number))
    clock.advance_to(0.003)
    for number in range(10, 20):
        line.send(piece(number))
    clock.advance_to(1.0)
    return seen


EXPECTED = [(DELAY, n) for n in range(10)] + [(0.003 + DELAY, n) for n in range(10, 20)]


def test_every_piece_takes_the_same_time_whatever_is_under_way() -> None:
    clock = VirtualClock()
    assert arrivals(Line(DELAY, clock), clock) == EXPECTED
    assert clock.timers_set == 2


def test_a_timer_for_every_piece_would_confuse_their_order() -> None:
    clock = VirtualClock()
    seen = arrivals(TimerEach(DELAY, clock), clock)
    assert seen != EXPECTED
    assert sorted(seen) == EXPECTED


def test_what_is_sent_while_something_arrives_waits_its_own_time() -> None:
    clock = VirtualClock()
    line = Line(DELAY, clock)
    seen: list[float] = []
    line.send(lambda: line.send(lambda: seen.append(clock.time())))
    clock.advance_to(1.0)
    assert seen == [2 * DELAY]


# --- over sockets --------------------------------------------------------------------------


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[int, list[int]]]:
    """A server that answers each connection with what it sent, and how much that was once the
    client has nothing more to say."""
    received: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        total = 0
        while piece := await reader.read(65536):
            total += len(piece)
            writer.write(piece)
            await writer.drain()
        received.append(total)
        writer.write(f" {total}".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], received


async def exchange(port: int, pieces: list[bytes]) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()

    _, answer = await asyncio.gather(send(), reader.read(-1))
    writer.close()
    return answer


async def test_all_bytes_of_all_connections_arrive_in_order() -> None:
    generator = random.Random(2)
    conversations = [
        [generator.randbytes(generator.randint(1, 50_000)) for _ in range(20)] for _ in range(8)
    ]
    async with echoing() as (port, received):
        relay = await open_relay("127.0.0.1", port, 0.001)
        async with relay:
            relay_port = relay.sockets[0].getsockname()[1]
            answers = await asyncio.gather(
                *(exchange(relay_port, pieces) for pieces in conversations)
            )
    for pieces, answer in zip(conversations, answers, strict=True):
        sent = b"".join(pieces)
        assert answer == sent + f" {len(sent)}".encode()
    assert sorted(received) == sorted(sum(map(len, pieces)) for pieces in conversations)


async def test_who_hangs_up_is_missed_at_the_other_end() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        relay = await open_relay("127.0.0.1", server.sockets[0].getsockname()[1], 0.001)
        async with relay:
            _, writer = await asyncio.open_connection(
                "127.0.0.1", relay.sockets[0].getsockname()[1]
            )
            writer.write(b"x")
            writer.transport.abort()
            await asyncio.wait_for(gone.wait(), 10)


async def test_a_server_that_is_not_there_ends_the_connection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        relay = await open_relay("127.0.0.1", unused.getsockname()[1], 0.0)
        async with relay:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", relay.sockets[0].getsockname()[1]
            )
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()
    assert "cannot reach" in capsys.readouterr().err


async def test_the_process_relays() -> None:
    async with echoing() as (port, _):
        with relay_process("127.0.0.1", port, 0.5) as relay_port:
            assert await exchange(relay_port, [b"one", b"two"]) == b"onetwo 6"


def test_its_event_loop_runs_timers_and_sockets() -> None:
    async def work() -> bytes:
        await asyncio.sleep(0.0005)
        async with echoing() as (port, _):
            return await exchange(port, [b"one"])

    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        assert runner.run(work()) == b"one 3"
