"""A context that would wait for what it, or who waits for it, holds is told so at once.

``acquire_timeout`` is a minute here: a test that takes longer than its patience has waited.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections, transaction

from mssql_async.aio import async_new_connection
from mssql_async.base import DatabaseWrapper
from mssql_async.context import WaitsForItself, chains
from mssql_async.errors import PoolTimeout
from mssql_async.transaction import async_atomic
from tests.context.project import Project

from .conftest import request, until_async
from .test_cursors import NUMBERS, another_reader, ask, cursor

LONG_TIMEOUT = 60
PATIENCE = 20

Way = Callable[[], Awaitable[Any]]


async def by_itself() -> Any:
    async with async_new_connection():
        return await ask("SELECT 1")


async def around_a_coroutine() -> Any:
    return await async_new_connection(ask("SELECT 1"))


async def in_a_task() -> Any:
    return await asyncio.create_task(async_new_connection(ask("SELECT 1")))


async def gathered() -> Any:
    return await asyncio.gather(async_new_connection(ask("SELECT 1")), asyncio.sleep(0))


async def gathered_deeply() -> Any:
    return await asyncio.gather(gathered(), asyncio.shield(asyncio.sleep(0)))


async def shielded() -> Any:
    return await asyncio.shield(async_new_connection(ask("SELECT 1")))


async def in_a_group() -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(async_new_connection(ask("SELECT 1")))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return task.result()


async def with_a_deadline() -> Any:
    async with asyncio.timeout(LONG_TIMEOUT):
        return await async_new_connection(ask("SELECT 1"))


async def from_synchronous_code() -> Any:
    return await sync_to_async(async_to_sync(by_itself))()


async def in_a_block_of_its_own() -> Any:
    async with async_new_connection(), async_atomic():
        return await ask("SELECT 1")


WAYS: list[Way] = [
    by_itself,
    around_a_coroutine,
    in_a_task,
    gathered,
    gathered_deeply,
    shielded,
    in_a_group,
    with_a_deadline,
    from_synchronous_code,
    in_a_block_of_its_own,
]

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@contextlib.asynccontextmanager
async def told() -> Any:
    with pytest.raises(WaitsForItself, match="held by the context that asks"):
        async with asyncio.timeout(PATIENCE):
            yield


@pytest.fixture
def one(project: Project) -> Project:
    project.use(max_size=1, acquire_timeout=LONG_TIMEOUT)
    return project


@pytest.fixture
def two(project: Project) -> Project:
    project.use(max_size=2, acquire_timeout=LONG_TIMEOUT)
    return project


class TestTold:
    @every_way
    async def test_a_block_that_has_the_only_connection(self, one: Project, way: Way) -> None:
        async with async_atomic():
            await ask("SELECT 1")
            async with told():
                await way()
            assert await ask("SELECT 2") == 2  # the block goes on
        assert one.holds_nothing()

    @every_way
    async def test_unread_rows_of_the_only_connection(self, one: Project, way: Way) -> None:
        async with request(), cursor() as reader:
            await reader.execute(NUMBERS)
            async with told():
                await way()
            await reader.fetchall()
            await way()
        assert one.holds_nothing()

    async def test_a_session_with_state(self, one: Project) -> None:
        async with request():
            async with cursor() as maker:
                await maker.execute("CREATE TABLE #t (id int)")
            async with told():
                await gathered()
        assert one.holds_nothing()

    async def test_nested_to_the_depth_of_the_pool(self, two: Project) -> None:
        async with async_atomic():
            await ask("SELECT 1")
            async with async_new_connection(), async_atomic():
                assert await ask("SELECT 2") == 2
                async with told():
                    await by_itself()
        assert two.holds_nothing()

    async def test_a_block_in_a_block_of_synchronous_code(self, one: Project) -> None:
        def work() -> None:
            with transaction.atomic(), connection.cursor() as reader:
                reader.execute("SELECT 1")
                async_to_sync(by_itself)()

        async with request(), told():
            await sync_to_async(work)()
        assert one.holds_nothing()

    def test_a_plain_thread_in_a_transaction(self, one: Project) -> None:
        with transaction.atomic(), connection.cursor() as reader:
            reader.execute("SELECT 1")
            with pytest.raises(WaitsForItself):
                async_to_sync(by_itself)()
        connection.close()
        assert one.holds_nothing()

    def test_a_thread_with_two_wrappers(self, one: Project) -> None:
        other = DatabaseWrapper(connections["default"].settings_dict, "default")
        with transaction.atomic(), connection.cursor() as reader:
            reader.execute("SELECT 1")
            with pytest.raises(WaitsForItself, match=r"size 1 of 1, in use 1"):
                other.cursor()
        connection.close()
        with other.cursor() as reader:
            reader.execute("SELECT 1")
        other.close()
        assert one.holds_nothing()

    async def test_by_the_only_worker(self, project: Project) -> None:
        project.use(max_size=5, max_workers=1, acquire_timeout=LONG_TIMEOUT)
        async with async_atomic():
            await ask("SELECT 1")
            with pytest.raises(WaitsForItself, match=r"max_workers 1"):
                async with asyncio.timeout(PATIENCE):
                    await gathered()
            assert await ask("SELECT 2") == 2
        assert project.holds_nothing()


class TestNotTold:
    """Somebody else could give one back: then it is waited for."""

    @every_way
    async def test_while_there_is_room(self, two: Project, way: Way) -> None:
        async with async_atomic():
            await ask("SELECT 1")
            await way()

    async def test_where_another_context_holds_one(self, two: Project) -> None:
        async with async_atomic():
            await ask("SELECT 1")
            async with another_reader():
                waiting = asyncio.create_task(by_itself())
                assert await until_async(lambda: two.pool.waiting == 1)
            assert await waiting == 1

    async def test_of_siblings_the_second_waits_for_the_first(self, two: Project) -> None:
        async with async_atomic():
            await ask("SELECT 1")
            found = await asyncio.gather(*[by_itself() for _ in range(5)])
        assert found == [1] * 5

    async def test_where_the_task_around_does_not_await_it(self, one: Project) -> None:
        async with async_atomic():
            await ask("SELECT 1")
            waiting = asyncio.create_task(by_itself())
            assert await until_async(lambda: one.pool.waiting == 1)
        assert await waiting == 1

    async def test_where_the_rows_are_a_siblings_who_reads_on(self, one: Project) -> None:
        reading, go_on = asyncio.Event(), asyncio.Event()

        async def read() -> int:
            async with cursor() as reader:
                await reader.execute(NUMBERS)
                reading.set()
                await go_on.wait()
                return len(await reader.fetchall())

        async def wait() -> Any:
            await reading.wait()
            return await by_itself()

        async def let_go_on() -> None:
            assert await until_async(lambda: one.pool.waiting == 1)
            go_on.set()

        async with request():
            rows, value, _ = await asyncio.gather(read(), wait(), let_go_on())
        assert rows > 0
        assert value == 1

    async def test_where_one_worker_of_two_is_anothers(self, project: Project) -> None:
        project.use(max_size=5, max_workers=2, acquire_timeout=LONG_TIMEOUT)
        async with async_atomic():
            await ask("SELECT 1")
            async with another_reader():
                waiting = asyncio.create_task(by_itself())
                assert await until_async(lambda: project.workers.statistics().waiting == 1)
            assert await waiting == 1


class TestControl:
    """A twin that is not asked what it holds waits until its time is over."""

    async def test_for_a_connection(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mssql_async.base.held_in_vain", set)
        project.use(max_size=1, acquire_timeout=1)
        async with async_atomic():
            await ask("SELECT 1")
            with pytest.raises(PoolTimeout):
                await by_itself()

    async def test_that_takes_every_context_around_for_one_that_waits(
        self, one: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It refuses what could be had."""
        monkeypatch.setattr(chains, "_awaits", lambda context, tasks: True)
        async with async_atomic():
            await ask("SELECT 1")
            waiting = asyncio.create_task(by_itself())
            assert await until_async(waiting.done)
        with pytest.raises(WaitsForItself):
            await waiting


class TestWhoAwaitsWhom:
    async def test_a_task_that_awaits_another_is_found_and_one_that_has_it_only_started_is_not(
        self,
    ) -> None:
        leaf = asyncio.create_task(asyncio.Event().wait())
        started_by = asyncio.create_task(_idle_after_starting())
        awaited_by = asyncio.create_task(_await(leaf))
        gathered_by = asyncio.create_task(_gather(awaited_by))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert chains.tasks_that_await(leaf) == {leaf, awaited_by, gathered_by}
        for task in (leaf, started_by):
            task.cancel()
        await asyncio.gather(leaf, started_by, awaited_by, gathered_by, return_exceptions=True)
        assert chains.tasks_that_await(leaf) == set()


async def _await(task: asyncio.Task[Any]) -> None:
    await task


async def _gather(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(task)


async def _idle_after_starting() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    await asyncio.Event().wait()
    await task
