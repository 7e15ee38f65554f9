"""What a request leaves in a thread of an executor, which goes on to serve others."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction

from mssql_async import base
from mssql_async.context import ContextKind, ContextScope, new_context

from .project import Project, ask, do, until

LOCK_TIMEOUT = "SELECT @@LOCK_TIMEOUT"


def change() -> None:
    do("SET LOCK_TIMEOUT 4321")


def begin() -> None:
    transaction.atomic().__enter__()
    do("INSERT INTO t VALUES (1)")


def close() -> None:
    connection.close()


@asynccontextmanager
async def request() -> AsyncIterator[None]:
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        yield
    await context.end()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


Run = Callable[[Callable[[], Any]], Any]


@pytest.fixture(params=["asyncio.to_thread", "thread_sensitive=False"])
def run(request: pytest.FixtureRequest, executor: ThreadPoolExecutor) -> Run:
    """Runs a function in the one thread of the executor."""
    if request.param == "asyncio.to_thread":

        async def to_thread(function: Callable[[], Any]) -> Any:
            asyncio.get_running_loop().set_default_executor(executor)
            return await asyncio.to_thread(function)

        return to_thread

    async def insensitive(function: Callable[[], Any]) -> Any:
        return await sync_to_async(function, thread_sensitive=False, executor=executor)()

    return insensitive


async def in_a_task(work: Callable[[], Any]) -> Any:
    """As servers do it: what a request's code has in its context variables ends with it."""
    return await asyncio.create_task(work())


async def test_state_of_its_session_is_not_seen_by_the_next(project: Project, run: Run) -> None:
    async def first() -> None:
        async with request():
            await run(change)

    async def second() -> Any:
        async with request():
            return await run(lambda: ask(LOCK_TIMEOUT))

    await in_a_task(first)
    assert await asyncio.to_thread(until, lambda: project.in_use == 0)
    assert await in_a_task(second) == -1
    assert await asyncio.to_thread(until, project.is_quiet)


async def test_nor_by_one_that_comes_while_the_first_goes_on(
    project: Project, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    changed, looked = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with request():
            await run(change)
            changed.set()
            await looked.wait()

    async def second() -> Any:
        async with request():
            await changed.wait()
            return await run(lambda: ask(LOCK_TIMEOUT))

    one = asyncio.create_task(first())
    with caplog.at_level(logging.WARNING, "mssql_async.context"):
        assert await in_a_task(second) == -1
    looked.set()
    await one
    assert await asyncio.to_thread(until, project.is_quiet)


async def test_it_is_where_nobody_looks_whose_turn_it_is(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(base, "current_span", lambda: None)

    async def first() -> None:
        async with request():
            await run(change)

    async def second() -> Any:
        async with request():
            return await run(lambda: ask(LOCK_TIMEOUT))

    await in_a_task(first)
    assert await in_a_task(second) == 4321
    assert project.in_use == 1
    await run(close)


async def test_a_transaction_is_rolled_back(project: Project, run: Run) -> None:
    await sync_to_async(do)("CREATE TABLE t (id int)")
    await sync_to_async(close)()

    async def first() -> None:
        async with request():
            await run(begin)

    def look() -> tuple[Any, bool, Any]:
        return ask("SELECT @@TRANCOUNT"), connection.in_atomic_block, ask("SELECT count(*) FROM t")

    async def second() -> Any:
        async with request():
            return await run(look)

    await in_a_task(first)
    assert await in_a_task(second) == (0, False, 0)
    assert await asyncio.to_thread(until, project.is_quiet)


def test_nor_where_a_variable_of_an_earlier_one_came_to_all(project: Project) -> None:
    """asgiref gives the context variables of what it has run to its caller; a server's main
    thread hands them on to every request."""
    with ThreadPoolExecutor(1) as executor:

        async def leave() -> None:
            async with request():
                await sync_to_async(change, thread_sensitive=False, executor=executor)()

        async def look() -> Any:
            async with request():
                return await sync_to_async(ask, thread_sensitive=False, executor=executor)(
                    LOCK_TIMEOUT
                )

        def serve() -> None:
            async_to_sync(leave)()
            async_to_sync(leave)()
            assert async_to_sync(look)() == -1

        contextvars.copy_context().run(serve)
    assert until(project.is_quiet)


async def test_the_same_request_finds_what_it_left_there(
    project: Project, executor: ThreadPoolExecutor
) -> None:
    async def both() -> Any:
        async with request():
            run = sync_to_async(change, thread_sensitive=False, executor=executor)
            await run()
            look = sync_to_async(ask, thread_sensitive=False, executor=executor)
            return await look(LOCK_TIMEOUT)

    assert await in_a_task(both) == 4321
    assert await asyncio.to_thread(until, lambda: project.in_use == 0)


async def test_work_that_outlives_its_request_keeps_what_it_has(project: Project) -> None:
    changed, ended = threading.Event(), threading.Event()

    def work() -> Any:
        change()
        changed.set()
        ended.wait(20)
        return ask(LOCK_TIMEOUT)

    tasks: list[asyncio.Task[Any]] = []

    async def first() -> None:
        async with request():
            tasks.append(asyncio.create_task(asyncio.to_thread(work)))
            await asyncio.to_thread(changed.wait, 20)

    await in_a_task(first)
    ended.set()
    assert await tasks.pop() == 4321
    assert await asyncio.to_thread(until, lambda: project.in_use == 0)


async def test_threads_of_no_context_keep_their_own(
    project: Project, executor: ThreadPoolExecutor
) -> None:
    """As Django has it: there a thread is what owns a connection."""
    await asyncio.wrap_future(executor.submit(change))
    assert await asyncio.wrap_future(executor.submit(ask, LOCK_TIMEOUT)) == 4321
    assert project.in_use == 1
