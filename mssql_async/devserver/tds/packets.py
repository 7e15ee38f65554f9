"""TDS packets: messages read from a socket, replies written to it (MS-TDS 2.2.3.1).

A message is one or more packets of the same type; the last one carries
:attr:`Status.END_OF_MESSAGE`. Every packet starts with eight bytes: type, status,
length with the header (big-endian), SPID, packet number, window.
"""

from __future__ import annotations

import asyncio
import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

HEADER_SIZE = 8
_HEADER = struct.Struct(">BBHHBB")

DEFAULT_PACKET_SIZE = 4096
MIN_PACKET_SIZE = 512
MAX_PACKET_SIZE = 32767

MAX_LOGIN_SIZE = 128 * 1024 - 1
"""Bytes a message may have before the login is done (MS-TDS 2.2.6.4)."""
MAX_MESSAGE_SIZE = 512 * 1024 * 1024
"""Bytes a request may have: above SQL Server's 65,536 packets a batch, and a limit."""


TLS_HANDSHAKE = b"\x16"
"""The first byte of a client that begins with TLS: no packet's type."""


class ProtocolError(Exception):
    """The client broke MS-TDS: the connection cannot go on. The text is for the log."""


class PacketType(enum.IntEnum):
    SQL_BATCH = 1
    OLD_LOGIN = 2
    RPC = 3
    TABULAR_RESULT = 4
    ATTENTION = 6
    BULK_LOAD = 7
    FEDERATED_AUTHENTICATION_TOKEN = 8
    TRANSACTION_MANAGER = 14
    LOGIN7 = 16
    SSPI = 17
    PRELOGIN = 18


class Status(enum.IntFlag):
    END_OF_MESSAGE = 0x01
    IGNORE = 0x02
    """With END_OF_MESSAGE: forget the message, answer it with one failed DONE."""
    RESET_CONNECTION = 0x08
    RESET_CONNECTION_SKIP_TRANSACTION = 0x10


# Plain integers and a dictionary: enum flags and look-ups cost more than a header.
_CLIENT_TYPES = {int(kind): kind for kind in PacketType if kind is not PacketType.TABULAR_RESULT}
_END_OF_MESSAGE = int(Status.END_OF_MESSAGE)
_IGNORE = int(Status.IGNORE)
_RESET = int(Status.RESET_CONNECTION | Status.RESET_CONNECTION_SKIP_TRANSACTION)
_RESULT = int(PacketType.TABULAR_RESULT)


@dataclass(frozen=True, slots=True)
class ClientMessage:
    """A complete message of the client. ``size`` counts its bytes on the wire;
    ``status`` has the reset bits of the first packet and the rest of the last."""

    type: PacketType
    status: int
    body: bytes
    size: int

    @property
    def ignored(self) -> bool:
        return bool(self.status & _IGNORE)


class ByteReader(Protocol):
    """The part of ``asyncio.StreamReader`` that packets are read from."""

    async def readexactly(self, n: int, /) -> bytes:
        """
        :raises asyncio.IncompleteReadError: the client hung up before.
        """


class ByteWriter(Protocol):
    """The part of an asyncio transport that packets are written to."""

    def write(self, data: bytes, /) -> None: ...

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...


def packet_header(
    kind: int, body_size: int, number: int, *, last: bool = True, spid: int = 0
) -> bytes:
    status = _END_OF_MESSAGE if last else 0
    return _HEADER.pack(kind, status, HEADER_SIZE + body_size, spid & 0xFFFF, number & 0xFF, 0)


class MessageReader:
    """Reads client messages and holds them to the limits.

    ``packet_size`` and ``max_message_size`` are raised once the login has agreed on
    them; ``stream`` changes between two packets when TLS begins or ends. One task at a
    time may read.
    """

    def __init__(self, stream: ByteReader) -> None:
        self.stream = stream
        self.packet_size = DEFAULT_PACKET_SIZE
        self.max_message_size = MAX_LOGIN_SIZE
        self._first_byte = b""

    async def starts_with_tls(self) -> bool:
        """Whether a client that was not read from yet begins with a TLS record. Its first
        byte, :data:`TLS_HANDSHAKE`, is gone then."""
        try:
            first = await self.stream.readexactly(1)
        except asyncio.IncompleteReadError:
            return False
        if first == TLS_HANDSHAKE:
            return True
        self._first_byte = first
        return False

    async def read_packet_of(self, kind: PacketType) -> bytes:
        """The body of the next packet, which must be of that kind.

        :raises ProtocolError: it is not.
        :raises asyncio.IncompleteReadError: the client hung up before.
        """
        received, _status, body = await self._read_packet(first=True)
        if body is None:
            raise asyncio.IncompleteReadError(b"", HEADER_SIZE)
        if received != kind:
            raise ProtocolError(f"{_CLIENT_TYPES[received].name} where {kind.name} was due")
        return body

    async def read(self) -> ClientMessage | None:
        """The next message, or ``None`` when the client hung up between two messages.

        :raises ProtocolError: the client broke the framing or hung up inside it.
        """
        kind, first_status, body = await self._read_packet(first=True)
        if body is None:
            return None
        size = HEADER_SIZE + len(body)
        if first_status & _END_OF_MESSAGE:
            return ClientMessage(_CLIENT_TYPES[kind], first_status, body, size)
        parts = [body]
        while True:
            next_kind, status, body = await self._read_packet(first=False)
            assert body is not None  # noqa: S101  only the first packet may be missing
            if next_kind != kind:
                raise ProtocolError(f"packet of type {next_kind} inside a message of type {kind}")
            parts.append(body)
            size += HEADER_SIZE + len(body)
            if size > self.max_message_size:
                raise ProtocolError(f"message of more than {self.max_message_size} bytes")
            if status & _END_OF_MESSAGE:
                status = (status & ~_RESET) | (first_status & _RESET)
                return ClientMessage(_CLIENT_TYPES[kind], status, b"".join(parts), size)

    async def _read_packet(self, *, first: bool) -> tuple[int, int, bytes | None]:
        head = self._first_byte
        try:
            header = await self.stream.readexactly(HEADER_SIZE - len(head))
        except asyncio.IncompleteReadError as error:
            if first and not error.partial and not head:
                return 0, 0, None
            raise ProtocolError("client hung up inside a message") from None
        if head:
            header, self._first_byte = head + header, b""
        kind, status, length, _spid, _number, _window = _HEADER.unpack(header)
        if kind not in _CLIENT_TYPES:
            raise ProtocolError(f"unknown packet type {kind:#04x}")
        if not HEADER_SIZE <= length <= self.packet_size:
            raise ProtocolError(
                f"packet length {length} is not between {HEADER_SIZE} and the "
                f"packet size {self.packet_size}"
            )
        try:
            return kind, status, await self.stream.readexactly(length - HEADER_SIZE)
        except asyncio.IncompleteReadError:
            raise ProtocolError("client hung up inside a packet") from None


class PacketWriter:
    """Cuts a reply into packets and hands them to the transport.

    Tokens are appended to :attr:`buffer`; :meth:`send_full_packets` lets long replies
    flow, :meth:`end_message` sends what is left with the end-of-message bit.
    ``on_send`` is told the number of bytes before they can reach the client.
    ``stream`` changes between two messages when TLS begins or ends.
    """

    def __init__(self, stream: ByteWriter, on_send: Callable[[int], None] = lambda _: None) -> None:
        self.stream = stream
        self._on_send = on_send
        self.buffer = bytearray()
        self.packet_size = DEFAULT_PACKET_SIZE
        self.spid = 0
        self._number = 1

    def send_full_packets(self) -> bool:
        """Send every packet that is surely not the last; says whether there was one."""
        room = self.packet_size - HEADER_SIZE
        buffer = self.buffer
        if len(buffer) <= room:
            return False
        # At least one byte stays behind: only the end of the reply knows its last packet.
        full = (len(buffer) - 1) // room * room
        parts: list[bytes | bytearray] = []
        for start in range(0, full, room):
            parts += (self._header(0, self.packet_size), buffer[start : start + room])
        self._send(b"".join(parts))
        del buffer[:full]
        return True

    def end_message(self) -> None:
        """Send the rest of the reply; the next byte begins a new message."""
        self.send_full_packets()
        header = self._header(_END_OF_MESSAGE, HEADER_SIZE + len(self.buffer))
        self._send(header + self.buffer)
        self.buffer.clear()
        self._number = 1

    @property
    def congested(self) -> bool:
        """Whether the client reads more slowly than the reply grows."""
        return self.stream.get_write_buffer_size() > WRITE_BUFFER_HIGH

    def _header(self, status: int, length: int) -> bytes:
        header = _HEADER.pack(_RESULT, status, length, self.spid & 0xFFFF, self._number, 0)
        self._number = (self._number + 1) & 0xFF
        return header

    def _send(self, data: bytes) -> None:
        # Writing to a lost connection would only make asyncio complain in the log.
        if not self.stream.is_closing():
            self._on_send(len(data))
            self.stream.write(data)


WRITE_BUFFER_HIGH = 256 * 1024
"""Bytes waiting for a slow client at which a reply pauses."""
