"""Who waits for whom: which threads cannot go on before a call has what it asks for.

A call that has to wait for a connection or a worker is in vain where all of them belong to
contexts that wait for this very call: nobody could give one back. A context waits where its
task awaits the call's task, itself or through others: directly, with ``asyncio.gather``,
``asyncio.shield`` or a ``TaskGroup`` that is being left, and where its thread waits in
``async_to_sync``. Where that cannot be seen, a context is taken for one that goes on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from ..pool.connection import PooledConnection
from ..session.lease import connections_of
from .calls import Call
from .context import Context, ContextKind
from .worker import Worker, current_worker

Tasks = set["asyncio.Task[Any]"]


def held_in_vain() -> set[PooledConnection]:
    """The connections that cannot come back before the current thread goes on: its own, and
    those of whoever waits for the call that runs on it."""
    owners: set[object] = {threading.get_ident()}
    worker = current_worker()
    call = None if worker is None else worker.call
    if call is not None:
        for context, thread in _waiting(call):
            owners.add(thread.ident)
            if context is not None:
                owners.update(_adopted_from(context))
    return connections_of(owners)


def workers_that_wait_for(call: Call) -> set[Worker]:
    """The workers whose contexts wait for this call, which has none yet."""
    threads = {thread for _, thread in _waiting(call)}
    return {
        worker
        for context in _around(call.context)
        if (worker := _worker_of(context)) is not None and worker.thread in threads
    }


def _waiting(call: Call | None) -> Iterator[tuple[Context | None, threading.Thread]]:
    """The contexts that wait for a call, and their threads; also threads of no context."""
    while call is not None and call.task is not None:
        tasks = tasks_that_await(call.task)
        above = call.above
        beneath = any(map(_is_a_bridge, tasks))
        for context in _around(call.context):
            worker = _worker_of(context)
            if worker is not None and _awaits(context, tasks):
                yield context, worker.thread
            thread = context.thread_above
            if beneath and thread is not None:
                # What waits there is a call in its turn, if that thread is a worker.
                beneath = False
                yield None, thread
                above = _call_on(thread, call.context)
        call = above


def _around(context: Context) -> Iterator[Context]:
    one: Context | None = context
    while one is not None:
        yield one
        one = one.within


def _worker_of(context: Context) -> Worker | None:
    home = context.home
    running = home.running
    return running.worker if running is not None else home.pinned_to


def _awaits(context: Context, tasks: Tasks) -> bool:
    """Whether whoever could end what pins a context is among ``tasks``."""
    home = context.home
    if home.ended:
        return False
    if home.kind is ContextKind.BLOCK:  # only the task that began it can end it
        return home.task is not None and home.task() in tasks
    with home.workers.lock:
        users = list(home.users or ())
        running = home.running
    if running is not None and running.task is not None:
        users.append(running.task)
    return bool(users) and all(task in tasks or task.done() for task in users)


def _adopted_from(context: Context) -> Iterator[object]:
    for wrapper in context.home.adopted.values():
        owner = getattr(wrapper.connection, "owner", None)
        if owner is not None:
            yield owner


def _call_on(thread: threading.Thread, context: Context) -> Call | None:
    for one in _around(context):
        running = one.home.running
        if running is not None and running.worker is not None and running.worker.thread is thread:
            return running
    return None


# --- asyncio --------------------------------------------------------------------------------


def tasks_that_await(task: asyncio.Task[Any]) -> Tasks:
    """The task, and those that cannot go on before it is done. From any thread."""
    found: Tasks = set()
    left: list[asyncio.Future[Any]] = [task]
    seen: set[asyncio.Future[Any]] = set()
    while left:
        future = left.pop()
        if future in seen or future.done():
            continue
        seen.add(future)
        if isinstance(future, asyncio.Task):
            found.add(future)
        left.extend(_resumed_by(future))
    return found


def _resumed_by(future: asyncio.Future[Any]) -> Iterable[asyncio.Future[Any]]:
    """The futures and tasks that wait for this one. asyncio tells nobody in so many words, but
    each of them has left a callback."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            yield owner
        elif isinstance(owner, asyncio.TaskGroup):
            parent = getattr(owner, "_parent_task", None)
            if parent is not None and getattr(owner, "_on_completed_fut", None) is not None:
                yield parent
        elif getattr(callback, "__qualname__", "") in _PASSED_ON:
            for cell in callback.__closure__ or ():
                if isinstance(cell.cell_contents, asyncio.Future):
                    yield cell.cell_contents


#: Callbacks of ``asyncio.gather`` and ``asyncio.shield``: what they complete is in their closure.
_PASSED_ON = frozenset({"gather.<locals>._done_callback", "shield.<locals>._inner_done_callback"})


def _is_a_bridge(task: asyncio.Task[Any]) -> bool:
    """Whether a thread waits for this task in ``async_to_sync``, or in ``asyncio.run``."""
    name = getattr(task.get_coro(), "__qualname__", "")
    return name.startswith("AsyncToSync.")
