"""A TDS client of bare sockets and TLS, one record at a time."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable

from mssql_async.devserver.server import DevServer
from mssql_async.devserver.tds.packets import PacketType
from mssql_async.devserver.tds.prelogin import Encryption, Prelogin, parse_prelogin

from .raw_client import RawClient, login7, packet, prelogin_with


def trusting(server: DevServer) -> ssl.SSLContext:
    """A context with every check of Python's own, that trusts the server's certificate."""
    return ssl.create_default_context(cadata=server.certificate_pem)


class TlsClient(RawClient):
    """Connected and no more. Whatever is sent after a handshake is encrypted, until
    :meth:`end_tls`."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port, login=False)
        # Small pieces of a handshake would wait for each other's acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._encrypted = False

    def prelogin(self, wish: Encryption) -> Prelogin:
        self.send(PacketType.PRELOGIN, prelogin_with(wish))
        return parse_prelogin(self.receive())

    def log_in(self, tds_version: int = 0x74000004) -> None:
        self.send(PacketType.LOGIN7, login7(tds_version=tds_version))
        self.login_reply = self.tokens()

    def shake_hands_in_packets(self, size: int = 4088) -> None:
        def send(flight: bytes) -> None:
            pieces = [flight[start : start + size] for start in range(0, len(flight), size)]
            for piece in pieces:
                self.socket.sendall(packet(PacketType.PRELOGIN, piece, piece is pieces[-1]))

        def receive() -> bytes:
            packets = self.packets()
            assert {each.type for each in packets} == {PacketType.PRELOGIN}
            return b"".join(each.body for each in packets)

        self._shake_hands(send, receive)

    def shake_hands(self) -> None:
        self._shake_hands(self.socket.sendall, lambda: self.socket.recv(65536))

    def _shake_hands(self, send: Callable[[bytes], None], receive: Callable[[], bytes]) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            else:
                done = True
            if flight := self._outgoing.read():
                send(flight)
            if done:
                self._encrypted = True
                return
            self._incoming.write(receive())

    def end_tls(self) -> None:
        """What follows is in clear, in both directions."""
        self._encrypted = False

    def send_tls(self, data: bytes) -> None:
        self.tls.write(data)
        self.socket.sendall(self.take_encrypted())

    def take_encrypted(self) -> bytes:
        """What was written to :attr:`tls` and not sent yet."""
        return self._outgoing.read()

    def send(self, kind: int, body: bytes = b"", status: int = 1) -> None:
        if not self._encrypted:
            super().send(kind, body, status)
            return
        room = 4088
        pieces = [body[start : start + room] for start in range(0, len(body), room)] or [b""]
        for piece in pieces:
            self.send_tls(packet(kind, piece, status if piece is pieces[-1] else 0))

    def send_goodbye(self) -> None:
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            self.socket.sendall(self._outgoing.read())

    def ends_properly(self) -> bool:
        """Whether the server says goodbye before it hangs up."""
        while chunk := self.socket.recv(65536):
            self._incoming.write(chunk)
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            return False
        return True

    def _exactly(self, count: int) -> bytes:
        if not self._encrypted:
            return super()._exactly(count)
        data = b""
        while len(data) < count:
            try:
                data += self.tls.read(count - len(data))
            except ssl.SSLWantReadError:
                header = super()._exactly(5)
                (length,) = struct.unpack(">H", header[3:])
                self._incoming.write(header + super()._exactly(length))
        return data
