"""The embedded server as a child process, so that it has an interpreter of its own.

The parent holds the child's standard input open and never writes to it. Its end is the
child's only signal to stop: it comes when the parent asks for it and also when the
parent was killed, so that the child never outlives it.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from demo_asgi.problems import DemoError

SECONDS_TO_STOP = 5


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is and how to log in."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def environment(self) -> dict[str, str]:
        """The variables from which the settings find it."""
        return {
            "MSSQL_HOST": self.host,
            "MSSQL_PORT": str(self.port),
            "MSSQL_USER": self.user,
            "MSSQL_PASSWORD": self.password,
            "MSSQL_DATABASE": self.database,
            "MSSQL_EXTRA_PARAMS": "Encrypt=no",
            "DEMO_EMBEDDED_SERVER": "1",
        }


@contextmanager
def embedded_server() -> Iterator[Server]:
    """Run the server as long as the block.

    :raises DemoError: it did not start.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "demo_asgi.embedded"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A Ctrl-C at the terminal is for the parent, which still needs the server then.
        start_new_session=True,
    ) as child:
        stdin, stdout = cast("tuple[IO[bytes], IO[bytes]]", (child.stdin, child.stdout))
        try:
            line = stdout.readline()
            if not line:
                raise DemoError("the embedded server did not start, see above")
            yield Server(**json.loads(line))
        finally:
            stdin.close()
            try:
                child.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                child.kill()


def main() -> None:
    """The child: serve until standard input ends."""
    from mssql_async.devserver import DevServer

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Other users of this machine can reach the port, but not the ledger.
    with DevServer(password=secrets.token_urlsafe(24)) as server:
        print(
            json.dumps(
                {
                    "host": server.host,
                    "port": server.port,
                    "user": server.user,
                    "password": server.password,
                    "database": server.database,
                }
            ),
            flush=True,
        )
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
