"""Test clients whose handlers do what :mod:`mssql_async.asgi` does.

Django's own refuse asynchronous views under ``ATOMIC_REQUESTS``. ::

    class OrderTests(TestCase):
        client_class = Client
        async_client_class = AsyncClient
"""

from __future__ import annotations

from typing import Any

from django import test
from django.test.client import AsyncClientHandler, ClientHandler

from .atomicviews import AtomicViews


class _Handler(AtomicViews, ClientHandler):
    pass


class _AsyncHandler(AtomicViews, AsyncClientHandler):
    pass


class Client(test.Client):
    """Django's ``Client``, arguments and all."""

    def __init__(self, enforce_csrf_checks: bool = False, *args: Any, **kwargs: Any) -> None:
        super().__init__(enforce_csrf_checks, *args, **kwargs)
        self.handler = _Handler(enforce_csrf_checks)


class AsyncClient(test.AsyncClient):
    """Django's ``AsyncClient``, arguments and all."""

    def __init__(self, enforce_csrf_checks: bool = False, *args: Any, **kwargs: Any) -> None:
        super().__init__(enforce_csrf_checks, *args, **kwargs)
        self.handler = _AsyncHandler(enforce_csrf_checks)


__all__ = ["AsyncClient", "Client"]
