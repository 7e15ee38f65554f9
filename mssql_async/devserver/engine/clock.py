"""The current time in storage form. The server's time zone is UTC, as GETDATE() says."""

from __future__ import annotations

import datetime
import time


def now() -> str:
    """Now as ``datetime2`` holds it."""
    return at(time.time())


def at(timestamp: float) -> str:
    """A ``time.time()`` as ``datetime2`` holds it."""
    moment = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f0")
