"""Stopping a lease's statements from another thread.

The driver may be told to cancel a statement while another thread executes or fetches, and only
then: a cursor that is closed meanwhile is freed under its feet, and one that was put back may
serve another context by now (microsoft/mssql-python#424). So whoever lets go of a cursor says so
under a lock, and waits for a cancellation that is under way.

A cancellation is under way for as long as its attention is not acknowledged: with a peer that
is frozen the driver keeps both threads. One that comes while the driver is about to send the
statement is under way until that has ended by itself, and cancels nothing: between its taking the
statement's lock and its noting that the statement runs, which takes some 50 µs and with 5 MB of
text 40 ms. Another one from another thread does then; one attention is sent, however many ask for
it (all measured with driver 18). FreeTDS's driver has none wait, and two at once have brought it
down.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pyodbc

from .attendants import ATTENDANTS
from .errors import CANCELED

if TYPE_CHECKING:
    from .results import Result

#: Seconds after which a cancellation that is still under way gets help. Each time takes a thread
#: until the driver returns, so they are few; the last one is for statements of many megabytes.
_HELP_AFTER = (0.02, 0.2, 2.0)

Cursors = Callable[[], Iterable[Any]]


class Guard:
    """Guards which cursors of one lease are in use."""

    __slots__ = ("_under_way", "interrupted", "lock", "tells_again")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._under_way: list[threading.Event] = []
        """The cancellation, and those that help it. Under the lock; each is set when the driver
        has returned from it."""
        self.interrupted = False
        """Whether no further statement may begin. Set under the lock."""
        self.tells_again = False
        """Whether a cancellation that does not return gets help: with drivers that bear it."""

    @property
    def is_cancelling(self) -> bool:
        return bool(self._under_way)

    def let_go(self, result: Result) -> Any:
        """Take the driver's cursor out of a result; from then on nobody cancels it."""
        with self.lock:
            raw, result.raw = result.raw, None
            if result.hold.result is result:
                result.hold.result = None
            under_way = list(self._under_way)
        for cancellation in under_way:
            self._sit_out(cancellation)
        return raw

    def _sit_out(self, cancellation: threading.Event) -> None:
        cancellation.wait()

    def cancel(self, cursors: Cursors, *, interrupt: bool = False) -> bool:
        """Cancel what runs on cursors of the driver that are in use. Returns when the driver
        does. False: there were none, or another thread is at it.

        :param cursors: called under the lock.
        :param interrupt: let no further statement begin, either.
        """
        with self.lock:
            if interrupt:
                self.interrupted = True
            found = [] if self._under_way else list(cursors())
            if not found:
                return False
            own = self._begin()
        try:
            self._have_helped(own, cursors, 0)
            _tell_the_driver(found)
        finally:
            self._end(own)
        return True

    def _begin(self) -> threading.Event:
        own = threading.Event()
        self._under_way.append(own)
        return own

    def _end(self, own: threading.Event) -> None:
        with self.lock:
            self._under_way.remove(own)
        own.set()

    # --- where the driver does not return from that --------------------------------------------

    def _have_helped(self, helped: threading.Event, cursors: Cursors, times: int) -> None:
        if self.tells_again and times < len(_HELP_AFTER):
            soon = functools.partial(self._help_soon, helped, cursors, times)
            ATTENDANTS.later(_HELP_AFTER[times], soon)

    def _help_soon(self, helped: threading.Event, cursors: Cursors, times: int) -> None:
        if not helped.is_set():
            ATTENDANTS.soon(functools.partial(self._help, helped, cursors))
            self._have_helped(helped, cursors, times + 1)

    def _help(self, helped: threading.Event, cursors: Cursors) -> None:
        with self.lock:
            # What was let go of meanwhile does not wait for what begins now; and where the other
            # has returned, this would hit the statement after it.
            found = list(cursors()) if helped in self._under_way else []
            if not found:
                return
            own = self._begin()
        try:
            _tell_the_driver(found)
        finally:
            self._end(own)


def _tell_the_driver(cursors: list[Any]) -> None:
    for raw in cursors:
        with contextlib.suppress(pyodbc.Error):  # it is over, one way or another
            raw.cancel()


def interrupted() -> pyodbc.OperationalError:
    return pyodbc.OperationalError(
        CANCELED, "The call that runs this was cancelled: nothing was sent."
    )
