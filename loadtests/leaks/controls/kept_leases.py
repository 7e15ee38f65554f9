"""A wrapper that keeps its lease when its context ends.

Each twentieth lease is left as it is where its connection should go back to the pool.
"""

from __future__ import annotations

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection

from . import Control
from ._broken import every

CONTROL = Control(Detector.RETAINED_LEASE, ["gather_in_a_view"], contexts=30)


def install() -> None:
    give_back = LeasedConnection._give_back  # noqa: SLF001
    kept: list[LeasedConnection] = []
    is_due = every(20)

    def give_back_or_keep(self: LeasedConnection) -> None:
        if len(kept) < 5 and not self.in_transaction and is_due():
            kept.append(self)
            self._hold = None
        else:
            give_back(self)

    LeasedConnection._give_back = give_back_or_keep  # type: ignore[method-assign]  # noqa: SLF001
