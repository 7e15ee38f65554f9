"""``transaction.on_commit`` for asynchronous callables, and from asynchronous code."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections

from .context import Context, ContextKind, TransactionBlockEnded, current_context
from .context.nested import waiting_executor
from .context.routing import ContextExecutor, outside_of_the_end

logger = logging.getLogger("mssql_async.context")


class CommitHook:
    """Calls a function, and sees what is awaitable of its result through to the end.

    Equal to the function, so that whoever looks for that in ``run_on_commit`` finds it.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        # Django 5.2 asks for it when a robust one fails; a functools.partial has none.
        self.__qualname__: str = getattr(function, "__qualname__", repr(function))

    def __call__(self) -> None:
        result = self._function()
        if inspect.isawaitable(result):
            _see_through(result)

    def __repr__(self) -> str:
        return f"<CommitHook {self.__qualname__}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CommitHook):
            return bool(self._function == other._function)
        return bool(self._function == other)

    def __hash__(self) -> int:
        return hash(self._function)


def _see_through(awaitable: Awaitable[Any]) -> None:
    """In the caller's event loop where there is one, while this thread runs the database calls;
    an exception is passed on."""

    async def wait() -> None:
        await awaitable

    try:
        with outside_of_the_end():
            async_to_sync(wait)()
    except BaseException:
        if inspect.iscoroutine(awaitable):
            awaitable.close()  # where it could not even be begun: Python need not complain
        raise


def open_block() -> Context | None:
    """The transaction block that asynchronous code is in; ``None`` in synchronous code, and in
    functions of on_commit themselves."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    context = current_context()
    if context is None or context.kind is not ContextKind.BLOCK:
        return None
    is_beneath_a_call = waiting_executor() is not None
    return None if is_beneath_a_call else context


def register_in(block: Context, alias: str, hook: CommitHook, robust: bool) -> None:
    """Register a hook where the block's transaction is, after the calls that its tasks have made
    and before those that they will make. Returns at once.

    :raises TransactionBlockEnded: the task has outlived the block.
    """

    def register() -> None:
        connections[alias].on_commit(hook, robust)

    registered = ContextExecutor(block, sends_nothing=True).submit(register)
    registered.add_done_callback(functools.partial(_report, block, hook))


def _report(block: Context, hook: CommitHook, registered: Future[None]) -> None:
    error = None if registered.cancelled() else registered.exception()
    # In a block that is being rolled back it waits for nothing any more.
    if error is not None and not (block.cut and isinstance(error, TransactionBlockEnded)):
        logger.error("%r could not be registered, or failed.", hook, exc_info=error)
