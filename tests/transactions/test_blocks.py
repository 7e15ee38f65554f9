"""What a transaction block of asynchronous code does."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F, signals
from django.db.transaction import TransactionManagementError

from mssql_async.context import ContextKind, current_context
from mssql_async.errors import error_number
from mssql_async.transaction import Outcome, async_atomic
from tests.context.project import Project, ask, do, until
from tests.shop.models import Author, Book, Tag

from .conftest import OTHER
from .support import add, depth, messages, request, rows, spid


class Broken(Exception):
    """Raised by a test to end a block."""


async def through_querysets() -> None:
    await Tag.objects.acreate(name="a")
    await Tag.objects.abulk_create([Tag(name="b"), Tag(name="c")])
    await Tag.objects.filter(name="b").aupdate(name="d")
    await Tag.objects.filter(name="c").adelete()
    await Tag.objects.aget_or_create(name="e")
    assert [tag.name async for tag in Tag.objects.order_by("name")] == ["a", "d", "e"]
    assert await Tag.objects.acount() == 3


async def through_instances() -> None:
    tag = Tag(name="a")
    await tag.asave()
    tag.name = "b"
    await tag.asave(update_fields=["name"])
    await tag.arefresh_from_db()
    assert tag.name == "b"


async def through_related_managers() -> None:
    author = await Author.objects.acreate(name="Ann")
    book = await author.books.acreate(title="One", price=1)
    tag = await book.tags.acreate(name="a")
    await book.tags.aadd(await Tag.objects.acreate(name="b"))
    await book.tags.aremove(tag)
    await Book.objects.filter(author=author).aupdate(price=F("price") + 1)
    found = Author.objects.prefetch_related("books__tags")
    assert [[b.tags.all()[0].name for b in a.books.all()] async for a in found] == [["b"]]


async def through_raw_sql() -> None:
    await sync_to_async(do)("INSERT INTO shop_tag (name) VALUES ('a')")
    assert [tag.name async for tag in Tag.objects.raw("SELECT * FROM shop_tag")] == ["a"]


async def through_synchronous_code() -> None:
    def save() -> None:
        with transaction.atomic():
            Tag.objects.create(name="a")
            async_to_sync(add)("b")

    await sync_to_async(save)()
    assert await Tag.objects.acount() == 2


async def through_signals() -> None:
    def in_a_receiver(instance: Tag, **_: Any) -> None:
        if instance.name == "a":
            Tag.objects.create(name="b")

    async def in_an_asynchronous_one(instance: Tag, **_: Any) -> None:
        if instance.name == "b":
            await add("c")

    signals.post_save.connect(in_a_receiver, sender=Tag)
    signals.post_save.connect(in_an_asynchronous_one, sender=Tag)
    try:
        await add("a")
    finally:
        signals.post_save.disconnect(in_a_receiver, sender=Tag)
        signals.post_save.disconnect(in_an_asynchronous_one, sender=Tag)
    assert await Tag.objects.acount() == 3


WAYS = [
    through_querysets,
    through_instances,
    through_related_managers,
    through_raw_sql,
    through_synchronous_code,
    through_signals,
]


@pytest.mark.parametrize("work", WAYS)
async def test_everything_awaited_in_a_block_is_committed_together(
    project: Project, work: Any
) -> None:
    async with request():
        async with async_atomic() as block:
            inside = await spid()
            await work()
            assert (await spid(), await depth()) == (inside, 1)
            assert project.in_use == 1
        assert block.outcome is Outcome.COMMITTED
    assert rows(project) != []


@pytest.mark.parametrize("work", WAYS)
async def test_everything_awaited_in_a_block_is_rolled_back_together(
    project: Project, work: Any
) -> None:
    async with request():
        block = async_atomic()
        with pytest.raises(Broken):
            async with block:
                await work()
                raise Broken
        assert block.outcome is Outcome.ROLLED_BACK
        assert await Author.objects.acount() == 0
    assert rows(project) == []


async def test_a_block_with_a_read_and_a_write_costs_four_messages(project: Project) -> None:
    async with request():
        tag = await add("a")

        async def block() -> int:
            before = messages(project)
            async with async_atomic():
                found = await Tag.objects.aget(pk=tag.pk)
                await found.asave()
            return messages(project) - before

        await block()  # the statements are prepared
        assert await block() == 4


async def test_a_savepoint_costs_one_message_more(project: Project) -> None:
    async with request():
        tag = await add("a")

        async def block() -> int:
            before = messages(project)
            async with async_atomic():
                found = await Tag.objects.aget(pk=tag.pk)
                async with async_atomic():
                    await found.asave()
            return messages(project) - before

        await block()
        assert await block() == 5


async def test_a_block_without_a_statement_costs_nothing(project: Project) -> None:
    async with request():
        await add("a")
        before = messages(project)
        async with async_atomic() as block:
            pass
        assert messages(project) == before
    assert block.outcome is Outcome.COMMITTED


async def test_a_nested_block_is_a_savepoint(project: Project) -> None:
    async with request(), async_atomic() as outer:
        await add("a")
        with pytest.raises(Broken):
            async with async_atomic() as inner:
                await add("b")
                raise Broken
        assert inner.outcome is Outcome.ROLLED_BACK
        async with async_atomic() as inner:
            await add("c")
        assert inner.outcome is Outcome.COMMITTED
    assert outer.outcome is Outcome.COMMITTED
    assert rows(project) == ["a", "c"]


async def test_blocks_nest_deeply(project: Project) -> None:
    async def nest(level: int) -> None:
        async with async_atomic():
            await add(f"{level}")
            if level < 6:
                await nest(level + 1)
            if level == 4:
                raise Broken

    async def guarded() -> None:
        async with async_atomic():
            try:
                await nest(1)
            except Broken:
                await add("after")

    async with request():
        await guarded()
    assert rows(project) == ["after"]


async def test_without_a_savepoint_the_whole_transaction_is_rolled_back(project: Project) -> None:
    async with request():
        async with async_atomic() as outer:
            await add("a")
            with pytest.raises(Broken):
                async with async_atomic(savepoint=False):
                    await add("b")
                    raise Broken
            with pytest.raises(TransactionManagementError):
                await add("c")
        assert outer.outcome is Outcome.ROLLED_BACK
    assert rows(project) == []


async def test_a_durable_block_refuses_to_be_nested(project: Project) -> None:
    async with request():
        async with async_atomic(durable=True):
            await add("a")
        async with async_atomic():
            await add("b")
            with pytest.raises(RuntimeError, match="durable"):
                await async_atomic(durable=True).__aenter__()
            async with async_atomic():
                await add("c")
    assert rows(project) == ["a", "b", "c"]


async def test_synchronous_and_asynchronous_blocks_nest_in_each_other(project: Project) -> None:
    async def innermost() -> None:
        async with async_atomic():
            await add("c")
            raise Broken

    def between() -> None:
        with transaction.atomic():
            Tag.objects.create(name="b")
            with pytest.raises(Broken):
                async_to_sync(innermost)()

    async with request(), async_atomic():
        await add("a")
        await sync_to_async(between)()
        assert await depth() == 1
    assert rows(project) == ["a", "b"]


async def test_a_block_in_synchronous_code_in_a_block_needs_no_second_worker_or_connection(
    project: Project,
) -> None:
    project.use(max_size=1, max_workers=1, acquire_timeout=5)
    try:

        async def nested() -> int:
            async with async_atomic():
                await add("b")
                return await spid()

        async with request(), async_atomic():
            await add("a")
            assert await sync_to_async(async_to_sync(nested))() == await spid()
        assert rows(project) == ["a", "b"]
    finally:
        project.use()


async def test_a_block_beneath_a_call_that_is_not_in_a_transaction_does_not_wait_for_it(
    project: Project,
) -> None:
    project.use(max_size=1, max_workers=1, acquire_timeout=5)
    try:

        async def block() -> None:
            async with async_atomic():
                await add("a")

        def call() -> None:
            Tag.objects.count()
            async_to_sync(block)()
            Tag.objects.count()

        async with request():
            await sync_to_async(call)()
        assert rows(project) == ["a"]
    finally:
        project.use()


async def test_a_block_sees_the_session_of_a_pinned_context(project: Project) -> None:
    async with request():
        await sync_to_async(do)("CREATE TABLE #mine (n int)")
        outside = await spid()
        async with async_atomic():
            await sync_to_async(do)("INSERT INTO #mine VALUES (1)")
            assert await spid() == outside
        assert await sync_to_async(ask)("SELECT COUNT(*) FROM #mine") == 1


async def test_two_databases_have_a_transaction_each_on_one_worker(project: Project) -> None:
    import threading

    async with request():
        with pytest.raises(Broken):
            async with async_atomic():
                assert await depth() == 1
                thread = await sync_to_async(threading.get_ident)()
                async with async_atomic(using=OTHER) as other:
                    await add("b", using=OTHER)
                    assert await sync_to_async(threading.get_ident)() == thread
                    assert project.in_use == 2
                assert other.outcome is Outcome.COMMITTED
                await add("a")
                raise Broken
    assert rows(project) == ["b"]


async def test_the_inner_of_two_databases_rolls_back_alone(project: Project) -> None:
    async with request(), async_atomic():
        with pytest.raises(Broken):
            async with async_atomic(using=OTHER):
                await add("b", using=OTHER)
                raise Broken
        await add("a")
    assert rows(project) == ["a"]


async def test_each_call_of_a_decorated_function_is_a_block(project: Project) -> None:
    @async_atomic
    async def plain(name: str, *, fail: bool = False) -> str:
        await add(name)
        if fail:
            raise Broken
        return name

    @async_atomic(using=OTHER, durable=True)
    async def with_arguments(name: str) -> str:
        await add(name, using=OTHER)
        return name

    assert iscoroutinefunction(plain)
    assert plain.__name__ == "plain"
    async with request():
        assert await plain("a") == "a"
        with pytest.raises(Broken):
            await plain("b", fail=True)
        assert await asyncio.gather(with_arguments("c"), with_arguments("d")) == ["c", "d"]
    assert rows(project) == ["a", "c", "d"]


def test_asynchronous_generators_are_not_decorated() -> None:
    async def generate() -> Any:
        yield 1

    with pytest.raises(TypeError, match="asynchronous generator"):
        async_atomic(generate)


async def test_one_object_is_for_one_block_at_a_time(project: Project) -> None:
    block = async_atomic()
    async with request():
        async with block:
            with pytest.raises(RuntimeError, match="entered already"):
                await block.__aenter__()
        assert block.outcome is Outcome.COMMITTED
        with pytest.raises(Broken):
            async with block:
                raise Broken
        assert block.outcome is Outcome.ROLLED_BACK


async def test_an_error_of_the_server_dooms_the_innermost_block_only(project: Project) -> None:
    async with request():
        author = await Author.objects.acreate(name="Ann")
        async with async_atomic():
            await add("a")
            with pytest.raises(IntegrityError):
                async with async_atomic():
                    await Author.objects.acreate(name=author.name)
            await add("b")
    assert rows(project) == ["a", "b"]


async def test_set_rollback_rolls_a_block_back(project: Project) -> None:
    async with request():
        async with async_atomic() as block:
            await add("a")
            await sync_to_async(transaction.set_rollback)(True)

            def flag() -> bool:
                return bool(transaction.get_connection().needs_rollback)

            assert await sync_to_async(flag)() is True
        assert block.outcome is Outcome.ROLLED_BACK
    assert rows(project) == []


async def test_a_deadlock_dooms_the_whole_block(project: Project) -> None:
    async with request():
        block = async_atomic()
        with project.server.faults.deadlock("%INSERT INTO%shop_tag%", nth=2):
            async with block:
                await add("a")
                with pytest.raises(OperationalError) as caught:
                    async with async_atomic():
                        await add("b")
                assert error_number(caught.value) == 1205
                with pytest.raises(TransactionManagementError):
                    await add("c")
        assert block.outcome is Outcome.ROLLED_BACK
    assert rows(project) == []


async def test_a_commit_that_the_server_refuses_is_a_rollback(project: Project) -> None:
    async with request():
        block = async_atomic()
        fault = project.server.faults.deadlock("COMMIT TRANSACTION")
        with fault, pytest.raises(OperationalError) as caught:
            async with block:
                await add("a")
        assert error_number(caught.value) == 1205
        assert block.outcome is Outcome.ROLLED_BACK
    assert rows(project) == []


async def test_a_commit_whose_answer_is_cut_off_is_unknown(project: Project) -> None:
    from mssql_async.devserver.faults import Drop

    async with request():
        block = async_atomic()
        fault = project.server.faults.drop_at("COMMIT TRANSACTION", Drop.MID_REPLY)
        with fault, pytest.raises(OperationalError):
            async with block:
                await add("a")
        assert block.outcome is Outcome.UNKNOWN
        assert await Tag.objects.acount() == 1  # but nobody here could know


async def test_a_connection_that_is_lost_in_a_block_rolls_it_back(project: Project) -> None:
    async with request():
        block = async_atomic()
        with pytest.raises(OperationalError):
            async with block:
                await add("a")
                project.server.faults.drop()
                await add("b")
        assert block.outcome is Outcome.ROLLED_BACK
        assert await Tag.objects.acount() == 0


async def test_a_block_outside_of_any_context_ends_like_one_inside(project: Project) -> None:
    assert current_context() is None
    async with async_atomic():
        context = current_context()
        assert context is not None
        assert context.kind is ContextKind.BLOCK
        await add("a")
    assert current_context() is None
    assert rows(project) == ["a"]


async def test_blocks_beside_each_other_run_in_parallel(project: Project) -> None:
    everybody = asyncio.Barrier(5)

    async def block(name: str) -> int:
        async with async_atomic():
            mine = await spid()
            await everybody.wait()
            await add(name)
            return mine

    async with request():
        spids = await asyncio.gather(*map(block, "abcde"))
    assert len(set(spids)) == 5
    assert rows(project) == list("abcde")


async def test_a_partial_is_decorated(project: Project) -> None:
    async with request():
        tag = await async_atomic(functools.partial(add, "a"))()
    assert tag.name == "a"


def test_the_connection_of_the_event_loops_thread_is_not_touched(project: Project) -> None:
    async def block() -> None:
        async with async_atomic():
            await add("a")

    asyncio.run(block())
    assert connection.connection is None


async def test_a_block_needs_no_garbage_collector_to_go(project: Project) -> None:
    seen: list[weakref.ref[Any]] = []
    async with request():
        await add("a")
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                async with async_atomic():
                    async with async_atomic():
                        await Tag.objects.acount()
                        seen.append(weakref.ref(current_context()))
                    seen.append(weakref.ref(current_context()))
            assert await asyncio.to_thread(until, lambda: not any(ref() for ref in seen))
        finally:
            gc.enable()
