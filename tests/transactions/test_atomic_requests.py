"""``ATOMIC_REQUESTS`` around asynchronous views."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application as djangos_application
from django.db import connections
from django.test import AsyncClient as DjangosAsyncClient
from django.test import override_settings

from mssql_async.asgi import ConnectionLifecycle, Handler
from mssql_async.test import AsyncClient
from mssql_async.test import Client as SyncClient
from tests.asgi.apps import Client, Request
from tests.context.project import Project, until

from . import views
from .conftest import OTHER
from .support import rows, silenced


@pytest.fixture(autouse=True)
def atomic_requests(project: Project) -> Iterator[None]:
    connections.settings["default"]["ATOMIC_REQUESTS"] = True
    views.seen.clear()
    middleware = ["tests.transactions.views.Middleware"]
    settings = override_settings(ROOT_URLCONF="tests.transactions.views", MIDDLEWARE=middleware)
    with settings, silenced("django.request"):
        yield
    for alias in ("default", OTHER):
        connections.settings[alias]["ATOMIC_REQUESTS"] = False


@pytest.fixture
def client(atomic_requests: None) -> Client:
    return Client(ConnectionLifecycle(Handler()))


async def test_a_view_that_returns_is_committed(project: Project, client: Client) -> None:
    assert await client.get("succeeds") == (200, b"1")
    assert rows(project) == ["a"]


@pytest.mark.parametrize(("address", "status"), [("fails", 500), ("is_not_there", 404)])
async def test_a_view_that_raises_is_rolled_back(
    project: Project, client: Client, address: str, status: int
) -> None:
    assert (await client.get(address))[0] == status
    assert rows(project) == []


@pytest.mark.parametrize("address", ["is_not_atomic", "of_a_class_not_atomic"])
async def test_a_view_may_refuse(project: Project, client: Client, address: str) -> None:
    assert await client.get(address) == (200, b"0")


async def test_a_view_may_refuse_for_one_database(project: Project, client: Client) -> None:
    assert await client.get("is_not_atomic_elsewhere") == (200, b"1")
    connections.settings[OTHER]["ATOMIC_REQUESTS"] = True
    connections.settings["default"]["ATOMIC_REQUESTS"] = False
    assert await client.get("is_not_atomic_elsewhere") == (200, b"0")


async def test_every_database_that_asks_has_a_transaction(project: Project, client: Client) -> None:
    assert await client.get("nests") == (200, b"[True, False]")
    connections.settings[OTHER]["ATOMIC_REQUESTS"] = True
    assert await client.get("nests") == (200, b"[True, True]")


async def test_views_of_classes_are_atomic(project: Project, client: Client) -> None:
    assert await client.get("of_a_class") == (200, b"1")


async def test_synchronous_views_are_as_they_were(project: Project, client: Client) -> None:
    assert await client.get("is_synchronous") == (200, b"1")
    assert rows(project) == ["a"]


async def test_middleware_is_outside(project: Project, client: Client) -> None:
    await client.get("succeeds")
    assert views.seen == [("before", 0), ("after", 0)]


async def test_templates_are_rendered_outside(project: Project, client: Client) -> None:
    """As Django documents it."""
    assert await client.get("is_rendered_later") == (200, b"rendered")
    assert ("template", 0) in views.seen


async def test_responses_are_streamed_outside(project: Project, client: Client) -> None:
    """As Django documents it."""
    assert await client.get("streams") == (200, b"0 1")


async def test_tasks_of_a_view_are_inside(project: Project, client: Client) -> None:
    assert await client.get("in_parallel") == (200, b"1")
    assert rows(project) == ["a", "b", "c"]


async def test_a_client_that_hangs_up_rolls_back(project: Project) -> None:
    request = Request(ConnectionLifecycle(Handler()), "never_ends")
    assert await asyncio.to_thread(until, lambda: bool(project.running))
    request.hang_up()
    await asyncio.wait([request.task], timeout=20)
    assert await asyncio.to_thread(until, project.is_quiet)
    assert rows(project) == []


async def test_without_our_entry_point_django_refuses(project: Project) -> None:
    """The control."""
    status, _ = await Client(ConnectionLifecycle(djangos_application())).get("succeeds")
    assert status == 500
    assert rows(project) == []


class TestTheTestClients:
    async def test_put_asynchronous_views_into_transactions(self, project: Project) -> None:
        response = await AsyncClient().get("/succeeds")
        assert (response.status_code, response.content) == (200, b"1")
        assert rows(project) == ["a"]
        with pytest.raises(ValueError, match="on purpose"):
            await AsyncClient().get("/fails")
        assert rows(project) == ["a"]

    async def test_of_synchronous_tests_do_so_too(self, project: Project) -> None:
        response = await sync_to_async(SyncClient().get)("/succeeds")
        assert (response.status_code, response.content) == (200, b"1")
        with pytest.raises(ValueError, match="on purpose"):
            await sync_to_async(SyncClient().get)("/fails")
        assert rows(project) == ["a"]

    async def test_leave_synchronous_views_as_they_were(self, project: Project) -> None:
        assert (await AsyncClient().get("/is_synchronous")).content == b"1"

    async def test_of_django_refuse(self, project: Project) -> None:
        """The control."""
        with pytest.raises(RuntimeError, match="ATOMIC_REQUESTS"):
            await DjangosAsyncClient().get("/succeeds")

    async def test_take_the_arguments_of_djangos(self) -> None:
        client = AsyncClient(enforce_csrf_checks=True, headers={"x-a": "b"})
        assert client.handler.enforce_csrf_checks
        assert client.defaults == DjangosAsyncClient(headers={"x-a": "b"}).defaults
