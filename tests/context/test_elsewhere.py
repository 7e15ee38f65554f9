"""Code that is no request: each way to run it, a thousand times, leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import BaseCommand, call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction

from mssql_async.context import ContextKind, ContextScope, new_context

from .project import Project, ask, until

TIMES = 1000
ROOT = Path(__file__).resolve().parents[2]


def work() -> int:
    """A query alone, and two in a transaction."""
    found = ask("SELECT 1")
    with transaction.atomic():
        found += ask("SELECT 2")
        found += ask("SELECT 3")
    return int(found)


async def asynchronous_work() -> int:
    return await sync_to_async(work)()


def in_tasks(run: Callable[[], Any], times: int) -> None:
    """``times`` awaits of what ``run`` makes, eight at a time, in a loop of their own."""

    async def main() -> None:
        async def some() -> None:
            for _ in range(times // 8):
                assert await run() == 6

        await asyncio.gather(*(some() for _ in range(8)))

    asyncio.run(main())


def tasks_outside_of_requests(times: int) -> None:
    in_tasks(asynchronous_work, times)


def threads_of_the_loop(times: int) -> None:
    in_tasks(lambda: asyncio.to_thread(work), times)


def calls_that_are_not_thread_sensitive(times: int) -> None:
    in_tasks(lambda: sync_to_async(work, thread_sensitive=False)(), times)


def tasks_that_outlive_their_context(times: int) -> None:
    async def main() -> None:
        tasks: list[asyncio.Task[int]] = []
        for _ in range(times):
            context = new_context(ContextKind.REQUEST)
            ended = asyncio.Event()

            async def outlive(ended: asyncio.Event = ended) -> int:
                before = await asynchronous_work()
                await ended.wait()
                return before + await asynchronous_work()

            async with ContextScope(context):
                tasks.append(asyncio.create_task(outlive()))
                await asyncio.sleep(0)
            await context.end()
            ended.set()
            if len(tasks) == 8:
                assert await asyncio.gather(*tasks) == [12] * 8
                tasks.clear()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def plain_threads(times: int) -> None:
    for _ in range(times // 8):
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def threads_that_die_in_a_transaction(times: int) -> None:
    def die() -> None:
        transaction.set_autocommit(False)
        ask("SELECT 1")

    for _ in range(times // 8):
        threads = [threading.Thread(target=die) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    gc.collect()


class Command(BaseCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        assert work() == 6
        assert async_to_sync(asynchronous_work)() == 6


def management_commands(times: int) -> None:
    for _ in range(times):
        call_command(Command(), skip_checks=True)


def celerys_threads(times: int) -> None:
    """As Celery's Django fixup does it: around each task."""

    def task() -> int:
        close_old_connections()
        try:
            return work()
        finally:
            close_old_connections()

    with ThreadPoolExecutor(8) as executor:
        assert set(executor.map(lambda _: task(), range(times))) == {6}


def wsgi(times: int) -> None:
    """A synchronous server whose views call asynchronous code."""

    def request(_: int) -> int:
        request_started.send(sender=None, environ={})
        try:
            with transaction.atomic():
                return work() + async_to_sync(asynchronous_work)()
        finally:
            request_finished.send(sender=None)

    with ThreadPoolExecutor(8) as executor:
        assert set(executor.map(request, range(times))) == {12}


WAYS = [
    calls_that_are_not_thread_sensitive,
    celerys_threads,
    management_commands,
    plain_threads,
    tasks_outside_of_requests,
    tasks_that_outlive_their_context,
    threads_of_the_loop,
    threads_that_die_in_a_transaction,
    wsgi,
]


def descriptors(project: Project) -> int:
    """Those of this process, but for both ends of the pool's connections and for the files of
    the server, which lives in it too and keeps a varying number of them open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them
            found += "devserver" not in str(link.readlink())
    return found - 2 * len(project.server.sessions())


def threads() -> int:
    """Without those that stay until they have been idle for long."""
    return sum(
        not thread.name.startswith(("mssql_async", "mssql-devserver"))
        for thread in threading.enumerate()
    )


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts file descriptors")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
def test_leaves_nothing(project: Project, way: Callable[[int], None]) -> None:
    way(16)
    assert until(lambda: project.in_use == 0)
    # A session ends a moment after its client hung up.
    assert until(lambda: len(project.server.sessions()) == project.pool.idle)
    before = descriptors(project), threads()
    way(TIMES)
    gc.collect()
    assert until(project.holds_nothing)
    assert until(lambda: not project.running)
    assert until(lambda: len(project.server.sessions()) == project.pool.idle)
    assert project.pool.size <= project.pool.max_size
    assert until(lambda: (descriptors(project), threads()) <= before), (
        before, descriptors(project), threads(),
    )  # fmt: skip
    with transaction.atomic():
        assert ask("SELECT @@TRANCOUNT") == 1


PREFORK = """
import os, sys, django
django.setup()
from tests.context.test_elsewhere import work, asynchronous_work
from asgiref.sync import async_to_sync
from django.db import connection
from mssql_async.pool.registry import pool_statistics

assert work() == 6
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for _ in range(int(sys.argv[1]) // 4):
                assert work() == 6
            assert async_to_sync(asynchronous_work)() == 6
            (pool,) = pool_statistics()[-1:]
            assert (pool.in_use, pool.opened) == (0, pool.size), pool
            status = 0
        except BaseException:
            import traceback; traceback.print_exc()
        os._exit(status)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert work() == 6
assert codes == [0] * 4, codes
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_preforked_processes_leave_nothing(project: Project) -> None:
    server = project.server
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings",
        "MSSQL_HOST": server.host, "MSSQL_PORT": str(server.port), "MSSQL_USER": server.user,
        "MSSQL_PASSWORD": server.password, "MSSQL_DATABASE": server.database,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PREFORK, str(TIMES)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert server.wait_for_sessions(0)
