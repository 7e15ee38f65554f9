"""A pool that lends a connection which somebody has already.

Whenever one is lent, every other caller gets that instead of one of its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.pool import NO_PROFILE, Pool, PooledConnection, Profile

from . import Control
from ._broken import every, lock_each_call, read_in_transactions

CONTROL = Control(Detector.SHARED_SESSION, ["gather_in_a_view"], contexts=60)


def install() -> None:
    acquire, release = Pool.acquire, Pool.release
    also_lent: Counter[PooledConnection] = Counter()
    lock = threading.Lock()
    is_due = every(2)

    def acquire_what_is_lent(
        self: Pool, profile: Profile = NO_PROFILE, **how: Any
    ) -> PooledConnection | None:  # fmt: skip
        with lock, self._guard:
            lent = next(iter(self._in_use), None)
            if lent is not None and lent.profile == profile and is_due():
                also_lent[lent] += 1
                return lent
        return acquire(self, profile, **how)

    def release_the_last_time(
        self: Pool, connection: PooledConnection, *, reset: bool = False
    ) -> None:  # fmt: skip
        with lock:
            if also_lent[connection]:
                also_lent[connection] -= 1
                return
        release(self, connection, reset=reset)

    Pool.acquire = acquire_what_is_lent  # type: ignore[method-assign]
    Pool.release = release_the_last_time  # type: ignore[method-assign]
    lock_each_call()
    read_in_transactions()
