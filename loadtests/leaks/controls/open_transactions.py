"""A lease that ignores a transaction which its context left open.

The connection goes back to the pool in the middle of it, and whoever gets it next is in it.
"""

from __future__ import annotations

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection
from mssql_async.session.results import Hold

from . import Control

CONTROL = Control(Detector.TRANSACTION_BLEED, ["outliving_tasks"])


def install() -> None:
    leave_nothing_open = LeasedConnection._leave_nothing_open  # noqa: SLF001

    def leave_the_transaction(self: LeasedConnection, hold: Hold) -> None:
        self._in_transaction = False
        leave_nothing_open(self, hold)

    LeasedConnection._leave_nothing_open = leave_the_transaction  # type: ignore[method-assign]  # noqa: SLF001
