"""An application that puts one wrapper into a module global and hands it to everybody.

``inc_thread_sharing()`` switches off the check that would refuse it, so that the statements of one
request run in the transaction of another.
"""

from __future__ import annotations

import threading
from typing import Any

from django.db import connections
from django.http import HttpRequest, HttpResponseBase

from mssql_async.contrib.leaks.findings import Detector

from ..scenarios import uncommitted_rows
from ..scenarios.uncommitted_rows import UncommittedRows, hold
from ..story import Story
from . import Control

CONTROL = Control(Detector.SHARED_SESSION, ["uncommitted_rows"], contexts=200)

_lock = threading.Lock()
_everybodys: list[Any] = []


def use_everybodys(alias: str) -> None:
    with _lock:
        if not _everybodys:
            wrapper = connections[alias]
            wrapper.inc_thread_sharing()
            _everybodys.append(wrapper)
    connections[alias] = _everybodys[0]


def install() -> None:
    def hold_on_everybodys(story: Story) -> None:
        use_everybodys(story.alias)
        hold(story)

    def view_sync(self: UncommittedRows, request: HttpRequest, story: Story) -> HttpResponseBase:
        use_everybodys(story.alias)
        return look(self, request, story)

    look = UncommittedRows.view_sync
    uncommitted_rows.hold = hold_on_everybodys
    UncommittedRows.view_sync = view_sync  # type: ignore[method-assign]
