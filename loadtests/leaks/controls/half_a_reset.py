"""A pool that resets dirty sessions without the bit that makes the server do it.

The batch that sets a session up is run again, so that most of it looks right; what that batch does
not name, such as temporary tables and application locks, stays.
"""

from __future__ import annotations

from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.pool import odbc

from . import Control

CONTROL = Control(Detector.STATE_BLEED, ["temporary_tables"], contexts=40)


def install() -> None:
    def request_nothing(raw: Any) -> None:
        pass

    odbc.request_reset = request_nothing
