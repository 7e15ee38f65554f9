"""The server that the sessions under test live on: an embedded one, or the one that
``MSSQL_HOST`` and so on name.

The embedded one has a process of its own, so that it takes no turns of the interpreter from the
application under test. ``python -m loadtests.leaks.server`` is that process: it prints its port
and then takes access tokens to let in, until its input ends. They go through that pipe, passwords
through the environment; neither is ever in a command line.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import pyodbc

from loadtests.bench.peers import ROOT
from loadtests.bench.requests_sites import Database
from mssql_async.devserver.faults import CONTROL_PROGRAM
from mssql_async.driver import find_driver

PATIENCE = 10.0
"""Seconds that the embedded server has to end."""
LOGIN_TIMEOUT = 5
"""Seconds."""
QUERY_TIMEOUT = 10
"""Seconds: the harness waits for nobody's locks."""


class ServerFailed(Exception):
    """The server cannot be reached or started. The text has no secrets."""


class CannotDo(Exception):
    """This server does not have what was asked of it, or does not allow it."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Since the server's start; ``None``: it does not tell."""

    logins: int | None = None
    statements: int | None = None

    def since(self, before: Counted) -> Counted:
        return Counted(
            _difference(self.logins, before.logins),
            _difference(self.statements, before.statements),
        )


def _difference(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


@dataclass(slots=True)
class Server:
    """One server, and how the harness itself gets in."""

    database: Database
    tokens: IO[str] | None = field(default=None, repr=False)
    """Of the embedded server's process: a line is the JSON of a token and of its seconds."""
    own_logins: int = 0
    own_statements: int = 0
    """What the harness itself has asked, about: not the sessions under test."""
    _ordering: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def is_embedded(self) -> bool:
        return self.tokens is not None

    @property
    def blind(self) -> str:
        """Why nobody can look at it from its own side; "" if that can be tried."""
        return ""

    def connect(self, name: str = "") -> pyodbc.Connection:
        """A connection of the harness itself, in autocommit; ``name`` is another database.

        :raises pyodbc.Error: it cannot log in.
        """
        driver = find_driver()
        where = self.database
        password = where.password.replace("}", "}}")
        text = (
            f"DRIVER={driver.name};SERVER={where.host},{where.port};UID={where.user};"
            f"PWD={{{password}}};DATABASE={name or where.name};APP={CONTROL_PROGRAM};"
            f"{where.extra_params}"
        )
        pyodbc.pooling = False
        connection = pyodbc.connect(
            driver.in_connection_string(text), autocommit=True, timeout=LOGIN_TIMEOUT
        )
        connection.timeout = QUERY_TIMEOUT
        self.own_logins += 1
        return connection

    def describe(self) -> str:
        """Which server it is, in words; never how to log in.

        :raises ServerFailed: nobody gets in.
        """
        try:
            connection = self.connect()
        except pyodbc.Error as error:
            raise ServerFailed(f"The server cannot be reached: {_first(error)}") from None
        try:
            row = connection.execute(
                "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)), "
                "CAST(SERVERPROPERTY('Edition') AS nvarchar(128))"
            ).fetchone()
        finally:
            connection.close()
        version = f"{row[0]}, {row[1]}" if row else "version not known"
        if self.is_embedded:
            return f"the embedded server, as SQL Server {version}"
        return f"SQL Server {version} at {self.database.host}"

    def accept_token(self, token: str, valid_for: float | None = None) -> None:
        """Let whoever brings this access token log in, for so many seconds.

        :raises CannotDo: a real server has its tokens from elsewhere.
        """
        if self.tokens is None:
            raise CannotDo("Only the embedded server takes tokens from the harness.")
        with self._ordering:
            self.tokens.write(json.dumps([token, valid_for]) + "\n")
            self.tokens.flush()


@dataclass(slots=True)
class OtherServer(Server):
    """What is no SQL Server: there the application's side is all that is seen."""

    words: str = ""

    @property
    def blind(self) -> str:
        return (
            "The server's side is left out, as this is no SQL Server: orphan sessions are not "
            "looked for, nor what is left open where only a server could tell."
        )

    def connect(self, name: str = "") -> pyodbc.Connection:
        raise CannotDo("The harness itself talks to SQL Server only.")

    def describe(self) -> str:
        return self.words


@contextmanager
def the_server() -> Iterator[Server]:
    """The one that the environment names, else an embedded one, for the time of the block.

    :raises ServerFailed: the embedded one does not start.
    """
    named = Database.of_the_environment()
    if named is not None:
        yield Server(named)
        return
    command = [sys.executable, "-m", "loadtests.leaks.server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise ServerFailed("The embedded server did not start, see above.")
            # The driver encrypts logins with tokens whatever it was told.
            extra = "Encrypt=no;TrustServerCertificate=yes"
            database = Database("127.0.0.1", line.strip(), extra_params=extra)
            yield Server(database, process.stdin)
        finally:
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _first(error: pyodbc.Error) -> str:
    """SQLSTATE and text; neither has what was sent."""
    return " ".join(str(each) for each in error.args)


def main() -> None:
    """The embedded server's process."""
    import signal

    from mssql_async.devserver import DevServer

    # Ctrl-C is for the harness, which closes the pipe when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DevServer() as server:
        print(server.port, flush=True)
        for line in sys.stdin:
            token, valid_for = json.loads(line)
            expires_at = None
            if valid_for is not None:
                now = datetime.datetime.now(datetime.UTC)
                expires_at = now + datetime.timedelta(seconds=valid_for)
            server.accept_token(token, expires_at=expires_at)


if __name__ == "__main__":
    main()
