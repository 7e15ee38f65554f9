"""One synchronous call of a context, and the future that its caller awaits."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Context
    from .worker import Worker


class CallState(enum.Enum):
    QUEUED = "queued"
    RUNNING = "running"
    OVER = "over"


class CallFuture(Future[Any]):
    """A future whose cancellation also stops the statement that runs for it.

    asgiref cancels the future of a thread-sensitive call when the task that awaits the call is
    cancelled; the task goes on at once, the thread when the call returns.
    """

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call: Call | None = call

    def cancel(self) -> bool:
        if super().cancel():
            return True
        call = self._call
        if call is not None:
            call.interrupt()
        return False

    def forget_call(self) -> None:
        """It is over: nothing is left to interrupt, and no reference is kept."""
        self._call = None


class Call:
    """A function to run on a worker, for one context."""

    __slots__ = (
        "__weakref__",
        "above",
        "context",
        "future",
        "given_up",
        "interrupted",
        "is_left",
        "nested",
        "queued_at",
        "run",
        "sends_nothing",
        "state",
        "task",
        "waited",
        "worker",
    )

    def __init__(
        self,
        context: Context,
        run: Callable[[], Any],
        task: asyncio.Task[Any] | None = None,
        *,
        above: Call | None = None,
        sends_nothing: bool = False,
    ) -> None:
        self.context = context
        self.above = above
        """The call whose thread waits for asynchronous code that makes this one."""
        self.run = run
        self.sends_nothing = sends_nothing
        """Whether there is no statement to stop: it comes to its end by itself."""
        self.task = task
        """Who awaits it, where that is known."""
        self.queued_at = time.monotonic()
        self.waited = 0.0
        """Seconds that it has waited for a worker, calls of its own context apart."""
        self.state = CallState.QUEUED
        self.worker: Worker | None = None
        self.interrupted = False
        """Whether it was told to stop. It is set before the worker is told."""
        self.given_up = False
        """Whether its context went on without it. Under the workers' lock."""
        self.is_left = False
        """Whether whoever awaits it was cancelled, and waits only for it to come to its end."""
        self.nested = 0
        """Tasks that its thread waits for at the moment (``async_to_sync``)."""
        self.future = CallFuture(self)

    def __repr__(self) -> str:
        return f"<Call {self.state.value} of {self.context!r}>"

    def outermost(self) -> Call:
        """The one that a worker was given."""
        call = self
        while call.above is not None:
            call = call.above
        return call

    def let_go(self) -> None:
        """It does not come back for now. Of the calls around it, let those go on that wait for
        nothing but its end."""
        call = self.above
        while call is not None:
            if call.is_left:
                settle(call.future, None, CancelledError())
            call = call.above

    def interrupt(self) -> None:
        """Have the statement that it runs stopped at the server. Returns at once."""
        self.interrupted = True
        worker = self.worker
        if worker is not None and self.state is CallState.RUNNING:
            worker.interrupt(self)


def settle(future: Future[Any], result: Any, error: BaseException | None) -> None:
    """Give a future that runs its outcome, if it has none yet (:meth:`Call.let_go`)."""
    with contextlib.suppress(InvalidStateError):
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs here
        return None
