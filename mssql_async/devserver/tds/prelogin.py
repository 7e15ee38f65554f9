"""PRELOGIN: what both sides can do, asked and answered before the login (MS-TDS 2.2.6.5)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from .packets import ProtocolError
from .tokens import version_bytes


class Option(enum.IntEnum):
    VERSION = 0
    ENCRYPTION = 1
    INSTANCE = 2
    THREAD_ID = 3
    MARS = 4
    TRACE_ID = 5
    FEDERATED_AUTHENTICATION_REQUIRED = 6
    NONCE = 7
    TERMINATOR = 0xFF


class Encryption(enum.IntEnum):
    """What a client wishes, what a server is set to, and what the server answers."""

    OFF = 0
    """Encrypt the login only."""
    ON = 1
    NOT_SUPPORTED = 2
    REQUIRED = 3


_ENTRY = struct.Struct(">BHH")
_INSTANCE_MATCHES = b"\x00"
_NO_MARS = b"\x00"
_CLIENT_CERTIFICATE = 0x80
_NONCE_SIZE = 32


@dataclass(frozen=True, slots=True)
class Prelogin:
    """What the client said. ``demands_encryption`` is set by ``Encrypt=yes`` clients;
    ``nonce`` is empty unless it sent one for federated authentication."""

    encryption: Encryption = Encryption.NOT_SUPPORTED
    federated_authentication: bool = False
    nonce: bytes = b""

    @property
    def demands_encryption(self) -> bool:
        return self.encryption in (Encryption.ON, Encryption.REQUIRED)


def parse_prelogin(body: bytes) -> Prelogin:
    """
    :raises ProtocolError: not a PRELOGIN structure.
    """
    options: dict[int, bytes] = {}
    position = 0
    while True:
        if position >= len(body):
            raise ProtocolError("PRELOGIN without a terminator")
        token = body[position]
        if token == Option.TERMINATOR:
            break
        if position + _ENTRY.size > len(body):
            raise ProtocolError("PRELOGIN ends inside an option")
        _token, offset, length = _ENTRY.unpack_from(body, position)
        if offset + length > len(body):
            raise ProtocolError(f"PRELOGIN option {token} lies outside the message")
        options[token] = body[offset : offset + length]
        position += _ENTRY.size
    if Option.VERSION not in options:
        raise ProtocolError("PRELOGIN without a version")
    encryption = (options.get(Option.ENCRYPTION) or bytes([Encryption.NOT_SUPPORTED]))[0]
    if encryption == _CLIENT_CERTIFICATE | Encryption.NOT_SUPPORTED:
        raise ProtocolError("PRELOGIN with a client certificate and without encryption")
    try:
        # Client certificates are for SQL Server's own loopback connections: nobody here
        # looks at them, and the password counts.
        wish = Encryption(encryption & ~_CLIENT_CERTIFICATE)
    except ValueError:
        raise ProtocolError(f"PRELOGIN with encryption {encryption}") from None
    federated = options.get(Option.FEDERATED_AUTHENTICATION_REQUIRED, b"")
    nonce = options.get(Option.NONCE, b"")
    if len(nonce) not in (0, _NONCE_SIZE):
        raise ProtocolError(f"PRELOGIN with a nonce of {len(nonce)} bytes")
    return Prelogin(wish, federated[:1] == b"\x01", nonce)


def answer_encryption(client: Encryption, server: Encryption) -> Encryption:
    """The server's side of the encryption table (2.2.6.5), for a server that is set to
    ``OFF``, to ``ON`` (every connection is encrypted), or to ``NOT_SUPPORTED``."""
    if server is Encryption.NOT_SUPPORTED:
        return Encryption.NOT_SUPPORTED
    if client in (Encryption.ON, Encryption.REQUIRED):
        return Encryption.ON
    if server is Encryption.ON:
        return Encryption.REQUIRED
    return client


def build_prelogin(
    client: Prelogin,
    product_version: str,
    encryption: Encryption = Encryption.NOT_SUPPORTED,
    nonce: bytes = b"",
) -> bytes:
    """The answer to ``client``; with the server's own ``nonce`` if it sent one."""
    options = {
        Option.VERSION: version_bytes(product_version),
        Option.ENCRYPTION: bytes([encryption]),
        Option.INSTANCE: _INSTANCE_MATCHES,
        Option.THREAD_ID: b"",
        Option.MARS: _NO_MARS,
    }
    if client.federated_authentication:
        options[Option.FEDERATED_AUTHENTICATION_REQUIRED] = b"\x01"
    if nonce:
        options[Option.NONCE] = nonce
    head, data = bytearray(), bytearray()
    offset = _ENTRY.size * len(options) + 1
    for option, value in options.items():
        head += _ENTRY.pack(option, offset + len(data), len(value))
        data += value
    head.append(Option.TERMINATOR)
    return bytes(head + data)
