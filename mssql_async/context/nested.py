"""Synchronous code that calls asynchronous code (``async_to_sync``), as middleware that is
synchronous only does with an asynchronous view. Its thread, a worker's, waits and runs the
synchronous calls of that code meanwhile.

asgiref has an executor of its own for these, which knows nothing of statements: one that runs
there would not be stopped when its task is cancelled, and then nor would the call around it end,
which asgiref waits for. Here each is a call beneath the one that waits.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from typing import Any

from asgiref.current_thread_executor import CurrentThreadExecutor
from asgiref.sync import AsyncToSync

from .calls import Call, CallState, running_task, settle
from .worker import Worker, current_worker, run_beneath


def heeding_nested(fn: Callable[..., Any], executor: Executor) -> Callable[..., Any]:
    """What asgiref submits, such that the asynchronous code that it calls is noticed.

    asgiref hands its thread a list for the tasks of that code, in which its coroutine looks for
    what to cancel. Where another version has no such list ``fn`` stays as it is.

    :param executor: for calls of a task that has outlived the waiting thread.
    """
    if type(fn) is not functools.partial:
        return fn
    args = fn.args
    for place, each in enumerate(args):
        if type(each) is list:
            watched = (*args[:place], _NestedTasks(each, executor), *args[place + 1 :])
            return functools.partial(fn.func, *watched, **fn.keywords)
    return fn


class _NestedTasks(list[Any]):
    """In place of asgiref's list. What it is told it passes on to that."""

    __slots__ = ("_asgirefs", "_executor")

    def __init__(self, asgirefs: list[Any], executor: Executor) -> None:
        super().__init__()
        self._asgirefs = asgirefs
        self._executor = executor

    def append(self, task: asyncio.Task[Any]) -> None:
        """``task`` is the current one, and begins to run what the thread waits for."""
        super().append(task)
        call = self._divert()
        self._asgirefs.append(task if call is None else _NestedTask(task, call))

    def remove(self, task: asyncio.Task[Any]) -> None:
        place = self.index(task)
        nested = self._asgirefs[place]
        if isinstance(nested, _NestedTask):
            nested.is_over()
        del self[place], self._asgirefs[place]

    def _divert(self) -> Call | None:
        """Let the task's calls be such as can be stopped. Returns the one that waits, if it is
        on a worker."""
        executor = getattr(AsyncToSync.executors, "current", None)
        if type(executor) is not CurrentThreadExecutor:
            return None
        worker = Worker.of_thread(executor._work_thread)  # noqa: SLF001 - no other way to it
        call = None if worker is None else worker.call
        if call is not None:
            AsyncToSync.executors.current = _BeneathExecutor(executor, call, self._executor)
        return call


class _NestedTask:
    """What asgiref finds in its list: the task, and that it was cancelled with the call above."""

    def __init__(self, task: asyncio.Task[Any], call: Call) -> None:
        self._task = task
        self._call = call
        self._call.outermost().nested += 1

    def is_over(self) -> None:
        self._call.outermost().nested -= 1

    def cancel(self) -> bool:
        self._call.is_left = True
        return self._task.cancel()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()


class _BeneathExecutor(Executor):
    """Runs calls on the thread of a worker whose own call waits for them, and those of a task
    that has outlived that where they would have run without it."""

    def __init__(self, executor: CurrentThreadExecutor, above: Call, later: Executor) -> None:
        self._executor = executor
        self._above = weakref.ref(above)
        self._later = later

    def __repr__(self) -> str:
        return f"<Executor beneath {self._above()!r}>"

    def __getattr__(self, name: str) -> Any:
        # asgiref goes from one executor to that around it, by attributes of its own class.
        return getattr(self._executor, name)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        above = self._above()
        if above is not None:
            run = functools.partial(heeding_nested(fn, self._later), *args, **kwargs)
            call = Call(above.context, run, running_task(), above=above)
            try:
                self._executor.submit(_work, call)
            except RuntimeError:
                call.future.forget_call()
            else:
                return call.future
        return self._later.submit(fn, *args, **kwargs)

    @property
    def waits(self) -> bool:
        """Whether the thread still waits for what is submitted."""
        executor: Any = self
        while executor is not None and executor._broken:  # noqa: SLF001 - as asgiref looks
            executor = executor._old_executor  # noqa: SLF001
        return executor is not None


def waiting_executor() -> Any:
    """What runs the calls of this code on a thread that waits for it (``async_to_sync``), if
    one does. asgiref's own may still be there when its thread waits no longer."""
    executor = getattr(AsyncToSync.executors, "current", None)
    return None if isinstance(executor, _BeneathExecutor) and not executor.waits else executor


def asgirefs_own(executor: Any) -> Any:
    """What refuses when the thread waits no longer, in place of running a call elsewhere."""
    return executor._executor if isinstance(executor, _BeneathExecutor) else executor  # noqa: SLF001


def _work(call: Call) -> None:
    worker = current_worker()
    future = call.future
    if worker is None or not future.set_running_or_notify_cancel():
        future.forget_call()
        return
    call.state = CallState.RUNNING
    result: Any = None
    error: BaseException | None = None
    try:
        result = run_beneath(worker, call)
    except BaseException as raised:  # it is the caller's, whatever it is
        error = raised
    call.state = CallState.OVER
    future.forget_call()
    try:
        settle(future, result, error)
    finally:
        del error, result  # a traceback refers to this frame
