"""A backend that does nothing when a context ends.

What a context has pinned (a transaction, a temporary table) stays with the thread that served it.
"""

from __future__ import annotations

from mssql_async.base import DatabaseWrapper
from mssql_async.contrib.leaks.findings import Detector

from . import Control

CONTROL = Control(Detector.RETAINED_LEASE, ["set_options"], contexts=30)


def install() -> None:
    def do_nothing(self: DatabaseWrapper) -> None:
        pass

    DatabaseWrapper.close_if_unusable_or_obsolete = do_nothing  # type: ignore[method-assign]
    DatabaseWrapper.end_context = do_nothing  # type: ignore[method-assign]
    DatabaseWrapper.begin_context = do_nothing  # type: ignore[method-assign]
