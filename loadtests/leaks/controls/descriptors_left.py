"""A backend that leaves a file descriptor open for every tenth lease."""

from __future__ import annotations

import os
from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection

from . import Control
from ._broken import every

CONTROL = Control(Detector.GROWTH, ["gather_in_a_view"], contexts=448)


def install() -> None:
    begin = LeasedConnection.__init__
    is_due = every(10)

    def begin_with_a_file(self: LeasedConnection, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        if is_due():
            os.open(os.devnull, os.O_RDONLY)

    LeasedConnection.__init__ = begin_with_a_file  # type: ignore[method-assign]
