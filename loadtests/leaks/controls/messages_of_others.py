"""A driver that keeps one list of messages for all cursors.

Who looks at the messages of his statement finds those of the one before.
"""

from __future__ import annotations

import threading
from typing import Any

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.cursor import LeasedCursor

from . import Control

CONTROL = Control(Detector.RESULT_MIX_UP, ["mixed_answers"], contexts=60)


def install() -> None:
    own = LeasedCursor.messages
    last: list[Any] = []
    lock = threading.Lock()

    def messages(self: LeasedCursor) -> list[Any]:
        mine = own.__get__(self, type(self))
        if not mine:
            return []
        with lock:
            others = list(last)
            last[:] = mine
        return others or list(mine)

    LeasedCursor.messages = property(messages)  # type: ignore[assignment]
