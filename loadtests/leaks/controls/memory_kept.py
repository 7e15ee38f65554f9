"""A backend that keeps 128 KiB of every lease for ever.

As a log of queries does, or a cache without a bound.
"""

from __future__ import annotations

from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection

from . import Control

CONTROL = Control(Detector.GROWTH, ["gather_in_a_view"], contexts=448)


def install() -> None:
    begin = LeasedConnection.__init__
    kept: list[bytes] = []

    def begin_and_keep(self: LeasedConnection, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        kept.append(b"\1" * (128 << 10))

    LeasedConnection.__init__ = begin_and_keep  # type: ignore[method-assign]
