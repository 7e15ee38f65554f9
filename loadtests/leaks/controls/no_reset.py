"""A pool that skips the reset of dirty sessions.

It lends them on as they came back: with the lock timeout, the temporary table, the language that
the last context chose.
"""

from __future__ import annotations

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.pool import Pool, PooledConnection

from . import Control

CONTROL = Control(Detector.STATE_BLEED, ["set_options"], contexts=40)


def install() -> None:
    release = Pool.release

    def release_as_it_is(
        self: Pool, connection: PooledConnection, *, reset: bool = False
    ) -> None:  # fmt: skip
        release(self, connection)

    Pool.release = release_as_it_is  # type: ignore[method-assign]
