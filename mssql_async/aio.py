"""Cursors for asynchronous code, and connections of its own for each of several tasks.

::

    async with async_connections["default"].cursor() as cursor:
        await cursor.execute("SELECT name FROM shop_author WHERE id = %s", [1])
        row = await cursor.fetchone()

    orders, stock = await asyncio.gather(
        async_new_connection(count_orders()), async_new_connection(count_stock())
    )

The names are those of django-async-backend. What runs is Django's own cursor, on the worker of
the current context: execute wrappers, the log of queries and Django's classes of errors are what
they are in synchronous code, and inside ``async_atomic`` it is in that transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import Error, InterfaceError, ProgrammingError, connections
from django.utils.connection import ConnectionDoesNotExist

from .blocks import end_blocks_in
from .context import (
    Context,
    ContextKind,
    ContextScope,
    TransactionBlockEnded,
    current_context,
    new_context,
)
from .context.worker import GRACE, Worker, current_worker

P = ParamSpec("P")
R = TypeVar("R")

Row = tuple[Any, ...]

#: Rows that ``async for`` reads at once: each visit to the worker costs as much as several.
READ_AHEAD = 100


class AsyncConnections:
    """``django.db.connections`` for asynchronous code: alias -> :class:`AsyncConnection`."""

    def __repr__(self) -> str:
        return f"<async_connections: {', '.join(self)}>"

    def __getitem__(self, alias: str) -> AsyncConnection:
        """
        :raises ConnectionDoesNotExist: ``DATABASES`` has no such alias.
        """
        if alias not in connections.settings:
            raise ConnectionDoesNotExist(f"The connection '{alias}' doesn't exist.")
        return AsyncConnection(alias)

    def __iter__(self) -> Iterator[str]:
        return iter(connections)

    def __len__(self) -> int:
        return len(connections.settings)

    def __contains__(self, alias: object) -> bool:
        return alias in connections.settings

    def all(self) -> list[AsyncConnection]:
        return [AsyncConnection(alias) for alias in self]

    async def close_all(self) -> None:
        """Give back every connection that the current context holds."""
        await _on_worker(connections.close_all)


class AsyncConnection:
    """A database as the current context uses it. Holds nothing by itself: which connection of
    the pool serves a statement is the context's matter."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def __repr__(self) -> str:
        return f"<AsyncConnection {self.alias!r}>"

    @property
    def settings_dict(self) -> dict[str, Any]:
        """The entry of ``DATABASES``."""
        settings: dict[str, Any] = connections.settings[self.alias]
        return settings

    def cursor(self) -> AsyncCursor:
        """A cursor: to be entered with ``async with``, or awaited and closed. It takes no
        connection before it executes something."""
        return AsyncCursor(self)

    async def close(self) -> None:
        """Give back what the current context holds of this database. Not needed at the end of
        a context, which does it itself."""
        await self._ask(lambda wrapper: wrapper.close())

    async def commit(self) -> None:
        """Commit where autocommit is off; inside ``async_atomic`` that is an error."""
        await self._ask(lambda wrapper: wrapper.commit())

    async def rollback(self) -> None:
        """Roll back where autocommit is off; inside ``async_atomic`` that is an error."""
        await self._ask(lambda wrapper: wrapper.rollback())

    async def get_autocommit(self) -> bool:
        return bool(await self._ask(lambda wrapper: wrapper.get_autocommit()))

    async def set_autocommit(self, autocommit: bool) -> None:
        """Without autocommit the context keeps its connection until it is on again, or the
        context ends, which rolls back."""
        await self._ask(lambda wrapper: wrapper.set_autocommit(autocommit))

    async def on_commit(self, func: Callable[[], Any], robust: bool = False) -> None:
        """``transaction.on_commit``."""
        await self._ask(lambda wrapper: wrapper.on_commit(func, robust))

    async def _ask(self, question: Callable[[Any], Any]) -> Any:
        return await _on_worker(lambda: question(connections[self.alias]))


class AsyncCursor:
    """A cursor whose methods are awaited; PEP 249 otherwise.

    While rows are unread, its context keeps the worker and the connection that they come from.
    Read to the end it holds nothing. Rows belong to the context in which the statement was
    executed; a cursor whose rows are read may execute again in any.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.arraysize = 1
        self._inner: Any = None
        """Django's cursor: used on the worker only."""
        self._holds = False
        """Whether there is something to read or to give back on the worker."""
        self._worker: Worker | None = None
        """Which one that is."""
        self._interrupted = False
        """Whether a call of it was cancelled, which may be running still."""
        self._closed = False
        self._ahead: deque[Row] = deque()
        """Rows that were read already and nobody has asked for."""
        self._description: Any = None
        self._rowcount = -1
        self._home: Context | None = None
        self._where: contextvars.Context | None = None
        """Where the statement was executed."""

    def __repr__(self) -> str:
        state = "closed" if self._closed else "unread" if self._holds else "holds nothing"
        return f"<AsyncCursor on {self.connection.alias!r}: {state}>"

    def __del__(self) -> None:
        # Finalizers may run anywhere: what it holds there, the worker has to see to.
        if self._holds and self._worker is not None:
            self._worker.look_again()

    # --- opening and closing -----------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, AsyncCursor]:
        return self._itself().__await__()

    async def _itself(self) -> AsyncCursor:
        return self

    async def __aenter__(self) -> AsyncCursor:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, also where the task is cancelled. That is not waited for longer than
        :data:`~.context.worker.GRACE`: then it goes on by itself."""
        closing = self._begin_to_close()
        if closing is None:
            return
        closing.add_done_callback(_retrieve)
        if self._interrupted:
            # It comes after the call that was told to stop; so does the end of the context,
            # which is waited for.
            await asyncio.sleep(0)
        else:
            await asyncio.wait([closing], timeout=GRACE)

    async def close(self) -> None:
        """Close it. Twice is no error."""
        closing = self._begin_to_close()
        if closing is not None:
            await closing

    def _begin_to_close(self) -> asyncio.Task[None] | None:
        self._closed = True
        self._ahead.clear()
        if not self._holds and not self._interrupted:
            return None
        # In the context of its rows, though not from within: what is around an open block waits
        # for the end of that.
        where = None if self._home is _home() else self._where
        return asyncio.get_running_loop().create_task(self._close_there(), context=where)

    async def _close_there(self) -> None:
        try:
            await _on_worker(self._close_here)
        except TransactionBlockEnded:  # and the rows with it
            self._inner, self._holds = None, False

    def _close_here(self) -> None:
        inner, self._inner = self._inner, None
        self._holds = False
        if inner is not None:
            with inner.db.wrap_database_errors:
                inner.close()

    # --- executing ---------------------------------------------------------------------------

    async def execute(self, sql: Any, params: Any = None) -> AsyncCursor:
        """Execute a statement; placeholders are ``%s``. Returns the cursor."""
        await self._run("execute", sql, params)
        return self

    async def executemany(self, sql: Any, param_list: Iterable[Any]) -> AsyncCursor:
        """Execute a statement for each of several lists of parameters."""
        await self._run("executemany", sql, param_list)
        return self

    async def callproc(self, procname: str, params: Iterable[Any] | None = None) -> Any:
        """Execute a stored procedure; what it selects is fetched like any result."""
        return await self._run("callproc", procname, params)

    async def _run(self, method: str, *args: Any) -> Any:
        if self._closed:
            raise InterfaceError("This cursor is closed.")
        home = _home()
        if self._holds and home is not self._home:
            raise _rows_are_elsewhere()
        self._ahead.clear()
        self._home, self._where = home, contextvars.copy_context()
        return await self._visit(self._run_here, method, *args)

    def _run_here(self, method: str, *args: Any) -> Any:
        if self._inner is not None:
            self._close_here()
        wrapper: Any = connections[self.connection.alias]
        inner = wrapper.cursor()
        try:
            result = getattr(inner, method)(*args)
        except BaseException:
            with contextlib.suppress(wrapper.Database.Error):
                inner.close()
            self._description, self._rowcount = None, -1
            raise
        self._inner = inner
        self._look(inner)
        return result

    def _look(self, inner: Any) -> None:
        """What the cursor is asked for on the event loop."""
        self._description, self._rowcount = inner.description, inner.rowcount
        # Other backends' cursors do not tell.
        self._holds = not getattr(inner, "is_read", False)
        if self._holds:
            self._worker = current_worker()
        else:
            self._close_here()  # one that is open keeps the worker

    async def _visit(self, call: Callable[..., R], *args: Any) -> R:
        try:
            return await _on_worker(call, *args)
        except asyncio.CancelledError:
            self._interrupted = True
            raise

    # --- reading -----------------------------------------------------------------------------

    @property
    def description(self) -> Any:
        """The columns of the current result set; ``None``: it is none."""
        return self._description

    @property
    def rowcount(self) -> int:
        """Rows that the statement has changed; -1: unknown."""
        return self._rowcount

    async def fetchone(self) -> Row | None:
        """The next row; ``None``: there is none left."""
        if self._ahead:
            return self._ahead.popleft()
        if self._has_ended():
            return None
        row: Row | None = await self._fetch("fetchone")
        return row

    async def fetchmany(self, size: int | None = None) -> list[Row]:
        """So many rows, by default ``arraysize``, or as many as are left."""
        if size is None:
            size = self.arraysize
        rows = [self._ahead.popleft() for _ in range(min(size, len(self._ahead)))]
        if len(rows) < size and not self._has_ended():
            rows += await self._fetch("fetchmany", size - len(rows))
        return rows

    async def fetchall(self) -> list[Row]:
        """All rows that are left."""
        rows = list(self._ahead)
        self._ahead.clear()
        if not self._has_ended():
            rows += await self._fetch("fetchall")
        return rows

    async def nextset(self) -> bool:
        """Go on to the next result set; false where there is none."""
        self._ahead.clear()
        if self._closed or not self._holds:
            self._description, self._rowcount = None, -1
            return False
        return bool(await self._fetch("nextset"))

    def __aiter__(self) -> AsyncCursor:
        return self

    async def __anext__(self) -> Row:
        if not self._ahead and not self._has_ended():
            self._ahead.extend(await self._fetch("fetchmany", max(READ_AHEAD, self.arraysize)))
        if not self._ahead:
            raise StopAsyncIteration
        return self._ahead.popleft()

    def _has_ended(self) -> bool:
        """Whether the rows were read to their end, so that no worker need be asked."""
        if self._closed:
            raise InterfaceError("This cursor is closed.")
        if self._holds:
            return False
        if self._description is None:
            raise ProgrammingError("No results: the last statement, if any, was not a query.")
        return True

    async def _fetch(self, method: str, *args: Any) -> Any:
        if self._home is not _home():
            raise _rows_are_elsewhere()
        return await self._visit(self._fetch_here, method, *args)

    def _fetch_here(self, method: str, *args: Any) -> Any:
        inner = self._inner
        if inner is None and not self._holds and self._description is not None:
            # Another task has read the last row since this one asked.
            return [] if method in ("fetchmany", "fetchall") else None
        if inner is None or inner.db is not connections[self.connection.alias]:
            raise _rows_are_elsewhere()
        try:
            return getattr(inner, method)(*args)
        finally:
            self._look(inner)


def _rows_are_elsewhere() -> InterfaceError:
    return InterfaceError(
        "The rows of this cursor belong to another context than the one that asks for them, or to "
        "one that has ended: a transaction block or connection of its own has none of the rows "
        "from outside of it. Read them where the statement was executed."
    )


def _home() -> Context | None:
    context = current_context()
    return None if context is None else context.home


async def _on_worker(call: Callable[..., R], *args: Any) -> R:
    """Thread-sensitive: on the worker of the current context, or wherever asgiref runs such calls
    outside of one."""
    return await sync_to_async(call, thread_sensitive=True)(*args)


def _retrieve(task: asyncio.Task[None]) -> None:
    """As with Django's cursors, errors of the cleanup are nobody's."""
    if not task.cancelled():
        error = task.exception()
        if error is not None and not isinstance(error, Error):
            raise error


class AsyncNewConnection:
    """One use of :func:`async_new_connection` as a context manager."""

    def __init__(self) -> None:
        self._context: Context | None = None
        self._routing: ContextScope | None = None

    def __repr__(self) -> str:
        return f"<async_new_connection: {self._context or 'not entered'}>"

    async def __aenter__(self) -> AsyncConnections:
        if self._context is not None:
            raise RuntimeError(f"{self!r} has been entered already.")
        self._context = new_context(ContextKind.CONNECTION)
        self._routing = ContextScope(self._context)
        self._routing.enter()
        return async_connections

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context, routing = self._context, self._routing
        assert context is not None  # noqa: S101 - it was entered
        assert routing is not None  # noqa: S101
        routing.exit()
        end_blocks_in(context)
        await context.end()


@overload
def async_new_connection() -> AsyncNewConnection: ...


@overload
def async_new_connection(
    work: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]: ...


@overload
def async_new_connection(work: Coroutine[Any, Any, R]) -> Coroutine[Any, Any, R]: ...


def async_new_connection(work: Any = None) -> Any:
    """Connections of its own for some work: it runs beside what is around it, in no transaction
    of that, and in parallel to others of the kind.

    A context manager without an argument; a decorator of an asynchronous function, each call of
    which gets its own; around a coroutine, something to await. How many run at the same time is
    the pool's size; the others wait their turn.

    :raises TypeError: it is given something else.
    """
    if work is None:
        return AsyncNewConnection()
    if inspect.iscoroutine(work):
        return _with_its_own(work)
    if iscoroutinefunction(work):

        @functools.wraps(work)
        async def with_its_own(*args: Any, **kwargs: Any) -> Any:
            return await _with_its_own(work(*args, **kwargs))

        return with_its_own
    raise TypeError(
        "async_new_connection() takes a coroutine or an asynchronous function, or nothing, as a "
        f"context manager: not {type(work).__name__}."
    )


async def _with_its_own(work: Awaitable[R]) -> R:
    async with AsyncNewConnection():
        return await work


#: The databases of this project, for asynchronous code.
async_connections = AsyncConnections()

__all__ = [
    "AsyncConnection",
    "AsyncConnections",
    "AsyncCursor",
    "AsyncNewConnection",
    "async_connections",
    "async_new_connection",
]
