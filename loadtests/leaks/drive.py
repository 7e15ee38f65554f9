"""Runs contexts of a scenario: so many clients at a time, each one number after the other.

Numbers decide everything that is left to chance (:func:`chance_of`), so that a run with the same
seed asks the same things, whatever the order in which they come about.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

from mssql_async.contrib.leaks.record import Token

from .faults import Faults
from .scenario import Reply, Scenario, Visit
from .server import CannotDo

CONTEXT_PATIENCE = 60.0
"""Seconds that one context may take before it counts as hung."""
WAVE_PATIENCE = 900.0
"""Seconds that a wave may take."""
CLOSING_PATIENCE = 5.0
"""Seconds that clients have to end once they were cancelled."""
MOST_HUNG = 8
"""Contexts of a wave; after that no further ones are begun."""
MOST_TEXTS = 50
"""Different errors that are told apart."""
_NUMBERS = re.compile(r"\d+(\.\d+)?")
_SHOWN = 300
"""Characters of an error."""


class Clients(Protocol):
    """The two ways to the application: in memory, or over sockets."""

    def visit(
        self, scenario: Scenario, number: int, token: Token, rand: random.Random
    ) -> AbstractAsyncContextManager[Visit]:
        """One context's client; what it has left open is closed at the block's end."""


def chance_of(seed: int, scenario: str, number: int) -> random.Random:
    return random.Random(f"{seed}/{scenario}/{number}")


@dataclass(slots=True)
class Tally:
    """What the clients of a scenario have seen. Written by the threads of all loops, each
    change of which is one step of the interpreter or under the lock."""

    done: int = 0
    hung: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    """Seconds, one for each context that came to its end."""
    cannot: str = ""
    """What the server cannot do that a scenario asked for: why it is skipped."""
    _kinds: dict[str, str] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def finished(self, seconds: float, reply: Reply | None, allowed: Sequence[int]) -> None:
        with self._lock:
            self.done += 1
            self.latencies.append(seconds)
            if reply is None:
                return
            self.statuses[reply.status] += 1
        if reply.status not in allowed:
            body = reply.body.decode(errors="replace").strip().partition("\n")[0]
            self.failure(f"answer {reply.status}{': ' if body else ''}{body}")

    def failed_with(self, error: BaseException) -> None:
        with self._lock:
            self.done += 1
        self.failure(describe(error))

    def failure(self, text: str) -> None:
        """Count an error. Those that differ in numbers alone are the same; the first is shown."""
        short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        kind = _NUMBERS.sub("#", short)
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= MOST_TEXTS:
                kind = short = "other errors"
            self.errors[self._kinds.setdefault(kind, short)] += 1


def describe(error: BaseException) -> str:
    """One line; of a group the first one's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(slots=True)
class Wave:
    """Contexts that are begun, come to rest and are looked at together."""

    scenario: Scenario
    numbers: Iterator[int]
    """Taken by all clients; see :func:`shared`."""
    first_token: Token
    """Of number 0 of the scenario; the others follow."""
    seed: int
    tally: Tally
    progressed: Callable[[], None] = lambda: None
    context_patience: float = CONTEXT_PATIENCE
    wave_patience: float = WAVE_PATIENCE

    async def run(self, clients: Clients, concurrency: int) -> None:
        """In the running loop, until the numbers are used up."""
        tasks = [asyncio.create_task(self._client(clients)) for _ in range(concurrency)]
        try:
            _done, pending = await asyncio.wait(tasks, timeout=self.wave_patience)
            if pending:
                self.tally.failure(
                    f"{self.scenario.name}: {len(pending)} clients were not done after "
                    f"{self.wave_patience:g} s"
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=CLOSING_PATIENCE)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _client(self, clients: Clients) -> None:
        while self.tally.hung < MOST_HUNG and not self.tally.cannot:
            try:
                number = next(self.numbers)
            except StopIteration:
                return
            await self._context(clients, number)
            self.progressed()

    async def _context(self, clients: Clients, number: int) -> None:
        scenario, tally = self.scenario, self.tally
        rand = chance_of(self.seed, scenario.name, number)
        began = perf_counter()
        bound = asyncio.timeout(self.context_patience)
        try:
            async with (
                bound,
                clients.visit(scenario, number, self.first_token + number, rand) as visit,
            ):
                reply = await scenario.visit(visit)
        except CannotDo as error:
            tally.cannot = str(error)
        except TimeoutError as error:
            if not bound.expired():
                tally.failed_with(error)
                return
            tally.hung += 1
            tally.failed_with(
                TimeoutError(
                    f"a context of {scenario.name} hung for {self.context_patience:g} s "
                    f"(the first: number {number})"
                    if tally.hung == 1
                    else f"further contexts of {scenario.name} hung"
                )
            )
        except Exception as error:
            tally.failed_with(error)
        else:
            tally.finished(perf_counter() - began, reply, scenario.statuses)


class _Shared:
    def __init__(self, numbers: range) -> None:
        self._numbers = iter(numbers)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._numbers)


def shared(numbers: range) -> Iterator[int]:
    """For clients of several threads: each number is somebody's, and nobody else's."""
    return _Shared(numbers)


async def run_wave(
    wave: Wave,
    clients: Clients,
    concurrency: int,
    faults: Faults | None = None,
    loops: Sequence[asyncio.AbstractEventLoop] = (),
) -> None:
    """All contexts of a wave, and what disturbs them meanwhile.

    The clients are spread over the running loop and further ones that run in other threads.
    """
    at_once = max(1, min(concurrency, wave.scenario.most_at_once))
    shares = 1 + len(loops)
    parts = [at_once // shares + (place < at_once % shares) for place in range(shares)]
    over = threading.Event()
    disturbing = None
    if faults is not None:
        disturbing = asyncio.create_task(_disturb(wave, faults, over))
    try:
        elsewhere = [
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(wave.run(clients, part), loop))
            for loop, part in zip(loops, parts[1:], strict=True)
            if part
        ]
        await asyncio.gather(wave.run(clients, parts[0]), *elsewhere)
    finally:
        over.set()
        if disturbing is not None:
            disturbing.cancel()
            await asyncio.wait([disturbing], timeout=CLOSING_PATIENCE)
            if not disturbing.done():
                wave.tally.failure(f"{wave.scenario.name}: disturb() does not end")


async def _disturb(wave: Wave, faults: Faults, over: threading.Event) -> None:
    try:
        await wave.scenario.disturb(faults, over.is_set)
    except CannotDo as error:
        wave.tally.cannot = str(error)
    except Exception as error:
        wave.tally.failure(f"disturb(): {describe(error)}")
