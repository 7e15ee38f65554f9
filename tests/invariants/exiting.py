"""Forks a child that ends as programs do: ``python -m tests.invariants.exiting PORT HOW WHAT``.

Prints the parent's session before the fork and after the child's end, and what came in between.
A process of its own, because a forked copy of one with threads may hang.

The child ends by ``exit`` (``sys.exit``), ``grandchild`` (so does a child of its own first) or
``multiprocessing``; the parent has a session that is ``idle``, in a ``transaction``, or with
``unread`` rows, or another ``thread`` has one to itself. With ``broken`` nothing but lists keeps
what the child inherits: the positive control.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

ROWS = 20_000


def configure(port: str) -> None:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "mssql_async",
                "NAME": "app",
                "HOST": "127.0.0.1",
                "PORT": port,
                "USER": "sa",
                "PASSWORD": "Passw0rd!",
                "OPTIONS": {"extra_params": "Encrypt=no"},
            }
        }
    )


def session() -> Any:
    from django.db import connection

    with connection.cursor() as cursor:
        # With a parameter: there is a prepared statement, too.
        cursor.execute("SELECT @@SPID, %s", [1])
        return cursor.fetchone()


@contextmanager
def idle() -> Iterator[None]:
    yield


@contextmanager
def transaction() -> Iterator[None]:
    from django.db import transaction

    with transaction.atomic():
        session()
        yield


@contextmanager
def unread() -> Iterator[None]:
    from django.db import connection

    with transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT value FROM GENERATE_SERIES(%s, %s)", [1, ROWS])
        first = cursor.fetchone()
        yield
        assert len([first, *cursor.fetchall()]) == ROWS


@contextmanager
def thread() -> Iterator[None]:
    """A lease with unread rows that only the thread's own storage refers to: such storage is
    emptied in the child before anything of ours is called there."""
    from django.db import connection

    from mssql_async.session.lease import LeasedConnection

    source = connection.connection._source
    storage, began, over = threading.local(), threading.Event(), threading.Event()
    rows: list[Any] = []

    def hold() -> None:
        storage.lease = LeasedConnection(source)
        storage.cursor = storage.lease.execute("SELECT value FROM GENERATE_SERIES(?, ?)", [1, ROWS])
        began.set()
        over.wait()
        rows.extend(storage.cursor.fetchall())

    other = threading.Thread(target=hold)
    other.start()
    began.wait()
    yield
    over.set()
    other.join()
    assert len(rows) == ROWS


def exit_() -> None:
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)


def grandchild() -> None:
    child = os.fork()
    if child == 0:
        exit_()
        sys.exit()
    os.waitpid(child, 0)


def through_multiprocessing() -> None:
    process = multiprocessing.get_context("fork").Process(target=session)
    process.start()
    process.join()
    assert process.exitcode == 0


HOW: dict[str, Callable[[], None]] = {
    "exit": exit_,
    "grandchild": grandchild,
    "multiprocessing": through_multiprocessing,
}
WHAT = {"idle": idle, "transaction": transaction, "unread": unread, "thread": thread}


def main(port: str, how: str, what: str, broken: bool) -> None:
    configure(port)
    from mssql_async.pool import inherited

    if broken:
        inherited._take_reference = lambda: None  # type: ignore[attr-defined]
    print(session())
    with WHAT[what]():
        HOW[how]()
    print(session())


if __name__ == "__main__":
    main(*sys.argv[1:4], "broken" in sys.argv)
