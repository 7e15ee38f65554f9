"""Optional: ``"mssql_async"`` in ``INSTALLED_APPS`` runs the system checks at every start."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class MssqlAsyncConfig(AppConfig):
    name = "mssql_async"
    verbose_name = "SQL Server for ASGI"

    def ready(self) -> None:
        from .checks import check_databases

        checks.register(check_databases)
