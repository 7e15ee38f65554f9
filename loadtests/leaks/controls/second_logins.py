"""A connector that logs in twice and returns one of the two.

As one does that tries again after a time-out although the first attempt has succeeded.
"""

from __future__ import annotations

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.pool.connector import Opened
from mssql_async.pool.odbc_connector import OdbcConnector

from . import Control

CONTROL = Control(Detector.ORPHAN_SESSION, ["gather_in_a_view"], contexts=30)


def install() -> None:
    open_once = OdbcConnector.open
    first_attempts: list[Opened] = []

    def open_twice(self: OdbcConnector, deadline: float) -> Opened:
        first_attempts.append(open_once(self, deadline))
        return open_once(self, deadline)

    OdbcConnector.open = open_twice  # type: ignore[method-assign]
