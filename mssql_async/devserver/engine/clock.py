"""The current time in storage form."""

from __future__ import annotations

import datetime


def now() -> str:
    """Local time as ``datetime2`` holds it."""
    moment = datetime.datetime.now()  # noqa: DTZ005  SYSDATETIME() is local and naive
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f0")
