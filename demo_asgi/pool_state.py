"""The one place where the demo asks ``mssql_async`` about its pools."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any


def pool_state() -> list[dict[str, Any]]:
    """One flat dictionary per pool: ``name``, ``state`` and numbers.

    The pages draw a meter from ``in_use``, ``idle`` and ``max_size`` and list the rest.
    What the server said about a failed connect is for its log, not for every visitor.
    """
    try:
        snapshot = importlib.import_module("mssql_async.statistics").snapshot
    except ModuleNotFoundError:
        snapshot = importlib.import_module("mssql_async.pool.registry").pool_statistics
    return [
        {name: value for name, value in _as_dict(pool).items() if name != "last_connect_error"}
        for pool in snapshot()
    ]


def _as_dict(pool: Any) -> dict[str, Any]:
    return dataclasses.asdict(pool) if dataclasses.is_dataclass(pool) else dict(pool)
