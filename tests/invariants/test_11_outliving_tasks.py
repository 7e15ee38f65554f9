"""Invariant 11: a task that outlives its request keeps working, on a context of its own, and leaks
nothing.

tests/context and tests/asgi have a thousand of them with nothing left to do; here they are in the
middle of something when they are done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from mssql_async.context import Context, ContextKind, ContextScope, new_context
from tests.context.project import Project, ask, do, until


def in_a_transaction() -> Any:
    connection.ensure_connection()
    connection.set_autocommit(False)
    do("INSERT INTO ledger VALUES (1)")
    return ask("SELECT @@SPID")


def with_a_temporary_table() -> Any:
    do("CREATE TABLE #mine (id int)")
    return ask("SELECT @@SPID")


@pytest.fixture
def ledger(project: Project) -> Project:
    do("CREATE TABLE ledger (id int)")
    connection.close()
    return project


async def outliving(begin: Callable[[], Any]) -> asyncio.Task[Any]:
    """A task that was started in a request, and begins this when the request is over. Done."""
    over = asyncio.Event()

    async def go_on() -> Any:
        await over.wait()
        return await sync_to_async(begin)()

    request = new_context(ContextKind.REQUEST)
    async with ContextScope(request):
        assert await sync_to_async(ask)("SELECT 1") == 1
        task = asyncio.create_task(go_on())
        await asyncio.sleep(0)
    await request.end()
    over.set()
    await asyncio.wait([task])
    return task


@pytest.mark.parametrize("begin", [in_a_transaction, with_a_temporary_table])
async def test_what_it_holds_ends_with_the_task(ledger: Project, begin: Callable[[], Any]) -> None:
    task = await outliving(begin)
    assert task.result() > 0
    assert await asyncio.to_thread(until, ledger.holds_nothing)
    assert await sync_to_async(ask)("SELECT count(*) FROM ledger") == 0


async def test_a_context_that_nobody_ended_would_keep_it(
    ledger: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    contexts: list[Context] = []
    monkeypatch.setattr(Context, "_task_is_over", lambda context, _task: contexts.append(context))
    task = await outliving(in_a_transaction)
    assert task.result() > 0
    assert (ledger.pool.in_use, ledger.workers.statistics().pinned) == (1, 1)
    await contexts[0].end()
    assert await asyncio.to_thread(until, ledger.holds_nothing)
