"""What a process has open beside its connections: tasks, threads and, on Linux, file
descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

#: Threads that stay for everybody: of this package, of its embedded server, of an event loop's
#: own executor (they end with the loop), of pytest-timeout, of a debugger.
_KEPT = ("mssql_async", "mssql-devserver", "asyncio_", "pytest_timeout", "pydevd", "execnet")

_DESCRIPTORS = Path("/proc/self/fd")
#: Opened once and kept, by the interpreter or the C library.
_KEPT_FILES = frozenset({"/dev/urandom", "/dev/random", "/dev/null"})
#: Input, output and errors, up to this number, are exchanged by whoever captures them.
_STANDARD = 2
#: In the path of every file of the embedded server's databases.
_EMBEDDED = "mssql-async-devserver-"
_NUMBER = re.compile(r":\[\d+\]$")


def tasks() -> weakref.WeakSet[asyncio.Task[Any]]:
    """All that are pending, of whatever event loop.

    asyncio.all_tasks() wants to know which loop, and nobody knows all of them: that of a fixture
    need not run now, and may be another thread's.
    """
    known = vars(asyncio.tasks)
    # The second name up to Python 3.11.
    registry = known.get("_scheduled_tasks", known.get("_all_tasks", ()))
    while True:
        try:
            return weakref.WeakSet(task for task in registry if not task.done())
        except RuntimeError:  # another thread has begun one meanwhile
            continue


def threads() -> set[threading.Thread]:
    """All that live, but those that stay for everybody."""
    kept = _of_asgiref()
    return {
        thread
        for thread in threading.enumerate()
        if not thread.name.startswith(_KEPT) and thread not in kept
    }


def _of_asgiref() -> Collection[threading.Thread]:
    """The one thread of calls that are part of no context lasts as long as the process."""
    sync = sys.modules.get("asgiref.sync")
    if sync is None:
        return ()
    executor = sync.SyncToAsync.single_thread_executor
    found: Collection[threading.Thread] = getattr(executor, "_threads", ())
    return found


def idle_workers() -> set[threading.Thread]:
    """Those of executors that wait for work: they serve again, or end with their executor."""
    module = sys.modules.get("concurrent.futures.thread")
    if module is None:
        return set()
    waiting = {
        ident
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - its documented name
        if frame.f_code.co_name == "_worker" and frame.f_code.co_filename == module.__file__
    }
    return {thread for thread in threading.enumerate() if thread.ident in waiting}


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Those that are open at one moment; none where the system does not tell."""

    what: dict[int, str] = field(default_factory=dict)
    """Number -> what it is."""
    apart: set[int] = field(default_factory=set)
    """Which do not count: the interpreter's, and those of databases."""


def descriptors(*, ports: Collection[int], files: Collection[str]) -> Descriptors:
    """Connections of databases have a port of ``ports`` at one end, or one of ``files`` behind
    them, or begin with its name."""
    what = _descriptors()
    return Descriptors(what, _apart(what, ports, files))


def opened_since(
    before: Descriptors, *, ports: Collection[int], files: Collection[str]
) -> dict[int, str]:
    opened = _only_in(_descriptors(), before.what)
    apart = _apart(opened, ports, files)
    return {number: what for number, what in sorted(opened.items()) if number not in apart}


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        names = os.listdir(_DESCRIPTORS)  # noqa: PTH208 - half the price, for every test
    except OSError:
        return found
    for name in names:
        # The one that the directory was read through is closed again.
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
    return found


def _apart(what: dict[int, str], ports: Collection[int], files: Collection[str]) -> set[int]:
    return {
        number
        for number, each in what.items()
        if number <= _STANDARD
        or each in _KEPT_FILES
        or _EMBEDDED in each
        or any(each.startswith(file) for file in files)
        or (each.startswith("socket:") and not _ends_of(number, each).isdisjoint(ports))
    }


def _only_in(some: dict[int, str], others: dict[int, str]) -> dict[int, str]:
    return {number: what for number, what in some.items() if others.get(number) != what}


def reopened_since(
    before: Descriptors, *, ports: Collection[int], files: Collection[str]
) -> dict[int, str]:
    """Of the opened ones as many as were closed of their kind: a pipe that was closed and made
    anew is no more than it was."""
    closed = _only_in(before.what, _descriptors())
    closed = {number: what for number, what in closed.items() if number not in before.apart}
    if not closed:
        return {}
    opened = opened_since(before, ports=ports, files=files)
    return dict(replacing(opened.items(), closed.items(), lambda each: _kind(each[1])))


def restarted_since(
    before: Collection[threading.Thread], now: Collection[threading.Thread]
) -> list[threading.Thread]:
    """Of the new ones as many as have ended of their name, in the order of their beginnings."""
    new = [each for each in threading.enumerate() if each in now and each not in before]
    ended = [each for each in before if each not in now]
    return replacing(new, ended, lambda each: each.name)


def replacing(new: Iterable[T], gone: Iterable[T], kind: Callable[[T], str]) -> list[T]:
    """Those that have taken the place of one of their kind."""
    places = Counter(map(kind, gone))
    found = []
    for each in new:
        if places[kind(each)]:
            places[kind(each)] -= 1
            found.append(each)
    return found


def _kind(what: str) -> str:
    """A file is one of its own; of sockets and pipes only the number tells them apart."""
    return _NUMBER.sub("", what)


Handlers = list["weakref.ref[logging.Handler]"]


def handlers() -> Handlers:
    """Those of logging, which may open what they write to when they are first used."""
    return list(getattr(logging, "_handlerList", ()))


def written_by(known: Handlers) -> set[int]:
    """The descriptors of those that still are."""
    found = set()
    for handler in known:
        for name in ("stream", "sock", "socket"):
            # Whatever somebody's handler has there, or nothing.
            with contextlib.suppress(AttributeError, OSError, TypeError, ValueError):
                found.add(getattr(handler(), name).fileno())
    return found


#: Of sockets that are connected, by what they are: they stay so, and it is dear to ask.
_known_ends: dict[str, frozenset[int]] = {}
_ENDS_KNOWN = 1000


def _ends_of(descriptor: int, what: str) -> frozenset[int]:
    """The ports at both ends of a socket."""
    if what in _known_ends:
        return _known_ends[what]
    addresses = []
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as own:
        addresses.append(own.getsockname())
        addresses.append(own.getpeername())
    ends = frozenset(each[1] for each in addresses if isinstance(each, tuple))
    if len(addresses) == 2:
        if len(_known_ends) >= _ENDS_KNOWN:
            _known_ends.clear()
        _known_ends[what] = ends
    return ends
