"""An embedded server in a process of its own, and sessions that are killed on order.

``python -m tests.backend.killable`` prints host, port, user, password and database, a line each;
then, for every line it reads, it kills a session drawn by lot and prints its SPID, once
it is gone (0: there was none).
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from mssql_async.devserver import DevServer


@dataclass(frozen=True)
class Kill:
    """Times are readings of :func:`time.monotonic`."""

    spid: int
    began: float
    """Before the server was told."""
    ended: float
    """When the session was gone, and its client's socket closed by the server."""


class KillableServer:
    """The parent's side. Has what ``connection_settings`` wants of a :class:`DevServer`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.backend.killable"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.host = self._read()
        self.port = int(self._read())
        self.user = self._read()
        self.password = self._read()
        self.database = self._read()

    def __enter__(self) -> KillableServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pipe(self._process.stdin).close()
        self._process.wait()
        self._pipe(self._process.stdout).close()

    def kill_one(self) -> Kill | None:
        """Kill a random session; ``None`` where there is none."""
        began = time.monotonic()
        self._pipe(self._process.stdin).write("kill\n")
        spid = int(self._read())
        return Kill(spid, began, time.monotonic()) if spid else None

    def _read(self) -> str:
        return self._pipe(self._process.stdout).readline().rstrip("\n")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def main() -> None:
    with DevServer() as server:
        for line in (server.host, server.port, server.user, server.password, server.database):
            print(line, flush=True)
        for _ in sys.stdin:
            sessions = server.sessions()
            spid = random.choice(sessions).spid if sessions else 0
            if spid:
                server.kill(spid)
            print(spid, flush=True)


if __name__ == "__main__":
    main()
