"""A backend with one global connection, which every context gets.

A lock around each call makes it look safe. Nobody asks any more whether the context that uses the
connection is the one that it belongs to.
"""

from __future__ import annotations

import threading
from typing import Any

from mssql_async.base import DatabaseWrapper
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection

from . import Control
from ._broken import lock_each_call, read_in_transactions

CONTROL = Control(Detector.SHARED_SESSION, ["gather_in_a_view"], contexts=30)


def install() -> None:
    get_new_connection = DatabaseWrapper.get_new_connection
    lock = threading.Lock()
    everybodys: list[LeasedConnection] = []

    def get_everybodys(self: DatabaseWrapper, conn_params: dict[str, Any]) -> LeasedConnection:
        with lock:
            if not everybodys:
                lease = get_new_connection(self, conn_params)
                lease.may_be_shared = lambda: True
                lease.close = lambda: None  # type: ignore[method-assign]
                everybodys.append(lease)
        return everybodys[0]

    DatabaseWrapper.get_new_connection = get_everybodys  # type: ignore[method-assign]
    lock_each_call()
    read_in_transactions()
