"""Hooks of Django's own middleware that need no thread, because they neither wait nor ask.

Django sends every hook of synchronous middleware to a thread: 13 hops for a request through the
middleware of a new project, of which hardly any has a reason. The ones below only read and
write headers and attributes, under the condition that stands beside each. A subclass may do
anything, and so do the hooks of all other middleware: they go to a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_SESSION_STORES = frozenset(
    f"django.contrib.sessions.backends.{name}" for name in ("db", "signed_cookies")
)
_MESSAGE_STORAGES = frozenset(
    f"django.contrib.messages.storage.{name}"
    for name in ("cookie.CookieStorage", "fallback.FallbackStorage", "session.SessionStorage")
)


def needs_no_thread(hook: Any, args: tuple[Any, ...]) -> bool:
    """Whether ``hook(*args)`` may run in the thread of an event loop.

    Hooks are known by name: some of these modules can be imported only where their application
    is installed.
    """
    function, owner = getattr(hook, "__func__", None), type(getattr(hook, "__self__", None))
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    is_harmless = _HOOKS.get(name)
    return (
        is_harmless is not None
        and name == f"{owner.__module__}.{owner.__qualname__}.{getattr(function, '__name__', '')}"
        and is_harmless(hook.__self__, *args)
    )


def _always(*_: Any) -> bool:
    return True


def _adds_no_www(*_: Any) -> bool:
    """Else it may look for the view, which resolves paths with the project's converters."""
    return not settings.PREPEND_WWW


def _was_found(middleware: object, request: HttpRequest, response: HttpResponseBase) -> bool:
    """For the same reason."""
    return response.status_code != 404


def _is_known(store: type) -> bool:
    """Stores in a cache may be anything, and belong to the thread that makes them."""
    return store.__module__ in _SESSION_STORES and store.__qualname__ == "SessionStore"


def _begins_known_session(middleware: Any, request: HttpRequest) -> bool:
    return _is_known(middleware.SessionStore)


def _saves_no_session(middleware: Any, request: HttpRequest, response: HttpResponseBase) -> bool:
    session = getattr(request, "session", None)
    return session is None or (
        _is_known(type(session))
        and not session.modified
        and not settings.SESSION_SAVE_EVERY_REQUEST
    )


def _stores_messages_as_django(middleware: object, request: HttpRequest) -> bool:
    return settings.MESSAGE_STORAGE in _MESSAGE_STORAGES


def _stores_no_message(
    middleware: object, request: HttpRequest, response: HttpResponseBase
) -> bool:
    storage = getattr(request, "_messages", None)
    return storage is None or (
        f"{type(storage).__module__}.{type(storage).__qualname__}" in _MESSAGE_STORAGES
        and not storage.used
        and not storage.added_new
    )


def _keeps_tokens_in_cookies(*_: Any) -> bool:
    """And not in the session, which is read from the database."""
    return not settings.CSRF_USE_SESSIONS


def _checks_no_token(middleware: object, request: HttpRequest, *_: Any) -> bool:
    """Else it reads the body."""
    return request.method in _SAFE_METHODS


_HOOKS: dict[str, Callable[..., bool]] = {
    "django.middleware.security.SecurityMiddleware.process_request": _always,
    "django.middleware.security.SecurityMiddleware.process_response": _always,
    "django.contrib.sessions.middleware.SessionMiddleware.process_request": _begins_known_session,
    "django.contrib.sessions.middleware.SessionMiddleware.process_response": _saves_no_session,
    "django.middleware.common.CommonMiddleware.process_request": _adds_no_www,
    "django.middleware.common.CommonMiddleware.process_response": _was_found,
    "django.middleware.csrf.CsrfViewMiddleware.process_request": _keeps_tokens_in_cookies,
    "django.middleware.csrf.CsrfViewMiddleware.process_view": _checks_no_token,
    "django.middleware.csrf.CsrfViewMiddleware.process_response": _keeps_tokens_in_cookies,
    "django.contrib.auth.middleware.AuthenticationMiddleware.process_request": _always,
    "django.contrib.messages.middleware.MessageMiddleware.process_request": (
        _stores_messages_as_django
    ),
    "django.contrib.messages.middleware.MessageMiddleware.process_response": _stores_no_message,
    "django.middleware.clickjacking.XFrameOptionsMiddleware.process_response": _always,
}
