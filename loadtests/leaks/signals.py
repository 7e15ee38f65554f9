"""What a context and its client tell each other beside the request: that a point is reached.

Hanging up "once the application is in its transaction" is decided by such a word and by no clock.
Within one process both sides share :data:`SIGNALS`. Between processes lines go over a loopback
socket whose address is in the environment (:data:`VARIABLE`): the harness runs a
:class:`SignalServer`, and each process under test joins it with :func:`join`.

The client's side says :data:`GONE` when it has hung up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mssql_async.contrib.leaks.record import Token

VARIABLE = "LEAKS_SIGNALS"

GONE = "gone"
"""Told by the client's side: it has hung up, or closed."""

PATIENCE = 10.0
"""Seconds that anybody waits for a word."""

MOST_CONTEXTS = 4096
"""Whose words are kept: those of older ones are forgotten, as nobody waits so long."""

_Key = tuple[Token, str]


class Signals:
    """Words that were told, until their context is over. Every method may be called from any
    thread and any event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[Token, set[str]] = {}
        self._waiting: dict[_Key, list[Callable[[], None]]] = {}
        self.passes_on: Callable[[Token, str], None] | None = None
        """Where words go beside this process."""

    def __repr__(self) -> str:
        return f"<Signals of {len(self._told)} contexts>"

    def tell(self, token: Token, what: str) -> None:
        """Whoever waits for it goes on, and who asks later need not wait."""
        self.hear(token, what)
        if self.passes_on is not None:
            self.passes_on(token, what)

    def hear(self, token: Token, what: str) -> None:
        """As :meth:`tell`, for this process only."""
        with self._lock:
            self._told.setdefault(token, set()).add(what)
            if len(self._told) > MOST_CONTEXTS:
                del self._told[next(iter(self._told))]
            waiting = self._waiting.pop((token, what), ())
        for wake in waiting:
            wake()

    def was_told(self, token: Token, what: str) -> bool:
        with self._lock:
            return what in self._told.get(token, ())

    def forget(self, token: Token) -> None:
        """The context is over for both sides; nobody asks for its words any more."""
        with self._lock:
            self._told.pop(token, None)

    def until(self, token: Token, what: str, timeout: float = PATIENCE) -> None:
        """Wait in a thread.

        :raises TimeoutError: nobody has told in time.
        """
        told = threading.Event()
        if not self._await(token, what, told.set):
            return
        if not told.wait(timeout):
            self._give_up(token, what, told.set)
            raise TimeoutError(f"Nobody told context {token} of {what!r} within {timeout} s.")

    async def wait(self, token: Token, what: str, timeout: float = PATIENCE) -> None:  # noqa: ASYNC109
        """Wait in an event loop.

        :raises TimeoutError: nobody has told in time.
        """
        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # that loop is over
                loop.call_soon_threadsafe(told.set)

        if not self._await(token, what, wake):
            return
        try:
            async with asyncio.timeout(timeout):
                await told.wait()
        except TimeoutError:
            raise TimeoutError(
                f"Nobody told context {token} of {what!r} within {timeout} s."
            ) from None
        finally:
            self._give_up(token, what, wake)

    def _await(self, token: Token, what: str, wake: Callable[[], None]) -> bool:
        with self._lock:
            if what in self._told.get(token, ()):
                return False
            self._waiting.setdefault((token, what), []).append(wake)
            return True

    def _give_up(self, token: Token, what: str, wake: Callable[[], None]) -> None:
        with self._lock:
            waiting = self._waiting.get((token, what))
            if waiting is not None and wake in waiting:
                waiting.remove(wake)
                if not waiting:
                    del self._waiting[token, what]


SIGNALS = Signals()
"""Of this process."""


# --- between processes -------------------------------------------------------------------------


class _Line:
    """One side of a connection: lines out from any thread, lines in on a thread of its own."""

    def __init__(self, connection: socket.socket, signals: Signals) -> None:
        self._connection = connection
        self._signals = signals
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="leaks-signals", daemon=True)
        self._thread.start()

    def send(self, token: Token, what: str) -> None:
        line = json.dumps([token, what]).encode() + b"\n"
        with self._sending, contextlib.suppress(OSError):  # the other side is over
            self._connection.sendall(line)

    def _read(self) -> None:
        with contextlib.suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                token, what = json.loads(line)
                self._signals.hear(token, what)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        if self._thread is not threading.current_thread():
            self._thread.join(PATIENCE)


class SignalServer:
    """The harness's end: what it tells goes to every process under test.

    ::

        with SignalServer() as server:
            environment |= server.environment()
            ...
            await server.signals.wait(token, "in the transaction")
    """

    def __init__(self, signals: Signals = SIGNALS) -> None:
        self.signals = signals
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lines: list[_Line] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="leaks-signals", daemon=True)

    def environment(self) -> dict[str, str]:
        """For the processes under test."""
        host, port = self._listening.getsockname()
        return {VARIABLE: f"{host}:{port}"}

    def __enter__(self) -> Self:
        self.signals.passes_on = self._broadcast
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.signals.passes_on = None
        # Closing alone would not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE)
        with self._lock:
            lines, self._lines = self._lines, []
        for line in lines:
            line.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                _without_delay(connection)
                with self._lock:
                    self._lines.append(_Line(connection, self.signals))

    def _broadcast(self, token: Token, what: str) -> None:
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.send(token, what)


_joined: _Line | None = None


def join(signals: Signals = SIGNALS) -> None:
    """Reach the harness, if the environment says where it is. After a fork, join anew.

    :raises OSError: nobody listens there.
    """
    global _joined
    address = os.environ.get(VARIABLE)
    if not address:
        return
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), PATIENCE)
    connection.settimeout(None)
    _without_delay(connection)
    _joined = _Line(connection, signals)
    signals.passes_on = _joined.send


def _without_delay(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


__all__ = ["GONE", "PATIENCE", "SIGNALS", "VARIABLE", "SignalServer", "Signals", "join"]
