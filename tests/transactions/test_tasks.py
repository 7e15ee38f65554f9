"""Tasks beside a block, tasks that are started inside, and tasks that outlive it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.db import DatabaseError, transaction
from django.db.transaction import TransactionManagementError

from mssql_async.aio import async_new_connection
from mssql_async.context import Context, ContextScope, TransactionBlockEnded, WorkerTimeout
from mssql_async.context.workers import WorkerPool
from mssql_async.transaction import Outcome, async_atomic
from tests.context.project import Project, ask, do, until
from tests.shop.models import Tag

from .support import add, depth, request, rows, spid


class Broken(Exception):
    """Raised by a test to end a block."""


# --- siblings -------------------------------------------------------------------------------


async def siblings_stay_outside() -> None:
    """What tasks of the same request see while one of them is in a block."""
    begun, seen = asyncio.Event(), asyncio.Event()

    async def sibling() -> tuple[int, int, int]:
        await begun.wait()
        found = await spid(), await depth(), 0
        seen.set()
        return found

    async def in_a_block() -> int:
        async with async_atomic():
            inside = await spid()
            await Tag.objects.acount()
            begun.set()
            await seen.wait()
            assert await depth() == 1
        return inside

    before = asyncio.create_task(sibling())
    inside, (other, open_transactions, _) = await asyncio.gather(in_a_block(), before)
    assert other != inside
    assert open_transactions == 0


async def test_a_sibling_task_never_runs_inside_a_block(project: Project) -> None:
    async with request():
        await siblings_stay_outside()


async def test_a_block_that_let_siblings_in_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a block that routes the calls of the whole request."""
    around: dict[str, Any] = {}

    def enter_everywhere(self: ContextScope) -> None:
        original(self)
        around["block"] = self

    def submit_everywhere(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        scope = around.get("block")
        return self._submit(scope.context if scope else self._context, lambda: fn(*args, **kwargs))

    original = ContextScope.enter
    async with request():
        monkeypatch.setattr(ContextScope, "enter", enter_everywhere)
        monkeypatch.setattr("mssql_async.context.routing.ContextExecutor.submit", submit_everywhere)
        with pytest.raises(AssertionError):
            await siblings_stay_outside()
        monkeypatch.undo()
        await asyncio.gather(
            *(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True
        )


async def test_a_sibling_does_not_lose_what_a_block_rolls_back(project: Project) -> None:
    rolled_back = asyncio.Event()

    async def in_a_block() -> None:
        try:
            async with async_atomic():
                await add("a")
                raise Broken
        except Broken:
            rolled_back.set()

    async def sibling() -> None:
        await add("b")
        await rolled_back.wait()
        await add("c")

    async with request():
        await asyncio.gather(sibling(), in_a_block())
    assert rows(project) == ["b", "c"]


# --- tasks started inside --------------------------------------------------------------------


async def blocks_of_tasks_inside_do_not_interleave() -> None:
    """Three tasks in one block, each with a nested block that is left open across awaits; the
    second one fails. Only its rows may be missing."""

    async def nested(name: str) -> None:
        async with async_atomic():
            await add(f"{name}1")
            await asyncio.sleep(0)
            await add(f"{name}2")
            await Tag.objects.acount()
            if name == "b":
                raise Broken

    async with async_atomic():
        done = await asyncio.gather(*map(nested, "abc"), return_exceptions=True)
        assert [type(each) for each in done] == [type(None), Broken, type(None)]
        names = [tag.name async for tag in Tag.objects.order_by("name")]
        assert names == ["a1", "a2", "c1", "c2"]


async def test_nested_blocks_of_tasks_inside_take_turns(project: Project) -> None:
    async with request():
        await blocks_of_tasks_inside_do_not_interleave()
    assert rows(project) == ["a1", "a2", "c1", "c2"]


async def test_nested_blocks_without_turns_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: one queue for all blocks of a transaction."""
    original = Context.call

    def call_in_order(self: Context, run: Any, **options: Any) -> Any:
        return original(self.home, run, **options)

    monkeypatch.setattr(Context, "call", call_in_order)
    monkeypatch.setattr(
        Context, "inner", property(lambda _: None, lambda _, value: None), raising=False
    )
    async with request():
        with pytest.raises((AssertionError, DatabaseError)):
            await blocks_of_tasks_inside_do_not_interleave()


async def test_calls_of_tasks_inside_never_overlap(project: Project) -> None:
    running = 0
    most = 0

    def call() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        do("SELECT 1")
        running -= 1

    async with request(), async_atomic():
        await asyncio.gather(*(sync_to_async(call)() for _ in range(20)))
    assert most == 1


async def test_a_call_of_the_outer_block_waits_for_a_nested_one(project: Project) -> None:
    """Otherwise its row would vanish with the savepoint."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def nested() -> None:
        async with async_atomic():
            await add("nested")
            inside.set()
            await go_on.wait()
            raise Broken

    async with request(), async_atomic():
        task = asyncio.create_task(nested())
        await inside.wait()
        outer = asyncio.create_task(add("outer"))
        await asyncio.sleep(0)
        go_on.set()
        await outer
        with pytest.raises(Broken):
            await task
    assert rows(project) == ["outer"]


async def test_the_commit_waits_for_the_nested_block_of_another_task(project: Project) -> None:
    inside = asyncio.Event()

    async def nested() -> None:
        async with async_atomic():
            inside.set()
            await asyncio.sleep(0)
            await add("nested")

    async with request():
        async with async_atomic():
            task = asyncio.create_task(nested())
            await inside.wait()
        await task
    assert rows(project) == ["nested"]


async def test_a_nested_block_that_never_ends_fails_the_commit(project: Project) -> None:
    project.use_workers(acquire_timeout=0.2)
    try:
        inside, never = asyncio.Event(), asyncio.Event()

        async def nested() -> None:
            async with async_atomic():
                await add("nested")
                inside.set()
                await never.wait()

        async with request():
            block = async_atomic()
            with pytest.raises(WorkerTimeout, match="nested transaction block"):
                async with block:
                    task = asyncio.create_task(nested())
                    await inside.wait()
            assert block.outcome is Outcome.ROLLED_BACK
            never.set()
            with pytest.raises(TransactionBlockEnded):
                await task
        assert rows(project) == []
    finally:
        project.use()


async def test_a_failing_block_takes_the_nested_blocks_of_its_tasks_along(
    project: Project,
) -> None:
    """As with asyncio.gather, which leaves the others running when one fails."""
    inside, over = asyncio.Event(), asyncio.Event()
    caught: list[BaseException] = []
    inner = async_atomic()

    async def nested() -> None:
        try:
            async with inner:
                await add("nested")
                inside.set()
                await over.wait()
                await add("too late")
        except TransactionBlockEnded as error:
            caught.append(error)

    async with request():
        block = async_atomic()
        with pytest.raises(Broken):
            async with block:
                task = asyncio.create_task(nested())
                await inside.wait()
                raise Broken
        assert block.outcome is Outcome.ROLLED_BACK
        over.set()
        await task
    assert len(caught) == 1
    assert inner.outcome is Outcome.ROLLED_BACK
    assert rows(project) == []


async def test_a_failing_block_stops_what_its_tasks_run_at_the_server(project: Project) -> None:
    async with request():
        with pytest.raises(Broken):
            async with async_atomic():
                slow = asyncio.create_task(sync_to_async(do)("WAITFOR DELAY '00:05:00'"))
                queued = asyncio.create_task(add("queued"))
                assert await asyncio.to_thread(until, lambda: bool(project.running))
                raise Broken
        with pytest.raises(TransactionBlockEnded):
            await slow
        with pytest.raises(TransactionBlockEnded):
            await queued
    assert rows(project) == []


async def test_a_task_that_waits_for_its_turn_can_be_cancelled(project: Project) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with async_atomic():
            inside.set()
            await go_on.wait()
            await add("first")

    async def second() -> None:
        async with async_atomic():
            await add("second")

    async with request(), async_atomic():
        one = asyncio.create_task(first())
        await inside.wait()
        two = asyncio.create_task(second())
        await asyncio.sleep(0)
        two.cancel()
        with pytest.raises(asyncio.CancelledError):
            await two
        go_on.set()
        await one
        await add("outer")
    assert rows(project) == ["first", "outer"]


# --- tasks that outlive it -------------------------------------------------------------------


@pytest.mark.parametrize("use", [lambda: add("late"), lambda: async_atomic().__aenter__()])
async def test_a_task_that_outlives_its_block_is_told(
    project: Project, use: Callable[[], Awaitable[Any]]
) -> None:
    over = asyncio.Event()

    async def outlive() -> None:
        await over.wait()
        await use()

    async with request():
        async with async_atomic():
            await add("a")
            task = asyncio.create_task(outlive())
        over.set()
        with pytest.raises(TransactionBlockEnded, match="outlived"):
            await task
    assert rows(project) == ["a"]


async def nothing_slips_in_after_the_commit() -> None:
    """A task uses the block over and over while it is being left."""
    refused = asyncio.Event()
    used = asyncio.Event()

    async def use_it() -> None:
        try:
            while True:
                await sync_to_async(assert_inside)()
                used.set()
        except TransactionBlockEnded:
            refused.set()

    def assert_inside() -> None:
        from django.db import connection

        assert connection.in_atomic_block

    async with async_atomic():
        tasks = [asyncio.create_task(use_it()) for _ in range(5)]
        await used.wait()
    await asyncio.gather(*tasks)


async def test_no_call_runs_between_the_commit_and_the_end(project: Project) -> None:
    async with request():
        for _ in range(20):
            await nothing_slips_in_after_the_commit()


async def test_a_call_after_the_commit_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a block that takes calls until its end is over."""
    original = WorkerPool.close

    def close_later(self: WorkerPool, context: Context, *, cut: bool) -> Any:
        result = original(self, context, cut=cut)
        context.closed = False
        return result

    monkeypatch.setattr(WorkerPool, "close", close_later)
    async with request():
        with pytest.raises(AssertionError):
            for _ in range(20):
                await nothing_slips_in_after_the_commit()


# --- generators ------------------------------------------------------------------------------


async def names_in_a_block(done: list[str]) -> AsyncIterator[str]:
    async with async_atomic():
        await add("a")
        yield "a"
        await add("b")
        yield "b"
    done.append("committed")


async def test_a_generator_may_keep_a_block_open_between_its_values(project: Project) -> None:
    done: list[str] = []
    async with request():
        assert [name async for name in names_in_a_block(done)] == ["a", "b"]
        assert await depth() == 0
    assert done == ["committed"]
    assert rows(project) == ["a", "b"]


async def test_a_generator_that_is_closed_by_another_task_rolls_back(project: Project) -> None:
    done: list[str] = []
    async with request():
        generator = names_in_a_block(done)

        async def begin() -> None:
            assert await anext(generator) == "a"

        await asyncio.create_task(begin())
        await asyncio.create_task(generator.aclose())
        assert await depth() == 0
        await add("c")
    assert done == []
    assert rows(project) == ["c"]


async def test_a_generator_that_goes_on_in_another_task_commits(project: Project) -> None:
    """Its calls in the other task are outside, because that is where this task is."""
    async with request():

        async def generate() -> AsyncIterator[int]:
            async with async_atomic():
                yield await spid()

        generator = generate()

        async def step() -> list[int]:
            return [number async for number in generator]

        async def first() -> int:
            return await anext(generator)

        await asyncio.create_task(first())
        assert await asyncio.create_task(step()) == []
        assert await depth() == 0
        await add("c")
    assert rows(project) == ["c"]


async def test_a_generator_that_is_forgotten_rolls_back(project: Project) -> None:
    async with request():

        async def begin() -> None:
            await anext(names_in_a_block([]))

        await asyncio.create_task(begin())
        gc.collect()
        assert await asyncio.to_thread(
            until, lambda: not any(s.in_transaction for s in project.server.sessions())
        )
        await add("c")
    assert rows(project) == ["c"]


async def break_off_a_generator() -> None:
    """The event loop closes it, in a task of its own."""
    is_closed = asyncio.Event()

    async def generate() -> AsyncIterator[int]:
        try:
            async with async_atomic(), async_atomic():
                await add("a")
                yield 1
                await add("b")
        finally:
            is_closed.set()

    async for _ in generate():
        break
    await is_closed.wait()
    await add("c")
    async with async_atomic():
        await add("d")
        assert await depth() == 1
    async with async_new_connection():
        assert await depth() == 0
    assert await depth() == 0


@pytest.mark.parametrize("around", [request, contextlib.nullcontext, async_atomic])
async def test_who_breaks_off_a_generator_goes_on_outside_of_its_block(
    project: Project, around: Callable[[], contextlib.AbstractAsyncContextManager[Any]]
) -> None:
    if around is async_atomic:
        async with async_atomic():
            await break_off_a_generator_in_a_block()
    else:
        async with around():
            await break_off_a_generator()
    assert rows(project) == ["c", "d"]


async def break_off_a_generator_in_a_block() -> None:
    is_closed = asyncio.Event()

    async def generate() -> AsyncIterator[int]:
        try:
            async with async_atomic():
                await add("a")
                yield 1
        finally:
            is_closed.set()

    async for _ in generate():
        break
    await is_closed.wait()
    await add("c")
    async with async_atomic():
        await add("d")


async def test_who_did_not_ask_would_stay_in_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(ContextScope, "go_back", lambda scope: scope)
    with pytest.raises(TransactionBlockEnded):
        async with request():
            await break_off_a_generator()


async def test_synchronous_code_that_breaks_one_off_goes_on_in_its_transaction(
    project: Project,
) -> None:
    def view() -> None:
        with transaction.atomic():
            async_to_sync(break_off_a_generator_in_a_block)()
            assert ask("SELECT @@TRANCOUNT") == 1

    async with request():
        await sync_to_async(view)()
    assert rows(project) == ["c", "d"]


async def test_a_task_started_inside_stays_there_after_a_connection_of_its_own(
    project: Project,
) -> None:
    is_inside, is_over = asyncio.Event(), asyncio.Event()

    async def outlive() -> None:
        async with async_new_connection():
            is_inside.set()
            await is_over.wait()
        await add("outside")

    async with request():
        async with async_atomic():
            task = asyncio.create_task(outlive())
            await is_inside.wait()
        is_over.set()
        with pytest.raises(TransactionBlockEnded, match="outlived"):
            await task
    assert rows(project) == []


async def test_blocks_that_are_left_in_the_wrong_order_are_rolled_back(project: Project) -> None:
    async with request():
        outer, inner = async_atomic(), async_atomic()
        await outer.__aenter__()
        await add("a")
        await inner.__aenter__()
        await add("b")
        with pytest.raises(TransactionManagementError, match="was left before"):
            await outer.__aexit__(None, None, None)
        with pytest.raises(TransactionBlockEnded):
            await inner.__aexit__(None, None, None)
        assert (outer.outcome, inner.outcome) == (Outcome.ROLLED_BACK, Outcome.ROLLED_BACK)
        await add("c")
    assert SyncToAsync.thread_sensitive_context.get(None) is None
    assert rows(project) == ["c"]
