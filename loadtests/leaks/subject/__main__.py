"""``python -m loadtests.leaks.subject``: the project under an ASGI server, on a free port.

The port is printed first. ``--fork N`` makes a query, forks N processes after that and has each
of them serve on a port of its own: a port a line. ``prepare`` makes databases and tables instead.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from typing import Any, NoReturn

from ..options import UVICORN
from ..signals import join
from .asgi import Application, make_application
from .config import SubjectConfig, configure
from .servers import SERVERS

BACKLOG = 2048


def listening() -> socket.socket:
    # With its protocol named, or asyncio would leave Nagle's algorithm on.
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind(("127.0.0.1", 0))
    opened.listen(BACKLOG)
    return opened


def serve(server: str, application: Application, opened: socket.socket) -> None:
    join()
    SERVERS[server](application, opened)


def serve_forked(server: str, application: Application, count: int) -> NoReturn:
    """As servers do that load the application before they fork, and one that has used its
    database by then."""
    from django.db import connections

    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()
    opened = [listening() for _ in range(count)]
    for each in opened:
        print(each.getsockname()[1])
    sys.stdout.flush()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            for other in opened[:number] + opened[number + 1 :]:
                other.close()
            serve(server, application, opened[number])
            sys.exit(0)
        children.append(child)
    for each in opened:
        each.close()

    def stop(number: int, frame: Any) -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    # Uvicorn ends as the signal would have it that has told it to, Daphne as if by itself.
    sys.exit(0 if {0, -signal.SIGTERM, -signal.SIGINT}.issuperset(statuses) else 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.leaks.subject")
    parser.add_argument("what", nargs="?", choices=["serve", "prepare"], default="serve")
    parser.add_argument("--server", choices=list(SERVERS), default=UVICORN)
    parser.add_argument("--fork", type=int, default=0, metavar="N")
    given = parser.parse_args()
    config = SubjectConfig.from_environment()
    if given.what == "prepare":
        from .prepare import prepare

        configure(config)
        prepare(config)
        return
    application = make_application(config)
    if given.fork:
        serve_forked(given.server, application, given.fork)
    opened = listening()
    print(opened.getsockname()[1], flush=True)
    serve(given.server, application, opened)


if __name__ == "__main__":
    main()
