"""Transactions of tasks that outlive what they were begun in: each is whole, or says that it is
not."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from mssql_async.aio import async_new_connection
from mssql_async.blocks import Block
from mssql_async.context import TransactionBlockEnded
from mssql_async.context.workers import WorkerPool
from mssql_async.transaction import AsyncAtomic, Outcome, async_atomic
from tests.context.project import PATIENCE, Project, do, until

from .support import add, depth, request, rows


class Outliving:
    """A task that is in a block when what it was started in ends, and goes on afterwards."""

    def __init__(self, *, nested: bool = False) -> None:
        self.block: AsyncAtomic = async_atomic()
        self._nested = nested
        self._is_inside, self._goes_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        self._task = asyncio.create_task(self._run())
        await self._is_inside.wait()
        yield

    async def _run(self) -> int:
        async with self.block:
            if self._nested:
                async with async_atomic():
                    return await self._work()
            return await self._work()

    async def _work(self) -> int:
        await add("1")
        self._is_inside.set()
        await self._goes_on.wait()
        await add("2")
        await add("3")
        return await depth()

    async def result(self) -> int:
        """How many transactions were open at its end."""
        self._goes_on.set()
        return await self._task


async def set_lock_timeout() -> None:
    await sync_to_async(do)("SET LOCK_TIMEOUT 1000")


# --- the request ends -------------------------------------------------------------------------


async def a_block_goes_on_after_a_request_with_a_session() -> None:
    task = Outliving()
    async with request():
        await set_lock_timeout()
        async with task.started():
            pass
    assert await task.result() == 1
    assert task.block.outcome is Outcome.COMMITTED


async def test_a_block_in_the_session_of_a_request_outlives_it(project: Project) -> None:
    await a_block_goes_on_after_a_request_with_a_session()
    assert rows(project) == ["1", "2", "3"]


async def test_one_that_ended_with_the_first_call_after_it_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control. The task is told, and nothing of it is kept."""
    monkeypatch.setattr(
        WorkerPool, "is_abandoned", lambda _, call: call.given_up or call.context.home.ended
    )
    with pytest.raises(TransactionBlockEnded):
        await a_block_goes_on_after_a_request_with_a_session()
    assert rows(project) == []


async def test_and_if_its_calls_did_not_ask_they_would_run_in_autocommit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the control: half of the block is kept, and only its end says so."""
    monkeypatch.setattr(
        WorkerPool, "is_abandoned", lambda _, call: call.given_up or call.context.home.ended
    )
    monkeypatch.setattr(Block, "refuse_if_gone", lambda _: None)
    with pytest.raises(TransactionBlockEnded):
        await a_block_goes_on_after_a_request_with_a_session()
    assert rows(project) == ["3"]


async def test_neither_does_it_end_where_the_request_keeps_its_connection(
    project: Project,
) -> None:
    project.use(lease="context")
    try:
        task = Outliving()
        async with request():
            assert await depth() == 0
            async with task.started():
                pass
        assert await task.result() == 1
        assert rows(project) == ["1", "2", "3"]
        assert await asyncio.to_thread(until, project.is_quiet)
    finally:
        project.use()


async def test_nobody_waits_for_it_at_the_end_of_the_request(project: Project) -> None:
    task = Outliving()
    async with request() as context:
        await set_lock_timeout()
        async with task.started():
            pass
    assert context.end_soon() is None
    assert project.workers.statistics().pinned == 1
    await task.result()
    assert await asyncio.to_thread(until, project.is_quiet)


# --- a connection of its own ends -------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
async def test_a_block_ends_with_the_connection_that_it_was_begun_on(
    project: Project, nested: bool
) -> None:
    task = Outliving(nested=nested)
    async with request():
        async with async_new_connection(), task.started():
            pass
        with pytest.raises(TransactionBlockEnded):
            await task.result()
        assert task.block.outcome is Outcome.ROLLED_BACK
        await add("outside")
    assert rows(project) == ["outside"]


async def test_what_it_runs_is_stopped_at_the_server(project: Project) -> None:
    async def wait_in_a_block() -> None:
        async with async_atomic():
            await add("1")
            await sync_to_async(do)("WAITFOR DELAY '00:05:00'")

    async with request():
        async with async_new_connection():
            task = asyncio.create_task(wait_in_a_block())
            assert await asyncio.to_thread(until, lambda: bool(project.running))
        with pytest.raises(TransactionBlockEnded):
            await task
    assert rows(project) == []


async def test_one_that_is_being_left_comes_to_its_end(project: Project) -> None:
    is_committed, go_on = asyncio.Event(), threading.Event()
    tell = _teller(is_committed)
    block = async_atomic()

    def hook() -> None:
        tell()
        assert go_on.wait(PATIENCE)

    async def commit() -> None:
        async with block:
            await add("1")
            transaction.on_commit(hook)

    async with request():
        async with async_new_connection():
            task = asyncio.create_task(commit())
            await is_committed.wait()
        go_on.set()
        await task
    assert block.outcome is Outcome.COMMITTED
    assert rows(project) == ["1"]


def _teller(event: asyncio.Event) -> Callable[[], Any]:
    loop = asyncio.get_running_loop()
    return lambda: loop.call_soon_threadsafe(event.set)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_block_that_is_entered_after_its_end_is_a_transaction_of_its_own(
    project: Project, fails: bool
) -> None:
    is_over = asyncio.Event()

    async def enter_late() -> None:
        await is_over.wait()
        async with async_atomic():
            await add("1")
            assert await depth() == 1
            if fails:
                raise LookupError

    async with request():
        async with async_new_connection():
            task = asyncio.create_task(enter_late())
            assert await depth() == 0
        is_over.set()
        with pytest.raises(LookupError) if fails else contextlib.nullcontext():
            await task
    assert rows(project) == ([] if fails else ["1"])
