"""What is measured of a pool alone, and how. The results are plain data.

Candidates take turns (A B C A B C …), so that whatever else the machine does hits all of them
alike, and ratios are taken between neighbouring turns.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from .candidates import OURS, Candidate, Make
from .stubs import StubServer

MICROSECONDS = 1_000_000
PATIENCE = 30.0
"""Seconds after which a wait of the benchmark's own is a failure."""
# The thread's own time on the processor, without what other processes take away from it;
# where that clock is too coarse (Windows), the time that passes.
_work_time = (
    time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter
)
_SLEEPS = 0.3
"""Seconds after which a recovery that is not over is taken to sleep."""


# --- nobody waits --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of work for one acquire and release that nobody competes with."""

    name: str
    median: float
    fastest: float
    ratio: float
    """To this project's pool: the median of the ratios of neighbouring turns."""


async def uncontended(makes: Sequence[Make], turns: int, cycles: int, depth: int) -> list[Cost]:
    """Each candidate, in turn, acquires and releases ``cycles`` times, ``turns`` times.

    ``depth`` is the number of Python frames that call it: what a pool notes about its caller
    costs by the frame.
    """
    candidates = [await make(StubServer(), 1, False) for make in makes]
    times: dict[str, list[float]] = {each.name: [] for each in candidates}
    try:
        with _settled_garbage_collector(), _another_thread():
            for turn in range(turns + 1):
                for each in candidates:
                    if each.asynchronous:
                        seconds = await _async_at_depth(depth, _async_cycles, each, cycles)
                    else:
                        seconds = _at_depth(depth, _cycles, each, cycles)
                    if turn:  # the first warms up
                        times[each.name].append(seconds / cycles * MICROSECONDS)
    finally:
        for each in candidates:
            await each.close()
    ours = times.get(OURS)
    return [
        Cost(
            name,
            median=statistics.median(found),
            fastest=min(found),
            ratio=statistics.median(a / b for a, b in zip(found, ours or found, strict=True)),
        )
        for name, found in times.items()
    ]


@contextmanager
def _settled_garbage_collector() -> Iterator[None]:
    """What was made before is no longer looked through; collections go on as always."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _another_thread() -> Iterator[None]:
    """As in every server. In a process without one, this project's pool looks in its first
    seconds, at each release, whether that is still so, and whether to start its own."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="another")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _at_depth(
    depth: int, measure: Callable[[Candidate, int], float], candidate: Candidate, cycles: int
) -> float:
    if depth > 1:
        return _at_depth(depth - 1, measure, candidate, cycles)
    return measure(candidate, cycles)


async def _async_at_depth(
    depth: int,
    measure: Callable[[Candidate, int], Awaitable[float]],
    candidate: Candidate,
    cycles: int,
) -> float:
    if depth > 1:
        return await _async_at_depth(depth - 1, measure, candidate, cycles)
    return await measure(candidate, cycles)


def _cycles(candidate: Candidate, cycles: int) -> float:
    acquire, release = candidate.acquire, candidate.release
    start = _work_time()
    for _ in itertools.repeat(None, cycles):
        release(acquire())
    return _work_time() - start


async def _async_cycles(candidate: Candidate, cycles: int) -> float:
    acquire, release = candidate.acquire, candidate.release
    start = _work_time()
    for _ in itertools.repeat(None, cycles):
        await release(await acquire())
    return _work_time() - start


# --- many compete --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contention:
    """Contenders that acquire, hold and release again and again. Waits are in milliseconds;
    each figure is the median of the rounds."""

    name: str
    kind: str
    """``threads`` or ``tasks``."""
    leases_per_second: float
    p50: float
    p99: float
    longest: float
    longest_to_median: float
    fewest: float
    """Leases of the contender that got least, as a share of the average."""
    most: float


@dataclass(frozen=True, slots=True)
class Contest:
    """What contenders do. Times are in seconds."""

    contenders: int = 64
    connections: int = 20
    hold: float = 0.001
    """How long a connection is held each time."""
    pause: float = 0.001
    """How long a contender stays away before it asks again."""
    seconds: float = 1.0
    """How long a round takes; each contender gets at least one lease."""
    rounds: int = 3


async def contended(makes: Sequence[Make], contest: Contest) -> list[Contention]:
    """Contenders share connections, in rounds; each round has new pools, full from the start."""
    found: dict[str, list[Contention]] = {}
    for _ in range(contest.rounds):
        for make in makes:
            candidate = await make(StubServer(), contest.connections, False)
            await _fill(candidate, contest.connections)
            waits: list[list[float]] = [[] for _ in range(contest.contenders)]
            start = time.perf_counter()
            try:
                if candidate.asynchronous:
                    await _contend_as_tasks(candidate, contest, waits)
                else:
                    _contend_as_threads(candidate, contest, waits)
            finally:
                seconds = time.perf_counter() - start
                await candidate.close()
            found.setdefault(candidate.name, []).append(_contention(candidate, waits, seconds))
    return [_median_of(rounds_of_one) for rounds_of_one in found.values()]


def _contention(candidate: Candidate, waits: list[list[float]], seconds: float) -> Contention:
    ordered = sorted(itertools.chain.from_iterable(waits))
    average = len(ordered) / len(waits)
    median = statistics.median(ordered)
    return Contention(
        name=candidate.name,
        kind="tasks" if candidate.asynchronous else "threads",
        leases_per_second=len(ordered) / seconds,
        p50=median * 1000,
        p99=ordered[int(len(ordered) * 0.99)] * 1000,
        longest=ordered[-1] * 1000,
        longest_to_median=ordered[-1] / median,
        fewest=min(map(len, waits)) / average,
        most=max(map(len, waits)) / average,
    )


def _median_of(rounds: list[Contention]) -> Contention:
    def median(figure: str) -> float:
        return float(statistics.median(getattr(each, figure) for each in rounds))

    return Contention(
        rounds[0].name,
        rounds[0].kind,
        leases_per_second=median("leases_per_second"),
        p50=median("p50"),
        p99=median("p99"),
        longest=median("longest"),
        longest_to_median=median("longest_to_median"),
        fewest=median("fewest"),
        most=median("most"),
    )


def _contend_as_threads(candidate: Candidate, contest: Contest, waits: list[list[float]]) -> None:
    start = threading.Barrier(contest.contenders)

    def contend(mine: list[float]) -> None:
        acquire, release, now = candidate.acquire, candidate.release, time.perf_counter
        start.wait(PATIENCE)
        end = now() + contest.seconds
        while not mine or now() < end:
            asked = now()
            connection = acquire()
            mine.append(now() - asked)
            time.sleep(contest.hold)
            release(connection)
            time.sleep(contest.pause)

    with ThreadPoolExecutor(contest.contenders) as threads:
        for each in [threads.submit(contend, mine) for mine in waits]:
            each.result()


async def _contend_as_tasks(
    candidate: Candidate, contest: Contest, waits: list[list[float]]
) -> None:
    async def contend(mine: list[float]) -> None:
        acquire, release, now = candidate.acquire, candidate.release, time.perf_counter
        end = now() + contest.seconds
        while not mine or now() < end:
            asked = now()
            connection = await acquire()
            mine.append(now() - asked)
            await asyncio.sleep(contest.hold)
            await release(connection)
            await asyncio.sleep(contest.pause)

    await asyncio.gather(*map(contend, waits))


# --- who is served first -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """In which order callers who waited were served. Counts, the same on any machine as far
    as the pool decides them."""

    name: str
    waiters: int
    out_of_order: int
    """Waiters that were served before one who had come earlier."""
    overtaken_by_newcomers: int
    """How often a caller who came last got the connection while others waited for it; at
    most once for each waiter, then the newcomer lets them."""


async def order(makes: Sequence[Make], waiters: int) -> list[Order]:
    """One connection, lent. ``waiters`` callers come one after the other, each only when the
    one before is known to wait. Then the holder gives the connection back and at once asks
    for it again, as a newcomer, until all have been served."""
    results = []
    for make in makes:
        candidate = await make(StubServer(), 1, False)
        try:
            if candidate.asynchronous:
                results.append(await _order_of_tasks(candidate, waiters))
            else:
                results.append(_order_of_threads(candidate, waiters))
        finally:
            await candidate.close()
    return results


def _order(candidate: Candidate, served: list[int], overtaken: int) -> Order:
    jumped = sum(  # somebody who came earlier was served later
        any(later < number for later in served[at + 1 :]) for at, number in enumerate(served)
    )
    return Order(candidate.name, len(served), jumped, overtaken)


def _order_of_threads(candidate: Candidate, waiters: int) -> Order:
    served: list[int] = []

    def wait(number: int) -> None:
        connection = candidate.acquire()
        served.append(number)  # whoever holds the only connection is alone here
        candidate.release(connection)

    held = candidate.acquire()
    with ThreadPoolExecutor(waiters) as threads:
        jobs = []
        for number in range(waiters):
            jobs.append(threads.submit(wait, number))
            give_up = time.monotonic() + PATIENCE
            while candidate.waiting() <= number:
                if time.monotonic() > give_up:
                    raise RuntimeError(f"{candidate.name}: waiter {number} never waited")
                time.sleep(0.0001)
        overtaken = 0
        for _ in range(waiters):
            candidate.release(held)
            held = candidate.acquire()
            if len(served) == waiters:
                break
            overtaken += 1
        candidate.release(held)
        for job in jobs:
            job.result()
    return _order(candidate, served, overtaken)


async def _order_of_tasks(candidate: Candidate, waiters: int) -> Order:
    served: list[int] = []

    async def wait(number: int) -> None:
        connection = await candidate.acquire()
        served.append(number)
        await candidate.release(connection)

    held = await candidate.acquire()
    tasks = []
    for number in range(waiters):
        tasks.append(asyncio.create_task(wait(number)))
        async with asyncio.timeout(PATIENCE):
            while candidate.waiting() <= number:  # noqa: ASYNC110 - the pool tells no event
                await asyncio.sleep(0)
    overtaken = 0
    for _ in range(waiters):
        await candidate.release(held)
        held = await candidate.acquire()
        if len(served) == waiters:
            break
        overtaken += 1
    await candidate.release(held)
    await asyncio.gather(*tasks)
    return _order(candidate, served, overtaken)


# --- after a failover ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recovery:
    """What ``stale`` idle connections cost after a failover with the server already back.

    As many callers come, one after the other; each acquires, sends one statement, releases.
    """

    name: str
    stale: int
    announced: bool
    """Whether the driver was told that the peer hung up, or finds out by its own message."""
    first_served_after: float | None
    """Seconds until the first statement that was answered; None: none was, within the limit."""
    failed_proofs: int
    """Messages of the pool itself that nobody answered."""
    logins: int
    errors: int
    """Callers whose acquire or statement failed."""
    not_asked: int
    """Callers left out because the limit was over."""


async def recovery(
    makes: Sequence[Make], stale: Sequence[int], *, announced: bool, idle: float, limit: float
) -> list[Recovery]:
    """Each candidate with each number of stale connections, after they were idle for
    ``idle`` seconds. After ``limit`` seconds no further callers come.

    One case begins when the one before is over, or else, as a case that takes so long sleeps
    and disturbs nobody, after :data:`_SLEEPS`.
    """
    cases: list[_Case] = []
    for make, count in itertools.product(makes, stale):
        server = StubServer()
        candidate = await make(server, count, True)
        await _fill(candidate, count)
        cases.append(_Case(candidate, server, count, announced, limit))
    await asyncio.sleep(idle)
    running: list[asyncio.Future[Recovery]] = []
    try:
        with ThreadPoolExecutor(max(1, len(cases))) as threads:
            loop = asyncio.get_running_loop()
            for case in cases:
                if case.candidate.asynchronous:
                    running.append(asyncio.ensure_future(case.run_as_task()))
                else:
                    running.append(loop.run_in_executor(threads, case.run))
                await asyncio.wait(running[-1:], timeout=_SLEEPS)
            return await asyncio.gather(*running)
    finally:
        for case in cases:
            await case.candidate.close()


async def _fill(candidate: Candidate, count: int) -> None:
    """Leave it with so many idle connections."""
    if candidate.asynchronous:
        for connection in [await candidate.acquire() for _ in range(count)]:
            await candidate.release(connection)
    else:
        for connection in [candidate.acquire() for _ in range(count)]:
            candidate.release(connection)


class _Case:
    def __init__(
        self, candidate: Candidate, server: StubServer, stale: int, announced: bool, limit: float
    ) -> None:
        self.candidate = candidate
        self._server = server
        self._stale = stale
        self._announced = announced
        self._limit = limit
        self._start = 0.0
        self._logins_before = 0
        self._asked = 0
        self._errors = 0
        self._unanswered_statements = 0
        self._first: float | None = None

    def run(self) -> Recovery:
        self._begin()
        candidate = self.candidate
        while self._another():
            try:
                connection = candidate.acquire()
            except Exception:
                self._errors += 1
                continue
            try:
                candidate.execute(connection)
            except Exception:
                self._statement_failed()
            else:
                self._served()
            candidate.release(connection)
        return self._result()

    async def run_as_task(self) -> Recovery:
        self._begin()
        candidate = self.candidate
        while self._another():
            try:
                connection = await candidate.acquire()
            except Exception:
                self._errors += 1
                continue
            try:
                await candidate.execute(connection)
            except Exception:
                self._statement_failed()
            else:
                self._served()
            await candidate.release(connection)
        return self._result()

    def _begin(self) -> None:
        self._logins_before = self._server.logins
        self._server.fail_over(announced=self._announced)
        self._start = time.perf_counter()

    def _another(self) -> bool:
        if self._asked == self._stale or time.perf_counter() - self._start > self._limit:
            return False
        self._asked += 1
        return True

    def _statement_failed(self) -> None:
        self._errors += 1
        self._unanswered_statements += 1

    def _served(self) -> None:
        if self._first is None:
            self._first = time.perf_counter() - self._start

    def _result(self) -> Recovery:
        return Recovery(
            name=self.candidate.name,
            stale=self._stale,
            announced=self._announced,
            first_served_after=self._first,
            failed_proofs=self._server.unanswered - self._unanswered_statements,
            logins=self._server.logins - self._logins_before,
            errors=self._errors,
            not_asked=self._stale - self._asked,
        )
