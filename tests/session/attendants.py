"""Attendants whose time is the test's."""

from __future__ import annotations

import threading
from typing import Any

from mssql_async.session.lease import _live


class HeldAttendants:
    """Time passes when the test says so; what may block has a thread, as always."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Any]] = []
        self.threads: list[threading.Thread] = []

    def soon(self, job: Any) -> None:
        thread = threading.Thread(target=job, daemon=True)
        self.threads.append(thread)
        thread.start()

    def later(self, seconds: float, job: Any) -> None:
        self.due.append((seconds, job))

    def something_is_stuck(self) -> bool:
        return any(lease.is_being_cancelled for lease in list(_live))

    def pass_time(self, seconds: float) -> None:
        now = [job for due, job in self.due if due <= seconds]
        self.due = [(due, job) for due, job in self.due if due > seconds]
        for job in now:
            job()
