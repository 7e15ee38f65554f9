"""``python -m demo_asgi``: a database, tables, money, and Uvicorn in front of them.

``python -m demo_asgi manage <command>`` runs Django's commands with the same settings.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from demo_asgi import shutdown
from demo_asgi.embedded import embedded_server
from demo_asgi.problems import DemoError, explain

FIRST_PORT = 8000
PORTS_TO_TRY = 100
SECONDS_TO_FINISH = 3
SECONDS_TO_REACH = 5
SQL_SERVER_PORT = 1433

# Run against an embedded server they find it empty: the others want tables and money.
COMMANDS_WITHOUT_TABLES = {"check", "help", "makemigrations", "migrate", "seed", "showmigrations"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is returned."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # A shell starts background jobs with SIGINT ignored, and SIGTERM would end the
    # process without the `finally` blocks that end the child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ["DJANGO_SETTINGS_MODULE"] = "demo_asgi.settings"
    try:
        if arguments[:1] == ["manage"]:
            return manage(arguments[1:])
        return serve(_options(arguments))
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        if os.environ.get("DEMO_TRACEBACK"):
            raise
        print(f"demo_asgi: {explain(error, os.environ)}", file=sys.stderr)
        return 1


def serve(options: argparse.Namespace) -> int:
    """Serve until the process is asked to stop."""
    with listening_socket(options.host, options.port) as listener, database_server() as embedded:
        prepare(embedded=embedded)
        run_uvicorn(listener, embedded=embedded)
    return 0


def manage(arguments: Sequence[str]) -> int:
    """Run a management command, on an embedded server with everything in it."""
    from django.core.management import execute_from_command_line

    with database_server() as embedded:
        if embedded and arguments and arguments[0] not in COMMANDS_WITHOUT_TABLES:
            prepare(embedded=True)
        execute_from_command_line(["python -m demo_asgi manage", *arguments])
    return 0


@contextlib.contextmanager
def database_server() -> Iterator[bool]:
    """Use the server that ``MSSQL_HOST`` names, or start one; says whether it did.

    The variables are how the settings find it, in this process and in any it starts.
    """
    if os.environ.get("MSSQL_HOST"):
        os.environ.pop("DEMO_EMBEDDED_SERVER", None)
        check_reachable(os.environ["MSSQL_HOST"], os.environ.get("MSSQL_PORT", ""))
        yield False
        return
    with embedded_server() as server:
        os.environ.update(server.environment())
        os.environ.pop("MSSQL_ACCESS_TOKEN", None)
        yield True


def check_reachable(host: str, port: str) -> None:
    """Say at once what the ODBC driver would say after its whole login timeout.

    :raises DemoError: nobody listens there.
    """
    if (port and not port.isdigit()) or not set("\\,:/").isdisjoint(host):
        return  # a named instance or a pipe: the driver knows how to find it
    try:
        socket.create_connection((host, int(port or SQL_SERVER_PORT)), SECONDS_TO_REACH).close()
    except OSError as error:
        raise DemoError(
            f"cannot reach SQL Server at {host}:{port or SQL_SERVER_PORT}, "
            f"{error.strerror or error}: check MSSQL_HOST and MSSQL_PORT"
        ) from error


def prepare(*, embedded: bool) -> None:
    """Make sure that tables, accounts and transfers are there."""
    import django
    from django.core.management import call_command
    from django.db import connection, connections

    django.setup()
    try:
        # Where the database cannot be used at all, one short attempt says so.
        connection.ensure_connection()
        call_command("migrate", interactive=False, verbosity=0)
        call_command("seed", verbosity=0 if embedded else 1)
    finally:
        connections.close_all()


def run_uvicorn(listener: socket.socket, *, embedded: bool) -> None:
    """Serve on an open socket until SIGINT or SIGTERM."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                announce(listener, embedded=embedded)

        def handle_exit(self, sig: int, frame: Any) -> None:
            # Before uvicorn starts to wait for the streams, they have to know.
            shutdown.requested.set()
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        "demo_asgi.asgi:application",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    Server(config).run(sockets=[listener])


def announce(listener: socket.socket, *, embedded: bool) -> None:
    """Print where to go. The line that starts with http is what scripts wait for."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    database = "the embedded server" if embedded else f"{os.environ['MSSQL_HOST']}"
    print(f"http://{shown}:{port}/", flush=True)
    print(f"  The ledger is on {database}. Ctrl-C stops the demo.", flush=True)
    if embedded:
        print("  Admin: user demo, password demo.", flush=True)


def listening_socket(host: str, port: int | None) -> socket.socket:
    """Bind ``port``, or without one the first free one from :data:`FIRST_PORT`.

    :raises DemoError: there is none.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise DemoError(f"--host {host}: {error.strerror}") from error
    candidates = range(FIRST_PORT, FIRST_PORT + PORTS_TO_TRY) if port is None else [port]
    problem: OSError | None = None
    for candidate in candidates:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address[0], candidate))
            # Two starts may bind the same port; only one of them may listen.
            listener.listen(128)
        except OSError as error:
            listener.close()
            problem = error
        else:
            return listener
    where = f"{host}:{port}" if port is not None else f"{host}, ports {FIRST_PORT} and following"
    raise DemoError(f"cannot listen on {where}: {problem and problem.strerror}") from problem


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo_asgi",
        description="Serve a ledger kept in SQL Server: the server that MSSQL_HOST names (with "
        "MSSQL_PORT, MSSQL_USER, MSSQL_PASSWORD, MSSQL_DATABASE, MSSQL_ACCESS_TOKEN, "
        "MSSQL_EXTRA_PARAMS), or without it an embedded stand-in.",
        epilog="`python -m demo_asgi manage <command>` runs a Django management command.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=_port, help=f"port to listen on (the first free one from {FIRST_PORT})"
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port")
    return number


if __name__ == "__main__":
    sys.exit(main())
