"""Forks in the middle of things: ``python -m tests.session.forking``. Prints what the child may
not do with the parent's lease, and what went over its connections meanwhile.

A process of its own, because a forked copy of one with threads may hang.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pyodbc

from mssql_async.session.lease import LeasedConnection

from .drivers import StubLender


def attempt(what: str, call: Callable[[], Any]) -> str:
    try:
        return f"{what}: {call()}"
    except pyodbc.Error as error:
        return f"{what}: {type(error).__name__}"


def in_child(lender: StubLender, lease: LeasedConnection, cursors: list[Any]) -> list[str]:
    sent = [list(connection.raw.sent) for connection in lender.lent]
    busy = [connection.raw.busy for connection in lender.lent]
    lines = [
        f"state: {lease.state.value}",
        attempt("fetch", cursors[0].fetchone),
        attempt("fetch in the transaction", cursors[1].fetchone),
        attempt("execute", lambda: cursors[0].execute("SELECT 1")),
        attempt("commit", lease.commit),
        attempt("rollback", lease.rollback),
    ]
    for cursor in cursors:
        cursor.close()
    lease.close()
    untouched = (
        sent == [connection.raw.sent for connection in lender.lent]
        and busy == [connection.raw.busy for connection in lender.lent]
        and [connection.raw.autocommit for connection in lender.lent] == [True, False]
    )
    return [*lines, f"lent: {len(lender.lent)}", f"untouched: {untouched}"]


def main() -> None:
    lender = StubLender(results={"SELECT rows": [[(1,), (2,)]]})
    lease = LeasedConnection(lender)
    streaming = lease.execute("SELECT rows")
    lease.autocommit = False
    cursors = [streaming, lease.execute("SELECT rows")]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, "\n".join(in_child(lender, lease, cursors)).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    print(os.read(read, 10_000).decode())
    print("parent:", [len(cursor.fetchall()) for cursor in cursors])


if __name__ == "__main__":
    main()
