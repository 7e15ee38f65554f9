"""A cancelled call's statement is stopped at the server, and nobody else's."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import Error, OperationalError, connection, transaction

from mssql_async.context import ContextKind, ContextScope, new_context
from mssql_async.context import worker as worker_module
from mssql_async.devserver.faults import Sessions
from mssql_async.pool import Pool
from mssql_async.session import interruption
from mssql_async.session.lease import LeasedConnection
from tests.session.attendants import HeldAttendants

from .project import Project, ask, do, until

LONG = "WAITFOR DELAY '00:00:30'"


@sync_to_async
def wait_long() -> None:
    do(LONG)


async def start_waiting(project: Project) -> asyncio.Task[None]:
    task = asyncio.create_task(wait_long())
    await asyncio.to_thread(until, lambda: len(project.running) == 1)
    return task


@pytest.fixture
async def request_context(project: Project) -> Any:
    context = new_context(ContextKind.REQUEST)
    async with ContextScope(context):
        yield context
    await context.end()


class TestAStatementThatRuns:
    async def test_is_stopped_when_its_task_is_cancelled(
        self, project: Project, request_context: Any
    ) -> None:
        task = await start_waiting(project)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT 1") == 1
        assert project.server.counters.logins == 1

    async def test_is_left_to_run_without_the_guarding_context(self, project: Project) -> None:
        """The control: asgiref's own thread knows nothing of cancellation."""
        task = asyncio.create_task(sync_to_async(do)("WAITFOR DELAY '00:00:01'"))
        await asyncio.to_thread(until, lambda: len(project.running) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(project.running) == 1
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_is_stopped_by_a_deadline(self, project: Project, request_context: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await wait_long()
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_is_stopped_when_a_sibling_in_its_group_fails(
        self, project: Project, request_context: Any
    ) -> None:
        async def fail() -> None:
            await asyncio.to_thread(until, lambda: len(project.running) == 1)
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(wait_long())
                group.create_task(fail())
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_is_stopped_in_a_transaction_which_is_rolled_back(
        self, project: Project, request_context: Any
    ) -> None:
        await sync_to_async(do)("CREATE TABLE t (id int)")

        def insert_and_wait() -> None:
            with transaction.atomic():
                do("INSERT INTO t VALUES (1)")
                do(LONG)

        task = asyncio.create_task(sync_to_async(insert_and_wait)())
        await asyncio.to_thread(until, lambda: "running" in project.running)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT count(*) FROM t") == 0

    async def test_and_the_next_of_the_same_call_is_not_sent(
        self, project: Project, request_context: Any
    ) -> None:
        raised: list[Exception] = []

        def stubborn() -> None:
            for _ in range(3):
                try:
                    do(LONG)
                except OperationalError as error:
                    raised.append(error)
                except Exception as error:
                    raised.append(error)

        task = asyncio.create_task(sync_to_async(stubborn)())
        await asyncio.to_thread(until, lambda: len(project.running) == 1)
        sent = project.server.counters.statements
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(until, project.is_quiet)
        assert [error.args[0] for error in raised] == ["HY008"] * 3
        assert project.server.counters.statements == sent

    async def test_and_what_it_would_have_committed_is_not(
        self, project: Project, request_context: Any
    ) -> None:
        await sync_to_async(do)("CREATE TABLE t (id int)")
        inserted, cancelled = threading.Event(), threading.Event()

        def insert() -> None:
            with transaction.atomic():
                do("INSERT INTO t VALUES (1)")
                inserted.set()
                cancelled.wait(20)

        task = asyncio.create_task(sync_to_async(insert)())
        await asyncio.to_thread(inserted.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        worker = next(w for w in (request_context.running.worker,))
        assert await asyncio.to_thread(
            until, lambda: any(lease._guard.interrupted for lease in worker.leases.alive())
        )
        cancelled.set()
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT count(*) FROM t") == 0


class TestACallThatWaitsForItsTurn:
    async def test_is_never_run_once_its_task_is_cancelled(
        self, project: Project, request_context: Any
    ) -> None:
        first = await start_waiting(project)
        ran: list[int] = []
        second = asyncio.create_task(sync_to_async(ran.append)(1))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await asyncio.wait([first, second])
        assert second.cancelled()
        assert await sync_to_async(len)(ran) == 0


class TestACallThatWaitsForAConnection:
    async def test_gives_its_worker_back_when_its_task_is_cancelled(self, project: Project) -> None:
        project.use(max_size=1)
        holding = new_context(ContextKind.REQUEST)
        async with ContextScope(holding):
            await sync_to_async(do)("CREATE TABLE #t (id int)")  # keeps its connection
            asking = new_context(ContextKind.REQUEST)
            async with ContextScope(asking):
                waiting = asyncio.create_task(sync_to_async(ask)("SELECT 1"))
                assert await asyncio.to_thread(until, lambda: project.pool.waiting == 1)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert await asyncio.to_thread(until, lambda: project.pool.waiting == 0)
                assert await asyncio.to_thread(
                    until, lambda: project.workers.statistics().idle == 1
                )
            await asking.end()
        await holding.end()
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_keeps_it_where_nobody_calls_it_off(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        monkeypatch.setattr(Pool, "call_off", lambda self, thread: None)
        project.use(max_size=1)
        holding = new_context(ContextKind.REQUEST)
        async with ContextScope(holding):
            await sync_to_async(do)("CREATE TABLE #t (id int)")
            asking = new_context(ContextKind.REQUEST)
            async with ContextScope(asking):
                waiting = asyncio.create_task(sync_to_async(ask)("SELECT 1"))
                assert await asyncio.to_thread(until, lambda: project.pool.waiting == 1)
                waiting.cancel()
                await asyncio.wait([waiting])
                worker = asking.running.worker if asking.running else None
                assert worker is not None
                assert await asyncio.to_thread(
                    until, lambda: any(lease._guard.interrupted for lease in worker.leases.alive())
                )
                assert project.pool.waiting == 1
        await holding.end()
        await asking.end()
        assert await asyncio.to_thread(until, project.is_quiet)


class TestAStatementThatIsAboutToBeSent:
    """The driver has taken its lock then, and has not noted yet that it runs."""

    TEXT = f"/* {'x' * 8_000_000} */ WAITFOR DELAY '00:00:02'"
    """With which the driver is busy for some 60 ms before it sends anything."""

    async def cancel(self) -> list[str]:
        """Cancel it without a pause from when its worker goes into the driver. What it said."""
        cursors: list[Any] = []
        said: list[str] = []

        def run() -> None:
            with connection.cursor() as cursor:
                cursors.append(cursor)
                try:
                    cursor.execute(self.TEXT)
                except Error as error:
                    said.append(error.args[0])

        task = asyncio.create_task(sync_to_async(run)())

        def cancel() -> None:
            assert until(lambda: bool(cursors))
            while not task.done():
                cursors[0].cancel()

        await asyncio.gather(task, asyncio.to_thread(cancel))
        return said

    async def test_is_stopped(self, project: Project, request_context: Any) -> None:
        assert await self.cancel() == ["HY008"]
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT 1") == 1
        assert project.server.counters.logins == 1

    async def test_would_run_to_its_end_if_nobody_told_the_driver_again(
        self, project: Project, request_context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control. A thread that gets no processor for long comes after that moment."""
        monkeypatch.setattr(interruption, "_HELP_AFTER", ())
        said = [await self.cancel()]
        while said[-1] and len(said) < 10:
            said.append(await self.cancel())
        assert said[-1] == []
        assert await asyncio.to_thread(until, project.is_quiet)


class TestAServerThatDoesNotReact:
    async def test_keeps_nobody_waiting(self, project: Project, request_context: Any) -> None:
        task = await start_waiting(project)
        fault = project.server.faults.freeze()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert await asyncio.to_thread(until, lambda: project.workers.statistics().quarantined == 1)
        fault.cancel()
        assert await asyncio.to_thread(until, project.is_quiet)
        assert await sync_to_async(ask)("SELECT 1") == 1

    async def test_the_request_goes_on_with_another_connection(
        self, project: Project, request_context: Any
    ) -> None:
        task = await start_waiting(project)
        (busy,) = project.server.sessions()
        fault = project.server.faults.freeze(Sessions.spid(busy.spid))
        task.cancel()
        spid = await asyncio.wait_for(sync_to_async(ask)("SELECT @@SPID"), 20)
        assert spid != busy.spid
        fault.cancel()
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_one_that_reacts_slowly_does_not_delay_the_cancelling_of_others(
        self, project: Project
    ) -> None:
        async def one() -> None:
            context = new_context(ContextKind.REQUEST)
            try:
                async with ContextScope(context):
                    await wait_long()
            finally:
                await context.end()

        frozen = asyncio.create_task(one())
        await asyncio.to_thread(until, lambda: len(project.running) == 1)
        (busy,) = project.server.sessions()
        other = asyncio.create_task(one())
        await asyncio.to_thread(until, lambda: len(project.running) == 2)
        fault = project.server.faults.freeze(Sessions.spid(busy.spid))
        frozen.cancel()
        await asyncio.wait([frozen])
        other.cancel()
        assert await asyncio.to_thread(until, lambda: len(project.running) == 1)
        fault.cancel()
        assert await asyncio.to_thread(until, project.is_quiet)

    async def test_is_noticed_also_where_the_driver_is_told_late(self, project: Project) -> None:
        attendants = HastyAttendants()
        project.use_workers(attendants=attendants)
        context = new_context(ContextKind.REQUEST)
        async with ContextScope(context):
            task = await start_waiting(project)
            (busy,) = project.server.sessions()
            fault = project.server.faults.freeze(Sessions.spid(busy.spid))
            task.cancel()
            await asyncio.wait([task])
            assert await asyncio.to_thread(until, attendants.something_is_stuck)
            assert project.workers.statistics().quarantined == 0
            attendants.pass_time(worker_module.GRACE)
            assert project.workers.statistics().quarantined == 1
            fault.cancel()
            assert await asyncio.to_thread(until, project.is_quiet)
        await context.end()

    async def test_its_place_in_the_pool_is_given_on_when_the_patience_is_over(
        self, project: Project
    ) -> None:
        project.use(max_size=1, max_workers=1)
        attendants = HeldAttendants()
        project.use_workers(attendants=attendants, forsake_after=30)
        context = new_context(ContextKind.REQUEST)
        async with ContextScope(context):
            task = await start_waiting(project)
            (busy,) = project.server.sessions()
            fault = project.server.faults.freeze(Sessions.spid(busy.spid))
            task.cancel()
            await asyncio.wait([task])
            assert await asyncio.to_thread(until, attendants.something_is_stuck)
            attendants.pass_time(worker_module.GRACE)
            assert project.workers.statistics().quarantined == 1
            waiting = asyncio.create_task(sync_to_async(ask)("SELECT @@SPID"))
            await asyncio.to_thread(until, lambda: project.pool.waiting == 1)
            assert project.pool.in_use == 1
            attendants.pass_time(30)
            assert await asyncio.wait_for(waiting, 20) != busy.spid
            fault.cancel()
            assert await asyncio.to_thread(until, project.is_quiet)
            assert await asyncio.to_thread(project.server.wait_for_sessions, 1)
            assert (project.pool.size, project.workers.statistics().workers) == (1, 1)
        await context.end()


class HastyAttendants(HeldAttendants):
    """Nothing is done in time: what is due in a while is due before what comes at once is done."""

    def __init__(self) -> None:
        super().__init__()
        self.hasty = True

    def later(self, seconds: float, job: Any) -> None:
        if self.hasty and seconds == worker_module.GRACE:
            self.hasty = False
            job()
        else:
            super().later(seconds, job)


class TestNobodyElseIsHit:
    """The statement that comes next on the same worker, or on the same connection."""

    async def storm(self, project: Project, seed: int, cancels: int) -> tuple[int, int]:
        """Sixteen requests ask for their own numbers, a quarter of them on one another's
        connections, while tasks are cancelled at random. Returns how many came through."""
        rand = random.Random(seed)
        through = cancelled = 0
        budget = cancels

        async def request(number: int) -> None:
            nonlocal through, cancelled, budget
            while budget > 0:
                context = new_context(ContextKind.REQUEST)
                async with ContextScope(context):
                    token = rand.randrange(10**6)
                    task = asyncio.create_task(self.query(token))
                    if rand.random() < 0.7:
                        await asyncio.sleep(rand.random() * 0.004)
                        if task.cancel():
                            budget -= 1
                    try:
                        assert await task == token
                        through += 1
                    except asyncio.CancelledError:
                        cancelled += 1
                await context.end()

        await asyncio.gather(*(request(number) for number in range(16)))
        return through, cancelled

    @staticmethod
    @sync_to_async
    def query(token: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s", [token])
            (first,) = cursor.fetchone()
            cursor.execute(f"WAITFOR DELAY '00:00:00.002' SELECT {token}")
            (second,) = cursor.fetchone()
        assert first == second
        return int(second)

    async def test_by_a_thousand_cancellations(self, project: Project) -> None:
        project.use(max_size=6, max_workers=8)
        through, cancelled = await self.storm(project, 5, 1000)
        assert cancelled > 100
        assert through > 100
        assert await asyncio.to_thread(until, project.is_quiet)
        assert project.pool.size <= 6
        assert await sync_to_async(ask)("SELECT 1") == 1


NUMBERS = """
WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
SELECT i FROM n OPTION (MAXRECURSION 0)
"""


@sync_to_async
def open_reader() -> Any:
    cursor = connection.cursor()
    cursor.execute(NUMBERS)
    return cursor


class TestAReaderBesideIt:
    """In the same context: its rows are unread while the statement beside it is stopped."""

    @staticmethod
    async def read_with_a_time_out_in_between() -> list[int]:
        reader = await open_reader()
        rows = list(await sync_to_async(reader.fetchmany)(10))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait_long(), 0.1)
        rows += await sync_to_async(reader.fetchall)()
        await sync_to_async(reader.close)()
        return [number for (number,) in rows]

    async def test_reads_on(self, project: Project, request_context: Any) -> None:
        assert await self.read_with_a_time_out_in_between() == list(range(1, 5001))

    async def test_would_not_if_all_that_is_unread_were_stopped(
        self, project: Project, request_context: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        monkeypatch.setattr(LeasedConnection, "_cursors_at_work", LeasedConnection._cursors_in_use)
        with pytest.raises(Error, match="HY010"):
            await self.read_with_a_time_out_in_between()

    async def test_is_stopped_itself_where_its_own_call_is(
        self, project: Project, request_context: Any
    ) -> None:
        reader = await open_reader()
        fault = project.server.faults.freeze()
        try:
            reading = asyncio.create_task(sync_to_async(reader.fetchall)())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reading, 0.1)
        finally:
            fault.cancel()
        assert await asyncio.to_thread(until, lambda: not project.running)
