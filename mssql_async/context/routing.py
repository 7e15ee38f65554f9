"""Where asgiref takes the synchronous calls of asynchronous code: to the workers of its context."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import weakref
from asyncio import events
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, cast

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext
from django.db import Error
from django.db.transaction import TransactionManagementError

from .calls import running_task
from .context import Context, ContextKind
from .errors import TransactionBlockEnded
from .nested import heeding_nested
from .worker import Worker, current_worker


class ContextExecutor(Executor):
    """What asgiref submits the thread-sensitive calls of a context to."""

    def __init__(self, context: Context, *, sends_nothing: bool = False) -> None:
        self._context = context
        self._sends_nothing = sends_nothing

    def __repr__(self) -> str:
        return f"<ContextExecutor of {self._context!r}>"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        context = self._context
        if context.inline is not None and context.inline(fn):
            return _run_in_the_loop(functools.partial(fn, *args, **kwargs))
        run: Callable[[], Any] = heeding_nested(fn, self)
        if args or kwargs:
            run = functools.partial(run, *args, **kwargs)
        if context.is_over:
            outside = _executor_outside(context)
            if outside is not None:
                return outside.submit(fn, *args, **kwargs)
            context = self._after_the_end()
        if context.kind is ContextKind.BLOCK:
            run = functools.partial(_run_in_block, context, run)
        return self._submit(context, run)

    def _submit(
        self, context: Context, run: Callable[[], Any], *, expires: bool = True
    ) -> Future[Any]:
        worker = current_worker()
        if worker is not None and context.runs_on(worker):
            # A loop of its own (asyncio.run) in synchronous code: its worker is this thread,
            # which would wait for itself.
            return _run_beside_the_loop(run)
        return context.call(run, expires=expires, sends_nothing=self._sends_nothing)

    def _after_the_end(self) -> Context:
        context = self._context
        if context.kind is ContextKind.BLOCK:
            raise TransactionBlockEnded(
                f"A task used the database in {context!r}, which it has outlived: the transaction "
                "is over. Await the task inside the block, or start it outside."
            )
        return context.afterlife()


def _executor_outside(context: Context) -> Executor | None:
    """Where the running task's calls go if it has begun the context and left it, though not where
    it is itself. ``None``: it has outlived it."""
    scope = SyncToAsync.thread_sensitive_context.get(None)
    if not isinstance(scope, ContextScope) or scope.context is not context:
        return None
    outer = scope.go_back()
    if outer is scope:
        return None
    # As asgiref chooses.
    beneath: Executor | None = getattr(AsyncToSync.executors, "current", None)
    if beneath is not None:
        return beneath
    if outer is not None:
        return SyncToAsync.context_to_thread_executor[outer]
    loop = asyncio.get_running_loop()
    return AsyncToSync.loop_thread_executors.get(loop) or SyncToAsync.single_thread_executor


class EndExecutor(ContextExecutor):
    """For the calls that begin and end a block itself, also once that takes no others. They wait
    for their turn without a limit, except with ``expires``."""

    def __init__(self, context: Context, *, expires: bool) -> None:
        super().__init__(context)
        self._expires = expires

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        # Functions of on_commit run here, and what they have started may go on when they are over.
        run = functools.partial(heeding_nested(fn, _executor_around()), *args, **kwargs)
        return self._submit(self._context, run, expires=self._expires)


def _executor_around() -> Executor:
    """Where calls run of what is around the block whose end is being submitted."""
    executor: Executor | None = None
    scope = _scope_around(SyncToAsync.thread_sensitive_context.get(None))
    if scope is not None:
        executor = SyncToAsync.context_to_thread_executor.get(scope)
    return SyncToAsync.single_thread_executor if executor is None else executor


def _scope_around(scope: Any) -> Any:
    """Of the end of a block: what is around that; any other is itself."""
    while isinstance(scope, ContextScope) and scope.is_of_an_end:
        scope = scope.outer
    return scope


@contextlib.contextmanager
def outside_of_the_end() -> Iterator[None]:
    """For functions of on_commit, which run at the end of a block: what is made here is a part
    of what is around that, also what goes on afterwards."""
    inner = SyncToAsync.thread_sensitive_context.get(None)
    token = SyncToAsync.thread_sensitive_context.set(_scope_around(inner))
    try:
        yield
    finally:
        SyncToAsync.thread_sensitive_context.reset(token)


def _run_in_the_loop(run: Callable[[], Any]) -> Future[Any]:
    """At once. The future is the loop's own, which ``run_in_executor`` passes through as it is:
    any other takes a round through the selector to be seen as done."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _run_here(run)
    future: asyncio.Future[Any] = loop.create_future()
    _set(future, run)
    return cast("Future[Any]", future)


def _run_in_block(block: Context, run: Callable[[], Any]) -> Any:
    open_block = block.block
    if open_block is not None:
        open_block.refuse_if_gone()
    try:
        return run()
    except Error as error:
        if block.cut and not isinstance(error, TransactionManagementError):
            raise TransactionBlockEnded(
                "The transaction block that a task used has ended by another task's doing, which "
                "stopped its statement. Await the task inside, also where something fails."
            ) from error
        raise


def _run_here(run: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()
    _set(future, run)
    return future


def _set(future: Future[Any] | asyncio.Future[Any], run: Callable[[], Any]) -> None:
    try:
        future.set_result(run())
    except BaseException as error:  # it is the caller's
        future.set_exception(error)


def _run_beside_the_loop(run: Callable[[], Any]) -> Future[Any]:
    with beside_the_loop():
        return _run_here(run)


@contextlib.contextmanager
def beside_the_loop() -> Iterator[None]:
    """In the running loop's own thread, but not as its code: that has no part in the thread's
    connections, and Django refuses to use any there."""
    loop = asyncio.get_running_loop()
    events._set_running_loop(None)  # noqa: SLF001 - documented, for those who write loops
    try:
        yield
    finally:
        events._set_running_loop(loop)  # noqa: SLF001


class ContextScope(ThreadSensitiveContext):
    """Makes a context the one of everything awaited inside.

    Unlike asgiref's it leaves a task that outlives it where it is: its calls go to the same
    executor, which gives it a context of its own (design.md, invariant 11).
    """

    def __init__(self, context: Context, executor: ContextExecutor | None = None) -> None:
        self._context_executor = executor or ContextExecutor(context)
        super().__init__(executor=self._context_executor)
        self.context = context
        self.is_of_an_end = isinstance(executor, EndExecutor)
        self.is_left = False
        self._task: weakref.ref[asyncio.Task[Any]] | None = None
        """Who has entered it."""

    def enter(self) -> None:
        outer = SyncToAsync.thread_sensitive_context.get(None)
        self._outer = outer.go_back() if isinstance(outer, ContextScope) else outer
        task = running_task()
        self._task = None if task is None else weakref.ref(task)
        self.token = SyncToAsync.thread_sensitive_context.set(self)
        SyncToAsync.context_to_thread_executor[self] = self._context_executor
        # A parent async_to_sync has priority in asgiref; inside, calls go to the workers.
        self._old_executor = getattr(AsyncToSync.executors, "current", None)
        if self._old_executor is not None:
            AsyncToSync.executors.current = None
        if self._old_executor is not None or current_worker() is not None:
            self.context.home.beneath_a_worker = _waits_on_a_worker(self._old_executor)
            self.context.thread_above = getattr(self._old_executor, "_work_thread", None)

    @property
    def outer(self) -> Any:
        """What routed calls when it was entered."""
        return self._outer

    def exit(self) -> None:
        """Give back what routed calls before. An asynchronous generator may do that in
        another task than the one that entered, or while a context inside of it is open: then
        what routes calls there stays, until they ask (:meth:`go_back`)."""
        self.is_left = True
        token, self.token = self.token, None
        if token is None or SyncToAsync.thread_sensitive_context.get(None) is not self:
            return
        old_executor = self._old_executor
        outer: Any = self._outer  # asgiref takes None for none
        try:
            SyncToAsync.thread_sensitive_context.reset(token)
        except ValueError:  # of another task
            SyncToAsync.thread_sensitive_context.set(outer)
        else:
            # Nobody comes back to it, and of tasks that each begin the next one it would keep all.
            self._outer = self._old_executor = self._task = None
        if old_executor is not None:
            AsyncToSync.executors.current = old_executor
        if isinstance(outer, ContextScope):
            outer.go_back()  # it may have been left before this one

    def go_back(self) -> Any:
        """Have the running task's calls go outside of what it has entered and was left since,
        by whoever closed a generator of it. Returns what routes them now; a task that has
        only been started inside stays where it is."""
        if not self._is_left_behind():
            return self
        outer: Any = self._outer  # asgiref takes None for none
        SyncToAsync.thread_sensitive_context.set(outer)
        if self._old_executor is not None:
            AsyncToSync.executors.current = self._old_executor
        return outer.go_back() if isinstance(outer, ContextScope) else outer

    def _is_left_behind(self) -> bool:
        if not self.is_left or self._task is None:
            return False
        task = running_task()
        return task is not None and self._task() is task

    async def __aenter__(self) -> ContextScope:
        self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.exit()


def _waits_on_a_worker(executor: Any) -> bool:
    """Whether the thread that waits above (``async_to_sync``) is a worker's. asgiref does not
    say; where it does not show, it is taken for one."""
    if current_worker() is not None:
        return True
    thread = getattr(executor, "_work_thread", None)
    return thread is None or Worker.of_thread(thread) is not None
