"""TLS between the client's socket and its packets.

TDS 7.x wraps the handshake in PRELOGIN packets and encrypts either everything after it or
the login alone (MS-TDS 2.2.6.5); TDS 8.0 (``Encrypt=strict``) starts with TLS as HTTPS does
(3.3.5.1). Both run here on ``ssl.MemoryBIO``, on the event loop, without a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..certificates import Certificate
from .packets import (
    HEADER_SIZE,
    MAX_LOGIN_SIZE,
    ByteReader,
    ByteWriter,
    MessageReader,
    PacketType,
    ProtocolError,
    packet_header,
)

ALPN = "tds/8.0"

_RECORD_HEADER = 5
_RECORD_TYPES = range(0x14, 0x18)
"""Change cipher spec, alert, handshake, application data."""
_MAX_RECORD = 2**14 + 2048
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a server needs to speak TLS. ``required``: nobody logs in without it.
    ``encrypt_logins``: the login of a client that asks for no encryption is encrypted all
    the same, as a SQL Server with a certificate does (ENCRYPT_OFF on both sides)."""

    certificate_pem: str
    wrapped: ssl.SSLContext
    """For handshakes inside PRELOGIN packets."""
    strict: ssl.SSLContext
    """For TDS 8.0."""
    required: bool = False
    encrypt_logins: bool = False

    @classmethod
    def of(
        cls, certificate: Certificate, *, required: bool = False, encrypt_logins: bool = False
    ) -> Self:
        """
        :raises ssl.SSLError: certificate and key do not belong together.
        """
        wrapped, strict = _context(), _context()
        # As SQL Server 2022 does: TLS 1.3 is for TDS 8.0. It would also send its session
        # tickets when neither side wraps records in packets any more.
        wrapped.maximum_version = ssl.TLSVersion.TLSv1_2
        strict.set_alpn_protocols([ALPN])
        _load(certificate, wrapped, strict)
        return cls(certificate.certificate_pem, wrapped, strict, required, encrypt_logins)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def _load(certificate: Certificate, *contexts: ssl.SSLContext) -> None:
    """``ssl`` reads keys from files only: they exist for this moment, for this user alone."""
    with tempfile.TemporaryDirectory(prefix="mssql-devserver-") as folder:
        certificate_file, key_file = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate_file.write_text(certificate.certificate_pem, "ascii")
        key_file.touch(0o600)
        key_file.write_text(certificate.key_pem, "ascii")
        for context in contexts:
            context.load_cert_chain(certificate_file, key_file, _no_password)


def _no_password() -> str:
    # Otherwise OpenSSL would ask for it on the terminal, and wait there.
    raise ssl.SSLError("the private key is encrypted")


class TlsStream:
    """A client's bytes behind TLS; reads and writes like the streams it is put on.

    ``head`` is what was read of the first record already.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        reader: ByteReader,
        writer: ByteWriter,
        head: bytes = b"",
    ) -> None:
        self._head = head
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._clear = bytearray()
        self._may_end = False
        self._ended = False

    def __repr__(self) -> str:
        return f"<TlsStream {self._tls.version()}>"

    # --- handshake -------------------------------------------------------------------

    async def shake_hands_in_packets(self, packets: MessageReader) -> None:
        """TDS 7.x: every flight is the body of PRELOGIN packets, in both directions."""

        async def receive() -> bytes:
            return await packets.read_packet_of(PacketType.PRELOGIN)

        def send(flight: bytes) -> None:
            room = packets.packet_size - HEADER_SIZE
            pieces = [flight[start : start + room] for start in range(0, len(flight), room)]
            for number, piece in enumerate(pieces, start=1):
                last = number == len(pieces)
                header = packet_header(PacketType.PRELOGIN, len(piece), number, last=last)
                self._writer.write(header + piece)

        await self._shake_hands(receive, send)

    async def shake_hands(self) -> None:
        """TDS 8.0: records as they are, and the protocol's name agreed on by ALPN."""
        await self._shake_hands(self._read_record, self._writer.write)
        if self._tls.selected_alpn_protocol() != ALPN:
            raise ProtocolError(f"TLS from the start without the protocol {ALPN} (ALPN)")

    async def _shake_hands(
        self, receive: Callable[[], Awaitable[bytes]], send: Callable[[bytes], None]
    ) -> None:
        received = 0
        while not self._try_handshake(send):
            try:
                flight = await receive()
            except asyncio.IncompleteReadError:
                # As a client does that does not trust the certificate.
                raise ProtocolError("client hung up during the TLS handshake") from None
            received += len(flight)
            if received > MAX_LOGIN_SIZE:
                raise ProtocolError(f"TLS handshake of more than {MAX_LOGIN_SIZE} bytes")
            self._incoming.write(flight)

    def _try_handshake(self, send: Callable[[bytes], None]) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as failure:
            raise ProtocolError(f"TLS handshake failed: {_reason(failure)}") from None
        finally:
            # Of a failed handshake too: the alert tells the client why.
            if flight := self._outgoing.read():
                send(flight)
        return True

    # --- reading ---------------------------------------------------------------------

    def may_end(self) -> None:
        """Only the login is encrypted: plain packets may follow any record.

        Clients disagree on where the login's encryption ends. Microsoft's encrypt its first
        packet, others the whole message; the first byte tells a packet from a record.
        """
        self._may_end = True

    @property
    def exhausted(self) -> bool:
        """Whether everything that was read has been handed on."""
        return not self._clear and not self._incoming.pending and not self._tls.pending()

    async def readexactly(self, n: int, /) -> bytes:
        clear = self._clear
        while len(clear) < n:
            try:
                if not self._decrypt():
                    await self._fill(n - len(clear))
            except asyncio.IncompleteReadError as error:
                raise asyncio.IncompleteReadError(bytes(clear) + error.partial, n) from None
        data = bytes(clear[:n])
        del clear[:n]
        return data

    def _decrypt(self) -> bool:
        """Take what is decrypted into the clear; says whether there was anything."""
        if self._ended:
            return False
        try:
            data = self._tls.read(_CHUNK)
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as failure:
            raise ProtocolError(f"TLS failed: {_reason(failure)}") from None
        finally:
            if answer := self._outgoing.read():
                self._writer.write(answer)
        if not data:  # the client said goodbye
            raise asyncio.IncompleteReadError(b"", None)
        self._clear += data
        return True

    async def _fill(self, missing: int) -> None:
        if self._ended:
            self._clear += await self._reader.readexactly(missing)
            return
        self._incoming.write(await self._read_record())

    async def _read_record(self) -> bytes:
        """One record; never a byte more, because what follows it may be in clear."""
        header = self._head + await self._reader.readexactly(_RECORD_HEADER - len(self._head))
        self._head = b""
        if header[0] not in _RECORD_TYPES:
            if not self._may_end:
                raise ProtocolError(f"{header[0]:#04x} where a TLS record was due")
            self._ended = True
            self._clear += header
            return b""
        length = int.from_bytes(header[3:], "big")
        if length > _MAX_RECORD:
            raise ProtocolError(f"TLS record of {length} bytes")
        try:
            return header + await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise ProtocolError("client hung up inside a TLS record") from None

    # --- writing ---------------------------------------------------------------------

    def write(self, data: bytes, /) -> None:
        rest = memoryview(data)
        try:
            while rest:
                # A record at a time.
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as failure:
            raise ConnectionAbortedError(f"TLS failed: {_reason(failure)}") from None
        self._writer.write(self._outgoing.read())

    def is_closing(self) -> bool:
        return self._writer.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._writer.get_write_buffer_size()

    def say_goodbye(self) -> None:
        """Tell the client that the end of the stream is no accident."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        if (farewell := self._outgoing.read()) and not self._writer.is_closing():
            self._writer.write(farewell)


def _reason(failure: ssl.SSLError) -> str:
    """OpenSSL's word for it, without source lines: ``TLSV1_ALERT_UNKNOWN_CA``."""
    return failure.reason or type(failure).__name__
