"""What stands between a server and the application: every scope is a context."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, sync_to_async
from django.core.asgi import get_asgi_application as djangos_application
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.test import override_settings

from mssql_async.asgi import ConnectionLifecycle, get_asgi_application
from mssql_async.context import trivial
from mssql_async.context.routing import ContextExecutor
from mssql_async.context.worker import GRACE
from mssql_async.pool.registry import pool_statistics
from mssql_async.transaction import async_atomic
from tests.context.project import Project, ask, do, until

from .apps import Client, Request, background, consumer, mounted, plain


@pytest.fixture(autouse=True)
def addresses() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.asgi.apps"):
        yield


async def quiet(project: Project) -> bool:
    return await asyncio.to_thread(until, project.is_quiet)


APPLICATIONS: dict[str, Callable[[], Any]] = {
    "ours": get_asgi_application,
    "around Django's": lambda: ConnectionLifecycle(djangos_application()),
    "around a router": lambda: ConnectionLifecycle(mounted(djangos_application(), "")),
    "neither": djangos_application,
}


class TestRequests:
    @pytest.mark.parametrize("name", APPLICATIONS)
    async def test_leave_nothing(self, project: Project, name: str) -> None:
        client = Client(APPLICATIONS[name]())
        await client.get("one")
        threads = threading.active_count()
        for _ in range(70):
            assert await client.get("one") == (200, b"1")
            assert await client.get("sync") == (200, b"1")
            assert await client.get("nothing") == (200, b"nothing")
        assert await quiet(project)
        assert all(pool.in_use == 0 for pool in pool_statistics())
        assert await asyncio.to_thread(until, lambda: threading.active_count() <= threads + 2)
        if name != "neither":
            assert project.server.counters.logins <= 2

    @pytest.mark.parametrize("name", ["ours", "around Django's"])
    async def test_leave_nothing_when_they_fail(self, project: Project, name: str) -> None:
        client = Client(APPLICATIONS[name]())
        assert (await client.get("fail"))[0] == 500
        assert await quiet(project)

    async def test_of_any_application_have_a_context(self, project: Project) -> None:
        client = Client(ConnectionLifecycle(plain))
        assert await client.get("") == (200, b"1")
        assert project.workers.statistics().workers == 1
        assert await quiet(project)

    @pytest.mark.parametrize("address", ["long/async", "long/sync", "long/stream"])
    @pytest.mark.parametrize("name", ["ours", "around Django's"])
    async def test_stop_at_the_server_when_the_client_hangs_up(
        self, project: Project, name: str, address: str
    ) -> None:
        request = Request(APPLICATIONS[name](), address)
        assert await asyncio.to_thread(until, lambda: len(project.running) == 1)
        request.hang_up()
        assert await quiet(project)
        await asyncio.wait([request.task], timeout=20)
        assert request.task.done()

    @pytest.mark.parametrize("address", ["long/async", "long/sync"])
    async def test_stop_also_beneath_middleware_that_is_synchronous_only(
        self, project: Project, address: str
    ) -> None:
        with override_settings(MIDDLEWARE=[f"{__name__}.{synchronous_middleware.__name__}"]):
            request = Request(get_asgi_application(), address)
        assert await asyncio.to_thread(until, lambda: len(project.running) == 1)
        request.hang_up()
        assert await quiet(project)
        await asyncio.wait([request.task], timeout=20)
        assert request.task.done()

    async def test_a_task_that_outlives_its_request_goes_on_and_leaves_nothing(
        self, project: Project
    ) -> None:
        client = Client(get_asgi_application())
        for _ in range(50):
            assert await client.get("task") == (200, b"gone")
        assert await asyncio.gather(*background) == [4] * 50
        background.clear()
        assert await quiet(project)


def synchronous_middleware(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        return get_response(request)

    return middleware


class TestWhatARequestLeaves:
    async def test_of_a_transaction_is_rolled_back_and_told_with_its_place(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = Client(get_asgi_application())
        with caplog.at_level(logging.INFO, "mssql_async.context"):
            await client.get("open")
        assert await quiet(project)
        (record,) = [r for r in caplog.records if r.name == "mssql_async.context"]
        assert record.levelno == logging.WARNING
        text = record.getMessage()
        assert "(request)" in text
        assert "an open transaction" in text
        assert "in leave_transaction_open.<locals>.begin" in text
        assert await sync_to_async(ask)("SELECT object_id('left_behind')") is None

    async def test_of_session_state_is_no_mistake_but_told_to_who_asks(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = Client(get_asgi_application())
        with caplog.at_level(logging.INFO, "mssql_async.context"):
            await client.get("state")
        assert await quiet(project)
        assert [r.levelno for r in caplog.records if r.name == "mssql_async.context"] == [
            logging.INFO
        ]

    async def test_is_nothing_in_general(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = Client(get_asgi_application())
        with caplog.at_level(logging.INFO, "mssql_async.context"):
            await client.get("one")
        assert await quiet(project)
        assert [r for r in caplog.records if r.name == "mssql_async.context"] == []


def in_a_transaction(app: Any) -> Any:
    """ASGI middleware of another framework, around Django mounted there."""

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        async with async_atomic():
            await app(scope, receive, send)

    return middleware


def in_french(app: Any) -> Any:
    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await sync_to_async(do)("SET LANGUAGE French")
        await app(scope, receive, send)

    return middleware


class TestMounted:
    """Django with an entry point of its own, in an application that may have one, too."""

    @pytest.mark.parametrize("around", [ConnectionLifecycle, lambda app: app])
    async def test_it_is_in_the_transaction_of_the_middleware_around(
        self, project: Project, around: Any
    ) -> None:
        client = Client(around(in_a_transaction(mounted(get_asgi_application(), ""))))
        assert await asyncio.gather(*[client.get("depth") for _ in range(5)]) == [(200, b"1")] * 5
        assert await quiet(project)

    async def test_it_is_in_none_without(self, project: Project) -> None:
        """The control."""
        client = Client(ConnectionLifecycle(mounted(get_asgi_application(), "")))
        assert await client.get("depth") == (200, b"0")

    async def test_a_request_is_one_context(self, project: Project) -> None:
        client = Client(ConnectionLifecycle(in_french(mounted(get_asgi_application(), ""))))
        status, found = await client.get("language")
        assert (status, found.decode()) == (200, "Français")
        assert await quiet(project)


async def test_a_request_that_a_view_makes_is_another_context(project: Project) -> None:
    status, found = await Client(get_asgi_application()).get("language/another")
    assert (status, found.decode()) == (200, "us_english")
    assert await quiet(project)


class TestFarFromTheServer:
    """Where an answer takes longer than a cancelled call is waited for."""

    async def leave_state(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> list[logging.LogRecord]:
        with caplog.at_level(logging.WARNING, "mssql_async.context"):
            delay = project.server.faults.delay(3 * GRACE)
            assert await Client(get_asgi_application()).get("state") == (200, b"pinned")
            assert await quiet(project)
            delay.cancel()
        return caplog.records

    async def test_the_reset_of_a_session_is_nothing_to_warn_of(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert await self.leave_state(project, caplog) == []

    async def test_it_is_where_it_takes_longer_than_it_may(
        self, project: Project, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control."""
        monkeypatch.setattr("mssql_async.context.context.LEAVE_TIME", GRACE)
        (record,) = await self.leave_state(project, caplog)
        assert "in quarantine" in record.getMessage()


class TestWithoutTheDatabase:
    @pytest.fixture
    def submitted(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        """What came to a worker's queue or to asgiref's own thread."""
        found: list[Any] = []
        real = ContextExecutor.submit

        def submit(executor: ContextExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            if not (executor._context.inline and executor._context.inline(fn)):
                found.append(fn)
            return real(executor, fn, *args, **kwargs)

        monkeypatch.setattr(ContextExecutor, "submit", submit)
        return found

    async def test_a_request_starts_no_thread_and_makes_no_hop(
        self, project: Project, submitted: list[Any]
    ) -> None:
        with override_settings(MIDDLEWARE=[]):
            client = Client(get_asgi_application())
        threads = set(threading.enumerate())
        for _ in range(20):
            assert await client.get("nothing") == (200, b"nothing")
        assert submitted == []
        assert set(threading.enumerate()) <= threads
        assert project.workers.statistics().workers == 0
        assert project.server.counters.logins == 0

    async def test_one_that_does_ask_makes_hops(
        self, project: Project, submitted: list[Any]
    ) -> None:
        """The control of the test above."""
        with override_settings(MIDDLEWARE=[]):
            client = Client(get_asgi_application())
        await client.get("one")
        assert len(submitted) == 1

    async def test_a_database_that_the_loops_thread_has_looked_up_makes_no_difference(
        self, project: Project, submitted: list[Any]
    ) -> None:
        with override_settings(MIDDLEWARE=[]):
            client = Client(get_asgi_application())
        assert connections["default"].connection is None
        assert await client.get("nothing") == (200, b"nothing")
        assert submitted == []

    async def test_one_that_it_has_used_is_left_alone(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As by code that was run before the loop. Nothing may be closed inside of one."""
        with monkeypatch.context() as allowed:
            allowed.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
            assert ask("SELECT 1") == 1
        wrapper = connections["default"]
        lease = wrapper.connection
        assert lease is not None
        assert await Client(get_asgi_application()).get("nothing") == (200, b"nothing")
        assert wrapper.connection is lease

    async def test_djangos_usual_middleware_asks_nothing_of_the_database(
        self, project: Project
    ) -> None:
        client = Client(get_asgi_application())
        for _ in range(20):
            assert await client.get("nothing") == (200, b"nothing")
        assert project.server.counters.logins == 0
        assert project.pool_count == 0


class TestSignals:
    @pytest.fixture
    def seen(self) -> Iterator[Counter[str]]:
        seen: Counter[str] = Counter()
        main = threading.get_ident()

        def started(**_: Any) -> None:
            seen["started"] += 1
            seen["on the loop"] += threading.get_ident() == main
            answer = ask("SELECT 1")
            seen["answers"] += answer

        def finished(**_: Any) -> None:
            seen["finished"] += 1
            seen["on the loop"] += threading.get_ident() == main
            answer = ask("SELECT 1")
            seen["answers"] += answer

        async def started_async(**_: Any) -> None:
            seen["started async"] += 1
            answer = await sync_to_async(ask)("SELECT 1")
            seen["answers"] += answer

        request_started.connect(started)
        request_started.connect(started_async)
        request_finished.connect(finished)
        yield seen
        request_started.disconnect(started)
        request_started.disconnect(started_async)
        request_finished.disconnect(finished)

    async def test_receivers_are_called_once_for_each_request_and_may_use_the_database(
        self, project: Project, seen: Counter[str]
    ) -> None:
        client = Client(get_asgi_application())
        for address in ["nothing", "one", "sync"]:
            seen.clear()
            assert (await client.get(address))[0] == 200
            assert seen == {
                "started": 1, "finished": 1, "started async": 1, "answers": 3, "on the loop": 0,
            }  # fmt: skip
        assert await quiet(project)

    async def test_a_rule_that_is_too_generous_is_seen(
        self, project: Project, seen: Counter[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: a twin that takes every receiver for one of Django's."""
        monkeypatch.setattr(trivial, "_only_djangos", lambda receivers: True)
        client = Client(get_asgi_application())
        with pytest.raises(Exception, match="async context"):
            await client.get("nothing")
        assert seen["on the loop"] == 1

    async def test_a_receiver_of_djangos_that_a_user_wraps_is_the_users(
        self, project: Project
    ) -> None:
        main, threads = threading.get_ident(), list[int]()

        def my_close(**kwargs: Any) -> None:
            threads.append(threading.get_ident())
            close_old_connections(**kwargs)

        request_finished.connect(my_close)
        try:
            await Client(get_asgi_application()).get("nothing")
        finally:
            request_finished.disconnect(my_close)
        assert len(threads) == 1
        assert main not in threads

    async def test_another_layout_of_asgirefs_calls_means_a_worker(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is not recognised is not run on the loop."""
        real = SyncToAsync.thread_handler
        main, threads = threading.get_ident(), list[int]()

        def handler(self: Any, loop: Any, exc: Any, task: Any, func: Any, child: Any) -> Any:
            threads.append(threading.get_ident())
            return real(self, loop, exc, task, func, child[0])

        original = SyncToAsync.__call__
        import functools as real_functools

        class Shifted:
            """``functools.partial`` that hides the child, as another asgiref might."""

            def __getattr__(self, name: str) -> Any:
                return getattr(real_functools, name)

            @staticmethod
            def partial(function: Any, *args: Any, **kwargs: Any) -> Any:
                if getattr(function, "__name__", "") == "handler":
                    args = (*args[:-1], (args[-1],))
                return real_functools.partial(function, *args, **kwargs)

        monkeypatch.setattr(SyncToAsync, "thread_handler", handler)
        monkeypatch.setitem(original.__globals__, "functools", Shifted())
        with override_settings(MIDDLEWARE=[]):
            client = Client(get_asgi_application())
        assert await client.get("nothing") == (200, b"nothing")
        assert threads
        assert main not in threads
        assert await quiet(project)


class TestWebSockets:
    async def converse(self, app: Any, numbers: list[int]) -> list[str]:
        received: asyncio.Queue[Any] = asyncio.Queue()
        answers: list[str] = []
        received.put_nowait({"type": "websocket.connect"})
        for number in numbers:
            received.put_nowait({"type": "websocket.receive", "text": str(number)})
        received.put_nowait({"type": "websocket.disconnect"})

        async def send(message: Any) -> None:
            if message["type"] == "websocket.send":
                answers.append(message["text"])

        await app({"type": "websocket", "path": "/"}, received.get, send)
        return answers

    async def test_ask_on_workers_and_leave_nothing(self, project: Project) -> None:
        app = ConnectionLifecycle(consumer)
        answers = await asyncio.gather(*(self.converse(app, [n, n + 1]) for n in range(50)))
        assert answers == [[str(n), str(n + 1)] for n in range(50)]
        assert await quiet(project)
        assert project.pool.size <= 20


async def lifespan(app: Any, *events: str) -> list[str]:
    """What an application answers to these events, a name for each."""
    received: asyncio.Queue[Any] = asyncio.Queue()
    for event in events:
        received.put_nowait({"type": f"lifespan.{event}"})
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"].removeprefix("lifespan."))

    await asyncio.wait_for(app({"type": "lifespan"}, received.get, send), 20)
    return sent


async def speaks(scope: Any, receive: Any, send: Any) -> None:
    for _ in range(2):
        await send({"type": f"{(await receive())['type']}.complete"})


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("knows HTTP only")


async def listens_and_raises(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("did not expect that")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    """Ignores what it does not know."""


async def fails_in_its_end(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise ValueError("at the end")


async def cannot_start(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed"})


class TestLifespan:
    @pytest.mark.parametrize("app", [speaks, raises, listens_and_raises, returns])
    async def test_warms_the_pool_and_drains_it_whatever_the_application_does(
        self, project: Project, app: Any
    ) -> None:
        project.use(min_size=2)
        assert await lifespan(ConnectionLifecycle(app), "startup", "shutdown") == [
            "startup.complete", "shutdown.complete",
        ]  # fmt: skip
        assert project.server.counters.logins == 2
        assert await asyncio.to_thread(project.server.wait_for_sessions, 0)

    async def test_of_our_own_application_is_answered_too(self, project: Project) -> None:
        project.use(min_size=1)
        assert await lifespan(get_asgi_application(), "startup", "shutdown") == [
            "startup.complete", "shutdown.complete",
        ]  # fmt: skip
        assert project.server.counters.logins == 1

    async def test_of_an_application_that_cannot_start_closes_the_pool(
        self, project: Project
    ) -> None:
        project.use(min_size=1)
        assert await lifespan(ConnectionLifecycle(cannot_start), "startup") == ["startup.failed"]
        assert await asyncio.to_thread(project.server.wait_for_sessions, 0)

    async def test_of_an_application_that_fails_in_its_end_closes_the_pool(
        self, project: Project
    ) -> None:
        project.use(min_size=2)
        with pytest.raises(ValueError, match="at the end"):
            await lifespan(ConnectionLifecycle(fails_in_its_end), "startup", "shutdown")
        assert project.server.counters.logins == 2
        assert await asyncio.to_thread(project.server.wait_for_sessions, 0)

    async def test_a_server_that_cannot_be_reached_is_logged_and_the_start_goes_on(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        project.use(min_size=1, acquire_timeout=0.5)
        project.server.faults.refuse_logins(18456)
        assert await lifespan(ConnectionLifecycle(returns), "startup", "shutdown") == [
            "startup.complete", "shutdown.complete",
        ]  # fmt: skip
        assert "cannot be warmed up" in caplog.text
        assert project.server.password not in caplog.text

    async def test_opens_nothing_where_nothing_is_asked_for(self, project: Project) -> None:
        await lifespan(ConnectionLifecycle(returns), "startup", "shutdown")
        assert project.server.counters.logins == 0

    async def test_an_application_that_fails_later_is_not_covered_up(
        self, project: Project
    ) -> None:
        async def fails_later(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "lifespan.startup.complete"})
            raise ValueError("later")

        with pytest.raises(ValueError, match="later"):
            await lifespan(ConnectionLifecycle(fails_later), "startup")
