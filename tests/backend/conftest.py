"""Helpers of the tests that look at a backend from the server's side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.pool.registry import close_pools
from tests.conftest import connection_settings


@pytest.fixture
def server(django_db_blocker: DjangoDbBlocker) -> Iterator[DevServer]:
    """An embedded server of the test's own, whose counters nobody else moves."""
    with django_db_blocker.unblock(), DevServer() as own:
        yield own
        close_pools(lambda parameters: parameters.address == (own.host, own.port))


def wrapper_for(server: DevServer, **settings: Any) -> DatabaseWrapper:
    """A wrapper as Django makes one for a thread; ``settings`` override ``DATABASES``."""
    options = {"extra_params": "Encrypt=no", **settings.pop("OPTIONS", {})}
    base = dict(connections["default"].settings_dict)
    return DatabaseWrapper(
        {**base, **connection_settings(server), "OPTIONS": options, **settings}, "default"
    )


@pytest.fixture
def wrapper(server: DevServer) -> Iterator[DatabaseWrapper]:
    one = wrapper_for(server)
    yield one
    one.close()
