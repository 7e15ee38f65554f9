"""Counts what a piece of work costs at the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mssql_async.devserver import DevServer

T = TypeVar("T")

_QUIET = 0.06
"""Seconds without a message after which nothing more is taken to come."""
_PATIENCE = 5.0
"""Seconds after which that is waited for no longer."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Messages (each a round trip) and logins; ``None``: the server does not say."""

    messages: int | None
    logins: int | None


@dataclass(frozen=True, slots=True)
class Counting:
    """With the embedded server in this process; with another, work is done uncounted."""

    server: DevServer | None

    def of(self, work: Callable[[], T]) -> tuple[Counted, T]:
        """What the work costs, with what follows it at once, and what it returns."""
        if self.server is None:
            return Counted(None, None), work()
        self.until_quiet()
        self.server.reset_counters()
        done = work()
        self.until_quiet()
        counters = self.server.counters
        return Counted(counters.total_messages, counters.logins), done

    def until_quiet(self) -> None:
        """Stock backends end their connections after the answer."""
        if self.server is None:
            return
        start = last_change = time.monotonic()
        seen = -1
        while (now := time.monotonic()) < start + _PATIENCE and now < last_change + _QUIET:
            total = self.server.counters.total_messages
            if total != seen:
                seen, last_change = total, now
            time.sleep(_QUIET / 10)
