"""Forks with a connection in use: ``python -m tests.backend.forking PORT [broken]``.

Prints the session of the parent before the fork, of the child, and of the parent after it.
It is a process of its own because a forked copy of one with threads (the test runner's, the
server's) may hang. With ``broken`` the leases are not disowned: the positive control.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings


def main(port: str, broken: bool) -> None:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "mssql_async",
                "NAME": "app",
                "HOST": "127.0.0.1",
                "PORT": port,
                "USER": "sa",
                "PASSWORD": "Passw0rd!",
                "OPTIONS": {"extra_params": "Encrypt=no", "pool": {"lease": "context"}},
            }
        }
    )
    from django.db import connection

    from mssql_async.session import lease

    def session() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@SPID")
            return cursor.fetchone()[0]

    before = session()
    if broken:
        lease._live.clear()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(session()).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    in_child = os.read(read, 100).decode()
    # The parent's connection is still in step with its server.
    print(before, in_child, session())


if __name__ == "__main__":
    main(sys.argv[1], "broken" in sys.argv)
