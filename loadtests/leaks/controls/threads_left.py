"""A backend that leaves a thread behind for every tenth lease."""

from __future__ import annotations

import threading
from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection

from . import Control
from ._broken import every

CONTROL = Control(Detector.GROWTH, ["gather_in_a_view"], contexts=448)


def install() -> None:
    begin = LeasedConnection.__init__
    forever = threading.Event()
    is_due = every(10)

    def begin_with_a_thread(self: LeasedConnection, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        if is_due():
            threading.Thread(target=forever.wait, name="left behind", daemon=True).start()

    LeasedConnection.__init__ = begin_with_a_thread  # type: ignore[method-assign]
