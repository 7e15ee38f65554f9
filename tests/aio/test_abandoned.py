"""Readers that nobody will read on: what they hold is given back at once, not when their context
asks the database again, which a WebSocket may never do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Awaitable, Callable

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from mssql_async.aio import async_connections
from mssql_async.context import ContextKind, ContextScope, Worker, new_context
from mssql_async.transaction import Outcome, async_atomic
from tests.context.project import Project, ask
from tests.shop.models import Tag

from .conftest import request, until_async

MANY = 3000


@pytest.fixture(autouse=True)
def _tags(project: Project) -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Tag)
    Tag.objects.bulk_create(Tag(name=f"tag {number}") for number in range(MANY))
    connection.close()


async def leave_a_loop() -> None:
    async for _ in Tag.objects.aiterator(chunk_size=10):
        break


async def close_an_iterator() -> None:
    async with contextlib.aclosing(Tag.objects.aiterator(chunk_size=10)) as tags:
        await anext(tags)


async def be_cancelled_in_a_loop() -> None:
    async def read() -> None:
        async for _ in Tag.objects.aiterator(chunk_size=10):
            reading.set()
            await asyncio.Event().wait()

    reading = asyncio.Event()
    task = asyncio.create_task(read())
    await reading.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def forget_a_cursor() -> None:
    cursor = async_connections["default"].cursor()
    await cursor.execute("SELECT name FROM shop_tag")
    assert await cursor.fetchone()


async def forget_a_cursor_with_rows_in_memory() -> None:
    async with async_atomic():
        cursor = async_connections["default"].cursor()
        await cursor.execute("SELECT name FROM shop_tag")
        await Tag.objects.acount()
    del cursor


async def forget_a_synchronous_cursor() -> None:
    def open_cursor() -> object:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM shop_tag")
        return cursor

    await sync_to_async(open_cursor)()


Abandon = Callable[[], Awaitable[None]]

WAYS: list[Abandon] = [
    leave_a_loop,
    close_an_iterator,
    be_cancelled_in_a_loop,
    forget_a_cursor,
    forget_a_cursor_with_rows_in_memory,
    forget_a_synchronous_cursor,
]


@pytest.fixture(params=WAYS, ids=lambda way: str(way.__name__))
def abandon(request: pytest.FixtureRequest) -> Abandon:
    found: Abandon = request.param
    return found


async def test_they_hold_neither_connection_nor_worker(project: Project, abandon: Abandon) -> None:
    async with request():
        await abandon()
        gc.collect()
        assert await until_async(project.is_quiet)


async def test_they_would_hold_both_if_nobody_told_the_worker(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Worker, "look_again", lambda _: None)
    async with request():
        await close_an_iterator()
        gc.collect()
        assert await asyncio.wait_for(sync_to_async(int)(), 20) == 0  # it has had time to
        assert (project.in_use, project.workers.statistics().pinned) == (1, 1)


async def test_others_get_what_they_held(project: Project, abandon: Abandon) -> None:
    project.use(max_size=1, max_workers=1, acquire_timeout=20)
    close = asyncio.Event()

    async def websocket() -> None:
        context = new_context(ContextKind.WEBSOCKET)
        async with ContextScope(context):
            await abandon()
            gc.collect()
            await close.wait()
        await context.end()

    socket = asyncio.create_task(websocket())
    async with request():
        assert await sync_to_async(ask)("SELECT 1") == 1
    close.set()
    await socket


async def test_a_transaction_goes_on_without_them(project: Project, abandon: Abandon) -> None:
    block = async_atomic()
    async with request():
        async with block:
            spid = await sync_to_async(ask)("SELECT @@SPID")
            await Tag.objects.acreate(name="before")
            await abandon()
            gc.collect()
            await Tag.objects.acreate(name="after")
            assert await sync_to_async(ask)("SELECT @@SPID") == spid
        assert await Tag.objects.acount() == MANY + 2
    assert block.outcome is Outcome.COMMITTED


async def test_a_session_with_state_stays_with_its_context(
    project: Project, abandon: Abandon
) -> None:
    async with request():
        await sync_to_async(lambda: connection.cursor().execute("SET LANGUAGE French"))()
        await abandon()
        gc.collect()
        assert await sync_to_async(ask)("SELECT @@LANGUAGE") == "Français"
        assert project.workers.statistics().pinned == 1
    assert await until_async(project.is_quiet)


async def test_the_end_of_the_context_does_not_wait_for_a_server_that_is_frozen(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker is about to tell it that the rest is not wanted."""
    tidies = threading.Event()
    tidy = project.workers.surroundings.tidy

    def tell_and_tidy() -> None:
        tidies.set()
        tidy()

    project.workers.surroundings.tidy = tell_and_tidy  # type: ignore[method-assign]
    async with asyncio.timeout(20), request():
        tags = Tag.objects.aiterator(chunk_size=10)
        await anext(tags)
        project.server.faults.freeze()
        await tags.aclose()
        del tags
        gc.collect()
        assert await asyncio.to_thread(tidies.wait, 20)
    project.server.faults.thaw()
    assert await until_async(project.is_quiet)
