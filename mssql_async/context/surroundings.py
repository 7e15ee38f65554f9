"""Django's connections on a worker: whose they are from one call to the next.

``django.db.connections`` keeps one wrapper for each alias and thread. A worker's wrappers
stay with it and serve every context whose calls run there, as long as nothing in them belongs
to one: else the worker stays with that context.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .context import Context
from .left import Left

logger = logging.getLogger("mssql_async.context")


class _Here(threading.local):
    adopted: dict[str, Any] | None = None
    """Wrappers of other threads that stand in for this one's own."""


class DjangoConnections:
    """A worker's :class:`~.workers.Surroundings`."""

    def __init__(self) -> None:
        self._here = _Here()

    def enter(self, context: Context, *, other: bool) -> None:
        if other:
            for wrapper in connections.all(initialized_only=True):
                hand_over = getattr(wrapper, "begin_context", None)
                if hand_over is not None:
                    hand_over()
                else:
                    wrapper.close_if_unusable_or_obsolete()
        adopted = context.home.adopted
        if adopted and self._here.adopted is None:
            for alias, wrapper in adopted.items():
                connections[alias] = wrapper
            self._here.adopted = adopted

    def at_rest(self) -> bool:
        if self._here.adopted is not None:
            return False
        return all(_is_at_rest(wrapper) for wrapper in connections.all(initialized_only=True))

    def holds_a_place(self) -> bool:
        if self._here.adopted is not None:
            return True
        return any(_holds_a_place(wrapper) for wrapper in connections.all(initialized_only=True))

    def tidy(self) -> None:
        for wrapper in connections.all(initialized_only=True):
            tidy = getattr(wrapper, "tidy", None)
            if tidy is not None:
                tidy()

    def sessions(self) -> frozenset[str]:
        wrappers = connections.all(initialized_only=True)
        return frozenset(wrapper.alias for wrapper in wrappers if _has_session(wrapper))

    def unread(self) -> frozenset[str]:
        wrappers = connections.all(initialized_only=True)
        return frozenset(
            wrapper.alias for wrapper in wrappers if getattr(wrapper, "has_unread_rows", False)
        )

    def leave(self, context: object) -> None:
        adopted, self._here.adopted = self._here.adopted, None
        for alias in adopted or ():
            del connections[alias]
        for wrapper in connections.all(initialized_only=True):
            try:
                self._leave(wrapper, context)
            except Exception:
                logger.exception("Ending what %r left on the database %r.", context, wrapper.alias)
                del connections[wrapper.alias]

    def _leave(self, wrapper: BaseDatabaseWrapper, context: object) -> None:
        end_context = getattr(wrapper, "end_context", None)
        if end_context is None:
            if wrapper.in_atomic_block:
                del connections[wrapper.alias]
            wrapper.close_if_unusable_or_obsolete()
            return
        left: Left | None = end_context()
        if left is not None:
            logger.log(
                logging.WARNING if left.is_a_mistake else logging.INFO,
                "%s ended and still held %s on the database %r; it was rolled back and given "
                "back.%s",
                context, left.what, wrapper.alias, left.where(),
            )  # fmt: skip


def _is_at_rest(wrapper: BaseDatabaseWrapper) -> bool:
    rest = getattr(wrapper, "rest", None)
    if rest is not None:
        return bool(rest())
    # Another backend's: its connection and what is open on it belong to this thread.
    return wrapper.connection is None


def _holds_a_place(wrapper: BaseDatabaseWrapper) -> bool:
    """Not another backend's connection in autocommit. Its context may need it again, for what is
    open on it or set there, and keeps it with its thread as under Django itself. But nothing
    else bounds how many contexts do that, so it must not keep others from working."""
    at_rest: bool | None = getattr(wrapper, "at_rest", None)
    return wrapper.in_atomic_block or at_rest is False


def _has_session(wrapper: BaseDatabaseWrapper) -> bool:
    has_session: bool | None = getattr(wrapper, "has_session", None)
    # Nobody knows what is in the session of another backend's.
    return wrapper.connection is not None if has_session is None else has_session
