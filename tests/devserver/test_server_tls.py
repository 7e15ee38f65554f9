"""Encryption as Microsoft's driver, Python's own TLS and bare packets see it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyodbc
import pytest

from mssql_async.devserver import server as server_module
from mssql_async.devserver.certificates import CannotMakeCertificate, Certificate
from mssql_async.devserver.server import DevServer
from mssql_async.devserver.tds.packets import PacketType
from mssql_async.devserver.tds.prelogin import Encryption, parse_prelogin
from mssql_async.devserver.tds.tls import ALPN

from .fake_engine import FakeEngine
from .raw_client import ODBC_PRELOGIN, PRELOGIN, RawClient, login7, packet, prelogin_with
from .serving import serving
from .test_server_odbc import connection_string
from .tls_client import TlsClient, trusting

pytest.importorskip("cryptography", reason="a self-signed certificate needs cryptography")

WISHES = {"no": Encryption.OFF, "yes": Encryption.ON, "required": Encryption.REQUIRED}
LONG = "SELECT " + "x" * 100_000


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.script[LONG] = engine.script["SELECT 1"]
    return engine


@pytest.fixture
def server(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> Iterator[DevServer]:
    with serving(engine, caplog, encrypt_logins=True) as running:
        yield running


@pytest.fixture
def grumbling_server(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> Iterator[DevServer]:
    with serving(engine, caplog, worst=logging.WARNING, encrypt_logins=True) as running:
        yield running


@pytest.fixture
def trust(server: DevServer, tmp_path: Path) -> Path:
    """The file that a client is told to trust."""
    file = tmp_path / "server.pem"
    file.write_text(server.certificate_pem or "")
    return file


# --- Microsoft's driver --------------------------------------------------------------------


@pytest.mark.parametrize("encrypt", ["no", "optional", "yes;TrustServerCertificate=yes"])
def test_the_driver_logs_in_and_queries(server: DevServer, encrypt: str) -> None:
    with pyodbc.connect(connection_string(server, Encrypt=encrypt), autocommit=True) as connected:
        assert connected.execute("SELECT 1").fetchval() == 1
        assert connected.execute(LONG).fetchval() == 1
    assert server.counters.messages["login7"] == 1
    assert server.counters.messages["prelogin"] == 1, "a handshake is no message of its own"


def test_unless_logins_are_to_be_encrypted_a_client_that_wants_no_encryption_gets_none(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """A counting proxy between the two reads every message then."""
    with serving(engine, caplog) as server:
        with TlsClient(server.port, trusting(server)) as client:
            assert client.prelogin(Encryption.OFF).encryption is Encryption.NOT_SUPPORTED
        string = connection_string(server, Encrypt="no")
        with pyodbc.connect(string, autocommit=True) as connected:
            assert connected.execute("SELECT 1").fetchval() == 1


def test_the_driver_speaks_tds_8_and_trusts_the_certificate_it_is_given(
    server: DevServer, trust: Path
) -> None:
    string = connection_string(server, Encrypt="strict", ServerCertificate=str(trust))
    with pyodbc.connect(string, autocommit=True) as connected:
        assert connected.execute(LONG).fetchval() == 1


@pytest.mark.parametrize("encrypt", ["yes", "strict"])
def test_the_driver_does_not_trust_a_certificate_nobody_vouched_for(
    grumbling_server: DevServer, caplog: pytest.LogCaptureFixture, encrypt: str
) -> None:
    with pytest.raises(pyodbc.OperationalError, match="self-signed certificate"):
        pyodbc.connect(connection_string(grumbling_server, Encrypt=encrypt))
    grumbling_server.kill()
    assert "client hung up during the TLS handshake" in caplog.text


def test_a_server_that_requires_encryption_gets_it_from_the_driver(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(engine, caplog, require_encryption=True) as server:
        assert server.connection_string().endswith("Encrypt=yes;TrustServerCertificate=yes")
        for encrypt in ("no", "yes"):
            string = connection_string(server, Encrypt=encrypt, TrustServerCertificate="yes")
            with pyodbc.connect(string, autocommit=True) as connected:
                assert connected.execute("SELECT 1").fetchval() == 1


def test_without_tls_the_driver_that_demands_it_is_refused_cleanly(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(engine, caplog, tls=False) as server:
        assert server.certificate_pem is None
        with pytest.raises(pyodbc.OperationalError, match="Encryption not supported") as caught:
            pyodbc.connect(connection_string(server, Encrypt="yes"))
        assert caught.value.args[0] == "08001"
        with pyodbc.connect(connection_string(server), autocommit=True) as connected:
            assert connected.execute("SELECT 1").fetchval() == 1


def test_without_tls_strict_encryption_is_refused_with_a_reason_in_the_log(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(engine, caplog, worst=logging.WARNING, tls=False) as server,
        pytest.raises(pyodbc.OperationalError),
    ):
        pyodbc.connect(connection_string(server, Encrypt="strict"))
    assert "began with TLS, and the server has none" in caplog.text


# --- what is encrypted ---------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["yes", "required"])
def test_a_client_that_wants_encryption_has_everything_encrypted(
    server: DevServer, wish: str
) -> None:
    with TlsClient(server.port, trusting(server)) as client:
        assert client.prelogin(WISHES[wish]).encryption is Encryption.ON
        client.shake_hands_in_packets()
        client.log_in()
        assert client.batch(LONG)[1] == ("row", (1,))
        assert client.tls.version() == "TLSv1.2"


def test_a_client_that_wants_none_has_its_login_encrypted_and_nothing_else(
    server: DevServer,
) -> None:
    with TlsClient(server.port, trusting(server)) as client:
        assert client.prelogin(Encryption.OFF).encryption is Encryption.OFF
        client.shake_hands_in_packets()
        client.send_tls(packet(PacketType.LOGIN7, login7()))
        client.end_tls()
        assert client.tokens()[-1] == ("done", 0, 0, 0)
        assert client.batch("SELECT 1")[1] == ("row", (1,))


@pytest.mark.parametrize("encrypted", [1, 2, 3])
def test_the_login_may_be_encrypted_whole_or_only_its_beginning(
    server: DevServer, encrypted: int
) -> None:
    """Microsoft's clients encrypt the first packet only, others the whole login."""
    body = login7()
    pieces = [body[:90], body[90:200], body[200:]]
    packets = [packet(PacketType.LOGIN7, piece, piece is pieces[-1]) for piece in pieces]
    with TlsClient(server.port, trusting(server)) as client:
        client.prelogin(Encryption.OFF)
        client.shake_hands_in_packets()
        for each in packets[:encrypted]:
            client.send_tls(each)
        client.end_tls()
        for each in packets[encrypted:]:
            client.socket.sendall(each)
        assert client.tokens()[-1] == ("done", 0, 0, 0)
        assert client.batch("SELECT 1")[1] == ("row", (1,))


def test_a_client_without_encryption_may_log_in_in_clear(server: DevServer) -> None:
    with RawClient(server.port) as client:
        assert client.login_reply[-1] == ("done", 0, 0, 0)


@pytest.mark.parametrize("wish", [Encryption.OFF, Encryption.ON, Encryption.REQUIRED])
def test_what_was_agreed_on_must_be_kept(grumbling_server: DevServer, wish: Encryption) -> None:
    with RawClient(grumbling_server.port, login=False) as client:
        client.send(PacketType.PRELOGIN, prelogin_with(wish))
        client.receive()
        client.send(PacketType.LOGIN7, login7())
        assert client.hung_up()
    assert grumbling_server.counters.logins == 0


def test_a_client_without_encryption_is_not_let_in_where_it_is_required(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(engine, caplog, worst=logging.WARNING, require_encryption=True) as server,
        RawClient(server.port, login=False) as client,
    ):
        client.send(PacketType.PRELOGIN, PRELOGIN)
        assert parse_prelogin(client.receive()).encryption is Encryption.REQUIRED
        client.send(PacketType.LOGIN7, login7())
        assert client.hung_up()
    assert "encryption is required" in caplog.text
    assert "Passw0rd!" not in caplog.text


def test_without_tls_a_client_that_demanded_it_cannot_log_in_without(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(engine, caplog, worst=logging.WARNING, tls=False) as server,
        RawClient(server.port, login=False) as client,
    ):
        client.send(PacketType.PRELOGIN, prelogin_with(Encryption.ON))
        assert parse_prelogin(client.receive()).encryption is Encryption.NOT_SUPPORTED
        client.send(PacketType.LOGIN7, login7())
        assert client.hung_up()
    assert "demanded encryption" in caplog.text


def test_nothing_may_follow_an_encrypted_login_unasked(grumbling_server: DevServer) -> None:
    with TlsClient(grumbling_server.port, trusting(grumbling_server)) as client:
        client.prelogin(Encryption.OFF)
        client.shake_hands_in_packets()
        client.send_tls(packet(PacketType.LOGIN7, login7()) + packet(PacketType.ATTENTION))
        assert client.hung_up()
    assert grumbling_server.counters.logins == 0


# --- handshakes ------------------------------------------------------------------------------


def test_prelogin_tls_is_capped_at_1_2_as_in_sql_server_2022(grumbling_server: DevServer) -> None:
    context = trusting(grumbling_server)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with TlsClient(grumbling_server.port, context) as client:
        client.prelogin(Encryption.ON)
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            client.shake_hands_in_packets()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_strict_encryption_speaks_both_versions(server: DevServer, version: ssl.TLSVersion) -> None:
    context = trusting(server)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols([ALPN])
    with TlsClient(server.port, context) as client:
        client.shake_hands()
        assert client.tls.selected_alpn_protocol() == ALPN
        assert client.prelogin(Encryption.NOT_SUPPORTED).encryption is Encryption.NOT_SUPPORTED
        client.log_in(tds_version=0x08000000)
        assert client.login_reply[-3][1] == b"\x08\x00\x00\x00"
        assert client.batch(LONG)[1] == ("row", (1,))


def test_strict_encryption_needs_the_protocols_name(
    grumbling_server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    with TlsClient(grumbling_server.port, trusting(grumbling_server)) as client:
        client.shake_hands()
        assert client.hung_up()
    assert "without the protocol tds/8.0" in caplog.text


def test_a_handshake_may_come_in_small_packets(server: DevServer) -> None:
    with TlsClient(server.port, trusting(server)) as client:
        client.prelogin(Encryption.ON)
        client.shake_hands_in_packets(size=7)
        client.log_in()
        assert client.batch("SELECT 1")[1] == ("row", (1,))


def test_a_long_chain_is_sent_in_several_packets(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    made = Certificate.self_signed()
    chain = made.certificate_pem + "".join(
        Certificate.self_signed(f"authority-{number}.example").certificate_pem
        for number in range(20)
    )
    with (
        serving(engine, caplog, certificate=Certificate(chain, made.key_pem)) as server,
        TlsClient(server.port, trusting(server)) as client,
    ):
        client.prelogin(Encryption.ON)
        client.shake_hands_in_packets()
        client.log_in()
        assert client.batch("SELECT 1")[1] == ("row", (1,))


@pytest.mark.parametrize(
    "sent",
    [
        packet(PacketType.PRELOGIN, b"\x16\x03\x01\x00\x04nope"),
        packet(PacketType.PRELOGIN, b"no handshake at all"),
        packet(PacketType.PRELOGIN, b"\x16\x03\x01\x40\x00", 0) * 40_000,
        packet(PacketType.LOGIN7, login7()),
        packet(PacketType.PRELOGIN, ODBC_PRELOGIN),
    ],
    ids=["bad record", "no record", "endless", "login", "second prelogin"],
)
def test_what_is_no_handshake_is_hung_up_on(grumbling_server: DevServer, sent: bytes) -> None:
    with RawClient(grumbling_server.port, login=False) as client:
        client.send(PacketType.PRELOGIN, ODBC_PRELOGIN)
        client.receive()
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(sent)
        assert client.hung_up()
    assert grumbling_server.counters.logins == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"\x17\x03\x03\x00\x20" + b"\x00" * 32,
        b"\x17\x03\x03\xff\xff",
        b"\x47\x45\x54\x20\x2f\x20\x48",
        packet(PacketType.SQL_BATCH, b"in clear"),
    ],
    ids=["forged record", "oversized record", "no record", "packet in clear"],
)
def test_a_broken_record_ends_the_connection(grumbling_server: DevServer, sent: bytes) -> None:
    with TlsClient(grumbling_server.port, trusting(grumbling_server)) as client:
        client.prelogin(Encryption.ON)
        client.shake_hands_in_packets()
        client.log_in()
        client.socket.sendall(sent)
        assert client.hung_up()
    assert grumbling_server.wait_for_sessions(0)


def test_a_client_that_closes_tls_properly_is_said_goodbye_to(server: DevServer) -> None:
    with TlsClient(server.port, trusting(server)) as client:
        client.prelogin(Encryption.ON)
        client.shake_hands_in_packets()
        client.log_in()
        client.send_goodbye()
        assert client.ends_properly()
    assert server.wait_for_sessions(0)


def test_a_server_that_stops_ends_tls_or_the_connection(server: DevServer) -> None:
    with TlsClient(server.port, trusting(server)) as client:
        client.prelogin(Encryption.ON)
        client.shake_hands_in_packets()
        client.log_in()
        assert server.kill() == 1
        assert client.hung_up()


# --- certificates ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "db.example.org"])
def test_the_certificate_is_good_for_every_name_of_the_server(name: str) -> None:
    made = Certificate.self_signed("db.example.org")
    client, server = ssl.create_default_context(cadata=made.certificate_pem), socket.socketpair()
    assert client.check_hostname
    left, right = server
    tls = server_module.ServerTls.of(made)

    async def shake_hands() -> None:
        accepted = asyncio.open_connection(sock=right, ssl=client, server_hostname=name)
        loop = asyncio.get_running_loop()
        serving_side = loop.connect_accepted_socket(asyncio.Protocol, left, ssl=tls.strict)
        (_reader, writer), (transport, _) = await asyncio.gather(accepted, serving_side)
        writer.close()
        transport.abort()

    asyncio.run(shake_hands())


def test_the_certificate_is_of_this_start_and_no_key_shows() -> None:
    one, two = Certificate.self_signed(), Certificate.self_signed()
    assert one.certificate_pem != two.certificate_pem
    assert "PRIVATE" not in one.certificate_pem + repr(one)
    from cryptography import x509

    made = x509.load_pem_x509_certificate(one.certificate_pem.encode())
    now = datetime.datetime.now(datetime.UTC)
    assert made.not_valid_before_utc < now < made.not_valid_after_utc


def test_one_may_bring_a_certificate(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    mine = Certificate.self_signed("mine.example")
    both = tmp_path / "both.pem"
    both.write_text(mine.certificate_pem + mine.key_pem)
    assert Certificate.from_files(both).key_pem == both.read_text()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(mine.certificate_pem)
    key.write_text(mine.key_pem)
    given = Certificate.from_files(certificate, key)
    assert given == mine
    with serving(engine, caplog, certificate=given) as server:
        assert server.certificate_pem == mine.certificate_pem
        with TlsClient(server.port, trusting(server)) as client:
            client.prelogin(Encryption.ON)
            client.shake_hands_in_packets()
    with pytest.raises(ValueError, match="no certificate"):
        Certificate.from_files(key)
    with pytest.raises(ValueError, match="no private key"):
        Certificate.from_files(certificate)


def test_a_certificate_with_anothers_key_is_refused_at_once() -> None:
    one, two = Certificate.self_signed(), Certificate.self_signed()
    with pytest.raises(ssl.SSLError):
        DevServer(engine=FakeEngine(), certificate=Certificate(one.certificate_pem, two.key_pem))


def test_no_key_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with DevServer(engine=FakeEngine()):
        assert list(tmp_path.iterdir()) == []


def test_without_cryptography_the_server_runs_in_clear_and_says_so(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with serving(engine, caplog, worst=logging.WARNING) as server:
        assert server.certificate_pem is None
        with RawClient(server.port) as client:
            assert client.batch("SELECT 1")
    assert "pip install 'mssql-async[devserver]'" in caplog.text
    with pytest.raises(CannotMakeCertificate):
        DevServer(engine=FakeEngine(), require_encryption=True)


def test_importing_the_server_imports_no_cryptography() -> None:
    program = "import sys, mssql_async.devserver; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
