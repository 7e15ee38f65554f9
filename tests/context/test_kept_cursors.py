"""A cursor that asynchronous code opens in one call and uses in later ones."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, transaction

from mssql_async.context import ContextKind, ContextScope, new_context
from mssql_async.session.lease import LeasedConnection

from .project import Project, until

QUESTION = "SELECT n FROM (VALUES (1), (2), (3)) AS numbers(n)"


@contextlib.asynccontextmanager
async def request() -> AsyncIterator[None]:
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        yield
    await context.end()


@contextlib.asynccontextmanager
async def another_request() -> AsyncIterator[None]:
    """In a transaction, on whatever worker is idle."""
    begun, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with request():
            block = transaction.atomic()
            await sync_to_async(block.__enter__)()
            begun.set()
            await done.wait()
            await sync_to_async(block.__exit__)(None, None, None)

    task = asyncio.create_task(hold(), context=contextvars.Context())
    await begun.wait()
    try:
        yield
    finally:
        done.set()
        await task


def open_one() -> Any:
    return connection.cursor()  # of the thread that asks


async def answers(cursor: Any) -> list[int]:
    await sync_to_async(cursor.execute)(QUESTION)
    return [row[0] for row in await sync_to_async(cursor.fetchall)()]


async def test_answers_as_often_as_it_is_asked(project: Project) -> None:
    async with request():
        cursor = await sync_to_async(open_one)()
        async with another_request():
            assert await answers(cursor) == [1, 2, 3]
        async with another_request():
            assert await answers(cursor) == [1, 2, 3]
        await sync_to_async(cursor.close)()


async def test_would_be_refused_if_the_worker_were_not_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(LeasedConnection, "has_open_cursors", False)
    async with request():
        cursor = await sync_to_async(open_one)()
        async with another_request():
            with pytest.raises(DatabaseError, match="belongs to thread"):
                await answers(cursor)


async def test_holds_no_connection_between_two_questions(project: Project) -> None:
    async with request():
        cursor = await sync_to_async(open_one)()
        assert (project.in_use, project.workers.statistics().pinned) == (0, 1)
        await answers(cursor)
        assert (project.in_use, project.workers.statistics().pinned) == (0, 1)
        await sync_to_async(cursor.close)()
        assert (project.in_use, project.workers.statistics().pinned) == (0, 0)


@pytest.mark.parametrize("way", ["closed in the loop's thread", "forgotten"])
async def test_lets_go_of_the_worker_once_nobody_can_ask_any_more(
    project: Project, way: str
) -> None:
    async with request():
        cursor = await sync_to_async(open_one)()
        await answers(cursor)
        if way == "forgotten":
            del cursor
            gc.collect()
        else:
            cursor.close()
        assert await asyncio.to_thread(until, lambda: not project.workers.statistics().pinned)
