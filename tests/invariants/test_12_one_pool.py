"""Invariant 12: the same pool serves sync and async code and any number of event loops; it stores
no asyncio primitive.

tests/pool/test_stress has 64 threads, those of four loops among them, on the pool alone.
"""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async

import mssql_async
from mssql_async.context import ContextKind, ContextScope, new_context
from tests.context.project import Project, ask

PACKAGE = Path(mssql_async.__file__).parent

#: What ties its objects to an event loop, or knows of one.
OF_LOOPS = {"asyncio", "asgiref", "anyio", "django", "sniffio", "trio"}


def imported_by(source: str) -> set[str]:
    """The top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (PACKAGE / folder).rglob("*.py")


def test_neither_pool_nor_session_knows_of_loops() -> None:
    paths = list(modules("pool", "session"))
    assert len(paths) > 20
    assert {
        path.name: found for path in paths if (found := imported_by(path.read_text()) & OF_LOOPS)
    } == {}


def test_the_context_does() -> None:
    """The control of the test above."""
    found: set[str] = set().union(*(imported_by(path.read_text()) for path in modules("context")))
    assert {"asyncio", "asgiref", "django"} <= found


async def session() -> int:
    context = new_context(ContextKind.REQUEST)
    try:
        async with ContextScope(context):
            spid: int = await sync_to_async(ask)("SELECT @@SPID")
            return spid
    finally:
        await context.end()


def of_everybody() -> list[int]:
    """The sessions that two loops, one after the other, two more in threads of their own and
    plain code get, none of them at the same time."""

    def in_thread(work: Any) -> int:
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(work()))
        thread.start()
        thread.join()
        return answers[0]

    return [
        asyncio.run(session()),
        asyncio.run(session()),
        in_thread(lambda: asyncio.run(session())),
        in_thread(lambda: asyncio.run(session())),
        in_thread(lambda: ask("SELECT @@SPID")),
        ask("SELECT @@SPID"),
    ]


def test_loops_and_threads_are_served_by_one_connection(project: Project) -> None:
    assert len(set(of_everybody())) == 1
    assert project.server.counters.logins == 1


def test_without_a_pool_they_would_need_one_each(project: Project, settings: Any) -> None:
    """The control of the test above."""
    settings.DATABASE_CONNECTION_POOLING = False
    of_everybody()
    assert project.server.counters.logins == 6


def test_four_loops_at_once_share_the_bound(project: Project) -> None:
    project.use(max_size=2)
    wrong: list[BaseException] = []

    def run() -> None:
        async def requests() -> None:
            await asyncio.gather(*(session() for _ in range(10)))

        try:
            asyncio.run(requests())
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert project.pool.opened <= 2
    assert project.pool.in_use == 0
