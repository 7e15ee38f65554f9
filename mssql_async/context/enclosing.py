"""What asynchronous code finds around it when it begins a transaction: a block, a session with
state, or the transaction of synchronous code that waits for it, such as a test's."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.db import connections

from .context import Context, ContextKind, current_context
from .nested import asgirefs_own, waiting_executor
from .registry import new_context
from .routing import beside_the_loop
from .threads import WaitingThread

#: Contexts whose transaction, or connection, is for all that is done in them.
_TAKE_TURNS = (ContextKind.BLOCK, ContextKind.CONNECTION, ContextKind.SURROUNDING)


class Enclosing:
    """A context that a block is nested in, for as long as the block needs it."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def leave(self) -> None:
        """The block is over."""


class _Shared(Enclosing):
    """Stands for a transaction that is none of ours. All blocks in it share it, so that they
    take turns; the last one ends it."""

    #: Whose transaction -> what stands for it. Under the lock, like what it counts.
    known: ClassVar[dict[object, _Shared]] = {}
    lock = threading.Lock()

    def __init__(self, key: object, context: Context) -> None:
        super().__init__(context)
        self._key = key
        self._blocks = 0

    @classmethod
    def of_thread(cls, executor: Any) -> _Shared:
        """The thread behind asgiref's executor has begun it."""
        with cls.lock:
            shared = cls.known.get(executor)
            if shared is None:
                context = new_context(ContextKind.SURROUNDING)
                context.thread = WaitingThread(asgirefs_own(executor), context.workers)
                shared = cls.known[executor] = cls(executor, context)
            shared._blocks += 1
        return shared

    @classmethod
    def of_wrappers(cls, wrappers: list[Any]) -> _Shared:
        """The thread of the event loop has begun it. Its connections move to a worker, because
        Django refuses to use them where a loop runs."""
        key = threading.get_ident()
        with cls.lock:
            shared = cls.known.get(key)
            if shared is None:
                context = new_context(ContextKind.SURROUNDING)
                shared = cls.known[key] = cls(key, context)
                for wrapper in wrappers:
                    wrapper.inc_thread_sharing()
                    context.adopted[wrapper.alias] = wrapper
            shared._blocks += 1
        return shared

    def leave(self) -> None:
        with self.lock:
            self._blocks -= 1
            if self._blocks:
                return
            del self.known[self._key]
        for wrapper in self.context.adopted.values():
            wrapper.dec_thread_sharing()
        if self.context.thread is None:
            self.context.end_soon()


async def around_a_request() -> Enclosing | None:
    """The transaction that a request is made in: of a test that calls the application itself.
    ``None``, as from servers: in none."""
    executor = waiting_executor()
    if executor is not None:
        return _Shared.of_thread(executor) if await sync_to_async(_is_tied)(None) else None
    wrappers = _in_transaction_of_this_thread()
    return _Shared.of_wrappers(wrappers) if wrappers else None


async def enclosing(using: str) -> Enclosing | None:
    """What a block on ``using`` is nested in; ``None``: it is a transaction of its own."""
    context = current_context()  # first: it may find what waits above, too
    executor = waiting_executor()
    if executor is not None:
        try:
            tied = await sync_to_async(_is_tied)(using)
        except RuntimeError:
            pass  # this task has outlived the async_to_sync around it
        else:
            return _Shared.of_thread(executor) if tied else None
    if context is not None:
        if context.kind in _TAKE_TURNS and not _is_outlived(context):
            return Enclosing(context)
        if not context.is_over and _is_seen_by_blocks(context, using):
            return Enclosing(context)
    wrappers = _in_transaction_of_this_thread()
    if any(wrapper.alias == using for wrapper in wrappers):
        # Only a test's fixture, or whoever calls asyncio.run in a transaction.
        return _Shared.of_wrappers(wrappers)
    return None


def _is_outlived(context: Context) -> bool:
    """Whether a task goes on without it. In a block that is over it cannot."""
    return context.kind is ContextKind.CONNECTION and context.is_over


def _is_seen_by_blocks(context: Context, using: str) -> bool:
    """Whether it has a session with state on that alias, or code that keeps something in its
    thread, or this task reads rows there: who waited for a second connection, and holds one
    while it does, would wait for others who do the same. Rows that another task reads, and what
    there is on other aliases, would only make blocks that have nothing to do with it take turns,
    even with who reads the rows."""
    home = context.home
    if home.pinned_to is None:
        return False
    if using in home.sessions or home.workers.keep:
        return True
    return using in home.unread and asyncio.current_task() in (home.users or ())


async def in_transaction(using: str | None) -> bool:
    """Whether this code runs in a transaction already, on ``using`` or, with ``None``, on any
    database."""
    context = current_context()
    beneath = waiting_executor() is not None
    pinned = context is not None and not context.is_over and context.home.pinned_to is not None
    if beneath or pinned:
        try:
            if await sync_to_async(in_transaction_here)(using):
                return True
        except RuntimeError:
            if not beneath:
                raise
    with beside_the_loop():
        return in_transaction_here(using)


def in_transaction_here(using: str | None) -> bool:
    """The same in this thread."""
    return any(
        wrapper.in_atomic_block or (wrapper.connection is not None and not wrapper.autocommit)
        for wrapper in connections.all(initialized_only=True)
        if using in (None, wrapper.alias)
    )


def _in_transaction_of_this_thread() -> list[Any]:
    """Wrappers of the event loop's own thread that are in a transaction."""
    with beside_the_loop():
        return [w for w in connections.all(initialized_only=True) if w.in_atomic_block]


def _is_tied(using: str | None) -> bool:
    """Whether this thread is in a transaction (``None``: on any database), or its session has
    state that a block has to see. Another connection might also never become free: this thread
    holds one."""
    return any(
        wrapper.in_atomic_block or not getattr(wrapper, "at_rest", True)
        for wrapper in connections.all(initialized_only=True)
        if using in (None, wrapper.alias)
    )
