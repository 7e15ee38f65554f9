"""Running a transaction again that lost a conflict."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pyodbc
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction

from mssql_async.devserver.faults import Drop
from mssql_async.errors import error_number
from mssql_async.pool.odbc import LOST_CONFLICTS, TRANSACTION_ENDING_ERRORS
from mssql_async.retry import Attempt
from mssql_async.transaction import async_atomic, retry
from tests.context.project import Project
from tests.shop.models import Author, Tag

from .conftest import OTHER
from .support import add, request, rows

INSERT = "%INSERT INTO%shop_tag%"


class Sleeps:
    """Stands in for sleep: notes how long, and does not."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


class AsyncSleeps(Sleeps):
    async def __call__(self, seconds: float) -> None:  # type: ignore[override]
        self.asked.append(seconds)


class Counted:
    """A function that writes two rows in a transaction, in four shapes."""

    def __init__(self, **options: Any) -> None:
        self.calls = 0
        self.sleep = Sleeps()
        self.async_sleep = AsyncSleeps()
        self.options = options

    def _retry(self, function: Any, sleep: Any) -> Any:
        return retry(sleep=sleep, **self.options)(function)

    def write(self) -> int:
        self.calls += 1
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
        return self.calls

    async def awrite(self) -> int:
        self.calls += 1
        await add("a")
        await add("b")
        return self.calls

    def above_atomic(self) -> Callable[[], int]:
        return self._retry(transaction.atomic(self.write), self.sleep)

    def around_atomic(self) -> Callable[[], int]:
        def write() -> int:
            Tag.objects.count()
            with transaction.atomic():
                return self.write()

        return self._retry(write, self.sleep)

    def above_async_atomic(self) -> Callable[[], Awaitable[int]]:
        return self._retry(async_atomic(self.awrite), self.async_sleep)

    def around_async_atomic(self) -> Callable[[], Awaitable[int]]:
        async def write() -> int:
            await Tag.objects.acount()
            async with async_atomic():
                return await self.awrite()

        return self._retry(write, self.async_sleep)

    @property
    def slept(self) -> list[float]:
        return self.sleep.asked + self.async_sleep.asked


SHAPES = ["above_atomic", "around_atomic", "above_async_atomic", "around_async_atomic"]


async def call(function: Callable[[], Any]) -> Any:
    async with request():
        if iscoroutinefunction(function):
            return await function()
        return await sync_to_async(function)()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", [1205, 3960])
async def test_a_function_whose_transaction_lost_is_run_again(
    project: Project, shape: str, number: int
) -> None:
    counted = Counted()
    fault = project.server.faults.fail_statement(INSERT, number, *["x"] * 8, nth=2)
    with fault:
        assert await call(getattr(counted, shape)()) == 2
    assert fault.fired == 1
    assert len(counted.slept) == 1
    assert rows(project) == ["a", "b"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_after_the_last_attempt_the_error_passes(project: Project, shape: str) -> None:
    counted = Counted(attempts=4)
    fault = project.server.faults.deadlock(INSERT, times=None)
    with fault, pytest.raises(OperationalError) as caught:
        await call(getattr(counted, shape)())
    assert counted.calls == 4
    assert len(counted.slept) == 3
    assert error_number(caught.value) == 1205
    assert caught.value.__notes__ == ["mssql_async: attempt 4 of 4 lost its conflict."]
    assert rows(project) == []


@pytest.mark.parametrize("shape", SHAPES)
async def test_other_errors_pass_at_once(project: Project, shape: str) -> None:
    counted = Counted()
    fault = project.server.faults.fail_statement(INSERT, 3906, "app")
    with fault, pytest.raises(DatabaseError):
        await call(getattr(counted, shape)())
    assert counted.calls == 1
    assert counted.slept == []


async def test_a_lock_timeout_is_no_conflict(project: Project) -> None:
    counted = Counted()
    fault = project.server.faults.fail_statement(INSERT, 1222)
    with fault, pytest.raises(DatabaseError) as caught:
        await call(counted.above_async_atomic())
    assert error_number(caught.value) == 1222
    assert counted.calls == 1


async def test_a_lock_timeout_is_a_conflict_on_request(project: Project) -> None:
    counted = Counted(on_lock_timeout=True)
    with project.server.faults.fail_statement(INSERT, 1222):
        assert await call(counted.above_async_atomic()) == 2


async def test_a_conflict_at_the_commit_is_one(project: Project) -> None:
    counted = Counted()
    with project.server.faults.deadlock("COMMIT TRANSACTION"):
        assert await call(counted.above_async_atomic()) == 2
    assert rows(project) == ["a", "b"]


async def test_the_waits_grow_are_bounded_and_jittered(project: Project) -> None:
    slept: list[list[float]] = []
    for chance in (0.0, 1.0):
        counted = Counted(attempts=6, backoff=0.5, max_backoff=3, random=lambda c=chance: c)
        with project.server.faults.deadlock(INSERT, times=None), pytest.raises(OperationalError):
            await call(counted.above_atomic())
        slept.append(counted.slept)
    assert slept == [[0.25, 0.5, 1, 1.5, 1.5], [0.5, 1, 2, 3, 3]]


# --- inside of a transaction it is just called ------------------------------------------------


async def test_inside_of_a_block_the_error_passes(project: Project) -> None:
    inner, outer = Counted(), Counted()

    @retry(sleep=outer.async_sleep)
    @async_atomic
    async def whole() -> int:
        outer.calls += 1
        await add(f"outer{outer.calls}")
        return int(await inner.above_async_atomic()())

    with project.server.faults.deadlock(INSERT, nth=2):
        assert await call(whole) == 2
    assert inner.slept == []
    assert len(outer.slept) == 1
    assert rows(project) == ["a", "b", "outer2"]


@pytest.mark.parametrize("shape", ["above_atomic", "around_atomic"])
async def test_synchronous_functions_inside_of_a_block_are_just_called(
    project: Project, shape: str
) -> None:
    counted = Counted()
    async with request():
        with project.server.faults.deadlock(INSERT), pytest.raises(OperationalError):
            async with async_atomic():
                await sync_to_async(getattr(counted, shape)())()
    assert counted.calls == 1


def test_inside_of_synchronous_code_in_a_transaction_it_is_just_called(project: Project) -> None:
    for shape in SHAPES:
        counted = Counted()
        function = getattr(counted, shape)()
        called = async_to_sync(function) if iscoroutinefunction(function) else function
        fault = project.server.faults.deadlock(INSERT)
        with fault, pytest.raises(OperationalError), transaction.atomic():
            called()
        assert counted.calls == 1
    connection.close()


def test_beneath_async_to_sync_it_is_the_outermost(project: Project) -> None:
    counted = Counted()
    with project.server.faults.deadlock(INSERT):
        assert async_to_sync(counted.above_async_atomic())() == 2
    assert rows(project) == ["a", "b"]


def test_in_manual_transactions_it_is_just_called(project: Project) -> None:
    counted = Counted()
    transaction.set_autocommit(False)
    try:
        with project.server.faults.deadlock(INSERT), pytest.raises(OperationalError):
            counted.above_atomic()()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
        connection.close()
    assert counted.calls == 1


async def test_a_transaction_on_another_database_counts_unless_one_is_named(
    project: Project,
) -> None:
    for options, calls in (({}, 1), ({"using": "default"}, 2)):
        counted = Counted(**options)
        with project.server.faults.deadlock(INSERT):
            try:
                async with request(), async_atomic(using=OTHER):
                    await counted.above_async_atomic()()
            except OperationalError:
                assert calls == 1
        assert counted.calls == calls


# --- nothing that is done already is done again -----------------------------------------------


def commits_first() -> None:
    with transaction.atomic():
        Author.objects.create(name="Ann")


def writes_alone_first() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (name) VALUES ('Ann')")


async def commits_in_a_task_first() -> None:
    async def commit() -> None:
        async with async_atomic():
            await Author.objects.acreate(name="Ann")

    await asyncio.create_task(commit())


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (commits_first, "a transaction on 'default' was committed"),
        (commits_in_a_task_first, "a transaction on 'default' was committed"),
        (writes_alone_first, "a statement was executed on 'default' outside"),
    ],
)
async def test_a_function_that_has_left_something_is_not_run_again(
    project: Project, first: Callable[[], Any], why: str
) -> None:
    await something_is_left_once(project, first, why)


async def something_is_left_once(project: Project, first: Callable[[], Any], why: str) -> None:
    counted = Counted()

    @retry(sleep=counted.async_sleep)
    async def whole() -> None:
        if inspect.iscoroutinefunction(first):
            await first()
        else:
            await sync_to_async(first)()
        async with async_atomic():
            await counted.awrite()

    async with request():
        with project.server.faults.deadlock(INSERT), pytest.raises(OperationalError) as caught:
            await whole()
        assert await Author.objects.acount() == 1
    assert counted.calls == 1
    assert any(why in note for note in caught.value.__notes__)


async def test_a_synchronous_function_that_has_committed_is_not_run_again(
    project: Project,
) -> None:
    counted = Counted()

    @retry(sleep=counted.sleep)
    def whole() -> None:
        commits_first()
        with transaction.atomic():
            counted.write()

    with project.server.faults.deadlock(INSERT), pytest.raises(OperationalError):
        await call(whole)
    assert counted.calls == 1


async def test_a_retry_that_forgets_what_was_left_would_be_noticed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control. The second run meets its own row."""
    monkeypatch.setattr(Attempt, "executed_alone", lambda *_: None)
    with pytest.raises(IntegrityError):
        await something_is_left_once(project, writes_alone_first, "")


async def test_a_statement_alone_that_lost_may_be_run_again(project: Project) -> None:
    """The server has undone it: nothing was left."""
    counted = Counted()

    @retry(sleep=counted.async_sleep)
    async def write() -> None:
        counted.calls += 1
        await sync_to_async(writes_alone_first)()

    with project.server.faults.deadlock("%INSERT INTO shop_author%"):
        await call(write)
    assert counted.calls == 2


class Alone:
    """Work outside of transactions; ``loses`` matches the statement that loses a conflict."""

    def __init__(self, name: str, loses: str, work: Callable[[], Any], kept: list[str]) -> None:
        self.name = name
        self.loses = loses
        self.work = work
        self.kept = kept
        """What the server has kept of one run."""

    def __repr__(self) -> str:
        return self.name


def inserts(*names: str) -> str:
    return "; ".join(f"INSERT INTO shop_tag (name) VALUES ('{name}')" for name in names)


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def insert_many() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_tag (name) VALUES (%s)", [("a",), ("b",), ("c",)])


def insert_in_a_transaction_that_autocommit_ends() -> None:
    transaction.set_autocommit(False)
    execute(inserts("a"))
    transaction.set_autocommit(True)
    execute(inserts("c"))


def insert_with_a_cursor_of_a_block() -> None:
    with transaction.atomic():
        cursor = connection.cursor()
        transaction.set_rollback(True)
    cursor.execute(inserts("a"))
    execute(inserts("c"))


def insert_behind_a_query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; " + inserts("a"))
        cursor.nextset()
    execute(inserts("c"))


LOSES_C = "%INSERT INTO shop_tag%'c'%"
LEFT_HALFWAY = [
    Alone("executemany", "%INSERT INTO shop_tag%", insert_many, ["a", "b"]),
    Alone(
        "a batch", LOSES_C, lambda: execute(f"SET NOCOUNT ON; {inserts('a', 'c')}"), ["a"]
    ),
    Alone("set_autocommit", LOSES_C, insert_in_a_transaction_that_autocommit_ends, ["a"]),
    Alone("a cursor of a block", LOSES_C, insert_with_a_cursor_of_a_block, ["a"]),
    Alone("a batch that begins with SELECT", LOSES_C, insert_behind_a_query, ["a"]),
]  # fmt: skip


async def runs_of(project: Project, alone: Alone) -> int:
    """How often it was run, where the third or matching statement loses."""
    calls = 0

    @retry(sleep=Sleeps())
    def work() -> None:
        nonlocal calls
        calls += 1
        alone.work()

    nth = 3 if alone.work is insert_many else 1
    with project.server.faults.deadlock(alone.loses, nth=nth), pytest.raises(OperationalError):
        await call(work)
    return calls


@pytest.mark.parametrize("alone", LEFT_HALFWAY, ids=repr)
async def test_work_that_failed_halfway_outside_of_a_transaction_is_not_run_again(
    project: Project, alone: Alone
) -> None:
    assert await runs_of(project, alone) == 1
    assert rows(project) == alone.kept


async def test_a_trace_that_hears_of_success_only_would_have_it_run_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the second run writes the first two rows again."""
    monkeypatch.setattr(Attempt, "failed_alone", lambda *_, **__: None)
    work = retry(sleep=Sleeps())(insert_many)
    with project.server.faults.deadlock("%INSERT INTO shop_tag%", nth=3):
        await call(work)
    assert rows(project) == ["a", "a", "b", "b", "c"]


async def test_a_statement_whose_link_broke_may_have_been_carried_out(project: Project) -> None:
    calls = 0

    @retry(sleep=Sleeps())
    def work() -> None:
        nonlocal calls
        calls += 1
        with contextlib.suppress(OperationalError):
            execute(inserts("a"))
        execute(inserts("c"))

    faults = project.server.faults
    with (
        faults.drop_at("%INSERT INTO shop_tag%'a'%", Drop.MID_REPLY),
        faults.deadlock(LOSES_C),
        pytest.raises(OperationalError),
    ):
        await call(work)
    assert calls == 1
    assert rows(project) == ["a"]


async def test_a_commit_whose_answer_was_cut_off_may_have_happened(project: Project) -> None:
    calls = 0

    @retry(sleep=Sleeps())
    def work() -> None:
        nonlocal calls
        calls += 1
        with contextlib.suppress(OperationalError), transaction.atomic():
            execute(inserts("a"))
        execute(inserts("c"))

    faults = project.server.faults
    with (
        faults.drop_at("COMMIT TRANSACTION", Drop.MID_REPLY),
        faults.deadlock(LOSES_C),
        pytest.raises(OperationalError),
    ):
        await call(work)
    assert calls == 1
    assert rows(project) == ["a"]


async def test_a_manual_transaction_that_was_rolled_back_left_nothing(project: Project) -> None:
    calls = 0

    @retry(sleep=Sleeps())
    def work() -> None:
        nonlocal calls
        calls += 1
        transaction.set_autocommit(False)
        execute(inserts("a"))
        transaction.rollback()
        transaction.set_autocommit(True)
        execute(inserts("c"))

    with project.server.faults.deadlock(LOSES_C):
        await call(work)
    assert calls == 2
    assert rows(project) == ["c"]


# --- the decorator ----------------------------------------------------------------------------


def test_it_keeps_the_function_as_it_is() -> None:
    @retry
    def plain(a: int, *, b: int) -> int:
        """Adds."""
        return a + b

    @retry(attempts=1)
    async def asynchronous(a: int) -> int:
        return a

    assert plain(1, b=2) == 3
    assert (plain.__name__, plain.__doc__) == ("plain", "Adds.")
    assert not iscoroutinefunction(plain)
    assert iscoroutinefunction(asynchronous)
    assert asyncio.run(asynchronous(4)) == 4


def test_wrong_arguments_and_generators_are_refused() -> None:
    def generate() -> Any:
        yield

    async def generate_async() -> Any:
        yield

    for generator in (generate, generate_async):
        with pytest.raises(TypeError, match="generator"):
            retry(generator)
    for wrong in ({"attempts": 0}, {"backoff": -1}, {"max_backoff": -1}):
        with pytest.raises(ValueError, match="needs"):
            retry(**wrong)


async def test_a_cancelled_wait_ends_it(project: Project) -> None:
    waiting = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    counted = Counted()
    function = retry(sleep=sleep)(async_atomic(counted.awrite))
    with project.server.faults.deadlock(INSERT):
        task = asyncio.create_task(call(function))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert counted.calls == 1


# --- error_number -----------------------------------------------------------------------------


def test_the_number_of_an_error_is_the_servers() -> None:
    server = "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"
    text = f"{server}Somebody said (1205) once. (547) (SQLExecDirectW)"
    terminated = "; [01000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Over. (3621)"
    assert error_number(IntegrityError("23000", text + terminated)) == 547
    assert error_number(pyodbc.Error("40001", f"{server}Deadlock. (1205) (SQLExecDirectW)")) == 1205
    link = "[08S01] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider (104) (SQLExecDirectW)"
    assert error_number(OperationalError("08S01", link)) is None
    assert error_number(ValueError("(1205)")) is None
    assert error_number(OperationalError()) is None


def test_conflicts_end_the_transaction_they_lose() -> None:
    assert LOST_CONFLICTS <= TRANSACTION_ENDING_ERRORS
