"""What the tests of transactions look at."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import pyodbc
from asgiref.sync import sync_to_async

from mssql_async.context import Context, ContextKind, ContextScope, new_context
from mssql_async.driver import find_driver
from tests.context.project import Project, ask
from tests.shop.models import Tag


@contextlib.asynccontextmanager
async def request() -> AsyncIterator[Context]:
    """As the entry point of an ASGI server does it."""
    context = new_context(ContextKind.REQUEST)
    routing = ContextScope(context)
    routing.enter()
    try:
        yield context
    finally:
        routing.exit()
        await context.end()


async def add(name: str, using: str = "default") -> Tag:
    return await Tag.objects.using(using).acreate(name=name)


async def spid() -> int:
    return int(await sync_to_async(ask)("SELECT @@SPID"))


async def depth() -> int:
    return int(await sync_to_async(ask)("SELECT @@TRANCOUNT"))


def rows(project: Project) -> list[str]:
    """The names of all tags, as somebody sees them who has nothing to do with the backend."""
    driver = find_driver()
    raw = pyodbc.connect(
        project.server.connection_string(driver=str(driver.library or driver.name)),
        autocommit=True,
    )
    try:
        raw.timeout = 10
        return [row[0] for row in raw.execute("SELECT name FROM shop_tag ORDER BY name")]
    finally:
        raw.close()


def messages(project: Project) -> int:
    return project.server.counters.total_messages


@contextlib.contextmanager
def silenced(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
