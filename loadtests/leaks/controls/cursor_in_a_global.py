"""An application that keeps a cursor of a wrapper of its own in a module global.

It has read the first row and never comes back for the second, so that its connection is lent for
as long as the process lives.
"""

from __future__ import annotations

import threading
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponseBase

from mssql_async.contrib.leaks.findings import Detector

from ..scenarios.uncommitted_rows import UncommittedRows
from ..story import Story
from . import Control

CONTROL = Control(Detector.RETAINED_LEASE, ["uncommitted_rows"], contexts=60)

_lock = threading.Lock()
_kept: list[Any] = []
_MOST = 3


def install() -> None:
    look = UncommittedRows.view_sync

    def look_and_keep(
        self: UncommittedRows, request: HttpRequest, story: Story
    ) -> HttpResponseBase:  # fmt: skip
        with _lock:
            if len(_kept) < _MOST:
                cursor = connections.create_connection(story.alias).cursor()
                _kept.append(cursor)
                cursor.execute("SELECT 1 UNION ALL SELECT 2")
                cursor.fetchone()
        return look(self, request, story)

    UncommittedRows.view_sync = look_and_keep  # type: ignore[method-assign]
