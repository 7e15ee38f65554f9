"""Many contexts on few threads and connections, and what they share."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection, connections, transaction
from django.db.backends.signals import connection_created

from mssql_async.context import ContextKind, ContextScope, WorkerTimeout, new_context
from mssql_async.context.surroundings import DjangoConnections
from mssql_async.errors import PoolTimeout
from mssql_async.transaction import async_atomic

from .project import Project, ask, do, until


def workers_alive() -> int:
    return sum(thread.name.startswith("mssql_async worker") for thread in threading.enumerate())


@pytest.mark.parametrize(
    "count", [1000, pytest.param(10_000, marks=pytest.mark.slow)], ids=["thousand", "ten thousand"]
)
async def test_open_contexts_that_ask_in_turn_need_few_threads_and_connections(
    project: Project, count: int
) -> None:
    project.use(max_size=20, max_workers=64, acquire_timeout=120)
    before = workers_alive()
    opened, most_threads = 0, 0
    all_open = asyncio.Event()

    async def websocket(number: int) -> int:
        nonlocal opened, most_threads
        context = new_context(ContextKind.WEBSOCKET)
        async with ContextScope(context):
            first = await sync_to_async(ask)("SELECT %s", number)
            most_threads = max(most_threads, workers_alive() - before)
            opened += 1
            if opened == count:
                all_open.set()
            await all_open.wait()
            second = await sync_to_async(ask)("SELECT %s", -number)
        await context.end()
        return int(first + second)

    assert set(await asyncio.gather(*map(websocket, range(count)))) == {0}
    assert most_threads <= 64
    assert project.server.counters.logins <= 20
    assert await asyncio.to_thread(until, project.is_quiet)


class TestTheDeadline:
    async def test_is_one_for_the_worker_and_the_connection(self, project: Project) -> None:
        """What was spent in the workers' queue is not to be had again in the pool's."""
        project.use(max_size=1, max_workers=2, acquire_timeout=2.0)
        go_on = threading.Event()

        def hold_connection() -> None:
            with transaction.atomic():
                do("SELECT 1")
                go_on.wait(20)

        async def in_context(function: Any) -> Any:
            context = new_context(ContextKind.REQUEST)
            try:
                async with ContextScope(context):
                    return await sync_to_async(function)()
            finally:
                await context.end()

        holder = asyncio.create_task(in_context(hold_connection))
        await asyncio.to_thread(until, lambda: project.in_use == 1)
        one_second = threading.Event()
        other = asyncio.create_task(in_context(lambda: one_second.wait(1.0)))
        await asyncio.to_thread(until, lambda: project.workers.statistics().idle == 0)
        asker = asyncio.create_task(in_context(lambda: ask("SELECT 1")))
        await other
        with pytest.raises(PoolTimeout, match=r"within [01]\.\d s") as caught:
            await asker
        assert "in use 1" in str(caught.value)
        go_on.set()
        await holder

    async def test_names_the_workers_where_they_were_what_was_missing(
        self, project: Project
    ) -> None:
        project.use(max_workers=1, acquire_timeout=0.1)
        go_on = threading.Event()
        holder = new_context(ContextKind.REQUEST).call(lambda: go_on.wait(20))
        async with ContextScope(new_context(ContextKind.REQUEST)):
            with pytest.raises(WorkerTimeout, match="all 1 workers are busy") as caught:
                await sync_to_async(ask)("SELECT 1")
        assert isinstance(caught.value, OperationalError)
        go_on.set()
        assert await asyncio.wrap_future(holder)


class TestThreadLocals:
    async def tell(self, project: Project) -> list[Any]:
        local = threading.local()
        seen: list[Any] = []

        def set_it(value: int) -> None:
            local.value = value

        def get_it() -> Any:
            return getattr(local, "value", None)

        async def one(value: int) -> None:
            context = new_context(ContextKind.REQUEST)
            async with ContextScope(context):
                await sync_to_async(set_it)(value)
                await sync_to_async(ask)("SELECT 1")
                await asyncio.sleep(0)
                seen.append((value, await sync_to_async(get_it)()))
            await context.end()

        await asyncio.gather(*map(one, range(8)))
        assert await asyncio.to_thread(until, project.is_quiet)
        return seen

    async def test_live_between_calls_where_the_setting_asks_for_it(self, project: Project) -> None:
        project.use(worker="context")
        assert all(value == found for value, found in await self.tell(project))

    async def test_are_whoevers_by_default(self, project: Project) -> None:
        """The control of the test above."""
        project.use(max_workers=1)
        assert not all(value == found for value, found in await self.tell(project))


@pytest.mark.parametrize("depth", [0, 1, 4])
async def test_nested_calls_never_wait_for_their_own_ancestor(project: Project, depth: int) -> None:
    """With one connection and one worker, also inside of a transaction."""
    project.use(max_size=1, max_workers=1, acquire_timeout=5.0)

    def sync(level: int) -> int:
        with transaction.atomic():
            found = int(ask("SELECT 1"))
            return found + (async_to_sync(asynchronous)(level - 1) if level else 0)

    async def asynchronous(level: int) -> int:
        return await sync_to_async(ask)("SELECT 1") + await sync_to_async(sync)(level)

    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        assert await asynchronous(depth) == 2 * (depth + 1)
    await context.end()
    assert project.server.counters.logins == 1
    assert await asyncio.to_thread(until, project.is_quiet)


LITE = "lite"
"""An alias of another backend's."""


@pytest.fixture
def lite(project: Project, tmp_path: Path) -> Iterator[str]:
    default = connections.settings["default"]
    connections.settings[LITE] = {
        **default, "ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "lite", "OPTIONS": {},
    }  # fmt: skip
    yield LITE
    del connections.settings[LITE]


def ask_lite(sql: str) -> Any:
    with connections[LITE].cursor() as cursor:
        return cursor.execute(sql).fetchone()


def count_up() -> int:
    """Something that only the connection of the last time knows."""
    with connections[LITE].cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY)")
        cursor.execute("INSERT INTO t DEFAULT VALUES")
        return int(cursor.execute("SELECT count(*) FROM t").fetchone()[0])


@contextlib.asynccontextmanager
async def open_websockets(count: int, work: Callable[[], Any]) -> AsyncIterator[None]:
    """So many WebSockets that have done some work and wait for their clients."""
    close, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def websocket() -> None:
        context = new_context(ContextKind.WEBSOCKET)
        try:
            async with ContextScope(context):
                await sync_to_async(work)()
                waiting.release()
                await close.wait()
        finally:
            await context.end()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(websocket())
        for _ in range(count):
            await waiting.acquire()
        yield
        close.set()


async def ask_in_a_request() -> Any:
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        answer = await sync_to_async(ask)("SELECT 1")
    await context.end()
    return answer


class TestConnectionsOfOtherBackends:
    async def test_keep_nobody_else_from_working(self, project: Project, lite: str) -> None:
        project.use(max_workers=2, acquire_timeout=5)
        async with open_websockets(5, lambda: ask_lite("SELECT 1")):
            assert project.workers.statistics().pinned == 5
            assert await ask_in_a_request() == 1
        assert await asyncio.to_thread(until, project.is_quiet)
        assert project.workers.statistics().workers <= 2

    async def test_would_if_their_threads_were_counted(
        self, project: Project, lite: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        monkeypatch.setattr(DjangoConnections, "holds_a_place", lambda _: True)
        project.use(max_workers=2, acquire_timeout=0.2)
        async with open_websockets(2, lambda: ask_lite("SELECT 1")):
            with pytest.raises(WorkerTimeout, match="2 pinned"):
                await ask_in_a_request()

    async def test_that_come_while_others_wait_make_room_for_them(
        self, project: Project, lite: str
    ) -> None:
        project.use(max_workers=1, acquire_timeout=20)
        go_on = threading.Event()

        def ask_slowly() -> None:
            go_on.wait(20)
            ask_lite("SELECT 1")

        async with asyncio.TaskGroup() as group:
            sockets = open_websockets(1, ask_slowly)
            entering = group.create_task(sockets.__aenter__())
            await asyncio.to_thread(until, lambda: project.workers.statistics().workers == 1)
            asking = group.create_task(ask_in_a_request())
            await asyncio.to_thread(until, lambda: project.workers.statistics().waiting == 1)
            go_on.set()
            await entering
            assert await asking == 1
            await sockets.__aexit__(None, None, None)

    async def test_are_those_of_the_last_call(self, project: Project, lite: str) -> None:
        """What is set there, and what is open, lasts as long as the context."""
        project.use(max_workers=2)
        counts: list[list[int]] = []

        async def one() -> None:
            context = new_context(ContextKind.REQUEST)
            async with ContextScope(context):
                counts.append([await sync_to_async(count_up)() for _ in range(3)])
            await context.end()

        await asyncio.gather(*(one() for _ in range(6)))
        assert counts == [[1, 2, 3]] * 6

    async def test_in_a_transaction_are_counted(self, project: Project, lite: str) -> None:
        project.use(max_workers=1, acquire_timeout=0.2)
        async with async_atomic(using=lite):
            asking = asyncio.create_task(ask_in_a_request(), context=contextvars.Context())
            with pytest.raises(WorkerTimeout, match="1 pinned"):
                await asking


class TestExecuteWrappersOfReceivers:
    """``connection_created`` is where tracing installs them, once for each connection."""

    @pytest.fixture(params=["each time", "where there is none"])
    def seen(self, request: pytest.FixtureRequest) -> Iterator[list[str]]:
        seen: list[str] = []

        def watch(execute: Any, sql: str, *args: Any) -> Any:
            seen.append(sql)
            return execute(sql, *args)

        def install(connection: Any, **_: Any) -> None:
            if request.param == "each time" or watch not in connection.execute_wrappers:
                connection.execute_wrappers.append(watch)

        connection_created.connect(install)
        yield seen
        connection_created.disconnect(install)

    async def test_keep_no_worker(self, project: Project, seen: list[str]) -> None:
        project.use(max_workers=2, acquire_timeout=5)
        async with open_websockets(5, lambda: ask("SELECT 1")):
            assert project.workers.statistics().pinned == 0
            assert await ask_in_a_request() == 1

    async def test_see_each_statement_once(self, project: Project, seen: list[str]) -> None:
        project.use(max_workers=1)
        for _ in range(3):
            await ask_in_a_request()
        assert seen == ["SELECT 1"] * 3

    async def test_and_those_of_the_context_itself_keep_it(
        self, project: Project, seen: list[str]
    ) -> None:
        """The control: what one call installs is there for the next."""

        def install_another() -> None:
            ask("SELECT 1")
            connection.execute_wrappers.append(lambda execute, *args: execute(*args))

        async with open_websockets(1, install_another):
            assert project.workers.statistics().pinned == 1
