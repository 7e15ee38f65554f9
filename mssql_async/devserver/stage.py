"""The server as its faults see it: which connections there are, and where to act on them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol, runtime_checkable

from .faults import Faults, FaultTarget
from .tds.connection import TdsConnection
from .tds.counters import Counters, SessionInfo

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that dropped sessions have to end, and the event loop to do as it is told."""


class ServerControl(Protocol):
    """What an engine's own procedures may ask of the server in front of it."""

    @property
    def faults(self) -> Faults: ...

    @property
    def counters(self) -> Counters: ...

    def reset_counters(self) -> Counters: ...

    def sessions(self) -> list[SessionInfo]: ...


@runtime_checkable
class Controllable(Protocol):
    """An engine that offers its server's faults to clients, and can fail over."""

    def attach_server(self, server: ServerControl) -> None: ...

    @property
    def server_name(self) -> str:
        """``@@SERVERNAME``."""

    def renew(self, server_name: str, *, read_only: bool) -> None:
        """Go on as another instance, started now. With ``read_only`` the user databases
        refuse writes until :meth:`make_writable` or the next renewal."""

    def make_writable(self) -> None: ...


class ServerStage:
    """See :class:`mssql_async.devserver.faults.FaultStage`."""

    def __init__(
        self, engine: object, connections: Mapping[TdsConnection, asyncio.Task[None]]
    ) -> None:
        self._engine = engine if isinstance(engine, Controllable) else None
        self._connections = connections
        self._first_name = self._engine.server_name if self._engine is not None else ""
        self._incarnation = 1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def begin(self) -> None:
        """The server starts, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def end(self) -> None:
        """The server has stopped: there is nothing left to act on."""
        self._loop = None

    def targets(self) -> Sequence[FaultTarget]:
        return list(self._connections)

    def on_loop(self, work: Callable[[], None]) -> None:
        loop = self._loop
        if loop is None or threading.get_ident() == self._thread:
            work()
            return
        done: Future[None] = Future()

        def run() -> None:
            try:
                work()
            except BaseException as failure:
                done.set_exception(failure)
            else:
                done.set_result(None)

        loop.call_soon_threadsafe(run)
        done.result(PATIENCE)

    def soon_on_loop(self, work: Callable[[], None]) -> None:
        loop = self._loop
        if loop is None or threading.get_ident() == self._thread:
            work()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and every connection
            loop.call_soon_threadsafe(work)

    def wait_closed(self, targets: Sequence[FaultTarget]) -> None:
        loop = self._loop
        if loop is None or threading.get_ident() == self._thread:
            return
        asyncio.run_coroutine_threadsafe(self._wait_closed(targets), loop).result()

    async def _wait_closed(self, targets: Sequence[FaultTarget]) -> None:
        tasks = {each: task for each, task in self._connections.items() if each in targets}
        if not tasks:
            return
        _done, pending = await asyncio.wait(set(tasks.values()), timeout=PATIENCE)
        for connection, task in tasks.items():
            if task in pending:
                logger.error("%r did not end within %s s", connection, PATIENCE)

    @property
    def instance_name(self) -> str:
        return self._engine.server_name if self._engine is not None else self._first_name

    def renew_instance(self, *, read_only: bool) -> str:
        self._incarnation += 1
        name = f"{self._first_name}-{self._incarnation}"
        if self._engine is not None:
            self._engine.renew(name, read_only=read_only)
        return name

    def make_writable(self) -> None:
        if self._engine is not None:
            self._engine.make_writable()
