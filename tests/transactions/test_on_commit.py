"""Functions that wait for a commit: synchronous and asynchronous ones, in either kind of code."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mssql_async.commithooks import CommitHook
from mssql_async.context import TransactionBlockEnded, Worker
from mssql_async.transaction import Outcome, async_atomic
from tests.context.project import Project, ask
from tests.shop.models import Tag

from .support import add, request, rows


class Broken(Exception):
    """Raised by a test."""


class Hooks:
    """Functions that note when they run, and what they see."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def note(self, name: str) -> None:
        assert not connection.in_atomic_block
        assert connection.get_autocommit()
        self.called.append(f"{name} sees {Tag.objects.count()}")

    def synchronous(self) -> None:
        self.note("synchronous")

    async def asynchronous(self) -> None:
        await asyncio.sleep(0)
        await sync_to_async(self.note)("asynchronous")

    async def with_an_argument(self, name: str) -> None:
        await sync_to_async(self.note)(name)

    async def __call__(self) -> None:
        await sync_to_async(self.note)("an object")

    def returning_something_awaitable(self) -> Awaitable[None]:
        return self.with_an_argument("returned")

    async def in_a_block_of_its_own(self) -> None:
        async with async_atomic():
            await add("hook")

    def all(self) -> list[Callable[[], Any]]:
        return [
            self.synchronous,
            self.asynchronous,
            functools.partial(self.with_an_argument, "partial"),
            lambda: self.with_an_argument("lambda"),
            self.returning_something_awaitable,
            self,
        ]

    EXPECTED = [
        "synchronous sees 1",
        "asynchronous sees 1",
        "partial sees 1",
        "lambda sees 1",
        "returned sees 1",
        "an object sees 1",
    ]


def in_synchronous_code(hooks: Hooks) -> None:
    with transaction.atomic():
        Tag.objects.create(name="a")
        for hook in hooks.all():
            transaction.on_commit(hook)
        assert hooks.called == []


async def in_asynchronous_code(hooks: Hooks) -> None:
    async with async_atomic():
        await add("a")
        for hook in hooks.all():
            transaction.on_commit(hook)
        assert await Tag.objects.acount() == 1
        assert hooks.called == []


async def through_sync_to_async(hooks: Hooks) -> None:
    async with async_atomic():
        await add("a")
        for hook in hooks.all():
            await sync_to_async(transaction.on_commit)(hook)
        assert hooks.called == []


@pytest.mark.parametrize("work", [in_asynchronous_code, through_sync_to_async])
async def test_they_run_in_order_after_the_commit_of_a_block(project: Project, work: Any) -> None:
    hooks = Hooks()
    async with request():
        await work(hooks)
    assert hooks.called == hooks.EXPECTED


async def test_they_run_in_order_in_a_worker_with_synchronous_code(project: Project) -> None:
    hooks = Hooks()
    async with request():
        await sync_to_async(in_synchronous_code)(hooks)
    assert hooks.called == hooks.EXPECTED


def test_they_run_in_order_in_a_thread_without_an_event_loop(project: Project) -> None:
    """As under WSGI."""
    hooks = Hooks()
    in_synchronous_code(hooks)
    assert hooks.called == hooks.EXPECTED
    connection.close()


@pytest.mark.parametrize("work", [in_asynchronous_code, through_sync_to_async])
def test_they_run_in_order_beneath_async_to_sync(project: Project, work: Any) -> None:
    hooks = Hooks()
    async_to_sync(work)(hooks)
    assert hooks.called == hooks.EXPECTED
    connection.close()


async def test_outside_of_a_transaction_they_run_at_once(project: Project) -> None:
    hooks = Hooks()

    def register() -> None:
        Tag.objects.create(name="a")
        transaction.on_commit(hooks.asynchronous)
        assert hooks.called == ["asynchronous sees 1"]

    async with request():
        await sync_to_async(register)()


async def test_they_run_in_the_loop_of_the_block(project: Project) -> None:
    loops: list[object] = []

    async def hook() -> None:
        loops.append(asyncio.get_running_loop())

    async with request(), async_atomic():
        await add("a")
        transaction.on_commit(hook)
    assert loops == [asyncio.get_running_loop()]


async def test_one_may_begin_a_block_of_its_own(project: Project) -> None:
    hooks = Hooks()
    async with request(), async_atomic():
        await add("a")
        transaction.on_commit(hooks.in_a_block_of_its_own)
    assert rows(project) == ["a", "hook"]


def test_one_may_begin_a_block_where_there_is_one_worker_and_one_connection(
    project: Project,
) -> None:
    project.use(max_size=1, max_workers=1, acquire_timeout=5)
    hooks = Hooks()

    async def work() -> None:
        async with request(), async_atomic():
            await add("a")
            transaction.on_commit(hooks.in_a_block_of_its_own)

    try:
        asyncio.run(work())
        assert rows(project) == ["a", "hook"]
    finally:
        project.use()


async def test_a_rollback_forgets_them(project: Project) -> None:
    hooks = Hooks()
    async with request():
        with pytest.raises(Broken):
            async with async_atomic():
                await add("a")
                transaction.on_commit(hooks.asynchronous)
                raise Broken
        async with async_atomic():
            await add("b")
            with pytest.raises(Broken):
                async with async_atomic():
                    transaction.on_commit(hooks.asynchronous)
                    raise Broken
            transaction.on_commit(hooks.synchronous)
    assert hooks.called == ["synchronous sees 1"]


async def test_one_that_fails_ends_the_others_but_not_the_commit(project: Project) -> None:
    hooks = Hooks()

    async def fail() -> None:
        raise Broken

    async with request():
        block = async_atomic()
        with pytest.raises(Broken):
            async with block:
                await add("a")
                transaction.on_commit(hooks.synchronous)
                transaction.on_commit(fail)
                transaction.on_commit(hooks.asynchronous)
        assert block.outcome is Outcome.COMMITTED
    assert hooks.called == ["synchronous sees 1"]
    assert rows(project) == ["a"]


async def test_a_robust_one_that_fails_ends_nothing(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = Hooks()

    async def fail(what: str) -> None:
        raise Broken(what)

    with caplog.at_level(logging.ERROR, "django.db.backends"):
        async with request(), async_atomic():
            await add("a")
            transaction.on_commit(functools.partial(fail, "on purpose"), robust=True)
            transaction.on_commit(hooks.asynchronous)
    assert hooks.called == ["asynchronous sees 1"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [Broken]


def test_what_is_not_callable_is_refused(project: Project) -> None:
    with transaction.atomic(), pytest.raises(TypeError, match="must be a callable"):
        transaction.on_commit("no function")  # type: ignore[arg-type]
    connection.close()


async def test_what_is_not_callable_is_refused_in_a_block(project: Project) -> None:
    async with request(), async_atomic():
        with pytest.raises(TypeError, match="must be a callable"):
            transaction.on_commit("no function")  # type: ignore[arg-type]


async def test_a_task_that_outlives_its_block_cannot_register_one(project: Project) -> None:
    over = asyncio.Event()

    async def outlive() -> None:
        await over.wait()
        transaction.on_commit(lambda: None)

    async with request():
        async with async_atomic():
            task = asyncio.create_task(outlive())
            await add("a")
        over.set()
        with pytest.raises(TransactionBlockEnded):
            await task


def test_a_hook_is_equal_to_its_function() -> None:
    def function() -> None: ...

    hook = CommitHook(function)
    assert hook == function
    assert [hook] == [function]
    assert hook == CommitHook(function)
    assert hash(hook) == hash(function)
    assert hook != CommitHook(print)
    assert hook.__qualname__ == function.__qualname__
    assert CommitHook(functools.partial(print)).__qualname__ != ""


async def test_synchronous_ones_run_on_the_worker_of_the_block(project: Project) -> None:
    threads: list[int] = []

    async with request(), async_atomic():
        threads.append(await sync_to_async(threading.get_ident)())
        transaction.on_commit(lambda: threads.append(threading.get_ident()))
        await add("a")
    assert threads[0] == threads[1]


class TestATaskThatOneHasStarted:
    """It belongs to what is around the block, like the function itself."""

    @pytest.fixture(params=["count", "write in a block", "register another"])
    def work(self, request: pytest.FixtureRequest) -> Callable[[], Awaitable[int]]:
        async def count() -> int:
            return await Tag.objects.acount()

        async def write_in_a_block() -> int:
            async with async_atomic():
                await add("b")
            return await Tag.objects.acount() - 1

        async def register_another() -> int:
            called: list[int] = []
            async with async_atomic():
                transaction.on_commit(lambda: called.append(Tag.objects.count()))
            return called[0]

        ways = {
            "count": count,
            "write in a block": write_in_a_block,
            "register another": register_another,
        }
        return ways[request.param]

    @pytest.mark.parametrize("surroundings", [request, contextlib.nullcontext])
    @pytest.mark.parametrize("when", ["before the end of the request", "after it"])
    async def test_goes_on_after_it(
        self,
        project: Project,
        work: Callable[[], Awaitable[int]],
        surroundings: Any,
        when: str,
    ) -> None:
        tasks: list[asyncio.Task[int]] = []
        go_on = asyncio.Event()

        async def later() -> int:
            await go_on.wait()
            return await work()

        async def start() -> None:
            tasks.append(asyncio.create_task(later()))

        async with surroundings():
            async with async_atomic():
                await add("a")
                transaction.on_commit(start)
            if when == "before the end of the request":
                go_on.set()
                assert await tasks[0] == 1
        go_on.set()
        assert await tasks[0] == 1

    async def test_is_in_no_transaction(self, project: Project) -> None:
        tasks: list[asyncio.Task[Any]] = []

        async def start() -> None:
            tasks.append(asyncio.create_task(sync_to_async(ask)("SELECT @@TRANCOUNT")))
            await asyncio.sleep(0)

        async with request():
            async with async_atomic():
                transaction.on_commit(start)
                await add("a")
            async with async_atomic():
                await add("b")
                assert await tasks[0] == 0


class TestARegistrationInABlockThatIsRolledBack:
    async def roll_back(self, times: int) -> None:
        for _ in range(times):
            async with request():
                with pytest.raises(Broken):
                    async with async_atomic():
                        transaction.on_commit(print)
                        transaction.on_commit(print)
                        raise Broken

    async def test_is_no_error(self, project: Project, caplog: pytest.LogCaptureFixture) -> None:
        await self.roll_back(20)
        assert [record.getMessage() for record in caplog.records] == []

    async def test_is_not_stopped_like_a_statement(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is none to be stopped, and to tell somebody costs a thread."""
        stopped: list[Any] = []
        monkeypatch.setattr(Worker, "interrupt", lambda _, call: stopped.append(call))
        await self.roll_back(20)
        assert stopped == []

    async def test_that_fails_for_a_reason_of_its_own_is_reported(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The control."""

        def fail(*_: Any) -> None:
            raise Broken

        async with request(), async_atomic():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(BaseDatabaseWrapper, "on_commit", fail)
                transaction.on_commit(print)
                await add("a")
        (record,) = caplog.records
        assert "could not be registered" in record.getMessage()
