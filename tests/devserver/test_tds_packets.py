"""Framing: messages in, replies out (MS-TDS 2.2.3.1)."""

from __future__ import annotations

import asyncio
import struct

import pytest

from mssql_async.devserver.tds.packets import (
    ClientMessage,
    MessageReader,
    PacketType,
    PacketWriter,
    ProtocolError,
    Status,
)

from .raw_client import packet


def reader_of(data: bytes) -> MessageReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return MessageReader(stream)


class Transport(asyncio.WriteTransport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return 0

    def packets(self) -> list[tuple[int, int, bytes]]:
        """(status, packet number, body) of what was written."""
        packets, rest = [], self.data
        while rest:
            kind, status, length, spid, number, window = struct.unpack_from(">BBHHBB", rest)
            assert (kind, spid, window) == (PacketType.TABULAR_RESULT, 51, 0)
            packets.append((status, number, rest[8:length]))
            rest = rest[length:]
        return packets


async def test_a_message_of_one_packet_is_read_whole() -> None:
    message = await reader_of(packet(PacketType.SQL_BATCH, b"abc")).read()
    assert message == ClientMessage(PacketType.SQL_BATCH, 1, b"abc", 11)


async def test_packets_are_joined_into_their_message() -> None:
    first = packet(PacketType.RPC, b"ab", status=0)
    message = await reader_of(first + packet(PacketType.RPC, b"cd")).read()
    assert message is not None
    assert (message.body, message.size) == (b"abcd", 20)


async def test_the_reset_bit_counts_on_the_first_packet_only() -> None:
    reset = Status.RESET_CONNECTION
    on_first = packet(PacketType.RPC, b"ab", status=reset) + packet(PacketType.RPC, b"cd")
    on_last = packet(PacketType.RPC, b"ab", status=0) + packet(PacketType.RPC, b"cd", 1 | reset)
    first, last = await reader_of(on_first).read(), await reader_of(on_last).read()
    assert first is not None
    assert last is not None
    assert first.status & reset
    assert not last.status & reset


async def test_the_ignore_bit_counts_on_the_last_packet() -> None:
    data = packet(PacketType.RPC, b"ab", 0) + packet(PacketType.RPC, b"", 1 | Status.IGNORE)
    message = await reader_of(data).read()
    assert message is not None
    assert message.ignored


async def test_a_client_that_hangs_up_between_messages_ends_the_stream() -> None:
    reader = reader_of(packet(PacketType.ATTENTION))
    assert await reader.read() is not None
    assert await reader.read() is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01", "inside a message"),
        (packet(1, b"abc")[:-1], "inside a packet"),
        (packet(1, b"abc", status=0), "inside a message"),
        (b"GET / HTTP/1.1\r\n", "unknown packet type 0x47"),
        (bytes.fromhex("16030100f80100"), "inside a message"),
        (bytes.fromhex("16030100f8010000f4"), "unknown packet type 0x16"),
        (struct.pack(">BBHHBB", 1, 1, 7, 0, 1, 0), "packet length 7"),
        (struct.pack(">BBHHBB", 1, 1, 4097, 0, 1, 0) + b"x" * 4089, "packet length 4097"),
        (packet(4, b"a reply"), "unknown packet type 0x04"),
        (packet(1, b"a", status=0) + packet(6), "type 6 inside a message of type 1"),
    ],
)
async def test_broken_framing_is_a_protocol_error(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        await reader_of(data).read()


async def test_a_message_may_not_grow_without_end() -> None:
    reader = reader_of(packet(PacketType.SQL_BATCH, b"x" * 4000, status=0) * 40)
    with pytest.raises(ProtocolError, match="more than"):
        await reader.read()


def test_a_reply_that_fits_goes_out_as_one_packet() -> None:
    transport = Transport()
    writer = PacketWriter(transport)
    writer.spid = 51
    writer.buffer += b"abc"
    assert not writer.send_full_packets()
    writer.end_message()
    assert transport.packets() == [(1, 1, b"abc")]


@pytest.mark.parametrize("size", [503, 504, 505, 1008, 1009, 200_000])
def test_only_the_last_packet_of_a_reply_ends_it(size: int) -> None:
    transport = Transport()
    writer = PacketWriter(transport)
    writer.spid, writer.packet_size = 51, 512
    content = bytes(index % 251 for index in range(size))
    for start in range(0, size, 5000):
        writer.buffer += content[start : start + 5000]
        writer.send_full_packets()
    writer.end_message()
    packets = transport.packets()
    assert b"".join(body for _status, _number, body in packets) == content
    assert all(len(body) == 504 for _status, _number, body in packets[:-1])
    assert [status for status, _number, _body in packets] == [0] * (len(packets) - 1) + [1]
    assert [number for _status, number, _body in packets] == [
        (index + 1) & 0xFF for index in range(len(packets))
    ]


def test_the_next_reply_counts_its_packets_anew() -> None:
    transport = Transport()
    sent: list[int] = []
    writer = PacketWriter(transport, sent.append)
    writer.spid = 51
    for _ in range(2):
        writer.buffer += b"x"
        writer.end_message()
    assert [number for _status, number, _body in transport.packets()] == [1, 1]
    assert sent == [9, 9]


def test_nothing_is_written_to_a_lost_connection() -> None:
    transport = Transport()
    writer = PacketWriter(transport)
    transport.closing = True
    writer.buffer += b"x"
    writer.end_message()
    assert transport.data == b""
