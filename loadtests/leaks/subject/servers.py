"""Who serves the project under test, in its own process."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import MappingProxyType

from ..options import DAPHNE, UVICORN
from .asgi import Application

GRACE = 3
"""Seconds that requests have to end when the process is told to."""


def _uvicorn(application: Application, opened: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        application, log_level="critical", access_log=False, timeout_graceful_shutdown=GRACE
    )
    uvicorn.Server(config).run(sockets=[opened])


def _daphne(application: Application, opened: socket.socket) -> None:
    """Its import installs Twisted's reactor, so it comes after all forks."""
    from daphne.server import Server

    Server(application, endpoints=[f"fd:fileno={opened.fileno()}"]).run()


SERVERS = MappingProxyType[str, Callable[[Application, socket.socket], None]](
    {UVICORN: _uvicorn, DAPHNE: _daphne}
)
"""Package -> what serves with it until the process is told to end."""
