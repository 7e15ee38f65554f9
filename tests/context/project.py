"""A Django project on an embedded server of its own, with workers of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from asgiref.sync import SyncToAsync
from django.db import connection, connections

from mssql_async.context import WorkerPool, registry
from mssql_async.context.surroundings import DjangoConnections
from mssql_async.context.workers import WorkerStatistics
from mssql_async.devserver import DevServer
from mssql_async.devserver.tds.counters import SessionInfo
from mssql_async.pool.registry import close_pools, pool_statistics
from mssql_async.pool.statistics import PoolStatistics
from tests.conftest import connection_settings

PATIENCE = 20
"""Seconds after which a condition is taken to stay false."""


def until(condition: Callable[[], bool]) -> bool:
    """Look again and again whether a condition holds, for :data:`PATIENCE` at most."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def _is_open(info: SessionInfo) -> bool:
    """Whether more was sent than what opens a connection: the driver's questions for types, and
    the batch that sets the session up."""
    statements = {
        kind: count
        for kind, count in info.messages.items()
        if kind.startswith(("batch", "rpc.")) and "sp_datatype_info" not in kind
    }
    return sum(statements.values()) > 1


class Project:
    """``DATABASES["default"]`` leads to :attr:`server`."""

    def __init__(self, server: DevServer) -> None:
        self.server = server
        self.workers: WorkerPool
        self.use()

    def use(self, *, database: dict[str, Any] | None = None, **pool: Any) -> None:
        """Change ``OPTIONS["pool"]`` and other settings. Workers are made anew."""
        settings = connections.settings["default"]
        settings.update(database or {}, **connection_settings(self.server))
        settings["OPTIONS"] = {"extra_params": "Encrypt=no", "pool": pool}
        _forget_wrappers()
        self.workers = registry._workers = registry._from_settings()

    def use_workers(self, **arguments: Any) -> None:
        """Workers with arguments that are no settings."""
        old = self.workers
        self.workers = registry._workers = WorkerPool(
            DjangoConnections(),
            **{
                "max_workers": old.max_workers,
                "acquire_timeout": old.acquire_timeout,
                "keep": old.keep,
                **arguments,
            },
        )

    @property
    def pool(self) -> PoolStatistics:
        """The one pool of this server's; an unused one where there is none yet."""
        (found,) = pool_statistics()[-1:]
        return found

    @property
    def in_use(self) -> int:
        return sum(pool.in_use for pool in pool_statistics())

    @property
    def pool_count(self) -> int:
        return len(pool_statistics())

    @property
    def running(self) -> list[str]:
        """What the server's sessions do, those that do nothing left out, and those that are being
        opened: who freezes or stops such a one does that to no statement of a test."""
        sessions = self.server.sessions()
        return [info.state for info in sessions if info.state != "ready" and _is_open(info)]

    def is_quiet(self) -> bool:
        """Whether no statement runs, no lease is held and no worker is tied."""
        return not self.running and self.holds_nothing()

    def holds_nothing(self) -> bool:
        w: WorkerStatistics = self.workers.statistics()
        return (
            self.in_use == 0
            and (w.pinned, w.waiting, w.quarantined) == (0, 0, 0)
            and w.idle == w.workers
        )


def ask(sql: str, *params: Any) -> Any:
    """The first column of the first row, on the connection of whoever asks."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        row = cursor.fetchone()
        return None if row is None else row[0]


def do(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _forget_wrappers() -> None:
    """Of this thread, and of the one that asgiref has for code outside of contexts."""

    def forget() -> None:
        with contextlib.suppress(AttributeError):
            wrapper = connections._connections.default
            wrapper.close()
            del connections["default"]

    forget()
    SyncToAsync.single_thread_executor.submit(forget).result()


@contextlib.contextmanager
def project() -> Iterator[Project]:
    kept = getattr(connections._connections, "default", None)
    if kept is not None:
        del connections["default"]
    settings = dict(connections.settings["default"])
    workers = registry._workers
    close_pools()
    try:
        with DevServer() as server:
            yield Project(server)
            _forget_wrappers()
            close_pools(lambda parameters: parameters.address == (server.host, server.port))
    finally:
        registry._workers = workers
        connections.settings["default"].clear()
        connections.settings["default"].update(settings)
        if kept is not None:
            connections["default"] = kept


def thread_names() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())
