"""What several broken twins have in common."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.session.cursor import LeasedCursor
from mssql_async.session.lease import LeasedConnection

from ..scenarios.gather_in_a_view import GatherInAView
from ..story import Story


def every(number: int) -> Callable[[], bool]:
    """Says yes each ``number``-th time, from any thread: a leak that happens now and then."""
    count = itertools.count(1)
    return lambda: next(count) % number == 0


def lock_each_call() -> None:
    """Let one call at a time use any connection. What makes a shared one look safe; without it
    the driver, which does not allow for two, ends the process. For applications that only read:
    whoever waits for a lock of the server's keeps the others from giving theirs back."""
    lock = threading.RLock()

    def one_at_a_time(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def locked(*args: Any, **kwargs: Any) -> Any:
            with lock:
                return call(*args, **kwargs)

        return locked

    for name in ("execute", "executemany", "fetchone", "fetchmany", "fetchall", "nextset", "close"):
        setattr(LeasedCursor, name, one_at_a_time(getattr(LeasedCursor, name)))
    for name in ("acquire", "commit", "rollback", "close"):
        setattr(LeasedConnection, name, one_at_a_time(getattr(LeasedConnection, name)))


def read_in_transactions() -> None:
    """Let the scenario ``gather_in_a_view`` read in transactions that take a while."""
    GatherInAView.view = _view  # type: ignore[method-assign]


async def _view(self: GatherInAView, request: HttpRequest, story: Story) -> HttpResponseBase:
    await sync_to_async(_read_twice)(story)
    return HttpResponse("the same both times")


def _read_twice(story: Story) -> None:
    with story.transaction():
        story.probe()
        time.sleep(0.005)  # for others to come
        story.probe()
