"""Threads that end and leave leases behind.

Such a lease is of no use to anybody, because only its thread may use it. Django's wrapper holds it
in a cycle, so the collector finds it, but only some time, and meanwhile its place is lost. A
thread's end is noticed at once by what its ``threading.local`` held.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Owned(Protocol):
    def owner_is_gone(self) -> None:
        """The thread has ended. Called by a finalizer; nothing else runs on that thread."""


class _Belongings:
    """What belongs to one thread, and nobody but the thread refers to."""

    __slots__ = ("_owned", "_process")

    def __init__(self) -> None:
        self._process = os.getpid()
        self._owned: weakref.WeakSet[Owned] = weakref.WeakSet()

    def add(self, owned: Owned) -> None:
        self._owned.add(owned)

    def __del__(self) -> None:
        if self._process == os.getpid():  # a fork ends the other threads too, in the child
            for owned in list(self._owned):
                owned.owner_is_gone()


class _Here(threading.local):
    def __init__(self) -> None:
        self.belongings = _Belongings()


_here = _Here()


def ends_with_this_thread(owned: Owned) -> None:
    """Tell it when the thread that calls this ends. Not of the main thread, which ends with the
    process."""
    if threading.get_ident() != threading.main_thread().ident:
        _here.belongings.add(owned)
