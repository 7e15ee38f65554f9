"""Stopping a lease's statements from another thread.

The driver may be told to cancel a statement while another thread executes or fetches, and only
then: a cursor that is closed meanwhile is freed under its feet, and one that was put back may
serve another context by now (microsoft/mssql-python#424). So whoever lets go of a cursor says so
under a lock, and waits for a cancellation that is under way.

A cancellation is under way for as long as its attention is not acknowledged: with a peer that
is frozen the driver keeps both threads (measured with driver 18).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pyodbc

if TYPE_CHECKING:
    from .results import Result

#: "Operation canceled", as the driver says it of a statement that was.
CANCELED = "HY008"


class Guard:
    """Guards which cursors of one lease are in use."""

    __slots__ = ("_under_way", "interrupted", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._under_way: threading.Event | None = None
        self.interrupted = False
        """Whether no further statement may begin. Set under the lock."""

    @property
    def is_cancelling(self) -> bool:
        return self._under_way is not None

    def let_go(self, result: Result) -> Any:
        """Take the driver's cursor out of a result; from then on nobody cancels it."""
        with self.lock:
            raw, result.raw = result.raw, None
            if result.hold.result is result:
                result.hold.result = None
            under_way = self._under_way
        if under_way is not None:
            self._sit_out(under_way)
        return raw

    def _sit_out(self, cancellation: threading.Event) -> None:
        cancellation.wait()

    def cancel(self, cursors: Callable[[], Iterable[Any]], *, interrupt: bool = False) -> bool:
        """Cancel what runs on cursors of the driver that are in use. Returns when the driver
        does. False: there were none, or another thread is at it.

        :param cursors: called under the lock.
        :param interrupt: let no further statement begin, either.
        """
        with self.lock:
            if interrupt:
                self.interrupted = True
            found = [] if self._under_way is not None else list(cursors())
            if not found:
                return False
            under_way = self._under_way = threading.Event()
        try:
            for raw in found:
                with contextlib.suppress(pyodbc.Error):  # it is over, one way or another
                    raw.cancel()
        finally:
            with self.lock:
                self._under_way = None
            under_way.set()
        return True


def interrupted() -> pyodbc.OperationalError:
    return pyodbc.OperationalError(
        CANCELED, "The call that runs this was cancelled: nothing was sent."
    )
