"""Work of a context in threads that are no workers: ``asyncio.to_thread``,
``sync_to_async(thread_sensitive=False)``, executors of the application.

Such a thread goes on to serve another context, and nobody tells it when. But all that it does for
one runs in a copy of that one's context variables. What such a copy holds ends with the last code
that could still run in it, so that is when its leases end, too.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import weakref
from typing import Protocol

from .context import current_context
from .worker import current_worker

_numbers = itertools.count(1)


class Wrapper(Protocol):
    """Django's connection of a thread, as far as it is needed here."""

    def leave_span(self, number: int) -> None:
        """Nobody comes back for what it holds, if it still serves that span. Called by a
        finalizer, from any thread."""


class Span:
    """Lives as long as something may go on where it began."""

    __slots__ = ("__weakref__", "_wrappers", "context", "number")

    def __init__(self, context: int) -> None:
        self.number = next(_numbers)
        self.context = context
        """The number of the context that it serves."""
        self._wrappers: weakref.WeakSet[Wrapper] = weakref.WeakSet()
        ended = weakref.finalize(self, _end, self.number, self._wrappers, os.getpid())
        ended.atexit = False

    def add(self, wrapper: Wrapper) -> None:
        self._wrappers.add(wrapper)


_span: contextvars.ContextVar[Span | None] = contextvars.ContextVar(
    "mssql_async_span", default=None
)


def current_span() -> Span | None:
    """Of the code that runs here for a context of ours, in a thread that is no worker of one;
    ``None`` elsewhere."""
    if current_worker() is not None:
        return None
    context = current_context()
    if context is None or context.home.thread is not None or context.home.adopted:
        return None  # a thread of its own, or one whose transaction the context takes part in
    span = _span.get()
    if span is None or span.context != context.number:
        # asgiref hands variables back to callers, from where they come to other contexts.
        span = Span(context.number)
        _span.set(span)
    return span


def _end(number: int, wrappers: weakref.WeakSet[Wrapper], process: int) -> None:
    if process == os.getpid():  # in a forked child they are the parent's
        for wrapper in list(wrappers):
            wrapper.leave_span(number)
