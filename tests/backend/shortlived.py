"""A process that makes two queries and ends: ``python -m tests.backend.shortlived PORT [frozen]``.

Prints the names of the threads it has at its end. With ``frozen`` it opens three connections,
says so, and ends only when its input is closed, after which the server answers nothing.
"""

from __future__ import annotations

import sys
import threading

from django.conf import settings


def main(port: str, frozen: bool) -> None:
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
    import django

    django.setup()
    from django.db import connection, connections

    def ask(wrapper: object) -> None:
        with wrapper.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute("SELECT 1")
            cursor.fetchall()

    for _ in range(2):
        ask(connection)
        connection.close()
    if frozen:
        others = [connections.create_connection("default") for _ in range(3)]
        for other in others:
            other.set_autocommit(False)  # each needs a connection of its own
            ask(other)
        for other in others:
            other.close()
        print("open", flush=True)
        sys.stdin.read()
    print(sorted(thread.name for thread in threading.enumerate()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], "frozen" in sys.argv[2:])
