"""Synchronous code that calls asynchronous code on a worker, as middleware that is synchronous
only does, is cancelled like any other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from mssql_async.context import (
    ContextKind,
    ContextScope,
    TransactionBlockEnded,
    enclosing,
    new_context,
    routing,
)
from mssql_async.context.calls import Call
from mssql_async.devserver.faults import Sessions
from mssql_async.transaction import async_atomic

from .project import PATIENCE, Project, ask, do, until

LONG = "WAITFOR DELAY '00:00:30'"


#: What comes before it in a transaction is over.
long_begins = threading.Event()


def wait_long() -> None:
    long_begins.set()
    do(LONG)


async def view() -> None:
    await sync_to_async(wait_long)()


def middleware_around(view: Callable[[], Awaitable[Any]]) -> Callable[[], Any]:
    def middleware() -> Any:
        return async_to_sync(view)()

    return middleware


async def start(project: Project, function: Callable[[], Any]) -> asyncio.Task[Any]:
    long_begins.clear()
    task = asyncio.create_task(sync_to_async(function)())
    await asyncio.to_thread(until, lambda: long_begins.is_set() and project.running == ["running"])
    return task


@pytest.fixture
async def request_context(project: Project) -> Any:
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        yield context
    await context.end()


class TestAnAsynchronousViewBeneathSynchronousMiddleware:
    async def test_has_its_statement_stopped_when_the_request_is_cancelled(
        self, project: Project, request_context: Any
    ) -> None:
        task = await start(project, middleware_around(view))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT 1") == 1
        assert project.server.counters.logins == 1

    async def test_has_not_where_its_calls_are_asgirefs_own(
        self, project: Project, request_context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        monkeypatch.setattr(routing, "heeding_nested", lambda fn, _: fn)
        task = await start(project, middleware_around(view))
        (busy,) = project.server.sessions()
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
        assert not task.done()
        assert len(project.running) == 1
        project.server.kill(busy.spid)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    @pytest.mark.parametrize("levels", [2, 3])
    async def test_has_it_stopped_below_several_of_them(
        self, project: Project, request_context: Any, levels: int
    ) -> None:
        wrapped: Callable[[], Awaitable[Any]] = view
        for _ in range(levels - 1):
            wrapped = sync_to_async(middleware_around(wrapped))
        task = await start(project, middleware_around(wrapped))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_can_use_the_database_to_clean_up(
        self, project: Project, request_context: Any
    ) -> None:
        found: list[Any] = []

        async def tidy_view() -> None:
            try:
                await view()
            finally:
                found.append(await sync_to_async(ask)("SELECT 7"))

        task = await start(project, middleware_around(tidy_view))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert found == [7]
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_may_answer_in_spite_of_it(self, project: Project, request_context: Any) -> None:
        async def stubborn_view() -> str:
            try:
                await view()
            except asyncio.CancelledError:
                return "an answer"
            return "nobody cancelled"

        task = await start(project, middleware_around(stubborn_view))
        task.cancel()
        assert await asyncio.wait_for(task, 20) == "an answer"

    async def test_may_have_a_deadline_of_its_own(
        self, project: Project, request_context: Any
    ) -> None:
        async def hasty_view() -> Any:
            try:
                async with asyncio.timeout(0.2):
                    await view()
            except TimeoutError:
                return await sync_to_async(ask)("SELECT 7")

        assert await sync_to_async(middleware_around(hasty_view))() == 7
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_has_it_stopped_also_after_an_earlier_call_of_the_same_middleware(
        self, project: Project, request_context: Any
    ) -> None:
        async def quick() -> Any:
            return await sync_to_async(ask)("SELECT 1")

        def middleware() -> None:
            async_to_sync(quick)()
            async_to_sync(view)()

        task = await start(project, middleware)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_keeps_nobody_waiting_where_the_server_does_not_react(
        self, project: Project, request_context: Any
    ) -> None:
        task = await start(project, middleware_around(view))
        (busy,) = project.server.sessions()
        fault = project.server.faults.freeze(Sessions.spid(busy.spid))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, lambda: project.workers.statistics().quarantined == 1)
        assert await asyncio.wait_for(sync_to_async(ask)("SELECT @@SPID"), 20) != busy.spid
        fault.cancel()
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_sees_the_transaction_that_the_middleware_has_begun(
        self, project: Project, request_context: Any
    ) -> None:
        async def depth() -> Any:
            return await sync_to_async(ask)("SELECT @@TRANCOUNT")

        def middleware() -> Any:
            with transaction.atomic():
                return async_to_sync(depth)()

        assert await sync_to_async(middleware)() == 1
        assert project.is_quiet()

    async def test_may_start_a_task_that_goes_on_after_the_middleware_and_the_request(
        self, project: Project
    ) -> None:
        middleware_is_over, request_is_over = asyncio.Event(), asyncio.Event()
        seen: list[Any] = []

        async def late() -> None:
            await middleware_is_over.wait()
            seen.append(await sync_to_async(ask)("SELECT 1"))
            async with async_atomic():
                seen.append(await sync_to_async(ask)("SELECT @@TRANCOUNT"))
            await request_is_over.wait()
            seen.append(await sync_to_async(ask)("SELECT 3"))

        tasks: list[asyncio.Task[Any]] = []

        async def careless_view() -> None:
            tasks.append(asyncio.create_task(late()))

        context = new_context(ContextKind.REQUEST)
        async with ContextScope(context):
            await sync_to_async(middleware_around(careless_view))()
            middleware_is_over.set()
            assert await asyncio.to_thread(until, lambda: len(seen) == 2)
        await context.end()
        request_is_over.set()
        await tasks[0]
        assert seen == [1, 1, 3]
        assert await asyncio.to_thread(until, project.is_quiet)


class TestABlockInATransactionOfSuchCode:
    """It runs where that transaction is: on the thread that waits."""

    @staticmethod
    def view_in_a_transaction(inside: Callable[[], Awaitable[Any]]) -> Callable[[], Any]:
        def synchronous_view() -> Any:
            with transaction.atomic():
                do("SELECT 1")
                return async_to_sync(inside)()

        return synchronous_view

    @staticmethod
    async def waiting_in_a_block() -> None:
        async with async_atomic():
            await view()

    async def test_has_its_statement_stopped_when_the_request_is_cancelled(
        self, project: Project, request_context: Any
    ) -> None:
        task = await start(project, self.view_in_a_transaction(self.waiting_in_a_block))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT @@TRANCOUNT") == 0
        assert project.server.counters.logins == 1

    async def test_has_not_where_nobody_knows_which_worker_runs_it(
        self, project: Project, request_context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        monkeypatch.setattr(Call, "interrupt", lambda _: None)
        task = await start(project, self.view_in_a_transaction(self.waiting_in_a_block))
        (busy,) = (each for each in project.server.sessions() if each.state != "ready")
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
        assert not task.done()
        assert len(project.running) == 1
        project.server.kill(busy.spid)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

    async def test_keeps_nobody_waiting_where_the_server_does_not_react(
        self, project: Project, request_context: Any
    ) -> None:
        task = await start(project, self.view_in_a_transaction(self.waiting_in_a_block))
        (busy,) = (each for each in project.server.sessions() if each.state != "ready")
        fault = project.server.faults.freeze(Sessions.spid(busy.spid))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, lambda: project.workers.statistics().quarantined == 1)
        assert await asyncio.wait_for(sync_to_async(ask)("SELECT @@SPID"), 20) != busy.spid
        fault.cancel()
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_leaves_the_code_after_it_on_the_same_thread_what_it_was(
        self, project: Project, request_context: Any
    ) -> None:
        """A view that calls asynchronous code twice is cancelled in the second one."""

        async def quick() -> None:
            async with async_atomic():
                await sync_to_async(do)("SELECT 1")

        async def twice() -> None:
            await sync_to_async(async_to_sync(quick))()
            await self.waiting_in_a_block()

        task = await start(project, self.view_in_a_transaction(twice))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)
        assert await asyncio.to_thread(until, project.is_quiet)


class LockThatTells:
    """Where the thread that holds it would wait for it, and so for ever, it refuses."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holder: int | None = None
        self.has_refused = False

    def __enter__(self) -> None:
        if self.holder == threading.get_ident():
            self.has_refused = True
            raise RuntimeError  # as an executor that takes no more calls
        self.lock.acquire()
        self.holder = threading.get_ident()

    def __exit__(self, *exc_info: object) -> None:
        self.holder = None
        self.lock.release()


class TestATaskThatOutlivesTheWaitingThread:
    """It was in a block in the transaction of that thread, and uses the database again."""

    @staticmethod
    async def outlive(found: list[type[BaseException]]) -> None:
        is_inside, is_over = asyncio.Event(), asyncio.Event()
        tasks: list[asyncio.Task[Any]] = []

        async def late() -> None:
            async with async_atomic():
                await sync_to_async(do)("SELECT 1")
                is_inside.set()
                await is_over.wait()
                await sync_to_async(do)("SELECT 2")

        async def fail() -> None:
            tasks.append(asyncio.create_task(late()))
            await is_inside.wait()
            raise LookupError

        def synchronous_view() -> None:
            try:
                with transaction.atomic():
                    async_to_sync(fail)()
            except LookupError:
                pass

        context = new_context(ContextKind.REQUEST)
        async with ContextScope(context):
            await sync_to_async(synchronous_view)()
            is_over.set()
            await asyncio.wait(tasks)
            found.append(type(tasks[0].exception()))
        await context.end()

    def begin(self) -> tuple[threading.Thread, list[type[BaseException]]]:
        """In an event loop that a test survives."""
        found: list[type[BaseException]] = []
        thread = threading.Thread(target=lambda: asyncio.run(self.outlive(found)), daemon=True)
        thread.start()
        return thread, found

    def test_is_told(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        lock = LockThatTells()
        monkeypatch.setattr(project.workers, "lock", lock)
        thread, found = self.begin()
        thread.join(PATIENCE)
        assert found == [TransactionBlockEnded]
        assert not lock.has_refused
        assert until(project.is_quiet)

    def test_would_lock_up_the_event_loop_if_its_call_went_to_the_workers(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: from where the workers' lock is held already."""
        monkeypatch.setattr(enclosing, "asgirefs_own", lambda executor: executor)
        lock = LockThatTells()
        monkeypatch.setattr(project.workers, "lock", lock)
        thread, _ = self.begin()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert lock.has_refused
