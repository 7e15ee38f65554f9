"""Between the replies and the socket: holds them back, delays them, cuts them short.

Without a fault a reply passes straight through. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from .packets import WRITE_BUFFER_HIGH, PacketType

_RECORD_HEADER = 5
"""Bytes of a TLS record before its content."""


class OutputGate:
    """Stands between a connection's transport and whoever writes to it, be it packets or
    the TLS records around them.

    Order is kept whatever happens to the delay: nothing overtakes what waits already.
    """

    def __init__(self, transport: asyncio.WriteTransport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._delay = 0.0
        self._on_delay: Callable[[], None] = _nothing
        self._cut: tuple[Callable[[], None], Callable[[], None]] | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._plain = True

    # --- what a PacketWriter asks of a transport

    def write(self, data: bytes | bytearray) -> None:
        if self._plain:
            self._transport.write(data)
            return
        if self._closed:
            return
        if self._delay:
            self._on_delay()
        if self.frozen or self._delay or self._waiting:
            self._waiting.append((self._loop.time() + self._delay, bytes(data)))
            self._waiting_size += len(data)
            if self._waiting_size > WRITE_BUFFER_HIGH:
                self._room.clear()
            self._schedule()
        else:
            self._emit(bytes(data))

    def is_closing(self) -> bool:
        return self._closed or self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + self._waiting_size

    # --- faults

    @property
    def frozen(self) -> bool:
        return not self._open.is_set()

    @property
    def delay(self) -> float:
        return self._delay

    def freeze(self) -> None:
        """Let nothing out until :meth:`thaw`."""
        self._open.clear()
        self._plain = False
        self._cancel_timer()

    def thaw(self) -> None:
        self._open.set()
        self._release_due()

    def set_delay(self, seconds: float, on_delay: Callable[[], None]) -> None:
        """Let out what is written from now on ``seconds`` later, and call ``on_delay`` each
        time. 0 ends the delay: what waits is let out at once."""
        self._delay = seconds
        self._on_delay = on_delay
        if not seconds:
            self._waiting = deque((0.0, data) for _due, data in self._waiting)
        self._plain = False
        self._cancel_timer()
        self._release_due()

    def cut_next(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Let only part of the next packet out, and call these."""
        self._cut = before, after
        self._plain = False

    def cut_none(self) -> None:
        """Take :meth:`cut_next` back."""
        self._cut = None

    # --- waiting

    async def opened(self) -> None:
        """Wait while it is frozen."""
        await self._open.wait()

    async def room(self) -> None:
        """Wait while more is held back than a slow client would be given."""
        await self._room.wait()

    async def emptied(self) -> None:
        """Wait until nothing is held back."""
        while self._waiting and not self._closed:
            self._room.clear()
            await self._room.wait()

    def flush(self) -> None:
        """Let everything out at once."""
        self._delay = 0.0
        self._waiting = deque((0.0, data) for _due, data in self._waiting)
        self.thaw()

    def close(self) -> None:
        """Forget what is held back, and wake whoever waits here."""
        self._closed = True
        self._plain = False
        self._waiting.clear()
        self._waiting_size = 0
        self._cancel_timer()
        self._open.set()
        self._room.set()

    # --- inside

    def _emit(self, data: bytes) -> None:
        cut, self._cut = self._cut, None
        if cut is None:
            self._transport.write(data)
            return
        before, after = cut
        before()
        self._transport.write(data[: _size_of_first(data) // 2])
        self._closed = True
        after()

    def _release_due(self) -> None:
        self._timer = None
        while self._waiting and not self.frozen and self._waiting[0][0] <= self._loop.time():
            _due, data = self._waiting.popleft()
            self._waiting_size -= len(data)
            self._emit(data)
        if self._waiting_size <= WRITE_BUFFER_HIGH or not self._waiting:
            self._room.set()
        self._plain = not (self.frozen or self._delay or self._waiting or self._cut or self._closed)
        self._schedule()

    def _schedule(self) -> None:
        if self._waiting and self._timer is None and not self.frozen:
            self._timer = self._loop.call_at(self._waiting[0][0], self._release_due)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _size_of_first(data: bytes) -> int:
    """Bytes of the first packet, or of the TLS record that holds it."""
    if data[0] == PacketType.TABULAR_RESULT:
        return int.from_bytes(data[2:4], "big")
    return _RECORD_HEADER + int.from_bytes(data[3:5], "big")


def _nothing() -> None:
    """No delay, nobody to tell."""
