"""System checks: wrong settings and a missing driver are named before the first request.

Registered when the backend is loaded, and by ``"mssql_async"`` in ``INSTALLED_APPS`` also
where nothing has loaded it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from .driver import find_driver, require_pyodbc
from .errors import DriverNotFound, InvalidSettings
from .options import backend_options, settings_without_effect

ENGINE = "mssql_async"


def check_databases(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """E001: a wrong setting. E002: no ODBC driver manager or driver. W001: a setting that
    nobody reads."""
    messages: list[checks.CheckMessage] = []
    for alias, settings_dict in settings.DATABASES.items():
        if settings_dict.get("ENGINE") != ENGINE:
            continue
        try:
            options = backend_options(settings_dict, alias)
        except InvalidSettings as error:
            messages.append(checks.Error(str(error), id="mssql_async.E001"))
            continue
        messages += [
            checks.Warning(text, id="mssql_async.W001")
            for text in settings_without_effect(settings_dict, alias)
        ]
        if options.needs_a_driver:
            try:
                require_pyodbc()
                find_driver()
            except DriverNotFound as error:
                messages.append(checks.Error(str(error), id="mssql_async.E002"))
    return messages
