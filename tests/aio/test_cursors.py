"""``async_connections`` and its cursors."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import (
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    connection,
    transaction,
)
from django.db.transaction import TransactionManagementError
from django.test.utils import override_settings
from django.utils.connection import ConnectionDoesNotExist

from mssql_async.aio import READ_AHEAD, AsyncCursor, async_connections, async_new_connection
from mssql_async.devserver.faults import Sessions
from mssql_async.errors import PoolTimeout
from mssql_async.session.lease import LeasedConnection
from mssql_async.transaction import async_atomic
from tests.context.project import Project

from .conftest import Surroundings, request, until_async

THREE = "SELECT n FROM (VALUES (1), (2), (3)) AS t(n) ORDER BY n"
MANY = 3 * READ_AHEAD + 7
NUMBERS = (
    f"WITH n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < {MANY}) SELECT n FROM n "
    "OPTION (MAXRECURSION 0)"
)
LONG = "WAITFOR DELAY '00:00:30'"


def cursor() -> AsyncCursor:
    return async_connections["default"].cursor()


async def ask(sql: str, *params: Any) -> Any:
    async with cursor() as one:
        await one.execute(sql, params or None)
        row = await one.fetchone()
        return None if row is None else row[0]


@contextlib.asynccontextmanager
async def another_reader() -> AsyncIterator[None]:
    """A task of its own that keeps a worker and a connection. It takes the idle ones."""
    done, reading = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        try:
            async with async_new_connection(), cursor() as one:
                await one.execute(THREE)
                reading.set()
                await done.wait()
        finally:
            reading.set()

    task = asyncio.create_task(read(), context=contextvars.Context())
    await reading.wait()
    try:
        if not task.done():
            yield
    finally:
        done.set()
        await task


async def make_table() -> None:
    async with async_new_connection(), cursor() as one:
        await one.execute("CREATE TABLE things (id int PRIMARY KEY, name nvarchar(20))")


class TestTheMapping:
    def test_has_the_aliases_of_the_settings(self, project: Project) -> None:
        assert list(async_connections) == ["default"]
        assert len(async_connections) == 1
        assert "default" in async_connections
        assert "other" not in async_connections
        assert [one.alias for one in async_connections.all()] == ["default"]

    def test_refuses_others_as_django_does(self, project: Project) -> None:
        with pytest.raises(ConnectionDoesNotExist, match="'other' doesn't exist"):
            async_connections["other"]

    def test_gives_the_settings(self, project: Project) -> None:
        assert async_connections["default"].settings_dict["ENGINE"] == "mssql_async"


class TestReading:
    async def test_each_way_gives_django_s_rows(self, surroundings: Surroundings) -> None:
        async with surroundings(), cursor() as one:
            await one.execute(THREE)
            assert await one.fetchone() == (1,)
            assert await one.fetchmany(1) == [(2,)]
            assert await one.fetchmany() == [(3,)]
            assert await one.fetchmany(5) == []
            assert await one.fetchone() is None
            await one.execute(THREE)
            assert await one.fetchall() == [(1,), (2,), (3,)]
            assert await one.fetchall() == []
            await one.execute(THREE)
            assert [row async for row in one] == [(1,), (2,), (3,)]
            assert [row async for row in one] == []

    async def test_more_rows_than_are_read_ahead_come_all_and_in_order(
        self, surroundings: Surroundings
    ) -> None:
        expected = [(number,) for number in range(1, MANY + 1)]
        async with surroundings(), cursor() as one:
            await one.execute(NUMBERS)
            assert [row async for row in one] == expected

    async def test_the_ways_may_be_mixed(self, surroundings: Surroundings) -> None:
        async with surroundings(), cursor() as one:
            await one.execute(NUMBERS)
            async for row in one:
                assert row == (1,)
                break
            assert await one.fetchone() == (2,)
            assert await one.fetchmany(2) == [(3,), (4,)]
            assert len(await one.fetchmany(READ_AHEAD)) == READ_AHEAD
            rest = await one.fetchall()
            assert rest[0] == (5 + READ_AHEAD,)
            assert rest[-1] == (MANY,)

    async def test_parameters_and_description(self, surroundings: Surroundings) -> None:
        async with surroundings(), cursor() as one:
            same = await one.execute("SELECT %s AS a, %s AS b", ["x", 2])
            assert same is one
            assert [column[0] for column in one.description] == ["a", "b"]
            assert await one.fetchone() == ("x", 2)

    async def test_several_result_sets(self, surroundings: Surroundings) -> None:
        async with surroundings(), cursor() as one:
            await one.execute("SELECT 1; SELECT 2, 3")
            assert await one.fetchall() == [(1,)]
            assert await one.nextset() is True
            assert len(one.description) == 2
            assert await one.fetchall() == [(2, 3)]
            assert await one.nextset() is False
            assert one.description is None

    async def test_a_statement_without_rows_has_none_to_fetch(
        self, surroundings: Surroundings
    ) -> None:
        await make_table()
        async with surroundings(), cursor() as one:
            await one.execute("INSERT INTO things VALUES (1, 'a'), (2, 'b')")
            assert one.rowcount == 2
            assert one.description is None
            with pytest.raises(ProgrammingError):
                await one.fetchone()
        async with surroundings(), cursor() as one:
            with pytest.raises(ProgrammingError, match="No results"):
                await one.fetchall()

    async def test_executemany(self, surroundings: Surroundings) -> None:
        await make_table()
        async with surroundings(), cursor() as one:
            await one.executemany("INSERT INTO things VALUES (%s, %s)", [(1, "a"), (2, "b")])
        assert await ask("SELECT COUNT(*) FROM things") == 2

    async def test_callproc(self, surroundings: Surroundings) -> None:
        async with surroundings(), cursor() as one:
            given = await one.callproc("sp_executesql", ["SELECT 4 AS four"])
            assert given == ["SELECT 4 AS four"]
            assert await one.fetchall() == [(4,)]

    async def test_callproc_takes_names_only(self, surroundings: Surroundings) -> None:
        async with surroundings(), cursor() as one:
            with pytest.raises(ProgrammingError, match="no name of a procedure"):
                await one.callproc("sp_who; DROP TABLE things")

    async def test_awaited_cursors_are_the_same(self, surroundings: Surroundings) -> None:
        async with surroundings():
            async with await cursor() as one:
                await one.execute("SELECT 1")
                assert await one.fetchone() == (1,)
            another = await cursor()
            await another.execute("SELECT 2")
            assert await another.fetchone() == (2,)
            await another.close()
            await another.close()


class TestWhatDjangoDoes:
    async def test_errors_are_of_django_s_classes(self, surroundings: Surroundings) -> None:
        await make_table()
        async with async_new_connection(), cursor() as one:
            await one.execute("INSERT INTO things VALUES (1, 'a')")
        with pytest.raises(IntegrityError):
            async with surroundings(), cursor() as one:
                await one.execute("INSERT INTO things VALUES (1, 'b')")
        with pytest.raises(ProgrammingError, match="nowhere"):
            async with surroundings(), cursor() as one:
                await one.execute("SELECT * FROM nowhere")

    async def test_execute_wrappers_see_the_statements(self, project: Project) -> None:
        seen: list[str] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            seen.append(sql)
            return execute(sql, params, many, context)

        async with request():
            await sync_to_async(lambda: connection.execute_wrappers.append(note))()
            async with cursor() as one:
                await one.execute("SELECT 7")
        assert seen == ["SELECT 7"]

    @override_settings(DEBUG=True)
    async def test_statements_are_logged(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, logger="django.db.backends"):
            async with request():
                await ask("SELECT 8")
        assert any("SELECT 8" in record.getMessage() for record in caplog.records)


class TestTransactions:
    async def test_a_cursor_in_a_block_is_in_its_transaction(self, project: Project) -> None:
        await make_table()
        async with request():
            with pytest.raises(ZeroDivisionError):
                async with async_atomic(), cursor() as one:
                    await one.execute("INSERT INTO things VALUES (1, 'a')")
                    assert await ask("SELECT COUNT(*) FROM things") == 1
                    raise ZeroDivisionError
            assert await ask("SELECT COUNT(*) FROM things") == 0

    async def test_one_from_outside_whose_rows_are_read_executes_in_the_block(
        self, project: Project
    ) -> None:
        async with request(), cursor() as one:
            await one.execute("SELECT @@TRANCOUNT")
            assert await one.fetchall() == [(0,)]
            async with async_atomic():
                await one.execute("SELECT @@TRANCOUNT")
                assert await one.fetchall() == [(1,)]
            await one.execute("SELECT @@TRANCOUNT")
            assert await one.fetchall() == [(0,)]

    async def test_without_autocommit_the_connection_commits_and_rolls_back(
        self, project: Project
    ) -> None:
        await make_table()
        default = async_connections["default"]
        async with request():
            await default.set_autocommit(False)
            async with cursor() as one:
                await one.execute("INSERT INTO things VALUES (1, 'a')")
            await default.commit()
            async with cursor() as one:
                await one.execute("INSERT INTO things VALUES (2, 'b')")
            await default.rollback()
            await default.set_autocommit(True)
            assert await default.get_autocommit() is True
            assert await ask("SELECT MAX(id) FROM things") == 1
        assert project.holds_nothing()

    async def test_a_block_is_not_committed_in_its_middle(self, project: Project) -> None:
        async with async_atomic():
            with pytest.raises(TransactionManagementError):
                await async_connections["default"].commit()

    async def test_on_commit_waits_for_the_commit(self, project: Project) -> None:
        seen: list[str] = []
        async with async_atomic():
            await async_connections["default"].on_commit(lambda: seen.append("committed"))
            assert seen == []
        assert seen == ["committed"]


class TestWhatIsHeld:
    async def test_an_open_cursor_that_executed_nothing_holds_nothing(
        self, project: Project
    ) -> None:
        async with request(), cursor():
            assert project.workers.statistics().workers == 0
            assert project.server.counters.logins == 0

    async def test_unread_rows_keep_worker_and_connection_and_no_longer(
        self, project: Project
    ) -> None:
        async with request(), cursor() as one:
            await one.execute(THREE)
            assert (project.workers.statistics().pinned, project.pool.in_use) == (1, 1)
            await one.fetchmany(2)
            assert (project.workers.statistics().pinned, project.pool.in_use) == (1, 1)
            await one.fetchall()
            assert project.holds_nothing()

    async def test_tasks_that_read_on_together_are_told_of_the_end(self, project: Project) -> None:
        async with request(), cursor() as one:
            await one.execute(THREE)
            found = await asyncio.gather(*[one.fetchone() for _ in range(5)])
            assert found == [(1,), (2,), (3,), None, None]
            await one.execute(THREE)
            together = await asyncio.gather(*[one.fetchall() for _ in range(2)])
            assert together == [[(1,), (2,), (3,)], []]
        assert project.holds_nothing()

    async def test_rows_read_into_memory_for_another_statement_are_read_on(
        self, project: Project
    ) -> None:
        """A pool of one connection: the second statement needs the one of the first."""
        project.use(max_size=1, acquire_timeout=60)
        async with request(), cursor() as one:
            await one.execute(THREE)
            assert await one.fetchone() == (1,)
            assert await ask("SELECT 5") == 5
            assert project.pool.in_use == 0
            assert project.workers.statistics().pinned == 1
            async with another_reader():
                assert await one.fetchall() == [(2,), (3,)]
        assert project.holds_nothing()

    async def test_without_the_pin_those_rows_are_lost(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: nobody asks whether a cursor is open."""
        project.use(max_size=1, acquire_timeout=60)
        monkeypatch.setattr(LeasedConnection, "has_open_cursors", False)
        async with request(), cursor() as one:
            await one.execute(THREE)
            assert await ask("SELECT 5") == 5
            assert project.holds_nothing()
            async with another_reader():
                with pytest.raises(InterfaceError, match="belong to another context"):
                    await one.fetchall()

    @pytest.mark.parametrize("way", ["left", "exception", "closed"])
    async def test_nothing_is_held_after_the_end(self, project: Project, way: str) -> None:
        async with request():
            try:
                async with cursor() as one:
                    await one.execute(THREE)
                    if way == "exception":
                        raise ZeroDivisionError
                    if way == "closed":
                        await one.close()
            except ZeroDivisionError:
                assert way == "exception"
            assert project.holds_nothing()

    async def test_a_cursor_that_nobody_closes_ends_with_its_context(
        self, project: Project
    ) -> None:
        async with request():
            one = await cursor()
            await one.execute(THREE)
            assert project.pool.in_use == 1
        assert project.holds_nothing()
        del one

    async def test_one_that_is_forgotten_frees_its_connection_at_the_next_statement(
        self, project: Project
    ) -> None:
        async with request():
            one = await cursor()
            await one.execute(THREE)
            del one
            gc.collect()
            await ask("SELECT 1")
            assert project.holds_nothing()

    async def test_the_connection_is_given_back_on_request(self, project: Project) -> None:
        async with request():
            await ask("SELECT 1")
            async with cursor() as one:
                await one.execute("CREATE TABLE #t (id int)")
            assert project.pool.in_use == 1
            await async_connections["default"].close()
            assert project.holds_nothing()

    async def test_all_of_them_are(self, project: Project) -> None:
        async with request():
            async with cursor() as one:
                await one.execute("CREATE TABLE #t (id int)")
            assert project.pool.in_use == 1
            await async_connections.close_all()
            assert project.holds_nothing()


class TestRefusals:
    async def test_a_closed_cursor(self, surroundings: Surroundings) -> None:
        async with surroundings():
            async with cursor() as one:
                await one.execute(THREE)
            with pytest.raises(InterfaceError, match="closed"):
                await one.execute(THREE)
            with pytest.raises(InterfaceError, match="closed"):
                await one.fetchone()

    async def test_rows_of_another_context_are_not_read(self, project: Project) -> None:
        async with request(), cursor() as one:
            await one.execute(THREE)
            async with async_new_connection():
                with pytest.raises(InterfaceError, match="belong to another context"):
                    await one.fetchall()
                with pytest.raises(InterfaceError, match="belong to another context"):
                    await one.execute(THREE)
            assert await one.fetchall() == [(1,), (2,), (3,)]

    async def test_rows_of_a_context_that_has_ended_are_not_read(self, project: Project) -> None:
        async with async_new_connection():
            one = await cursor()
            await one.execute(THREE)
        with pytest.raises(InterfaceError, match="one that has ended"):
            await one.fetchone()
        await one.close()
        assert project.holds_nothing()

    async def test_one_is_closed_after_the_block_that_its_rows_have_ended_with(
        self, project: Project
    ) -> None:
        async with request():
            async with async_atomic():
                one = await cursor()
                await one.execute(NUMBERS)
            await one.close()
            with pytest.raises(InterfaceError, match="closed"):
                await one.fetchone()
            await one.close()
            assert project.holds_nothing()

    async def test_one_is_closed_from_within_another_context(self, project: Project) -> None:
        async with request():
            one = await cursor()
            await one.execute(THREE)
            async with async_new_connection():
                await one.close()
            assert project.holds_nothing()

    async def test_one_of_the_outer_block_is_closed_in_a_nested_one(self, project: Project) -> None:
        async with async_atomic():
            one = await cursor()
            await one.execute(THREE)
            async with async_atomic():
                await asyncio.wait_for(one.close(), 20)


class TestCancellation:
    async def test_stops_the_statement_and_closes_the_cursor(self, project: Project) -> None:
        async def work() -> None:
            async with cursor() as one:
                await one.execute(LONG)

        async with request():
            task = asyncio.create_task(work())
            assert await until_async(lambda: len(project.running) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await until_async(project.is_quiet)
            assert await ask("SELECT 1") == 1
            assert project.server.counters.logins == 1

    async def test_between_two_fetches_closes_the_cursor(self, project: Project) -> None:
        reached = asyncio.Event()

        async def work() -> None:
            async with cursor() as one:
                await one.execute(NUMBERS)
                await one.fetchone()
                reached.set()
                await asyncio.Event().wait()

        async with request():
            task = asyncio.create_task(work())
            await reached.wait()
            assert project.pool.in_use == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert project.holds_nothing()

    async def test_while_it_closes_leaves_the_closing_to_itself(self, project: Project) -> None:
        """A sibling's statement is before it, on the same worker."""
        closing = asyncio.Event()

        async def work() -> None:
            one = await cursor()
            await one.execute(THREE)
            sibling.append(asyncio.create_task(sync_to_async(_run)(LONG)))
            assert await until_async(lambda: len(project.running) == 1)
            closing.set()
            await one.__aexit__(None, None, None)

        sibling: list[asyncio.Task[Any]] = []
        async with request():
            task = asyncio.create_task(work())
            await closing.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            sibling[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await sibling[0]
            assert await until_async(project.is_quiet)

    @pytest.mark.parametrize("own", [False, True], ids=["the request's", "one of its own"])
    async def test_goes_on_though_the_server_does_not_react(
        self, project: Project, own: bool
    ) -> None:
        async def work() -> None:
            async with cursor() as one:
                await one.execute(LONG)

        async with request():
            task = asyncio.create_task(async_new_connection(work()) if own else work())
            assert await until_async(lambda: len(project.running) == 1)
            (busy,) = project.server.sessions()
            fault = project.server.faults.freeze(Sessions.spid(busy.spid))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 20)
            assert len(project.running) == 1  # it runs on, and nobody waits for it
            assert await asyncio.wait_for(ask("SELECT @@SPID"), 20) != busy.spid
            fault.cancel()
        assert await until_async(project.is_quiet)

    async def test_outside_a_context_nothing_is_left_either(self, project: Project) -> None:
        async def work() -> None:
            async with cursor() as one:
                await one.execute("WAITFOR DELAY '00:00:00.500'")

        task = asyncio.create_task(work())
        assert await until_async(lambda: len(project.running) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until_async(project.is_quiet)

    async def test_a_deadline_inside_a_block_rolls_it_back(self, project: Project) -> None:
        await make_table()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), async_atomic(), cursor() as one:
                await one.execute("INSERT INTO things VALUES (1, 'a')")
                await one.execute(LONG)
        assert await until_async(project.is_quiet)
        assert await ask("SELECT COUNT(*) FROM things") == 0


def _run(sql: str) -> None:
    with connection.cursor() as one:
        one.execute(sql)


class TestTasks:
    async def test_cursors_of_sibling_tasks_keep_apart(self, surroundings: Surroundings) -> None:
        async def read(first: int) -> list[int]:
            found = []
            async with cursor() as one:
                await one.execute(f"SELECT n + {first} FROM (VALUES (1), (2), (3)) AS t(n)")
                while (row := await one.fetchone()) is not None:
                    found.append(row[0])
            return sorted(found)

        async with surroundings():
            found = await asyncio.gather(*[read(first) for first in range(0, 80, 10)])
        assert found == [[first + n for n in (1, 2, 3)] for first in range(0, 80, 10)]

    async def test_a_task_that_outlives_its_request_has_cursors(self, project: Project) -> None:
        gate = asyncio.Event()

        async def later() -> Any:
            await gate.wait()
            return await ask("SELECT 3")

        async with request():
            task = asyncio.create_task(later())
        gate.set()
        assert await task == 3
        assert await until_async(project.holds_nothing)

    async def test_in_a_context_without_tasks_of_ours(self, project: Project) -> None:
        """A task with contextvars of nobody."""
        task = asyncio.create_task(ask("SELECT 4"), context=contextvars.Context())
        assert await task == 4


async def test_atomic_in_synchronous_code_has_the_cursors_of_its_thread(
    project: Project,
) -> None:
    """``async_to_sync`` in a transaction of synchronous code: the cursor is in that."""
    from asgiref.sync import async_to_sync

    def work() -> Any:
        with transaction.atomic():
            _run("SELECT 1")
            return async_to_sync(ask)("SELECT @@TRANCOUNT")

    async with request():
        assert await sync_to_async(work)() == 1
    assert project.holds_nothing()


async def test_the_pool_s_errors_come_through(project: Project) -> None:
    project.use(max_size=1, acquire_timeout=1)
    async with another_reader(), request():
        with pytest.raises(PoolTimeout, match="No connection became free"):
            await ask("SELECT 1")
