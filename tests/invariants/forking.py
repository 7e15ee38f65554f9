"""Forks while another thread has a lease: ``python -m tests.invariants.forking PORT [broken]``.

Prints what that thread's session was before the fork and is after it, once the child is gone. A
process of its own, because a forked copy of one with threads may hang. With ``broken`` the
child takes itself for the parent: the positive control.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from typing import Any

from .exiting import configure


def main(port: str, broken: bool) -> None:
    configure(port)
    from django.db import connection, transaction

    from mssql_async.session import threadends

    def session() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@SPID, @@TRANCOUNT")
            return cursor.fetchone()

    began, over = threading.Event(), threading.Event()
    seen: list[Any] = []

    def other() -> None:
        with transaction.atomic():
            seen.append(session())
            began.set()
            over.wait()
            try:
                seen.append(session())
            except Exception as error:
                seen.append(type(error).__name__)

    if broken:
        parent = os.getpid()
        threadends.os.getpid = lambda: parent  # type: ignore[attr-defined]
    thread = threading.Thread(target=other)
    thread.start()
    began.wait()
    child = os.fork()
    if child == 0:
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    over.set()
    thread.join()
    print(*seen, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], "broken" in sys.argv)
