"""The one place where the demo asks ``mssql_async`` about its pools."""

from __future__ import annotations

import dataclasses
from typing import Any


def pool_state() -> list[dict[str, Any]]:
    """One flat dictionary per pool: ``name``, ``state`` and numbers.

    The pages draw a meter from ``in_use``, ``idle`` and ``max_size`` and list the rest.
    What the server said about a failed connect is for its log, not for every visitor.
    """
    # Imported late: it loads the ODBC driver manager, whose absence Django's start explains.
    from mssql_async.pool.registry import pool_statistics

    states = [dataclasses.asdict(pool) for pool in pool_statistics()]
    for state in states:
        del state["last_connect_error"]
    return states
