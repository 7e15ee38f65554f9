"""Django's database wrappers, as far as they can be seen without asking any: which connected,
on which thread, and what they ran last.

Nothing here imports Django before its settings are there.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ...pool import origin
from ...pool.origin import Origin

#: Frames of an executed statement that are kept: from a wrapper up to the caller's own code.
_FRAMES = 16


def django_is_ready() -> bool:
    """Whether there are settings; never loads them."""
    conf = sys.modules.get("django.conf")
    return conf is not None and bool(conf.settings.configured)


@dataclass(slots=True)
class Seen:
    """What was seen of one wrapper."""

    thread: weakref.ref[threading.Thread]
    """Which opened its connection last."""
    thread_name: str
    statement: str = ""
    """The last one; of wrappers that are not of this package."""
    origin: Origin = ()
    """Where that was executed."""


@dataclass
class Wrappers:
    """Follows the wrappers of the process from :meth:`install` to :meth:`remove`."""

    seen: weakref.WeakKeyDictionary[Any, Seen] = field(default_factory=weakref.WeakKeyDictionary)
    statements: int = 0
    """Executed by wrappers that are not of this package, while :attr:`watching`."""
    watching: bool = False
    connected: list[Any] = field(default_factory=list)
    """Those that connected while :attr:`watching`. Held, because the collector would close the
    connection of a thread that has ended, some time, and nobody would know of it. None of this
    package, which sees the end of a thread."""
    _is_installed: bool = False

    def install(self) -> None:
        """Idempotent; nothing before Django's settings are there."""
        if self._is_installed or not django_is_ready():
            return
        from django.db.backends.signals import connection_created

        connection_created.connect(self._connected, weak=False, dispatch_uid=id(self))
        self._is_installed = True
        self.look_here()

    def remove(self) -> None:
        if not self._is_installed:
            return
        from django.db.backends.signals import connection_created

        connection_created.disconnect(dispatch_uid=id(self))
        for wrapper in list(self.seen):
            wrapper.execute_wrappers[:] = [
                each for each in wrapper.execute_wrappers if not isinstance(each, _Recorder)
            ]
        self._is_installed = False

    def look_here(self) -> None:
        """Take in those of this thread that connected before."""
        if not self._is_installed:
            return
        from django.db import connections

        for wrapper in connections.all(initialized_only=True):
            if wrapper.connection is not None and wrapper not in self.seen:
                self._note(wrapper)

    def all(self) -> list[Any]:
        return list(self.seen)

    def forget(self) -> None:
        """The test is over."""
        self.connected.clear()

    def _connected(self, *, connection: Any, **_: Any) -> None:
        self._note(connection)
        if self.watching and not is_ours(connection):
            self.connected.append(connection)

    def _note(self, wrapper: Any) -> None:
        thread = threading.current_thread()
        known = self.seen.get(wrapper)
        if known is not None:
            known.thread, known.thread_name = weakref.ref(thread), thread.name
            return
        self.seen[wrapper] = Seen(weakref.ref(thread), thread.name)
        if not is_ours(wrapper):
            # The first, because execute_wrapper() takes the last one away when it ends.
            wrapper.execute_wrappers.insert(0, _Recorder(self, self.seen[wrapper]))


class _Recorder:
    """An execute wrapper: remembers the last statement."""

    def __init__(self, wrappers: Wrappers, seen: Seen) -> None:
        self._wrappers = wrappers
        self._seen = seen

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if self._wrappers.watching:
            self._wrappers.statements += 1
            self._seen.statement = str(sql)
            self._seen.origin = origin.capture(1, _FRAMES)
        return execute(sql, params, many, context)


def is_ours(wrapper: Any) -> bool:
    """Whether it is this package's, or a subclass."""
    base = sys.modules.get("mssql_async.base")
    return base is not None and isinstance(wrapper, base.DatabaseWrapper)


def is_in_memory(wrapper: Any) -> bool:
    """SQLite's without a file: Django never closes those."""
    ask = getattr(wrapper, "is_in_memory_db", None)
    return ask is not None and bool(ask())
