"""A TDS client of bare sockets, for what no driver would ever send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

from mssql_async.devserver.tds.decoding import read_type
from mssql_async.devserver.tds.input import Input
from mssql_async.devserver.tds.packets import PacketType, Status
from mssql_async.devserver.tds.tokens import Token

PATIENCE = 30
"""Seconds after which a test that waits for the server is broken."""

PASSWORD = "Passw0rd!"
ODBC_PRELOGIN = bytes.fromhex(
    "00001f000601002500010200260001030027000404002b000105002c0024ff"
    "120600020000000000000000005d2132c26322b956cb5b26d8c98ceb364c0744c0f5dc6682ebee72ec92b8fc"
    "0000000000"
)
"""With ``Encrypt=no``: everything in clear but the login."""


def prelogin_with(encryption: int) -> bytes:
    """The driver's PRELOGIN with another wish for encryption."""
    at = ODBC_PRELOGIN.index(b"\xff") + 1 + 6
    return ODBC_PRELOGIN[:at] + bytes([encryption]) + ODBC_PRELOGIN[at + 1 :]


PRELOGIN = prelogin_with(2)
"""Of a client that knows no encryption."""
NO_TRANSACTION = b"\x00" * 8
CANCELLED_DONE = ("done", 0x02, 0, 0)
ATTENTION_DONE = ("done", 0x20, 0, 0)


class Packet(NamedTuple):
    type: int
    status: int
    spid: int
    number: int
    body: bytes


def packet(kind: int, body: bytes = b"", status: int = Status.END_OF_MESSAGE) -> bytes:
    return struct.pack(">BBHHBB", kind, status, 8 + len(body), 0, 1, 0) + body


def all_headers(transaction: bytes = NO_TRANSACTION) -> bytes:
    return struct.pack("<IIH", 22, 18, 2) + transaction + struct.pack("<I", 1)


def batch(sql: str, transaction: bytes = NO_TRANSACTION) -> bytes:
    return all_headers(transaction) + sql.encode("utf-16-le")


def login7(
    user: str = "sa",
    password: str = PASSWORD,
    database: str = "app",
    *,
    tds_version: int = 0x74000004,
    packet_size: int = 4096,
    flags2: int = 0,
    type_flags: int = 0,
    flags3: int = 0,
    features: bytes = b"",
    attach: str = "",
) -> bytes:
    """A LOGIN7 message; ``features`` is a FEATUREEXT block with its terminator."""
    plain = password.encode("utf-16-le")
    obfuscated = bytes(((byte & 0x0F) << 4 | byte >> 4) ^ 0xA5 for byte in plain)
    texts = ["host", user, None, "raw client", "server", None, "tests", "", database]
    data = bytearray()
    slots = b""
    pointer_at = None
    for position, text in enumerate(texts):
        if position == 2:
            raw, count = obfuscated, len(password)
        elif position == 5:
            raw, count = (b"\x00" * 4, 4) if features else (b"", 0)
            pointer_at = len(data)
        else:
            raw = (text or "").encode("utf-16-le")
            count = len(raw) // 2
        slots += struct.pack("<HH", 94 + len(data), count)
        data += raw
    attached = attach.encode("utf-16-le")
    slots += b"\x00" * 6 + struct.pack("<HH", 0, 0)
    slots += struct.pack("<HH", 94 + len(data), len(attached) // 2) + struct.pack("<HHI", 0, 0, 0)
    data += attached
    if features:
        flags3 |= 0x10
        struct.pack_into("<I", data, pointer_at or 0, 94 + len(data))
        data += features
    fixed = struct.pack(
        "<IIIIII4BiI",
        94 + len(data),
        tds_version,
        packet_size,
        0,
        4711,
        0,
        0xE0,
        flags2,
        type_flags,
        flags3,
        0,
        0x0409,
    )
    return fixed + slots + bytes(data)


class RawClient:
    """Connected, and logged in unless told otherwise."""

    def __init__(self, port: int, *, login: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.login_reply: list[tuple[Any, ...]] = []
        if login:
            self.send(PacketType.PRELOGIN, PRELOGIN)
            self.receive()
            self.send(PacketType.LOGIN7, login7())
            self.login_reply = self.tokens()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, kind: int, body: bytes = b"", status: int = Status.END_OF_MESSAGE) -> None:
        self.socket.sendall(packet(kind, body, status))

    def batch(self, sql: str, status: int = Status.END_OF_MESSAGE) -> list[tuple[Any, ...]]:
        self.send(PacketType.SQL_BATCH, batch(sql), status)
        return self.tokens()

    def packets(self) -> list[Packet]:
        """The packets of the next reply.

        :raises EOFError: the server hung up.
        """
        packets = []
        while True:
            header = self._exactly(8)
            kind, status, length, spid, number, _window = struct.unpack(">BBHHBB", header)
            packets.append(Packet(kind, status, spid, number, self._exactly(length - 8)))
            if status & Status.END_OF_MESSAGE:
                return packets

    def receive(self) -> bytes:
        return b"".join(packet.body for packet in self.packets())

    def tokens(self) -> list[tuple[Any, ...]]:
        return list(parse_tokens(self.receive()))

    def hung_up(self) -> bool:
        """Whether the server has closed the connection; waits for it."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data


def parse_tokens(stream: bytes) -> Iterator[tuple[Any, ...]]:
    """The tokens of a reply as tuples that begin with their name."""
    source = Input(stream)
    readers: list[Any] = []
    while not source.exhausted:
        token = source.u8()
        match token:
            case Token.DONE | Token.DONE_PROCEDURE | Token.DONE_IN_PROCEDURE:
                name = {Token.DONE: "done", Token.DONE_PROCEDURE: "doneproc"}
                yield (
                    name.get(Token(token), "doneinproc"),
                    source.u16(),
                    source.u16(),
                    source.u64(),
                )
            case Token.ERROR | Token.INFO:
                source.u16()
                number, state, severity = source.i32(), source.u8(), source.u8()
                text = source.us_varchar()
                source.b_varchar()
                procedure, line = source.b_varchar(), source.i32()
                name = "error" if token == Token.ERROR else "info"
                yield name, number, text, severity, state, line, procedure
            case Token.ENVIRONMENT_CHANGE:
                body = Input(source.take(source.u16()))
                kind = body.u8()
                if kind in (1, 2, 4):
                    yield "env", kind, body.b_varchar(), body.b_varchar()
                else:
                    yield "env", kind, body.take(body.u8()), body.take(body.u8())
            case Token.LOGIN_ACKNOWLEDGED:
                body = Input(source.take(source.u16()))
                yield "loginack", body.take(5)[1:], body.b_varchar(), body.take(4)
            case Token.FEATURE_ACKNOWLEDGED:
                features = []
                while (feature := source.u8()) != 0xFF:
                    features.append((feature, source.take(source.u32())))
                yield "features", features
            case Token.RETURN_STATUS:
                yield "status", source.i32()
            case Token.RETURN_VALUE:
                ordinal, name = source.u16(), source.b_varchar()
                source.take(7)
                sql_type, read = read_type(source)
                yield "output", ordinal, name, sql_type, read(source)
            case Token.COLUMN_METADATA:
                columns = []
                readers = []
                for _ in range(source.u16()):
                    source.u32()
                    flags = source.u16()
                    sql_type, read = read_type(source)
                    readers.append(read)
                    columns.append((source.b_varchar(), sql_type, flags))
                yield "columns", columns
            case Token.ROW:
                yield "row", tuple(read(source) for read in readers)
            case _:
                raise AssertionError(f"unknown token {token:#x} at {source.position}")
