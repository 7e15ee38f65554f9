"""Connections to SQLite whose statements have numbered parameters."""

from __future__ import annotations

import sqlite3
import sys
from typing import Any


class MappingConnection(sqlite3.Connection):
    """Binds ``?1`` by name.

    Python 3.12 warns of each numbered parameter whose value comes in a sequence, as if it were
    a named one, and 3.12.4 has ended that (python/cpython#117995). A suite that turns warnings
    into errors would see every statement fail.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if parameters and "?1" in sql:
            mapped = {str(number): value for number, value in enumerate(parameters, 1)}
            return super().execute(sql, mapped)
        return super().execute(sql, parameters)


CONNECTION: type[sqlite3.Connection] = (
    MappingConnection if (3, 12) <= sys.version_info < (3, 12, 4) else sqlite3.Connection
)
"""What ``sqlite3.connect`` is to make."""
