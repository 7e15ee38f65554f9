"""How the sites are served, all alike: one process, on a free port, which is printed first."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import uvicorn

BACKLOG = 2048


def _listening() -> socket.socket:
    # With its protocol named, or asyncio would leave Nagle's algorithm on.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(BACKLOG)
    print(listening.getsockname()[1], flush=True)
    return listening


def serve_asgi(application: Any) -> None:
    """Under Uvicorn."""
    config = uvicorn.Config(application, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[_listening()])


def serve_wsgi(application: str, threads: int) -> None:
    """Under gunicorn, with one worker process and so many threads. Its process takes the
    place of this one. ``application`` is ``module:name``."""
    listening = _listening()
    listening.set_inheritable(True)
    arguments = [
        "--bind", f"fd://{listening.fileno()}",
        "--workers", "1",
        "--worker-class", "gthread",
        "--threads", str(threads),
        "--log-level", "warning",
    ]  # fmt: skip
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments, application])  # noqa: S606
