"""A block that is cancelled, whatever it waits for, is committed or rolled back as a whole, and
says which."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from typing import Any

import anyio
import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from mssql_async.base import DatabaseWrapper
from mssql_async.blocks import Block
from mssql_async.context import CancelledAfterCommit, CommitOutcomeUnknown
from mssql_async.transaction import Outcome, async_atomic
from tests.context.project import Project, do, until
from tests.shop.models import Tag

from .cancelling import Run, When, cancelled_at
from .support import add, request, rows

NAMES = ["a", "b", "c"]
ENOUGH = 60
"""Waits of a block, and more."""


async def block_of_three(block: Any) -> None:
    async with block:
        await add("a")
        async with async_atomic():
            await add("b")
        await add("c")


def check(project: Project, run: Run, block: Any, where: str) -> None:
    """Whether what the caller was told is what the server has."""
    assert until(project.is_quiet), where
    assert not any(session.in_transaction for session in project.server.sessions()), where
    found = rows(project)
    assert found in ([], NAMES), where
    outcome = block.outcome
    if run.error is None:
        assert not run.was_told, f"cancelled {where}, and nobody knows"
        assert outcome is Outcome.COMMITTED, where
    elif isinstance(run.error, CommitOutcomeUnknown):
        assert outcome is Outcome.UNKNOWN, where
        return
    elif isinstance(run.error, CancelledAfterCommit):
        assert outcome is Outcome.COMMITTED, where
    else:
        assert type(run.error) is asyncio.CancelledError, where
        assert outcome in (None, Outcome.ROLLED_BACK), where
    assert found == (NAMES if outcome is Outcome.COMMITTED else []), where


def clear() -> None:
    Tag.objects.all().delete()


async def cancel_at_every_wait(project: Project, when: When) -> set[Any]:
    """Returns the outcomes and the classes of errors that were seen."""
    seen: set[Any] = set()
    for wait in range(1, ENOUGH):
        async with request():
            block = async_atomic()
            run = await cancelled_at(lambda block=block: block_of_three(block), wait, when)
        await asyncio.to_thread(check, project, run, block, f"at wait {wait}, {when.value}")
        seen.update((block.outcome, type(run.error)))
        await asyncio.to_thread(_cleared)
        if run.error is None and run.waits < wait:
            return seen
    raise AssertionError("The block never came to its end.")


def _cleared() -> None:
    clear()
    transaction.get_connection().close()


@pytest.mark.parametrize("when", When)
async def test_a_block_cancelled_at_any_wait_is_whole_and_says_how_it_ended(
    project: Project, when: When
) -> None:
    seen = await cancel_at_every_wait(project, when)
    assert {Outcome.COMMITTED, Outcome.ROLLED_BACK, asyncio.CancelledError} <= seen
    if when is When.LATE:
        assert CancelledAfterCommit in seen


async def test_a_block_cancelled_after_any_time_is_whole_and_says_how_it_ended(
    project: Project,
) -> None:
    chance = random.Random(5)
    for _ in range(60):
        block, seen = async_atomic(), Run()
        async with request():
            task = asyncio.ensure_future(block_of_three(block))
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.012), task.cancel)
            await asyncio.wait([task])
            seen.was_told = task.cancelling() > 0
            try:
                task.result()
            except BaseException as error:
                seen.error = error
        await asyncio.to_thread(check, project, seen, block, "somewhere")
        await asyncio.to_thread(_cleared)


async def test_a_commit_that_swallows_a_cancellation_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Block, "_tell", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="nobody knows"):
        await cancel_at_every_wait(project, When.LATE)


async def test_a_commit_that_is_taken_for_a_rollback_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a block that does not wait for its commit once it is cancelled."""

    async def leave_it(
        self: Block, ending: asyncio.Task[Any], limit: float | None
    ) -> asyncio.CancelledError | None:
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError as error:
            return error
        return None

    monkeypatch.setattr(Block, "_wait_for", leave_it)
    monkeypatch.setattr(Block, "_outcome_without_answer", lambda *_: Outcome.ROLLED_BACK)
    with pytest.raises(AssertionError):
        await cancel_at_every_wait(project, When.AT_ONCE)


@pytest.fixture
def commit_begins(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a commit is about to be sent."""
    begins = threading.Event()
    original = DatabaseWrapper._commit

    def commit(self: DatabaseWrapper) -> None:
        begins.set()
        original(self)

    monkeypatch.setattr(DatabaseWrapper, "_commit", commit)
    return begins


async def test_a_commit_without_an_answer_is_unknown_and_the_caller_goes_on(
    project: Project, commit_begins: threading.Event
) -> None:
    async with request():
        block = async_atomic()

        async def work() -> None:
            async with block:
                for name in NAMES:
                    await add(name)
                project.server.faults.freeze()

        task = asyncio.create_task(work())
        assert await asyncio.to_thread(commit_begins.wait, 20)
        task.cancel()
        with pytest.raises(CommitOutcomeUnknown):
            await asyncio.wait_for(task, 10)  # the driver itself would wait without end
        assert block.outcome is Outcome.UNKNOWN
        assert project.workers.statistics().quarantined == 1
        project.server.faults.thaw()
    assert until(project.is_quiet)
    assert rows(project) == NAMES  # but only the server could know


async def test_a_rollback_without_an_answer_is_one_and_the_caller_goes_on(
    project: Project,
) -> None:
    async with request():
        block = async_atomic()
        frozen = asyncio.Event()

        async def work() -> None:
            async with block:
                await add("a")
                project.server.faults.freeze()
                frozen.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await frozen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert block.outcome is Outcome.ROLLED_BACK
        project.server.faults.thaw()
    assert until(project.is_quiet)
    assert rows(project) == []


async def test_a_statement_is_stopped_at_the_server_with_its_block(project: Project) -> None:
    async with request():
        block = async_atomic()

        async def work() -> None:
            async with block:
                await add("a")
                await sync_to_async(do)("WAITFOR DELAY '00:05:00'")

        task = asyncio.create_task(work())
        assert await asyncio.to_thread(until, lambda: bool(project.running))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert block.outcome is Outcome.ROLLED_BACK
    assert until(project.is_quiet)
    assert rows(project) == []


async def test_a_commit_that_was_not_begun_is_withdrawn(project: Project) -> None:
    """It waits for the nested block of another task; cancelling it rolls everything back."""
    async with request():
        block = async_atomic()
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def nested() -> None:
            async with async_atomic():
                await add("nested")
                inside.set()
                await go_on.wait()

        tasks: list[asyncio.Task[None]] = []

        async def work() -> None:
            async with block:
                tasks.append(asyncio.create_task(nested()))
                await inside.wait()

        task = asyncio.create_task(work())
        await inside.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert type(caught.value) is asyncio.CancelledError
        assert block.outcome is Outcome.ROLLED_BACK
        go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert until(project.is_quiet)
    assert rows(project) == []


async def test_functions_of_on_commit_that_take_long_do_not_hide_the_commit(
    project: Project,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hook() -> None:
        begun.set()
        assert go_on.wait(20)

    async with request():
        block = async_atomic()

        async def work() -> None:
            async with block:
                await add("a")
                transaction.on_commit(hook)

        task = asyncio.create_task(work())
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with pytest.raises(CancelledAfterCommit):
            await task
        assert block.outcome is Outcome.COMMITTED
        go_on.set()
    assert rows(project) == ["a"]


async def test_a_cancelled_nested_block_says_nothing_of_a_commit(project: Project) -> None:
    """Its savepoint decides nothing: the transaction around it is rolled back."""
    for wait in range(1, ENOUGH):
        async with request():
            outer, inner = async_atomic(), async_atomic()

            async def work(outer: Any = outer, inner: Any = inner) -> None:
                async with outer, inner:
                    await add("a")

            run = await cancelled_at(work, wait, When.LATE)
        if isinstance(run.error, CancelledAfterCommit):
            assert outer.outcome is Outcome.COMMITTED
        elif run.error is not None:
            assert outer.outcome is not Outcome.COMMITTED
        else:
            assert run.waits < wait
            return
        assert rows(project) == (["a"] if outer.outcome is Outcome.COMMITTED else [])
        await asyncio.to_thread(_cleared)
    raise AssertionError("The block never came to its end.")


@pytest.fixture
def slow_commit(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Set when a commit is about to be sent, and what it then waits for."""
    begun, go_on = threading.Event(), threading.Event()
    original = DatabaseWrapper._commit

    def commit(self: DatabaseWrapper) -> None:
        begun.set()
        assert go_on.wait(20)
        original(self)

    monkeypatch.setattr(DatabaseWrapper, "_commit", commit)
    monkeypatch.setattr("mssql_async.blocks.GRACE", 20)  # this server does answer
    return begun, go_on


class TestCancelScopes:
    """anyio knows its own cancellations by their message: any other goes on to the caller."""

    async def during_the_commit(
        self, slow_commit: tuple[threading.Event, threading.Event], scope: anyio.CancelScope
    ) -> Any:
        begun, go_on = slow_commit
        loop, block = asyncio.get_running_loop(), async_atomic()

        def cancel() -> None:
            assert begun.wait(20)
            loop.call_soon_threadsafe(scope.cancel)
            loop.call_soon_threadsafe(loop.call_soon, loop.call_soon, go_on.set)

        async with request():
            cancelling = loop.run_in_executor(None, cancel)
            with scope:
                async with block:
                    await add("a")
            await cancelling
        return block

    async def test_end_where_the_commit_is_completed(
        self, project: Project, slow_commit: tuple[threading.Event, threading.Event]
    ) -> None:
        scope = anyio.CancelScope()
        block = await self.during_the_commit(slow_commit, scope)
        assert (scope.cancelled_caught, block.outcome) == (True, Outcome.COMMITTED)
        assert rows(project) == ["a"]

    async def test_would_be_left_by_an_error_that_did_not_tell_where_it_came_from(
        self,
        project: Project,
        slow_commit: tuple[threading.Event, threading.Event],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The control."""
        tell = Block._tell

        def tell_of_another(self: Block, raised: Any, cancelled: Any, **how: Any) -> None:
            tell(self, raised, cancelled and asyncio.CancelledError(), **how)

        monkeypatch.setattr(Block, "_tell", tell_of_another)
        with pytest.raises(CancelledAfterCommit):
            await self.during_the_commit(slow_commit, anyio.CancelScope())

    async def test_end_where_its_outcome_is_unknown(
        self, project: Project, commit_begins: threading.Event
    ) -> None:
        block = async_atomic()
        async with request():
            loop = asyncio.get_running_loop()
            scope = anyio.CancelScope()

            def cancel() -> None:
                assert commit_begins.wait(20)
                loop.call_soon_threadsafe(scope.cancel)

            cancelling = loop.run_in_executor(None, cancel)
            with scope:
                async with block:
                    await add("a")
                    project.server.faults.freeze()
            await cancelling
            project.server.faults.thaw()
        assert (scope.cancelled_caught, block.outcome) == (True, Outcome.UNKNOWN)

    async def test_end_where_it_is_withdrawn(self, project: Project) -> None:
        async with request():
            block, go_on = async_atomic(), threading.Event()
            with anyio.CancelScope() as scope:
                async with block:
                    await add("a")
                    busy = asyncio.create_task(sync_to_async(go_on.wait)(20))
                    await asyncio.sleep(0)
                    asyncio.get_running_loop().call_soon(scope.cancel)
            assert (scope.cancelled_caught, block.outcome) == (True, Outcome.ROLLED_BACK)
            go_on.set()
            await asyncio.wait([busy])
        assert await asyncio.to_thread(until, project.is_quiet)
        assert rows(project) == []

    async def test_that_fail_give_their_own_error(
        self, project: Project, slow_commit: tuple[threading.Event, threading.Event]
    ) -> None:
        """As :func:`anyio.fail_after` does."""
        with pytest.raises(TimeoutError):
            with anyio.fail_after(None) as scope:
                scope_of_deadline = scope
                begun, go_on = slow_commit
                loop = asyncio.get_running_loop()

                def expire() -> None:
                    assert begun.wait(20)
                    loop.call_soon_threadsafe(setattr, scope_of_deadline, "deadline", loop.time())
                    loop.call_soon_threadsafe(loop.call_soon, loop.call_soon, go_on.set)

                expiring = loop.run_in_executor(None, expire)
                async with request(), async_atomic():
                    await add("a")
        await expiring
        assert rows(project) == ["a"]


async def test_a_deadline_during_the_commit_tells_that_it_is_committed(
    project: Project, slow_commit: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = slow_commit
    # From Python 3.13 on the deadline's own error; before, it lets classes of its own pass.
    told = TimeoutError if sys.version_info >= (3, 13) else CancelledAfterCommit
    async with request():
        block = async_atomic()
        with pytest.raises(told) as caught:
            async with asyncio.timeout(None) as deadline, block:
                await add("a")

                def expire() -> None:
                    assert begun.wait(20)
                    loop.call_soon_threadsafe(deadline.reschedule, loop.time())
                    loop.call_soon_threadsafe(loop.call_soon, loop.call_soon, go_on.set)

                loop = asyncio.get_running_loop()
                expiring = loop.run_in_executor(None, expire)
        await expiring
        if told is TimeoutError:
            assert isinstance(caught.value.__cause__, CancelledAfterCommit)
        assert block.outcome is Outcome.COMMITTED
    assert rows(project) == ["a"]
