"""The event loop that a server runs in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, always in a loop of asyncio's own.

    A process that serves with uvloop may have made that the loop of all its threads. Its
    transports are none of asyncio's, and their sockets cannot be shut down while a forked child
    holds them, too.
    """
    with asyncio.Runner(loop_factory=_own_loop) as runner:
        return runner.run(main)


def _own_loop() -> asyncio.AbstractEventLoop:
    """As asyncio chooses where nobody has set a policy."""
    if sys.platform == "win32":
        return asyncio.ProactorEventLoop()
    return asyncio.SelectorEventLoop()
