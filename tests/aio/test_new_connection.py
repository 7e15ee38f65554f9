"""``async_new_connection``: contexts beside the one around them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import ProgrammingError, connection

from mssql_async.aio import async_connections, async_new_connection
from mssql_async.context import Context, ContextKind, ContextScope, current_context
from mssql_async.errors import PoolTimeout
from mssql_async.transaction import async_atomic
from tests.context.project import Project

from .conftest import Surroundings, request, until_async
from .test_cursors import LONG, THREE, another_reader, ask, cursor, make_table

SPID = "SELECT @@SPID"


async def wait_long() -> None:
    async with cursor() as one:
        await one.execute(LONG)


class TestForms:
    async def test_a_context_manager_gives_the_connections(
        self, surroundings: Surroundings
    ) -> None:
        async with surroundings(), async_new_connection() as own:
            assert own is async_connections
            context = current_context()
            assert context is not None
            assert context.kind is ContextKind.CONNECTION
            assert await ask("SELECT 1") == 1
        assert context.ended

    async def test_a_decorator_makes_one_for_each_call(self, surroundings: Surroundings) -> None:
        @async_new_connection
        async def add(one: int, *, other: int) -> tuple[int, Any]:
            return await ask("SELECT %s + %s", one, other), current_context()

        async with surroundings():
            (first, context), (second, another) = await add(1, other=2), await add(3, other=4)
        assert (first, second) == (3, 7)
        assert context is not another
        assert context.ended
        assert another.ended
        assert add.__name__ == "add"

    async def test_a_coroutine_is_awaited_in_it(self, surroundings: Surroundings) -> None:
        async with surroundings():
            assert await async_new_connection(ask("SELECT 5")) == 5

    async def test_others_are_refused(self, project: Project) -> None:
        with pytest.raises(TypeError, match="not int"):
            async_new_connection(5)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="not function"):
            async_new_connection(lambda: None)  # type: ignore[arg-type, return-value]

    async def test_one_is_entered_once(self, project: Project) -> None:
        own = async_new_connection()
        async with own:
            pass
        with pytest.raises(RuntimeError, match="entered already"):
            async with own:
                pass

    async def test_what_is_around_goes_on_after_it(self, surroundings: Surroundings) -> None:
        async with surroundings():
            before = current_context()
            async with async_new_connection():
                pass
            assert current_context() is before
            assert await ask("SELECT 1") == 1


class TestParallel:
    async def test_eight_statements_run_at_the_server_at_once(
        self, surroundings: Surroundings, project: Project
    ) -> None:
        async with surroundings():
            tasks = [asyncio.create_task(async_new_connection(wait_long())) for _ in range(8)]
            assert await until_async(lambda: len(project.running) == 8)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await until_async(project.is_quiet)

    async def test_without_it_they_take_turns(self, project: Project) -> None:
        """The control: calls of one context never overlap."""
        async with request():
            tasks = [asyncio.create_task(wait_long()) for _ in range(8)]
            assert await until_async(lambda: len(project.running) == 1)
            await asyncio.sleep(0)
            assert len(project.running) == 1
            assert project.server.counters.logins == 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await until_async(project.is_quiet)

    async def test_gathered_they_give_their_results(self, surroundings: Surroundings) -> None:
        async with surroundings():
            found = await asyncio.gather(
                *[async_new_connection(ask(f"SELECT {number}")) for number in range(8)]
            )
        assert found == list(range(8))

    async def test_the_pool_is_their_bound(self, project: Project) -> None:
        project.use(max_size=2, acquire_timeout=60)
        async with request():
            found = await asyncio.gather(
                *[async_new_connection(ask(f"SELECT {number}")) for number in range(20)]
            )
        assert found == list(range(20))
        assert project.server.counters.logins <= 2

    async def test_a_pool_that_stays_full_is_a_timeout(self, project: Project) -> None:
        project.use(max_size=1, acquire_timeout=1)
        async with another_reader(), request():
            with pytest.raises(PoolTimeout, match="No connection became free"):
                await async_new_connection(ask("SELECT 1"))


class TestTransactions:
    async def test_inside_a_block_it_is_outside_of_the_transaction(self, project: Project) -> None:
        await make_table()
        async with async_atomic():
            async with cursor() as one:
                await one.execute("SELECT @@TRANCOUNT")
                assert await one.fetchone() == (1,)
            assert await async_new_connection(ask("SELECT @@TRANCOUNT")) == 0
            async with async_new_connection(), cursor() as one:
                await one.execute("INSERT INTO things VALUES (1, 'kept')")
            async with cursor() as one:
                await one.execute("INSERT INTO things VALUES (2, 'lost')")
            with pytest.raises(ZeroDivisionError):
                async with async_atomic():
                    raise ZeroDivisionError
            assert await ask("SELECT @@TRANCOUNT") == 1

    async def test_what_it_did_stays_when_the_block_around_it_is_rolled_back(
        self, project: Project
    ) -> None:
        await make_table()
        with pytest.raises(ZeroDivisionError):
            async with async_atomic():
                async with async_new_connection(), cursor() as one:
                    await one.execute("INSERT INTO things VALUES (1, 'kept')")
                raise ZeroDivisionError
        assert await ask("SELECT COUNT(*) FROM things") == 1

    async def test_a_block_inside_it_is_a_transaction_of_its_own(self, project: Project) -> None:
        await make_table()
        async with async_atomic(), cursor() as one:
            await one.execute("SELECT 1")
            async with async_new_connection():
                with pytest.raises(ZeroDivisionError):
                    async with async_atomic():
                        async with cursor() as another:
                            await another.execute("INSERT INTO things VALUES (1, 'lost')")
                        assert await ask("SELECT @@TRANCOUNT") == 1
                        raise ZeroDivisionError
                async with async_atomic(durable=True), cursor() as another:
                    await another.execute("INSERT INTO things VALUES (2, 'kept')")
                assert await ask("SELECT MAX(id) FROM things") == 2
        assert await ask("SELECT COUNT(*) FROM things") == 1
        assert project.holds_nothing()

    async def test_the_state_of_its_session_is_nobody_else_s(self, project: Project) -> None:
        async with request():
            async with async_new_connection():
                async with cursor() as one:
                    await one.execute("CREATE TABLE #own (id int)")
                assert await ask("SELECT COUNT(*) FROM #own") == 0
            with pytest.raises(ProgrammingError, match="#own"):
                await ask("SELECT COUNT(*) FROM #own")

    async def test_it_sees_the_session_of_nobody_else(self, project: Project) -> None:
        async with request():
            async with cursor() as one:
                await one.execute("CREATE TABLE #outer (id int)")
            with pytest.raises(ProgrammingError, match="#outer"):
                await async_new_connection(ask("SELECT COUNT(*) FROM #outer"))
            assert await ask("SELECT COUNT(*) FROM #outer") == 0


class TestTheEnd:
    @pytest.mark.parametrize("what", ["rows", "state", "transaction"])
    async def test_everything_is_given_back(self, project: Project, what: str) -> None:
        async with request():
            async with async_new_connection():
                if what == "rows":
                    await (await cursor()).execute(THREE)
                elif what == "state":
                    async with cursor() as one:
                        await one.execute("CREATE TABLE #own (id int)")
                else:
                    await async_connections["default"].set_autocommit(False)
                    await ask("SELECT 1")
                assert project.pool.in_use == 1
            assert project.holds_nothing()
            assert not any(session.in_transaction for session in project.server.sessions())

    async def test_also_after_an_exception(self, project: Project) -> None:
        async def fail() -> None:
            await (await cursor()).execute(THREE)
            raise ZeroDivisionError

        async with request():
            with pytest.raises(ZeroDivisionError):
                await async_new_connection(fail())
            assert project.holds_nothing()

    async def test_also_when_its_task_is_cancelled(self, project: Project) -> None:
        async with request():
            task = asyncio.create_task(async_new_connection(wait_long()))
            assert await until_async(lambda: len(project.running) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await until_async(project.is_quiet)

    async def test_also_when_one_of_several_fails(self, project: Project) -> None:
        async def fail() -> None:
            assert await until_async(lambda: len(project.running) == 3)
            raise ZeroDivisionError

        async with request():
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(async_new_connection(wait_long()))
                    group.create_task(fail())
            assert await until_async(project.is_quiet)

    async def test_a_task_that_outlives_it_gets_a_context_of_its_own(
        self, project: Project
    ) -> None:
        gate = asyncio.Event()

        async def later() -> Any:
            await gate.wait()
            return await ask("SELECT 3")

        async with request():
            async with async_new_connection():
                task = asyncio.create_task(later())
            gate.set()
            assert await task == 3
        assert await until_async(project.holds_nothing)


class TestFromSynchronousCode:
    async def test_beneath_a_worker(self, project: Project) -> None:
        def work() -> Any:
            return async_to_sync(async_new_connection(_spid))()

        async with request():
            assert isinstance(await sync_to_async(work)(), int)
        assert project.holds_nothing()

    def test_without_an_event_loop_above(self, project: Project) -> None:
        assert isinstance(async_to_sync(async_new_connection(_spid))(), int)
        connection.close()
        assert project.holds_nothing()


async def _spid() -> Any:
    return await ask(SPID)


RUNS = 1000


class TestAThousandTimes:
    async def run_one(self, number: int) -> None:
        kind = number % 5
        if kind == 0:
            await async_new_connection(ask("SELECT 1"))
        elif kind == 1:
            with pytest.raises(ProgrammingError):
                await async_new_connection(ask("SELECT * FROM nowhere"))
        elif kind == 2:
            async with async_new_connection():
                await (await cursor()).execute(THREE)
        elif kind == 3:
            async with async_new_connection(), async_atomic(), cursor() as one:
                await one.execute(THREE)
                await one.fetchone()
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001), async_new_connection(), cursor() as one:
                    await one.execute(LONG)

    @pytest.mark.parametrize("size", [1, 5])
    async def test_nothing_is_left(self, project: Project, size: int) -> None:
        project.use(max_size=size, acquire_timeout=60)
        async with request():
            for first in range(0, RUNS, 10):
                await asyncio.gather(*map(self.run_one, range(first, first + 10)))
        assert await until_async(project.is_quiet)
        # Ten at a time and the request's own; and two of the batch before were cancelled, whose
        # threads may still be on their way back when the next one begins.
        assert project.workers.statistics().workers <= 10 + 1 + 2
        sessions = project.server.sessions()
        assert len(sessions) <= size
        assert not any(session.in_transaction for session in sessions)


class TestTasksThatEachBeginTheNextOne:
    async def contexts(self, count: int) -> int:
        """How many of as many contexts are kept at the last one."""
        contexts: list[weakref.ref[Context]] = []
        kept: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def job(left: int) -> None:
            async with async_new_connection():
                context = current_context()
                assert context is not None
                contexts.append(weakref.ref(context))
                assert await ask("SELECT 1") == 1
                if left:
                    asyncio.create_task(job(left - 1))  # noqa: RUF006 - the loop has it soon
                else:
                    gc.collect()
                    kept.set_result(sum(each() is not None for each in contexts))

        async with request():
            asyncio.create_task(job(count))  # noqa: RUF006
            return await kept

    async def test_keep_none_of_the_contexts_before(self, project: Project) -> None:
        assert await self.contexts(30) <= 3

    async def test_would_keep_all_if_what_they_have_left_led_to_the_one_before(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        exit_scope = ContextScope.exit

        def exit_and_remember(scope: ContextScope) -> None:
            outer = scope._outer
            exit_scope(scope)
            scope._outer = outer

        monkeypatch.setattr(ContextScope, "exit", exit_and_remember)
        assert await self.contexts(30) > 25
