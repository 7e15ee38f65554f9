"""The server of the suite: the embedded one, or the one that ``MSSQL_HOST`` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from mssql_async.devserver import DevServer

ON_REAL_SERVER = "MSSQL_HOST" in os.environ


@pytest.fixture(scope="session")
def devserver() -> Iterator[DevServer]:
    """The embedded server that the database tests of this run share."""
    if ON_REAL_SERVER:
        pytest.skip("needs the embedded server; MSSQL_HOST names another")
    with DevServer() as server:
        yield server


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """Point Django at the embedded server before pytest-django makes the test database."""
    if not ON_REAL_SERVER:
        settings.DATABASES["default"].update(
            connection_settings(request.getfixturevalue("devserver"))
        )


def connection_settings(server: DevServer) -> dict[str, Any]:
    """What an entry of ``DATABASES`` says of an embedded server."""
    return {
        "HOST": server.host,
        "PORT": str(server.port),
        "USER": server.user,
        "PASSWORD": server.password,
        "NAME": server.database,
    }
