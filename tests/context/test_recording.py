"""Queries that a request records in several calls, as ``CaptureQueriesContext`` does."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from mssql_async.base import DatabaseWrapper
from mssql_async.context import ContextKind, ContextScope, new_context

from .project import Project, ask, until

REQUESTS = 4


async def record_side_by_side() -> list[list[str]]:
    """What each of several requests has recorded of its own statements."""
    together = asyncio.Barrier(REQUESTS)

    async def one(number: int) -> list[str]:
        context = new_context(ContextKind.REQUEST)
        async with ContextScope(context):
            queries = CaptureQueriesContext(connection)
            await sync_to_async(queries.__enter__)()
            for _ in range(2):
                await together.wait()
                await sync_to_async(ask)(f"SELECT {number}")
            await together.wait()
            await sync_to_async(queries.__exit__)(None, None, None)
            await together.wait()
            seen = await sync_to_async(lambda: [each["sql"] for each in queries])()
        await context.end()
        return seen

    return await asyncio.gather(*map(one, range(REQUESTS)))


async def test_are_those_of_that_request(project: Project) -> None:
    project.use(max_workers=1)
    assert await record_side_by_side() == [[f"SELECT {n}"] * 2 for n in range(REQUESTS)]
    assert await asyncio.to_thread(until, project.is_quiet)


async def test_would_be_lost_if_the_recording_did_not_keep_the_worker(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(DatabaseWrapper, "is_recorded", False)
    project.use(max_workers=1)
    assert await record_side_by_side() != [[f"SELECT {n}"] * 2 for n in range(REQUESTS)]


async def test_and_a_connection_that_was_only_asked_for_is_given_back(project: Project) -> None:
    """``CaptureQueriesContext`` asks for one before anything needs it."""
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        await sync_to_async(lambda: connection.ensure_connection())()
        assert project.holds_nothing()
    await context.end()


async def test_end_with_it(project: Project) -> None:
    def record() -> bool:
        before = connection.force_debug_cursor
        connection.force_debug_cursor = True
        ask("SELECT 1")
        return before

    project.use(max_workers=1)
    seen = []
    for _ in range(3):
        context = new_context(ContextKind.REQUEST)
        async with ContextScope(context):
            seen.append(await sync_to_async(record)())
        await context.end()
    assert seen == [False] * 3
    assert await asyncio.to_thread(until, project.is_quiet)
