"""Which part of a request a block belongs into: a session with state on its database, and nothing
else that the request holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from mssql_async.context import Context, WorkerTimeout, enclosing
from mssql_async.transaction import async_atomic
from tests.context.project import PATIENCE, Project, ask, do, until
from tests.shop.models import Author, Tag

from .conftest import OTHER
from .support import depth, request, spid

FOREIGN = "foreign"


@pytest.fixture
def hurry(project: Project) -> Iterator[Project]:
    """Who waits for a turn that does not come is told soon."""
    project.use_workers(acquire_timeout=2.0)
    yield project
    project.use()


@pytest.fixture
def foreign() -> Iterator[None]:
    """An alias of another backend, with a connection that stays open between calls."""
    connections.settings[FOREIGN] = {
        **connections.settings["default"],
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {},
        "CONN_MAX_AGE": None,
    }
    yield
    del connections.settings[FOREIGN]


def pins_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """For controls: whatever a request holds is taken for a session that blocks are to see."""

    def is_pinned(context: Context, _: str) -> bool:
        return context.home.pinned_to is not None

    monkeypatch.setattr(enclosing, "_is_seen_by_blocks", is_pinned)


# --- rows -------------------------------------------------------------------------------------


async def copy_while_another_task_reads() -> None:
    """One task reads rows into a queue, another writes them in a block."""
    names: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)
    reads = asyncio.Event()

    async def produce() -> None:
        async for tag in Tag.objects.order_by("name").aiterator(chunk_size=2):
            reads.set()
            await names.put(tag.name)
        await names.put(None)

    async def consume() -> None:
        async with async_atomic():
            while (name := await names.get()) is not None:
                await Author.objects.acreate(name=name)

    async with request(), asyncio.TaskGroup() as tasks:
        tasks.create_task(produce())
        await reads.wait()
        tasks.create_task(consume())


async def tags(count: int) -> None:
    await Tag.objects.abulk_create([Tag(name=f"{number:03}") for number in range(count)])


async def test_rows_that_another_task_reads_do_not_hold_up_a_block(hurry: Project) -> None:
    await tags(40)
    await copy_while_another_task_reads()
    assert await Author.objects.acount() == 40


async def test_they_would_if_it_belonged_to_whatever_holds_the_rows(
    hurry: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: each of the two tasks waits for the other."""
    pins_alone(monkeypatch)
    await tags(40)
    with pytest.raises(ExceptionGroup) as raised:
        await copy_while_another_task_reads()
    assert raised.group_contains(WorkerTimeout)


# --- other databases --------------------------------------------------------------------------


async def both_inside_at_once() -> None:
    """Two blocks, neither of which ends before the other has begun."""
    inside = asyncio.Barrier(2)

    async def block() -> None:
        async with async_atomic():
            assert await depth() == 1
            await inside.wait()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(block())
        tasks.create_task(block())


async def use_foreign() -> None:
    def use() -> None:
        with connections[FOREIGN].cursor() as cursor:
            cursor.execute("SELECT 1")

    await sync_to_async(use)()


async def test_blocks_run_in_parallel_though_the_request_has_used_another_backend(
    hurry: Project, foreign: None
) -> None:
    async with request():
        await use_foreign()
        await both_inside_at_once()


async def test_and_though_it_has_a_session_on_another_alias(hurry: Project) -> None:
    async with request():
        await sync_to_async(_do_on)(OTHER, "SET LOCK_TIMEOUT 1234")
        await both_inside_at_once()
        async with async_atomic(using=OTHER):
            assert await sync_to_async(_ask_on)(OTHER, "SELECT @@LOCK_TIMEOUT") == 1234


async def test_they_would_take_turns_if_that_were_all_the_same(
    hurry: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of both."""
    pins_alone(monkeypatch)
    with pytest.raises(ExceptionGroup) as raised:
        async with request():
            await sync_to_async(_do_on)(OTHER, "SET LOCK_TIMEOUT 1234")
            await both_inside_at_once()
    assert raised.group_contains(WorkerTimeout)


def _do_on(alias: str, sql: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)


def _ask_on(alias: str, sql: str) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


# --- what it does belong into -----------------------------------------------------------------


@pytest.mark.parametrize("state", ["SET LOCK_TIMEOUT 1234", "CREATE TABLE #mine (id int)"])
async def test_a_block_is_in_a_session_with_state(project: Project, state: str) -> None:
    async with request():
        await sync_to_async(do)(state)
        session = await spid()
        async with async_atomic():
            assert await spid() == session


async def test_also_while_rows_of_that_session_are_unread(project: Project) -> None:
    await tags(40)
    async with request():
        await sync_to_async(do)("SET LOCK_TIMEOUT 1234")
        async for _ in Tag.objects.aiterator(chunk_size=2):
            async with async_atomic():
                assert await sync_to_async(ask)("SELECT @@LOCK_TIMEOUT") == 1234


async def test_it_sees_the_execute_wrappers_of_its_request(project: Project) -> None:
    seen: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(sql, *args)

    async with request():
        await sync_to_async(lambda: connections["default"].execute_wrappers.append(note))()
        async with async_atomic():
            await sync_to_async(do)("SELECT 7")
    assert "SELECT 7" in seen


async def test_it_stays_on_the_thread_that_its_request_keeps(project: Project) -> None:
    """For code that has something in thread-locals."""
    project.use_workers(keep=True)
    try:
        async with request():
            thread = await sync_to_async(threading.get_ident)()
            async with async_atomic():
                assert await sync_to_async(threading.get_ident)() == thread
        assert await asyncio.to_thread(until, project.is_quiet)
    finally:
        project.use()
