"""Workers without a database: whose call runs when and where, and on how many threads."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from mssql_async.context import Context, ContextKind, ContextScope, WorkerPool, WorkerTimeout
from mssql_async.context.routing import ContextExecutor
from mssql_async.context.worker import Worker, current_worker

from .project import until


class StubSurroundings:
    """A thread has at most one thing that ties it to a context: :attr:`tie`."""

    def __init__(self) -> None:
        self.here = threading.local()
        self.left: list[object] = []

    def enter(self, context: Any, *, other: bool) -> None:
        tie = getattr(self.here, "tie", None)
        assert tie is None or tie is context.home, "a call on a worker that is another's"

    def at_rest(self) -> bool:
        return getattr(self.here, "tie", None) is None

    def holds_a_place(self) -> bool:
        return True

    def sessions(self) -> frozenset[str]:
        return frozenset()

    def unread(self) -> frozenset[str]:
        return frozenset()

    def leave(self, context: Any) -> None:
        self.left.append(context)
        self.here.tie = None


@pytest.fixture
def surroundings() -> StubSurroundings:
    return StubSurroundings()


def make_pool(surroundings: StubSurroundings, **arguments: Any) -> WorkerPool:
    return WorkerPool(surroundings, **{"max_workers": 4, "acquire_timeout": 20.0, **arguments})


@pytest.fixture
def pool(surroundings: StubSurroundings) -> WorkerPool:
    return make_pool(surroundings)


def context_in(pool: WorkerPool, kind: ContextKind = ContextKind.REQUEST) -> Context:
    return Context(pool, kind)


def tie(surroundings: StubSurroundings, context: Context) -> int:
    surroundings.here.tie = context
    return threading.get_ident()


class TestOneContext:
    async def test_runs_its_calls_in_their_order(self, pool: WorkerPool) -> None:
        seen: list[int] = []
        context = context_in(pool)
        await asyncio.gather(
            *(asyncio.wrap_future(context.call(lambda n=n: seen.append(n))) for n in range(50))
        )
        assert seen == list(range(50))

    async def test_that_is_tied_keeps_its_worker_and_leaves_it_at_its_end(
        self, pool: WorkerPool, surroundings: StubSurroundings
    ) -> None:
        context, other = context_in(pool), context_in(pool)
        mine = context.call(lambda: tie(surroundings, context)).result(20)
        assert pool.statistics().pinned == 1
        assert other.call(threading.get_ident).result(20) != mine
        assert [context.call(threading.get_ident).result(20) for _ in range(3)] == [mine] * 3
        await context.end()
        assert surroundings.left == [context]
        assert pool.statistics().pinned == 0

    async def test_that_is_not_tied_leaves_its_worker_to_others(self, pool: WorkerPool) -> None:
        contexts = [context_in(pool) for _ in range(50)]
        threads = {context.call(threading.get_ident).result(20) for context in contexts}
        assert len(threads) <= 2  # the first may be on its way back while the second comes
        assert pool.statistics().pinned == 0

    async def test_keeps_its_worker_to_its_end_where_that_is_asked_for(
        self, surroundings: StubSurroundings
    ) -> None:
        pool = make_pool(surroundings, keep=True)
        context, other = context_in(pool), context_in(pool)
        mine = context.call(threading.get_ident).result(20)
        assert other.call(threading.get_ident).result(20) != mine
        assert context.call(threading.get_ident).result(20) == mine
        await context.end()
        await other.end()
        assert (pool.statistics().pinned, pool.statistics().idle) == (0, 2)

    async def test_that_ends_while_its_call_runs_is_left_when_that_is_over(
        self, pool: WorkerPool, surroundings: StubSurroundings
    ) -> None:
        context = context_in(pool)
        go_on = threading.Event()

        def run() -> None:
            go_on.wait(20)
            tie(surroundings, context)

        future = context.call(run)
        assert context.end_soon() is None
        go_on.set()
        future.result(20)
        assert surroundings.left == [context]
        assert pool.statistics().pinned == 0

    def test_that_ends_in_the_moment_after_its_call_is_left_too(
        self,
        pool: WorkerPool,
        surroundings: StubSurroundings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Between the worker's look and its decision."""
        context = context_in(pool)
        finished = pool.finished

        def end_first(*args: Any, **kwargs: Any) -> Any:
            if not context.ended:
                assert context.end_soon() is None
            return finished(*args, **kwargs)

        monkeypatch.setattr(pool, "finished", end_first)
        context.call(lambda: tie(surroundings, context)).result(20)
        assert surroundings.left == [context]
        assert pool.statistics().pinned == 0

    def test_that_is_forgotten_without_an_end_gives_its_worker_back(
        self, pool: WorkerPool, surroundings: StubSurroundings
    ) -> None:
        context = context_in(pool)
        number = context.number
        surroundings.here.tie = None

        def run() -> None:
            surroundings.here.tie = number

        surroundings.enter = lambda *args, **kwargs: None  # type: ignore[method-assign]
        context.call(run).result(20)
        assert pool.statistics().pinned == 1
        del context
        gc.collect()
        assert until(lambda: pool.statistics().pinned == 0 and pool.statistics().idle == 1)
        assert len(surroundings.left) == 1

    def test_is_collected_without_the_help_of_the_collector(self, pool: WorkerPool) -> None:
        gc.disable()
        try:
            context = context_in(pool)
            gone = threading.Event()
            context.call(lambda: None).result(20)
            weakref.finalize(context, gone.set)
            del context
            assert gone.wait(20)
        finally:
            gc.enable()


class TestManyContexts:
    def test_wait_for_a_worker_first_in_first_out(self, surroundings: StubSurroundings) -> None:
        pool = make_pool(surroundings, max_workers=1)
        go_on, order = threading.Event(), list[int]()
        context_in(pool).call(lambda: go_on.wait(20))
        contexts = [context_in(pool) for _ in range(20)]
        futures = [context.call(lambda n=n: order.append(n)) for n, context in enumerate(contexts)]
        # A busy context does not overtake those who wait: its second call comes after them.
        second = contexts[0].call(lambda: order.append(100))
        assert pool.statistics().waiting == 20
        go_on.set()
        for future in [*futures, second]:
            future.result(20)
        assert order == [*range(20), 100]

    async def test_a_call_that_was_cancelled_in_the_queue_never_runs_and_holds_up_nobody(
        self, surroundings: StubSurroundings
    ) -> None:
        pool = make_pool(surroundings, max_workers=1)
        go_on, ran = threading.Event(), list[int]()
        first = context_in(pool).call(lambda: go_on.wait(20))
        context = context_in(pool)
        cancelled = context.call(lambda: ran.append(1))
        kept = context.call(lambda: ran.append(2))
        assert cancelled.cancel()
        go_on.set()
        first.result(20)
        kept.result(20)
        assert ran == [2]
        assert until(lambda: pool.statistics().idle == 1)

    def test_a_cancelled_call_of_a_context_that_has_ended_is_where_its_worker_is_left(
        self, pool: WorkerPool, surroundings: StubSurroundings
    ) -> None:
        context = context_in(pool)
        go_on = threading.Event()

        def run() -> None:
            tie(surroundings, context)
            go_on.wait(20)

        running = context.call(run)
        cancelled = context.call(lambda: None)
        assert cancelled.cancel()
        context.end_soon()
        go_on.set()
        running.result(20)
        assert until(lambda: pool.statistics().idle == 1)
        assert surroundings.left == [context]
        assert context_in(pool).call(lambda: 1).result(20) == 1

    async def test_that_wait_too_long_are_told_why(self, surroundings: StubSurroundings) -> None:
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=0.05)
        go_on = threading.Event()
        holder = context_in(pool)
        running = holder.call(lambda: go_on.wait(20))
        with pytest.raises(WorkerTimeout, match=r"all 1 workers are busy \(max_workers 1, 0 pin"):
            await asyncio.wrap_future(context_in(pool).call(lambda: None))
        go_on.set()
        assert await asyncio.wrap_future(running)

    async def test_wait_for_calls_of_their_own_as_long_as_these_take(
        self, surroundings: StubSurroundings
    ) -> None:
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=0.05)
        holder, go_on = context_in(pool), threading.Event()
        running = holder.call(lambda: go_on.wait(20))
        queued = [asyncio.wrap_future(holder.call(lambda n=n: n)) for n in range(3)]
        # Its time comes later than theirs would, and as often.
        for _ in range(3):
            with pytest.raises(WorkerTimeout):
                await asyncio.wrap_future(context_in(pool).call(lambda: None))
        go_on.set()
        assert await asyncio.gather(*queued) == [0, 1, 2]
        assert await asyncio.wrap_future(running)

    async def test_are_told_where_a_thread_waits_for_what_they_would_do(
        self, surroundings: StubSurroundings
    ) -> None:
        """One of a context's calls waits for a task whose own call is behind it."""
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=0.05)

        async def ask() -> None:
            await waits.wait()
            await sync_to_async(int)()

        async def wait_for(task: asyncio.Task[None]) -> None:
            waits.set()
            await task

        waits = asyncio.Event()
        async with ContextScope(context_in(pool)):
            asking = asyncio.create_task(ask())
            with pytest.raises(WorkerTimeout, match=r"an earlier call .* waits for asynchronous"):
                await sync_to_async(async_to_sync(wait_for))(asking)

    async def test_count_their_time_from_when_they_stand_in_line(
        self, surroundings: StubSurroundings
    ) -> None:
        """Not from when an earlier call of their own context kept them from that."""
        clock = FakeClock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mssql_async.context.workers.time", clock)
            patch.setattr("mssql_async.context.calls.time", clock)
            pool = make_pool(surroundings, max_workers=1, acquire_timeout=10.0)
            first_goes_on, other_goes_on = threading.Event(), threading.Event()
            context = context_in(pool)
            first = context.call(lambda: first_goes_on.wait(20))
            waited: list[float] = []
            second = context.call(lambda: waited.append(current_worker().take_waited()))  # type: ignore[union-attr]
            other = context_in(pool).call(lambda: other_goes_on.wait(20))
            call = context.calls[0]
            clock.now = 9.0
            assert pool.expire(call) == 10.0
            first_goes_on.set()
            assert first.result(20)
            assert until(lambda: context.in_line)
            clock.now = 12.0
            assert pool.expire(call) == 7.0
            other_goes_on.set()
            second.result(20)
            assert waited == [3.0]
            assert other.result(20)

    def test_are_told_without_an_event_loop_too(self, surroundings: StubSurroundings) -> None:
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=0.05)
        go_on = threading.Event()
        running = context_in(pool).call(lambda: go_on.wait(20))
        waiting = ContextExecutor(context_in(pool)).submit(len, "abc")
        with pytest.raises(WorkerTimeout):
            waiting.result(20)
        go_on.set()
        running.result(20)
        assert ContextExecutor(context_in(pool)).submit(len, "abc").result(20) == 3

    def test_get_the_error_where_no_thread_can_be_started(
        self, pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        context = context_in(pool)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            future = context.call(lambda: 1)
            with pytest.raises(RuntimeError, match="can't start"):
                future.result(20)
        assert pool.statistics().workers == 0
        assert context.call(lambda: 2).result(20) == 2


class FakeClock:
    """The time module, as far as calls ask it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class FakeLease:
    """A lease whose cancelling takes as long as the test says."""

    is_being_cancelled = False

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.resumed = False

    def interrupt(self) -> bool:
        self.began.set()
        self.go_on.wait(20)
        return True

    def resume(self) -> None:
        self.resumed = True

    def forsake(self) -> None:
        raise AssertionError("it came back")


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "not guarded"])
def test_a_cancellation_that_takes_long_ends_before_the_next_call_begins(
    surroundings: StubSurroundings, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Or it would hit the statement of the next context; the twin shows that."""
    pool = make_pool(surroundings, max_workers=1)
    lease = FakeLease()
    waits = threading.Event()
    sit_out = Worker._sit_out

    def watched(worker: Worker, stopping: threading.Event) -> None:
        waits.set()
        if guarded:
            sit_out(worker, stopping)

    monkeypatch.setattr(Worker, "_sit_out", watched)

    def run() -> None:
        worker = current_worker()
        assert worker is not None
        worker.leases.add(lease)
        lease.began.wait(20)

    cancelled = context_in(pool).call(run)
    assert until(lambda: bool(pool.statistics().workers) and cancelled.running())
    under_way_when_it_ran: list[bool] = []
    following = context_in(pool).call(
        lambda: under_way_when_it_ran.append(not lease.go_on.is_set())
    )
    assert not cancelled.cancel()
    assert waits.wait(20)
    if not guarded:
        following.result(20)
    lease.go_on.set()
    following.result(20)
    assert under_way_when_it_ran == [not guarded]
    assert lease.resumed


def test_a_call_that_is_cancelled_before_its_worker_knows_of_it_does_not_run(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancelling thread looked at the worker when that had not begun yet."""
    ran: list[int] = []
    context = context_in(pool)
    call_of: list[Any] = []
    begin = pool._begin

    def begin_and_interrupt(*args: Any) -> Any:
        call = begin(*args)
        call_of.append(call)
        call.interrupted = True
        return call

    monkeypatch.setattr(pool, "_begin", begin_and_interrupt)
    future: Future[Any] = context.call(lambda: ran.append(1))
    with pytest.raises(CancelledError):
        future.result(20)
    assert ran == []


class TestNesting:
    """A call never waits for its own ancestor, however few workers there are."""

    @pytest.mark.parametrize("depth", [1, 2, 5])
    async def test_alternating_functions_run_on_one_worker(
        self, surroundings: StubSurroundings, depth: int
    ) -> None:
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=5.0)

        def sync(level: int) -> list[int]:
            here = [threading.get_ident()]
            return here + (async_to_sync(asynchronous)(level - 1) if level else [])

        async def asynchronous(level: int) -> list[int]:
            return await sync_to_async(sync)(level)

        context = context_in(pool)
        async with ContextScope(context):
            threads = await asynchronous(depth)
        assert len(threads) == depth + 1
        assert len(set(threads)) == 1

    @pytest.mark.parametrize("depth", [1, 3])
    async def test_a_context_of_its_own_beneath_a_worker_gets_another_one(
        self, surroundings: StubSurroundings, depth: int
    ) -> None:
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=5.0)

        def sync(level: int) -> int:
            return async_to_sync(apart)(level - 1) if level else 0

        async def apart(level: int) -> int:
            context = context_in(pool, ContextKind.BLOCK)
            async with ContextScope(context):
                inner = await sync_to_async(sync)(level)
            await context.end()
            return inner + 1

        async with ContextScope(context_in(pool)):
            assert await sync_to_async(sync)(depth) == depth
        assert until(lambda: pool.statistics().workers == 1 == pool.statistics().idle)

    async def test_one_that_is_beside_waits_as_everybody(
        self, surroundings: StubSurroundings
    ) -> None:
        """The control: only those beneath are let through."""
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=0.05)
        go_on = threading.Event()
        running = context_in(pool).call(lambda: go_on.wait(20))
        async with ContextScope(context_in(pool)):
            with pytest.raises(WorkerTimeout):
                await sync_to_async(len)("")
        go_on.set()
        running.result(20)

    async def test_a_loop_that_synchronous_code_runs_itself_uses_its_worker(
        self, surroundings: StubSurroundings
    ) -> None:
        """asgiref's own executor waits for itself here for ever."""
        pool = make_pool(surroundings, max_workers=1, acquire_timeout=5.0)

        def sync() -> tuple[int, int]:
            return threading.get_ident(), asyncio.run(sync_to_async(threading.get_ident)())

        async with ContextScope(context_in(pool)):
            outer, inner = await sync_to_async(sync)()
        assert outer == inner


FORK = """
import asyncio, os, sys, threading
from tests.context.test_workers import StubSurroundings, make_pool, context_in
from mssql_async.context import ContextScope
from mssql_async.context.worker import current_worker
from asgiref.sync import sync_to_async

pool = make_pool(StubSurroundings(), max_workers=2)

def fork_here():
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        assert current_worker() is None
        assert pool.statistics().workers == 0
        # In the context of the parent's request, which is copied with the rest:
        assert asyncio.run(sync_to_async(len)("abc")) == 3
        assert asyncio.run(apart()) == 3
    except BaseException:
        import traceback; traceback.print_exc()
        os._exit(1)
    os._exit(0)

async def apart():
    async with ContextScope(context_in(pool)):
        return await sync_to_async(len)("abc")

async def main():
    async with ContextScope(context_in(pool)):
        sys.exit(await sync_to_async(fork_here)())

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_with_no_workers_and_can_have_its_own() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


class Overlap(AssertionError):
    """Two calls of one context ran at the same time, or not in their order."""


class TestUnderStress:
    """Contexts of four event loops at once, some tied, some cancelled, some ended early."""

    def run(self, pool: WorkerPool, surroundings: StubSurroundings, seed: int) -> Counter[str]:
        counts: Counter[str] = Counter()
        errors: list[BaseException] = []

        def loop(number: int) -> None:
            rand = random.Random(seed * 10 + number)
            try:
                asyncio.run(self.contexts(pool, surroundings, rand, counts, errors))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=loop, args=(n,), daemon=True) for n in range(4)]
        for thread in threads:
            thread.start()
        assert until(lambda: bool(errors) or not any(thread.is_alive() for thread in threads))
        if errors:
            raise errors[0]
        return counts

    async def contexts(
        self,
        pool: WorkerPool,
        surroundings: StubSurroundings,
        rand: random.Random,
        counts: Counter[str],
        errors: list[BaseException],
    ) -> None:
        async def one() -> None:
            context = context_in(pool)
            inside: list[int] = []
            expected = 0

            def call(number: int, ties: bool, nap: float) -> int:
                nonlocal expected
                if inside or number < expected:
                    # At once: a pool that does this may also lose a call, which then hangs.
                    errors.append(Overlap())
                expected = number
                inside.append(number)
                time.sleep(nap)
                if ties:
                    surroundings.here.tie = context
                else:
                    surroundings.here.tie = None
                inside.remove(number)
                return number

            futures = []
            for number in range(rand.randrange(1, 8)):
                ties, nap = rand.random() < 0.3, rand.random() * 0.001
                run = functools.partial(call, number, ties, nap)
                future = asyncio.wrap_future(context.call(run))
                futures.append(future)
                if rand.random() < 0.2:
                    await asyncio.sleep(rand.random() * 0.002)
                    future.cancel()
            if rand.random() < 0.8:
                for future in await asyncio.gather(*futures, return_exceptions=True):
                    counts["ran" if isinstance(future, int) else "cancelled"] += 1
            await context.end()
            await asyncio.gather(*futures, return_exceptions=True)

        for _ in range(10):
            if not errors:
                await asyncio.gather(*(one() for _ in range(12)))

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_calls_of_a_context_never_overlap_and_no_worker_is_lost(
        self, surroundings: StubSurroundings, seed: int
    ) -> None:
        pool = make_pool(surroundings, max_workers=5)
        counts = self.run(pool, surroundings, seed)
        assert counts["ran"] > 500
        assert counts["cancelled"] > 20
        assert until(lambda: pool.statistics().pinned == 0)
        s = pool.statistics()
        assert (s.waiting, s.quarantined) == (0, 0)
        assert until(lambda: pool.statistics().idle == pool.statistics().workers <= 5)

    def test_and_where_they_do_it_is_seen(self, surroundings: StubSurroundings) -> None:
        """The control: a twin that does not look whether a call runs. One time in twenty its
        threads are on time by chance, so it is given as many."""
        with pytest.raises(Overlap):
            for seed in range(20):
                pool = Heedless(surroundings, max_workers=5, acquire_timeout=20.0)
                self.run(pool, surroundings, seed)


class Heedless(WorkerPool):
    def _dispatch(self, context: Context) -> Worker | None:
        context.home.running = None
        return super()._dispatch(context)
