"""A backend with one global connection, which every context gets.

Nobody asks any more whether the context that uses it is the one that it belongs to.
"""

from __future__ import annotations

import threading
from typing import Any

from mssql_async.base import DatabaseWrapper
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection

from . import Control

CONTROL = Control(Detector.SHARED_SESSION, ["uncommitted_rows"], contexts=200)


def install() -> None:
    get_new_connection = DatabaseWrapper.get_new_connection
    everybodys: dict[str, LeasedConnection] = {}
    lock = threading.Lock()

    def get_everybodys(self: DatabaseWrapper, conn_params: dict[str, Any]) -> LeasedConnection:
        with lock:
            lease = everybodys.get(self.alias)
            if lease is None:
                lease = everybodys[self.alias] = get_new_connection(self, conn_params)
                lease.may_be_shared = lambda: True
                lease.close = lambda: None  # type: ignore[method-assign]
        return lease

    DatabaseWrapper.get_new_connection = get_everybodys  # type: ignore[method-assign]
