"""The current time in storage form."""

from __future__ import annotations

import datetime
import time


def now() -> str:
    """Local time as ``datetime2`` holds it."""
    return at(time.time())


def at(timestamp: float) -> str:
    """A ``time.time()`` as ``datetime2`` holds it."""
    moment = datetime.datetime.fromtimestamp(timestamp)  # noqa: DTZ006  SQL Server's is local
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f0")
