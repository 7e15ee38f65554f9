"""The one place where the demo asks ``mssql_async`` about its pools."""

from __future__ import annotations

import importlib
from typing import Any


def pool_state() -> list[dict[str, Any]]:
    """One flat dictionary of numbers per database alias; empty where nobody knows.

    The pages show every entry and draw a meter from ``leased`` and ``max_size``.
    """
    try:
        statistics = importlib.import_module("mssql_async.statistics")
    except ModuleNotFoundError:
        return []
    return list(statistics.snapshot())
