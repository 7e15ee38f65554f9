"""Transactions in asynchronous code.

::

    async with async_atomic():
        account = await Account.objects.aget(pk=1)
        account.balance -= 10
        await account.asave()

Everything awaited in the block runs in one transaction on one connection: Django's asynchronous
methods, and synchronous code through ``sync_to_async``. The block belongs to the await chain
that entered it: tasks that were started before run outside, tasks started inside take turns
inside.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from django.db import DEFAULT_DB_ALIAS

from .blocks import Block, Outcome
from .retry import retry

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["AsyncAtomic", "Outcome", "async_atomic", "retry"]


class AsyncAtomic:
    """What :func:`async_atomic` gives.

    ``outcome`` says after a block how it ended, also where the task was cancelled.
    """

    def __init__(self, using: str, savepoint: bool, durable: bool) -> None:
        self.using = using
        self.savepoint = savepoint
        self.durable = durable
        self._block: Block | None = None

    @property
    def outcome(self) -> Outcome | None:
        """``None`` before the end."""
        return None if self._block is None else self._block.outcome

    def __repr__(self) -> str:
        state = self.outcome.value if self.outcome else "open" if self._block else "not entered"
        return f"<async_atomic on {self.using!r}: {state}>"

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]]
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        """As a decorator of an asynchronous function: each call is a block of its own."""
        if inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is an asynchronous generator: its caller would be in "
                "the block, too. Use async_atomic() as a context manager around what it awaits."
            )

        @functools.wraps(function)
        async def in_block(*args: P.args, **kwargs: P.kwargs) -> R:
            async with AsyncAtomic(self.using, self.savepoint, self.durable):
                return await function(*args, **kwargs)

        return in_block

    async def __aenter__(self) -> AsyncAtomic:
        """
        :raises RuntimeError: durable, and already inside a block.
        :raises TransactionBlockEnded: the task has outlived the block around it.
        :raises WorkerTimeout: another task did not end its block in the same transaction.
        """
        if self._block is not None and self._block.outcome is None:
            raise RuntimeError(f"{self!r} has been entered already: it is for one at a time.")
        block = self._block = Block(self.using, self.savepoint, self.durable)
        try:
            await block.enter()
        except BaseException:
            if block.outcome is None:
                self._block = None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._block is not None  # noqa: S101 - it was entered
        await self._block.exit(kind, error, traceback)


@overload
def async_atomic(
    using: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]: ...


@overload
def async_atomic(
    using: str | None = None, savepoint: bool = True, durable: bool = False
) -> AsyncAtomic: ...


def async_atomic(using: Any = None, savepoint: bool = True, durable: bool = False) -> Any:
    """``django.db.transaction.atomic`` for asynchronous code: an asynchronous context manager,
    and a decorator of asynchronous functions.

    :param using: the database; by default ``"default"``.
    :param savepoint: whether a nested block is a savepoint.
    :param durable: refuse to be nested.
    :raises CancelledAfterCommit: the task was cancelled during the commit, which was completed.
    :raises CommitOutcomeUnknown: the same, but the server did not answer in time. Both are
        ``asyncio.CancelledError``; any other means that the block was rolled back.
    """
    if callable(using):
        return AsyncAtomic(DEFAULT_DB_ALIAS, savepoint, durable)(using)
    return AsyncAtomic(using or DEFAULT_DB_ALIAS, savepoint, durable)
