"""Each test here has a project of its own, and asks from several kinds of surroundings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from mssql_async.aio import async_new_connection
from mssql_async.context import ContextKind, ContextScope, new_context
from mssql_async.transaction import async_atomic
from tests.context.conftest import _project
from tests.context.project import Project, until

__all__ = ["_project"]

Surroundings = Callable[[], AbstractAsyncContextManager[Any]]


@contextlib.asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """asgiref's own thread."""
    yield


@contextlib.asynccontextmanager
async def request() -> AsyncIterator[None]:
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        yield
    await context.end()


SURROUNDINGS: dict[str, Surroundings] = {
    "outside": nothing,
    "in a request": request,
    "in a block": async_atomic,
    "on a connection of its own": async_new_connection,
}


@pytest.fixture(params=SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def surroundings(request: pytest.FixtureRequest, project: Project) -> Surroundings:
    found: Surroundings = request.param
    return found


async def until_async(condition: Callable[[], bool]) -> bool:
    return await asyncio.to_thread(until, condition)
