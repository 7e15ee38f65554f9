"""A proxy before a server that answers one request with bytes of the test's own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

from mssql_async.devserver.tds.packets import PacketType, Status

GARBLE = "garble this"
"""The request whose text holds this never reaches the server."""

_MARK = GARBLE.encode("utf-16-le")


def answer(payload: bytes) -> bytes:
    """A whole message with this payload."""
    head = struct.pack(
        ">BBHHBB", PacketType.TABULAR_RESULT, Status.END_OF_MESSAGE, 8 + len(payload), 51, 1, 0
    )
    return head + payload


@contextlib.contextmanager
def garbling(port: int, instead: bytes) -> Iterator[int]:
    """The port of a proxy before that one. It serves one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, port, instead))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _serve(listener: socket.socket, port: int, instead: bytes) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_relay, args=(server, client, b""))
        back.start()
        _relay(client, server, instead)
        back.join()


def _relay(source: socket.socket, target: socket.socket, instead: bytes) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if instead and _MARK in data:
                source.sendall(instead)
            else:
                target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
