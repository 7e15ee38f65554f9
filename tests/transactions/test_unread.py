"""Blocks of a task that is in the middle of reading rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from mssql_async.aio import async_connections
from mssql_async.context import enclosing
from mssql_async.errors import PoolTimeout
from mssql_async.transaction import async_atomic
from tests.context.project import Project
from tests.shop.models import Tag

from .support import add, request, rows

READ = 40
WRITTEN = 5


@pytest.fixture(autouse=True)
def tags(project: Project) -> Iterator[None]:
    Tag.objects.bulk_create([Tag(name=f"old {number:02}") for number in range(READ)])
    yield
    project.use()


async def write_in_a_loop() -> int:
    """In one request: a block for each of the first rows. How many were read."""
    read = 0
    async with request():
        old = Tag.objects.filter(name__startswith="old").order_by("pk")
        async for _tag in old.aiterator(chunk_size=2):
            if read < WRITTEN:
                async with async_atomic():
                    await add("new")
            read += 1
    return read


def written(project: Project) -> int:
    return rows(project).count("new")


@pytest.mark.parametrize("bound", ["max_size", "max_workers"])
async def test_need_no_second_connection_nor_worker(project: Project, bound: str) -> None:
    project.use(**{bound: 1}, acquire_timeout=20)
    assert await write_in_a_loop() == READ
    assert await sync_to_async(written)(project) == WRITTEN


@pytest.mark.parametrize("bound", ["max_size", "max_workers"])
async def test_do_not_wait_for_each_other(project: Project, bound: str) -> None:
    project.use(**{bound: 3}, acquire_timeout=20)
    assert await asyncio.gather(*[write_in_a_loop() for _ in range(3)]) == [READ] * 3
    assert await sync_to_async(written)(project) == 3 * WRITTEN


async def test_would_if_they_wanted_one_of_their_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(enclosing, "_is_seen_by_blocks", lambda *_: False)
    project.use(max_size=3, acquire_timeout=1)
    together = asyncio.Barrier(3)
    found = await asyncio.gather(
        *[hold_and_write(together) for _ in range(3)], return_exceptions=True
    )
    assert any(isinstance(each, PoolTimeout) for each in found)


async def hold_and_write(all_read: asyncio.Barrier) -> Any:
    async with request(), async_connections["default"].cursor() as cursor:
        await cursor.execute("SELECT name FROM shop_tag WHERE name LIKE 'old%%'", [])
        await cursor.fetchone()
        await all_read.wait()
        async with async_atomic():
            await add("new")
        return await cursor.fetchall()


async def test_nor_do_they_where_all_hold_what_there_is(project: Project) -> None:
    project.use(max_size=3, acquire_timeout=20)
    together = asyncio.Barrier(3)
    found = await asyncio.gather(*[hold_and_write(together) for _ in range(3)])
    assert [len(each) for each in found] == [READ - 1] * 3
    assert await sync_to_async(written)(project) == 3
