"""Blocks inside of a test's transaction: Django's TestCase, pytest-django beside pytest-asyncio.

They run on the suite's own test database, as users' tests do.
"""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import TestCase, TransactionTestCase, override_settings
from django.urls import path

from mssql_async.asgi import get_asgi_application
from mssql_async.transaction import Outcome, async_atomic
from tests.asgi.apps import Client as AsgiClient
from tests.context.project import ask
from tests.shop.models import Tag

from .support import add, spid


class Broken(Exception):
    """Raised by a test to end a block."""


async def names() -> list[str]:
    return [tag.name async for tag in Tag.objects.order_by("name")]


async def blocks_nest_and_fail() -> None:
    async with async_atomic() as block:
        await add("b")
        with pytest.raises(Broken):
            async with async_atomic():
                await add("c")
                raise Broken
    assert block.outcome is Outcome.COMMITTED
    with pytest.raises(Broken):
        async with async_atomic(durable=True):
            await add("d")
            raise Broken


async def blocks_of_two_tasks() -> list[str]:
    """They would be two transactions elsewhere. Here they are savepoints, one after the other."""

    async def block(name: str) -> None:
        async with async_atomic():
            await add(f"{name}1")
            await asyncio.sleep(0)
            await add(f"{name}2")
            if name == "x":
                raise Broken

    done = await asyncio.gather(*map(block, "xyz"), return_exceptions=True)
    assert [type(each) for each in done] == [Broken, type(None), type(None)]
    async with async_atomic():
        return await names()


class InATestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        Tag.objects.create(name="a")

    async def test_a_block_joins_the_tests_transaction(self) -> None:
        outside = await spid()
        async with async_atomic():
            assert await names() == ["a"]
            assert await spid() == outside
        await blocks_nest_and_fail()
        assert await names() == ["a", "b"]

    async def test_what_the_one_before_did_was_rolled_back(self) -> None:
        assert await names() == ["a"]

    async def test_blocks_of_two_tasks_take_turns(self) -> None:
        assert await blocks_of_two_tasks() == ["a", "y1", "y2", "z1", "z2"]

    async def test_a_cancelled_block_leaves_the_tests_transaction_alone(self) -> None:
        inside = asyncio.Event()

        async def work() -> None:
            async with async_atomic():
                await add("b")
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await names() == ["a"]

    def test_functions_of_on_commit_are_captured(self) -> None:
        called: list[str] = []

        async def hook() -> None:
            called.append(",".join(await names()))

        async def work() -> None:
            async with async_atomic():
                await add("b")
                transaction.on_commit(hook)

        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            async_to_sync(work)()
        assert callbacks == [hook]
        assert called == ["a,b"]

    def test_synchronous_tests_are_as_they_were(self) -> None:
        with transaction.atomic():
            Tag.objects.create(name="b")
        assert Tag.objects.count() == 2


@override_settings(ROOT_URLCONF="tests.transactions.test_joining", MIDDLEWARE=[])
class ARequestInATestCase(TestCase):
    """Made by the test itself, with the project's ASGI application and any client for that."""

    @classmethod
    def setUpTestData(cls) -> None:
        Tag.objects.create(name="a")

    async def test_sees_and_changes_what_the_test_does(self) -> None:
        client = AsgiClient(get_asgi_application())
        for number, address in enumerate(("adds", "adds_synchronously", "adds_in_a_block")):
            before = await names()
            seen = (await client.get(f"{address}/{number}"))[1].decode()
            assert seen == ",".join([*before, str(number)])
            assert await names() == sorted([*before, str(number)])

    async def test_leaves_the_transaction_to_the_test(self) -> None:
        client = AsgiClient(get_asgi_application())
        assert (await client.get("fails/x"))[0] == 500
        assert await names() == ["a"]
        assert (await client.get("adds/b"))[0] == 200
        assert await sync_to_async(lambda: connection.in_atomic_block)()

    async def test_is_apart_where_nobody_looks_for_one(self) -> None:
        """The control."""
        inside = await spid()
        asked = AsgiClient(get_asgi_application())
        assert (await asked.get("asks"))[1] == str(inside).encode()
        with mock.patch("mssql_async.asgi.around_a_request", _nothing_around):
            assert (await asked.get("asks"))[1] != str(inside).encode()


async def _nothing_around() -> None:
    return None


async def asks(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await spid()))


async def adds(request: HttpRequest, name: str) -> HttpResponse:
    before = await names()
    await add(name)
    return HttpResponse(",".join([*before, name]))


async def adds_in_a_block(request: HttpRequest, name: str) -> HttpResponse:
    async with async_atomic():
        return await adds(request, name)


def adds_synchronously(request: HttpRequest, name: str) -> HttpResponse:
    before = [tag.name for tag in Tag.objects.order_by("name")]
    with transaction.atomic():
        Tag.objects.create(name=name)
    return HttpResponse(",".join([*before, name]))


async def fails(request: HttpRequest, name: str) -> HttpResponse:
    async with async_atomic():
        await add(name)
        raise Broken


urlpatterns = [
    path("asks", asks),
    path("adds/<name>", adds),
    path("adds_in_a_block/<name>", adds_in_a_block),
    path("adds_synchronously/<name>", adds_synchronously),
    path("fails/<name>", fails),
]


class InATransactionTestCase(TransactionTestCase):
    available_apps = ["tests.shop"]

    async def test_a_block_is_a_transaction_of_its_own(self) -> None:
        await add("a")
        outside = await spid()
        async with async_atomic():
            assert await names() == ["a"]
            assert await spid() != outside or connection.connection is None
        with pytest.raises(Broken):
            async with async_atomic():
                await add("b")
                raise Broken
        assert await names() == ["a"]

    async def test_it_starts_empty(self) -> None:
        assert await names() == []


@pytest.fixture
def tag(db: Any) -> Tag:
    return Tag.objects.create(name="a")


@pytest.mark.django_db
async def test_a_block_sees_what_a_fixture_has_created(tag: Tag) -> None:
    async with async_atomic():
        assert await names() == ["a"]
        inside = await spid()
    async with async_atomic():
        assert await spid() == inside
    await blocks_nest_and_fail()
    async with async_atomic():
        assert await names() == ["a", "b"]


@pytest.mark.django_db
async def test_it_was_rolled_back_with_the_test_before() -> None:
    async with async_atomic():
        assert await names() == []


@pytest.mark.django_db
async def test_blocks_of_two_tasks_take_turns_there_too(tag: Tag) -> None:
    assert await blocks_of_two_tasks() == ["a", "y1", "y2", "z1", "z2"]


@pytest.mark.django_db
async def test_a_cancelled_block_leaves_the_fixtures_transaction_alone(tag: Tag) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with async_atomic():
            await add("b")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with async_atomic():
        assert await names() == ["a"]


@pytest.mark.django_db
def test_synchronous_code_goes_on_in_the_transaction_afterwards(tag: Tag) -> None:
    async def work() -> None:
        async with async_atomic():
            await add("b")

    asyncio.run(work())
    assert sorted(Tag.objects.values_list("name", flat=True)) == ["a", "b"]
    assert ask("SELECT @@TRANCOUNT") == 1


@pytest.mark.django_db(transaction=True)
async def test_with_transactions_a_block_is_one_of_its_own() -> None:
    await add("a")
    with pytest.raises(Broken):
        async with async_atomic():
            assert await names() == ["a"]
            await add("b")
            raise Broken
    assert await names() == ["a"]


@pytest.mark.django_db
async def test_it_left_nothing_behind() -> None:
    async with async_atomic():
        assert await names() == []


@pytest.mark.django_db
@override_settings(ROOT_URLCONF="tests.transactions.test_joining", MIDDLEWARE=[])
async def test_a_request_sees_what_a_fixture_has_created(tag: Tag) -> None:
    client = AsgiClient(get_asgi_application())
    assert (await client.get("adds/b"))[1] == b"a,b"
    assert (await client.get("adds_in_a_block/c"))[1] == b"a,b,c"
    async with async_atomic():
        assert await names() == ["a", "b", "c"]
