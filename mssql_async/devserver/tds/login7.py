"""LOGIN7: who the client is and what it wants (MS-TDS 2.2.6.4)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ..protocols import LoginRequest
from .input import Input, decode_utf16
from .packets import DEFAULT_PACKET_SIZE, MAX_PACKET_SIZE, MIN_PACKET_SIZE, ProtocolError
from .types import TdsVersion

_FIXED = struct.Struct("<IIIIII4BiI")
_SLOT = struct.Struct("<HH")
_SLOTS = _FIXED.size
_END_OF_SLOTS = 94
_INTEGRATED_SECURITY = 0x80
_READ_ONLY_INTENT = 0x20
_CHANGE_PASSWORD = 0x01
_EXTENSION = 0x10


class Feature(enum.IntEnum):
    """Features of FEATUREEXT that this server looks at."""

    FEDERATED_AUTHENTICATION = 0x02
    UTF8_SUPPORT = 0x0A
    TERMINATOR = 0xFF


class _FederatedLibrary(enum.IntEnum):
    LIVE_ID_COMPACT_TOKEN = 0
    SECURITY_TOKEN = 1
    ADAL = 2


@dataclass(frozen=True, slots=True)
class Login:
    """A parsed LOGIN7. ``version`` is ``None`` where the client's is older than 7.2;
    ``tds_version`` is then only for the log. ``federation_echo`` and ``federation_nonce``
    give back what PRELOGIN's answer said."""

    request: LoginRequest
    tds_version: int
    version: TdsVersion | None
    packet_size: int = DEFAULT_PACKET_SIZE
    integrated_security: bool = False
    changes_password: bool = False
    attaches_database: bool = False
    unsupported_federation: bool = False
    federation_echo: bool = False
    federation_nonce: bytes = b""
    utf8: bool = False


@dataclass(slots=True)
class _Features:
    access_token: str | None = None
    unsupported_federation: bool = False
    echo: bool = False
    nonce: bytes = b""
    utf8: bool = False


class _Layout:
    """The variable-length fields, each found through its slot."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def text(self, slot: int) -> str:
        return decode_utf16(self._bytes(slot, 2))

    def raw(self, slot: int) -> bytes:
        """A field whose slot counts bytes."""
        return self._bytes(slot, 1)

    def password(self, slot: int) -> str:
        """Every byte of a password has its nibbles swapped and is XORed with 0xA5."""
        plain = bytes(
            (byte ^ 0xA5) >> 4 | ((byte ^ 0xA5) & 0x0F) << 4 for byte in self._bytes(slot, 2)
        )
        return decode_utf16(plain)

    def _bytes(self, slot: int, width: int) -> bytes:
        offset, count = _SLOT.unpack_from(self._body, slot)
        if not count:
            return b""
        stop = offset + count * width
        if stop > len(self._body):
            raise ProtocolError("a field of LOGIN7 lies outside the message")
        return self._body[offset:stop]


def parse_login7(body: bytes, client_address: str = "") -> Login:
    """
    :raises ProtocolError: not a LOGIN7 structure. Its text never quotes the message.
    """
    if len(body) < _END_OF_SLOTS:
        raise ProtocolError(f"LOGIN7 of {len(body)} bytes")
    (
        length,
        tds_version,
        packet_size,
        _program_version,
        process_id,
        _connection_id,
        _flags1,
        flags2,
        type_flags,
        flags3,
        _time_zone,
        _lcid,
    ) = _FIXED.unpack_from(body)
    if length != len(body):
        raise ProtocolError(f"LOGIN7 says {length} bytes and has {len(body)}")
    version = TdsVersion.negotiate(tds_version)
    fields = _Layout(body)
    features = _Features()
    # Older clients set the bit without meaning it: it is defined since TDS 7.4.
    if flags3 & _EXTENSION and version in (TdsVersion.V7_4, TdsVersion.V8_0):
        features = _parse_extension(body, fields.raw(_SLOTS + 20))
    request = LoginRequest(
        user=fields.text(_SLOTS + 4),
        password=fields.password(_SLOTS + 8),
        access_token=features.access_token,
        database=fields.text(_SLOTS + 32),
        host_name=fields.text(_SLOTS),
        program_name=fields.text(_SLOTS + 12),
        client_library=fields.text(_SLOTS + 24),
        language=fields.text(_SLOTS + 28),
        host_process_id=process_id,
        packet_size=_clamped(packet_size),
        read_only_intent=bool(type_flags & _READ_ONLY_INTENT),
        client_address=client_address,
    )
    return Login(
        request,
        tds_version,
        version,
        packet_size=request.packet_size,
        integrated_security=bool(flags2 & _INTEGRATED_SECURITY),
        changes_password=bool(flags3 & _CHANGE_PASSWORD),
        attaches_database=bool(fields.raw(_SLOTS + 46)),
        unsupported_federation=features.unsupported_federation,
        federation_echo=features.echo,
        federation_nonce=features.nonce,
        utf8=features.utf8,
    )


def _clamped(packet_size: int) -> int:
    """The packet size the server agrees to; 0 leaves the choice to it."""
    if packet_size == 0:
        return DEFAULT_PACKET_SIZE
    return min(max(packet_size, MIN_PACKET_SIZE), MAX_PACKET_SIZE)


def _parse_extension(body: bytes, pointer: bytes) -> _Features:
    """FEATUREEXT: a list of features behind a pointer in the extension slot."""
    if len(pointer) < 4:
        raise ProtocolError("LOGIN7 extension without a pointer")
    offset = int.from_bytes(pointer[:4], "little")
    if offset > len(body):
        raise ProtocolError("LOGIN7 features lie outside the message")
    source = Input(body, offset)
    features = _Features()
    while (feature := source.u8()) != Feature.TERMINATOR:
        data = source.take(source.u32())
        if feature == Feature.UTF8_SUPPORT:
            features.utf8 = True
        elif feature == Feature.FEDERATED_AUTHENTICATION:
            _parse_federation(Input(data), features)
    return features


def _parse_federation(source: Input, features: _Features) -> None:
    """FEDAUTH: only the library that brings its token along can be served."""
    options = source.u8()
    features.echo = bool(options & 1)
    if options >> 1 == _FederatedLibrary.SECURITY_TOKEN:
        features.access_token = decode_utf16(source.take(source.u32()))
        features.nonce = source.rest()
    else:
        features.unsupported_federation = True
