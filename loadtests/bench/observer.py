"""A session of the benchmark's own that looks at the others, as an administrator would.

The login needs VIEW SERVER STATE; the embedded server lets everybody look.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyodbc

from mssql_async.driver import find_driver

from .requests_sites import Database

_SESSIONS = "SELECT COUNT(*) FROM sys.dm_exec_sessions WHERE host_process_id = ?"
_WAITING = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = 'WAITFOR'"


class Observer:
    """Not for several threads."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def sessions(self, process_id: int) -> int:
        """Logged-in sessions of that process."""
        return int(self._cursor.execute(_SESSIONS, process_id).fetchval())

    def waiting(self) -> int:
        """WAITFOR statements that run now, whoever sent them."""
        return int(self._cursor.execute(_WAITING).fetchval())


@contextmanager
def observing(database: Database) -> Iterator[Observer]:
    """
    :raises pyodbc.Error: the server refuses the login.
    """
    driver = find_driver()
    text = (
        f"DRIVER={driver.name};SERVER={database.host},{database.port};UID={database.user};"
        f"PWD={{{database.password.replace('}', '}}')}}};DATABASE={database.name};"
        f"{database.extra_params}"
    )
    pyodbc.pooling = False
    connection = pyodbc.connect(driver.in_connection_string(text), autocommit=True)
    try:
        yield Observer(connection)
    finally:
        connection.close()
