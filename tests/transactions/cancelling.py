"""Cancels a coroutine at a chosen moment, as often as there are moments."""

from __future__ import annotations

import asyncio
import enum
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any


class When(enum.Enum):
    """When, after a coroutine begins to wait for a future."""

    AT_ONCE = "at once"
    SOON = "one turn of the loop later"
    LATER = "ten turns of the loop later"
    MUCH_LATER = "a hundred turns of the loop later"
    LATE = "when it has come, before anybody sees it"
    TWICE = "at once, and again at the next wait"


_TURNS = {When.SOON: 1, When.LATER: 10, When.MUCH_LATER: 100}


@dataclass
class Run:
    """What became of it."""

    waits: int = 0
    was_told: bool = False
    """Whether it was told before it had ended."""
    error: BaseException | None = None


def cancelled_at(
    work: Callable[[], Coroutine[Any, Any, None]], wait: int, when: When
) -> Coroutine[Any, Any, Run]:
    """Run ``work`` in a task that is cancelled at its ``wait``-th wait."""

    async def run() -> Run:
        seen = Run()
        task = asyncio.ensure_future(_counted(work(), wait, when, seen))
        await asyncio.wait([task])
        # Not task.exception(): that is a CancelledError of its own.
        try:
            task.result()
        except BaseException as error:
            seen.error = error
        return seen

    return run()


async def _counted(work: Any, wait: int, when: When, seen: Run) -> None:
    await _drive(work, wait, when, seen)


@types.coroutine
def _drive(work: Any, wait: int, when: When, seen: Run) -> Generator[Any, Any, None]:
    task = asyncio.current_task()
    assert task is not None
    step: Callable[[], Any] = lambda: work.send(None)  # noqa: E731
    while True:
        try:
            awaited = step()
        except StopIteration:
            return
        seen.waits += 1
        if seen.waits == wait or (when is When.TWICE and seen.waits == wait + 1):
            _cancel(task, awaited, when, seen)
        try:
            result = yield awaited
        except BaseException as error:
            step = lambda error=error: work.throw(error)  # noqa: E731
        else:
            step = lambda result=result: work.send(result)  # noqa: E731


def _cancel(task: asyncio.Task[Any], awaited: Any, when: When, seen: Run) -> None:
    def cancel(turns: int = 0) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(cancel, turns - 1)
        elif task.cancel():
            seen.was_told = True

    if when in (When.AT_ONCE, When.TWICE):
        cancel()
    elif when is When.LATE and awaited is not None:
        awaited.add_done_callback(lambda _: cancel())
    else:
        asyncio.get_running_loop().call_soon(cancel, _TURNS.get(when, 0))
