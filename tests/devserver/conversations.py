"""Client conversations with the server, and ways to break them, under a seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from mssql_async.devserver.tds.packets import PacketType

from .raw_client import (
    ODBC_PRELOGIN,
    PRELOGIN,
    all_headers,
    batch,
    login7,
    packet,
    prelogin_with,
)
from .test_tds_login import ODBC_LOGIN7, federation

CLIENT_HELLO = bytes.fromhex(
    "16030100750100007103033c1d0ca1f0e7b9a8d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a392817000000ec02b"
    "c02fc02cc030009e009f00ff0100003a000a00060004001d0017000b00020100000d00140012040308040401050308"
    "0505010806060102010010000a00080774"  # cut short: nobody answers half a hello
)
PREPARE = (
    all_headers()
    + b"\xff\xff\x0d\x00\x00\x00"
    + bytes.fromhex("0001260400")
    + bytes.fromhex("0000e7401f0904d00034ffff")
    + bytes.fromhex("0000e7401f0904d00034")
    + struct.pack("<H", 16)
    + "SELECT 1".encode("utf-16-le")
)
EXECUTE = all_headers() + bytes.fromhex("ffff0c000000000026040401000000000026040405000000")
DECLARED = (
    all_headers()
    + b"\xff\xff\x0a\x00\x00\x00"
    + bytes.fromhex("0000e7401f0904d00034")
    + struct.pack("<H", 18)
    + "SELECT @p".encode("utf-16-le")
    + bytes.fromhex("0000e7401f0904d00034")
    + struct.pack("<H", 12)
    + "@p int".encode("utf-16-le")
    + b"\x02@\x00p\x00\x00\x26\x04\x04\x07\x00\x00\x00"
)
BEGIN = all_headers() + b"\x05\x00\x02\x00"
COMMIT = all_headers(b"\x5e\xb7" + b"\x00" * 6) + b"\x07\x00\x00\x00"

REQUESTS = (
    packet(PacketType.SQL_BATCH, batch("SELECT 1")),
    packet(PacketType.SQL_BATCH, batch("SELECT 1"), 0x09),
    packet(PacketType.SQL_BATCH, batch("no such statement")),
    packet(PacketType.RPC, PREPARE),
    packet(PacketType.RPC, EXECUTE),
    packet(PacketType.RPC, DECLARED),
    packet(PacketType.TRANSACTION_MANAGER, BEGIN),
    packet(PacketType.TRANSACTION_MANAGER, COMMIT),
    packet(PacketType.ATTENTION),
    packet(PacketType.BULK_LOAD, b"\x81\x01\x00"),
)
LOGINS = (
    login7(),
    login7(features=federation(2, "token")),
    login7(packet_size=512, type_flags=0x20),
    ODBC_LOGIN7,
)
FIRSTS = (PRELOGIN, ODBC_PRELOGIN, prelogin_with(1), prelogin_with(3))


@dataclass(frozen=True)
class Conversation:
    """Bytes to send after ``logged_in`` of them were answered by a proper login or not;
    ``hurry`` hangs up at once instead of waiting for what the server says."""

    logged_in: bool
    sent: bytes
    hurry: bool


def _flip(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at : at + 8] = chance.randbytes(chance.randint(1, 8))


def _truncate(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def _lengthen(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.choice((1, 7, 100, 5000)))


def _lie_about_the_packet(chance: random.Random, data: bytearray) -> None:
    data[2:4] = struct.pack(">H", chance.choice((0, 7, 8, 9, len(data) - 1, 4097, 0xFFFF)) & 0xFFFF)


def _lie_about_a_length(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at : at + 4] = struct.pack("<I", chance.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)))


def _change_the_type(chance: random.Random, data: bytearray) -> None:
    data[0] = chance.choice((0, 1, 2, 3, 4, 6, 7, 8, 14, 16, 17, 18, 22, 23, 255))


def _change_the_status(chance: random.Random, data: bytearray) -> None:
    data[1] = chance.randrange(256)


def _duplicate(chance: random.Random, data: bytearray) -> None:
    data *= chance.randint(2, 5)


_MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip,
    _overwrite,
    _truncate,
    _lengthen,
    _lie_about_the_packet,
    _lie_about_a_length,
    _change_the_type,
    _change_the_status,
    _duplicate,
)


def mutated(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if len(changed) >= 4:
            chance.choice(_MUTATIONS)(chance, changed)
    return bytes(changed)


def _before_the_login(chance: random.Random) -> bytes:
    match chance.randrange(6):
        case 0:
            return chance.randbytes(chance.randint(0, 300))
        case 1:
            return mutated(chance, CLIENT_HELLO)
        case 2:
            first = mutated(chance, packet(PacketType.PRELOGIN, chance.choice(FIRSTS)))
            return first + packet(PacketType.LOGIN7, chance.choice(LOGINS))
        case 3:
            hello = packet(PacketType.PRELOGIN, mutated(chance, CLIENT_HELLO))
            return packet(PacketType.PRELOGIN, chance.choice(FIRSTS[1:])) + hello
        case _:
            login = mutated(chance, packet(PacketType.LOGIN7, chance.choice(LOGINS)))
            return packet(PacketType.PRELOGIN, PRELOGIN) + login


def _after_the_login(chance: random.Random) -> bytes:
    if chance.random() < 0.05:
        return chance.randbytes(chance.randint(0, 300))
    requests = [chance.choice(REQUESTS) for _ in range(chance.randint(1, 4))]
    at = chance.randrange(len(requests))
    requests[at] = mutated(chance, requests[at])
    return b"".join(requests)


def conversations(seed: int, count: int) -> list[Conversation]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        logged_in = chance.random() < 0.35  # a login costs more than all the rest
        sent = _after_the_login(chance) if logged_in else _before_the_login(chance)
        made.append(Conversation(logged_in, sent, hurry=chance.random() < 0.3))
    return made
