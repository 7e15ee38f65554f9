"""What comes with time: idle connections that end, the smallest size that is kept, leases that
are held too long."""

from __future__ import annotations

import logging
from collections import deque

from . import origin
from .books import PoolState
from .connection import PooledConnection
from .openings import Openings

logger = logging.getLogger("mssql_async.pool")


class Upkeep(Openings):
    """What the maintenance thread does for a pool."""

    def maintain(self) -> None:
        """Close what idles too long, keep the smallest size, report leases held too long.

        Called by the maintenance thread at the times that were asked for.
        """
        now = self._now()
        gone: list[PooledConnection] = []
        leaks: list[PooledConnection] = []
        with self._guard:
            while self._wakes and self._wakes[-1] <= now:
                self._wakes.pop()
                self._wake_announced = None
            self._wake_at = self._wakes[-1] if self._wakes else None
            if self._state is PoolState.CLOSED:
                return
            keep: deque[PooledConnection] = deque()
            spare = max(self._size() - self.settings.min_size, 0)
            for connection in self._idle:  # the oldest first
                over_idle = now >= connection.idle_since + self._max_idle
                if not self._is_lendable(connection, now) or (over_idle and spare > len(gone)):
                    gone.append(connection)
                else:
                    keep.append(connection)
            self._idle = keep
            for connection in gone:
                self._drop(connection)
            if self._leak_threshold is not None:
                leaks = [
                    connection
                    for connection in self._in_use
                    if not connection.leak_reported
                    and now >= connection.lent_at + self._leak_threshold
                ]
                for connection in leaks:
                    connection.leak_reported = True
                self._counters.leaks += len(leaks)
            jobs = self._plan_openings(now, at_least=self.settings.min_size)
            self._schedule_what_comes(now)
        self._close_all(gone)
        for connection in leaks:
            self._report_leak(connection, now)
        self._start_openings_elsewhere(jobs)

    def _schedule_what_comes(self, now: float) -> None:
        times = [
            connection.idle_since + self._max_idle
            for connection in self._idle
            if now < connection.idle_since + self._max_idle
        ]
        times += [c.expires_at for c in self._idle if c.expires_at is not None]
        if self._leak_threshold is not None:
            times += [
                connection.lent_at + self._leak_threshold
                for connection in self._in_use
                if not connection.leak_reported
            ]
        if times:
            self._schedule(min(times))

    def _report_leak(self, connection: PooledConnection, now: float) -> None:
        logger.warning(
            "A lease of the pool %r has been held for %.1f s (leak_threshold: %s s): connection "
            "#%d, acquired at\n%s",
            self.name, now - connection.lent_at, self._leak_threshold, connection.number,
            origin.describe(connection.origin),
        )  # fmt: skip

    def _report_return(self, connection: PooledConnection, now: float) -> None:
        connection.leak_reported = False
        logger.warning(
            "The lease of the pool %r reported before came back after %.1f s: connection #%d.",
            self.name, now - connection.lent_at, connection.number,
        )  # fmt: skip
