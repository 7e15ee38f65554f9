"""The SQL Server of somebody's test suite: the embedded one, or the one that ``MSSQL_HOST`` names.

The variables are ``MSSQL_HOST``, ``MSSQL_PORT``, ``MSSQL_USER``, ``MSSQL_PASSWORD``,
``MSSQL_DATABASE`` and ``MSSQL_EXTRA_PARAMS``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..devserver import DevServer


class DevServerMissing(Exception):
    """What the embedded server needs is not installed."""


@dataclass(frozen=True)
class ServerForTests:
    """Where it is, and how to log in."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    extra_params: str = ""
    embedded: DevServer | None = None
    """``None``: it is a real one."""

    def database_settings(self, **changes: Any) -> dict[str, Any]:
        """An entry of ``DATABASES``. ``changes`` are further settings of it; those in
        ``OPTIONS`` go beside the ones that are needed."""
        options: dict[str, Any] = {}
        if self.extra_params:
            options["extra_params"] = self.extra_params
        return {
            "ENGINE": "mssql_async",
            "HOST": self.host,
            "PORT": str(self.port),
            "USER": self.user,
            "PASSWORD": self.password,
            "NAME": self.database,
            **changes,
            "OPTIONS": {**options, **changes.get("OPTIONS", {})},
        }

    def use_for(self, *aliases: str) -> None:
        """Have Django's settings lead there: those of ``aliases``, by default of every database
        whose ``ENGINE`` is for SQL Server. What else they say stays, also their ``ENGINE`` and
        ``OPTIONS``, and their ``NAME``, if there is one."""
        from django.conf import settings

        for alias, entry in settings.DATABASES.items():
            if alias in aliases or (not aliases and _is_for_sql_server(entry)):
                own = self.database_settings(OPTIONS=entry.get("OPTIONS") or {})
                kept = {key: entry[key] for key in ("ENGINE", "NAME") if entry.get(key)}
                entry.update({**own, **kept})


def _is_for_sql_server(entry: Mapping[str, Any]) -> bool:
    return "mssql" in str(entry.get("ENGINE", ""))


@contextlib.contextmanager
def server_for_tests(environment: Mapping[str, str] = os.environ) -> Iterator[ServerForTests]:
    """
    :raises DevServerMissing: it is to be the embedded one, whose packages are missing.
    """
    if "MSSQL_HOST" in environment:
        yield ServerForTests(
            environment["MSSQL_HOST"],
            int(environment.get("MSSQL_PORT") or 1433),
            environment.get("MSSQL_USER", "sa"),
            environment.get("MSSQL_PASSWORD", ""),
            environment.get("MSSQL_DATABASE", "app"),
            environment.get("MSSQL_EXTRA_PARAMS", ""),
        )
        return
    try:
        from ..devserver import DevServer

        server = DevServer()
    except ImportError as error:
        raise DevServerMissing(
            f"The embedded SQL Server needs the package {error.name!r}: install "
            "mssql-async[devserver], or name a real server in MSSQL_HOST."
        ) from error
    with server:
        yield ServerForTests(
            server.host, server.port, server.user, server.password, server.database,
            "Encrypt=no", server,
        )  # fmt: skip
