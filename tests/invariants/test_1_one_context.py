"""Invariant 1: a connection is used by one context at a time.

Here a cursor is carried from one asynchronous context to another; tests/session and
tests/backend have the same for plain threads, tests/pool for the pool alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.db.utils import ProgrammingError

from mssql_async.base import DatabaseWrapper
from mssql_async.context import ContextKind, ContextScope, new_context
from mssql_async.session.lease import LeasedConnection
from tests.context.project import Project

TWO_ROWS = "SELECT 1 UNION ALL SELECT 2"


@asynccontextmanager
async def context() -> AsyncIterator[None]:
    one = new_context(ContextKind.REQUEST)
    try:
        async with ContextScope(one):
            yield
    finally:
        await one.end()


def begin_reading() -> Any:
    """In one call: from then on the open rows tie the worker to its context."""
    cursor = connection.cursor()
    cursor.execute(TWO_ROWS)
    return cursor


def read_all() -> Any:
    """After which nothing ties a worker."""
    cursor = begin_reading()
    cursor.fetchall()
    return cursor


async def carried(use: Callable[[Any], Any]) -> tuple[Any, list[Any]]:
    """What ``use`` of a cursor gives in another context, or raises, and what its owner then
    reads."""
    opened: asyncio.Queue[Any] = asyncio.Queue()
    used = asyncio.Event()

    async def owner() -> list[Any]:
        async with context():
            cursor = await sync_to_async(begin_reading)()
            opened.put_nowait(cursor)
            await used.wait()
            rows: list[Any] = await sync_to_async(cursor.fetchall)()
            return rows

    async def other() -> Any:
        async with context():
            cursor = await opened.get()
            try:
                return await sync_to_async(use)(cursor)
            except Exception as error:
                return error
            finally:
                used.set()

    rows, outcome = await asyncio.gather(owner(), other())
    return outcome, rows


USES: list[Callable[[Any], Any]] = [
    lambda cursor: cursor.fetchone(),
    lambda cursor: cursor.execute("SELECT 3"),
    lambda cursor: cursor.executemany("SELECT %s", [[3]]),
    lambda cursor: cursor.nextset(),
]


@pytest.mark.parametrize("use", USES, ids=["fetchone", "execute", "executemany", "nextset"])
async def test_a_cursor_of_another_context_raises_and_its_owner_reads_on(
    project: Project, use: Callable[[Any], Any]
) -> None:
    error, rows = await carried(use)
    assert isinstance(error, ProgrammingError)
    assert "A connection serves one context at a time" in str(error)
    assert rows == [(1,), (2,)]


async def test_a_lease_that_did_not_ask_would_give_its_rows_away(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(LeasedConnection, "refuse_others", lambda _lease: None)
    row, rows = await carried(lambda cursor: cursor.fetchone())
    assert (row, rows) == ((1,), [(2,)])


async def in_turns() -> tuple[Any, Any]:
    """On the same worker, which the first context has left for the moment: what the second one
    gets of a cursor that the first one kept."""
    kept: asyncio.Queue[Any] = asyncio.Queue()
    used = asyncio.Event()

    async def owner() -> None:
        async with context():
            kept.put_nowait(await sync_to_async(read_all)())
            await used.wait()

    async def other() -> tuple[Any, Any]:
        async with context():
            cursor = await kept.get()

            def use() -> Any:
                connection.ensure_connection()
                cursor.execute("SELECT 3")
                return cursor.fetchone()

            try:
                return await sync_to_async(use)(), None
            except ProgrammingError as error:
                return None, error
            finally:
                used.set()

    outcome: tuple[Any, Any] = (await asyncio.gather(other(), owner()))[0]
    return outcome


@pytest.fixture
def going_worker(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one there is goes on to others even where a cursor is open, which keeps it."""
    monkeypatch.setattr(LeasedConnection, "has_open_cursors", False)
    project.use_workers(max_workers=1)


async def test_neither_does_a_worker_bring_it_to_the_next_context(going_worker: None) -> None:
    row, error = await in_turns()
    assert row is None
    assert "its lease ended with its context" in str(error)


async def test_a_worker_that_kept_its_lease_would(
    going_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(DatabaseWrapper, "begin_context", lambda _wrapper: None)
    row, error = await in_turns()
    assert (row, error) == ((3,), None)
