"""What a process has open beside its connections: tasks, threads and, on Linux, file
descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import Any

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


def descriptors() -> dict[int, str]:
    """Number -> what it is; empty where the system does not tell."""
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


def opened_since(
    before: dict[int, str], *, ports: Collection[int], files: Collection[str]
) -> dict[int, str]:
    """Descriptors that were not there before, without connections of databases: those have a
    port of ``ports`` at one end, or one of ``files`` behind them, or begin with its name."""
    return {
        number: what
        for number, what in descriptors().items()
        if number > _STANDARD
        and before.get(number) != what
        and what not in _KEPT_FILES
        and _EMBEDDED not in what
        and not any(what.startswith(file) for file in files)
        and not (what.startswith("socket:") and _ends_of(number) & set(ports))
    }


def _ends_of(descriptor: int) -> set[int]:
    """The ports at both ends of a socket."""
    found: set[int] = set()
    try:
        own = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return found
    with own:
        for ask in (own.getsockname, own.getpeername):
            with contextlib.suppress(OSError):
                address = ask()
                if isinstance(address, tuple):
                    found.add(address[1])
    return found
