"""A backend with one global connection, which every context gets.

A lock around each call makes it look safe. Nobody asks any more whether the context that uses the
connection is the one that it belongs to.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mssql_async.base import DatabaseWrapper
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.cursor import LeasedCursor
from mssql_async.session.lease import LeasedConnection

from . import Control

CONTROL = Control(Detector.SHARED_SESSION, ["atomic_requests"], contexts=60)

Call = TypeVar("Call", bound=Callable[..., Any])

_lock = threading.RLock()


def install() -> None:
    get_new_connection = DatabaseWrapper.get_new_connection
    everybodys: list[LeasedConnection] = []

    def get_everybodys(self: DatabaseWrapper, conn_params: dict[str, Any]) -> LeasedConnection:
        with _lock:
            if not everybodys:
                lease = get_new_connection(self, conn_params)
                lease.may_be_shared = lambda: True
                lease.close = lambda: None  # type: ignore[method-assign]
                everybodys.append(lease)
        return everybodys[0]

    DatabaseWrapper.get_new_connection = get_everybodys  # type: ignore[method-assign]
    for name in ("execute", "executemany", "fetchone", "fetchmany", "fetchall", "nextset", "close"):
        setattr(LeasedCursor, name, one_at_a_time(getattr(LeasedCursor, name)))
    for name in ("acquire", "commit", "rollback"):
        setattr(LeasedConnection, name, one_at_a_time(getattr(LeasedConnection, name)))


def one_at_a_time(call: Call) -> Call:
    @functools.wraps(call)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with _lock:
            return call(*args, **kwargs)

    return locked  # type: ignore[return-value]
