"""Hooks of Django's own middleware: which run without a thread, and that nobody can tell."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib import messages
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.asgi import get_asgi_application as djangos_application
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.middleware.security import SecurityMiddleware
from django.test import override_settings
from django.urls import path

from mssql_async.asgi import ConnectionLifecycle, get_asgi_application
from mssql_async.context import middleware
from mssql_async.context.routing import ContextExecutor
from tests.context.project import Project

#: As ``django-admin startproject`` writes it.
OF_A_NEW_PROJECT = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
IN_COOKIES = "django.contrib.sessions.backends.signed_cookies"


class OnesOwn(SecurityMiddleware):
    threads: list[int] = []

    def process_request(self, request: HttpRequest) -> None:
        self.threads.append(threading.get_ident())


class InheritsOnly(SecurityMiddleware):
    """Its hooks are Django's, and may call what it overrides."""


async def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing")


async def token(request: HttpRequest) -> HttpResponse:
    get_token(request)
    return HttpResponse("token")


async def modify(request: HttpRequest) -> HttpResponse:
    request.session["seen"] = True
    return HttpResponse("modified")


async def message(request: HttpRequest) -> HttpResponse:
    messages.info(request, "told")
    return HttpResponse("message")


async def told(request: HttpRequest) -> HttpResponse:
    return HttpResponse(", ".join(map(str, messages.get_messages(request))))


async def strict(request: HttpRequest) -> HttpResponse:
    return HttpResponse("strict", headers={"X-Frame-Options": "SAMEORIGIN"})


urlpatterns = [
    path("nothing", nothing),
    path("token", token),
    path("modify", modify),
    path("message", message),
    path("told", told),
    path("strict", strict),
    path("slash/", nothing),
]


@pytest.fixture(autouse=True)
def project_of_its_own(project: Project) -> Iterator[None]:
    with override_settings(
        ROOT_URLCONF=__name__, MIDDLEWARE=OF_A_NEW_PROJECT, SESSION_ENGINE=IN_COOKIES
    ):
        yield


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that were sent to a worker."""
    found: list[str] = []
    real = ContextExecutor.submit

    def submit(executor: ContextExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not (executor._context.inline and executor._context.inline(fn)):
            found.append(getattr(fn.args[-1].func, "__qualname__", "?"))
        return real(executor, fn, *args, **kwargs)

    monkeypatch.setattr(ContextExecutor, "submit", submit)
    return found


Answer = tuple[int, dict[str, str], str]


async def ask(
    app: Callable[..., Any], address: str, *, method: str = "GET", cookies: str = ""
) -> Answer:
    """Status, headers and body."""
    sent: list[Any] = []
    received = iter([{"type": "http.request", "body": b"a=b", "more_body": False}])

    async def receive() -> Any:
        for message in received:
            return message
        return await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"testserver"), (b"cookie", cookies.encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": address, "raw_path": address.encode(), "root_path": "",
        "query_string": b"", "headers": headers, "client": None, "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 30)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:]).decode()


def session_cookie(**values: Any) -> str:
    store = SessionStore()
    store.update(values)
    store.save()
    return f"sessionid={store.session_key}"


class TestHops:
    @pytest.mark.parametrize("engine", [IN_COOKIES, "django.contrib.sessions.backends.db"])
    async def test_the_middleware_of_a_new_project_needs_none(
        self, project: Project, hops: list[str], engine: str
    ) -> None:
        with override_settings(SESSION_ENGINE=engine):
            app = get_asgi_application()
        for address in ("/nothing", "/token", "/strict"):
            status, _, _ = await ask(app, address, cookies="sessionid=abcdefgh; csrftoken=short")
            assert status == 200
        assert hops == []
        assert project.workers.statistics().workers == 0

    @pytest.mark.parametrize(
        ("address", "method", "settings", "hop"),
        [
            ("/modify", "GET", {}, "SessionMiddleware.process_response"),
            ("/message", "GET", {}, "MessageMiddleware.process_response"),
            ("/told", "GET", {}, "MessageMiddleware.process_response"),
            ("/nothing", "POST", {}, "CsrfViewMiddleware.process_view"),
            ("/missing", "GET", {}, "CommonMiddleware.process_response"),
            ("/nothing", "GET", {"PREPEND_WWW": True}, "CommonMiddleware.process_request"),
            (
                "/nothing",
                "GET",
                {"SESSION_SAVE_EVERY_REQUEST": True},
                "SessionMiddleware.process_response",
            ),
            (
                "/nothing",
                "GET",
                {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"},
                "SessionMiddleware.process_request",
            ),
            ("/nothing", "GET", {"CSRF_USE_SESSIONS": True}, "CsrfViewMiddleware.process_request"),
            ("/token", "GET", {"CSRF_USE_SESSIONS": True}, "CsrfViewMiddleware.process_response"),
        ],
    )
    async def test_what_may_wait_goes_to_a_worker(
        self, hops: list[str], address: str, method: str, settings: dict[str, Any], hop: str
    ) -> None:
        with override_settings(**settings):
            await ask(get_asgi_application(), address, method=method)
        assert hop in hops

    async def test_of_ones_own_middleware_all_go_to_a_worker(self, hops: list[str]) -> None:
        own = [f"{__name__}.OnesOwn", f"{__name__}.InheritsOnly"]
        OnesOwn.threads.clear()
        with override_settings(MIDDLEWARE=own):
            assert (await ask(get_asgi_application(), "/nothing"))[0] == 200
        assert sorted(hops) == [
            "OnesOwn.process_request",
            "SecurityMiddleware.process_request",
            "SecurityMiddleware.process_response",
            "SecurityMiddleware.process_response",
        ]
        assert threading.get_ident() not in OnesOwn.threads
        assert len(OnesOwn.threads) == 1

    async def test_one_that_took_subclasses_for_djangos_would_run_them_in_the_loop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control of the test above."""
        monkeypatch.setitem(
            middleware._HOOKS, f"{__name__}.OnesOwn.process_request", lambda *_: True
        )
        OnesOwn.threads.clear()
        with override_settings(MIDDLEWARE=[f"{__name__}.OnesOwn"]):
            await ask(get_asgi_application(), "/nothing")
        assert OnesOwn.threads == [threading.get_ident()]


class TestAnswers:
    @pytest.mark.parametrize("cookies", ["none", "a session", "an empty session", "messages"])
    @pytest.mark.parametrize(
        "request_line",
        [
            "GET /nothing", "HEAD /nothing", "POST /nothing", "GET /token", "GET /modify",
            "GET /message", "GET /told", "GET /strict", "GET /missing", "GET /slash",
        ],
    )  # fmt: skip
    async def test_are_those_that_djangos_entry_point_gives(
        self, request_line: str, cookies: str
    ) -> None:
        method, address = request_line.split()
        through_django = ConnectionLifecycle(djangos_application())
        brought = {
            "none": "",
            "a session": session_cookie(seen=True),
            "an empty session": "sessionid=; csrftoken=" + "a" * 32,
            "messages": "",
        }[cookies]
        if cookies == "messages":
            _, headers, _ = await ask(through_django, "/message")
            brought = headers["Set-Cookie"].split(";")[0]
        expected = await ask(through_django, address, method=method, cookies=brought)
        found = await ask(get_asgi_application(), address, method=method, cookies=brought)
        assert without_chance(found) == without_chance(expected)
        assert expected[0] in (200, 301, 403, 404)

    async def test_are_headers_of_the_middleware_among_others(self) -> None:
        """That the comparison above has something to compare."""
        _, headers, _ = await ask(get_asgi_application(), "/nothing")
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Length"] == "7"
        _, headers, _ = await ask(get_asgi_application(), "/token")
        assert headers["Set-Cookie"].startswith("csrftoken=")

    async def test_of_a_hook_that_raises_is_djangos_error(self, hops: list[str]) -> None:
        with override_settings(ALLOWED_HOSTS=["elsewhere"]):
            status, _, _ = await ask(get_asgi_application(), "/nothing")
        assert status == 400
        assert "CommonMiddleware.process_request" not in hops


def without_chance(answer: Answer) -> Answer:
    """Without what differs from one request to the next: tokens, signatures and times."""
    status, headers, body = answer
    cookie = headers.get("Set-Cookie")
    if cookie is not None:
        name, _, rest = cookie.partition("=")
        attributes = [a for a in rest.split("; ")[1:] if not a.lower().startswith("expires")]
        headers = {**headers, "Set-Cookie": "; ".join([name, *attributes])}
    return status, headers, body
