"""Invariant 8: nothing sleeps or does I/O while holding the pool's lock.

The world of tests/pool asks at every call of the driver whether the lock is free
(``World._message``), in each of its random programs; a login under the lock is a twin there. Here
are the driver's other calls.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from mssql_async.pool import Pool
from tests.pool.test_interleavings import TestBrokenTwins as Twins
from tests.pool.test_interleavings import no_reports_of_leaks
from tests.pool.world import World

__all__ = ["no_reports_of_leaks"]


def twin_that_locks(module: ModuleType, method: str) -> type[Pool]:
    """A pool that makes this call of its connector while it has the lock."""

    class Locking(module.Pool):  # type: ignore[misc, name-defined]
        __module__ = module.__name__

        def __init__(self, connector: World, *args: object, **options: object) -> None:
            super().__init__(connector, *args, **options)
            call = getattr(connector, method)

            def under_lock(*arguments: Any) -> Any:
                with self._lock:
                    return call(*arguments)

            setattr(connector, method, under_lock)

    return Locking


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("prove", "under the lock"),
        ("reset", "under the lock"),
        ("close", "under the lock"),
        ("peer_hung_up", "under the lock"),
    ],
)
def test_a_pool_that_calls_the_driver_under_its_lock_is_found(method: str, complaint: str) -> None:
    Twins.assert_found(lambda module: twin_that_locks(module, method), complaint)
