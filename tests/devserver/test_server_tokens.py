"""Logins by access token: what is let in, until when, and what a session keeps of it."""

from __future__ import annotations

import datetime
import logging
import struct
from collections.abc import Iterator

import pyodbc
import pytest

from mssql_async.devserver.accesstokens import AccessTokens
from mssql_async.devserver.errors import SqlError
from mssql_async.devserver.server import DevServer
from mssql_async.devserver.tds.packets import PacketType
from mssql_async.devserver.tds.prelogin import parse_prelogin

from .fake_engine import FakeEngine
from .raw_client import RawClient, login7
from .serving import serving
from .test_server_odbc import connection_string

ACCESS_TOKEN = 1256
TOKEN = "eyJ0eXAi.token"
LONG_TOKEN = "eyJ0eXAi." + "x" * 5000
NOON = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
REFUSED = "Login failed for user '<token-identified principal>'."
EXPIRED = REFUSED + " Token is expired."


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def server(
    engine: FakeEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> Iterator[DevServer]:
    with serving(engine, caplog, clock=clock, accepted_tokens={TOKEN: NOON + HOUR}) as running:
        yield running
    assert TOKEN not in caplog.text


def connect(server: DevServer, token: str, **changes: str) -> pyodbc.Connection:
    changes = {"Encrypt": "yes", "TrustServerCertificate": "yes", **changes}
    string = connection_string(server, **changes)
    for credential in (f"UID={server.user};", f"PWD={{{server.password}}};"):
        string = string.replace(credential, "")
    raw = token.encode("utf-16-le")
    attributes = {ACCESS_TOKEN: struct.pack("<I", len(raw)) + raw}
    return pyodbc.connect(string, attrs_before=attributes, autocommit=True)


def refusal(server: DevServer, token: str) -> str:
    with pytest.raises(pyodbc.InterfaceError) as caught:
        connect(server, token)
    assert caught.value.args[0] == "28000"
    return str(caught.value)


# --- through Microsoft's driver --------------------------------------------------------------


def test_an_accepted_token_logs_its_user_in(server: DevServer, engine: FakeEngine) -> None:
    server.accept_token("other", user="app@contoso.example")
    with connect(server, TOKEN) as connected:
        assert connected.execute("SELECT 1").fetchval() == 1
        assert engine.session.login.user == "sa"
        with connect(server, "other"):
            assert engine.session.login.user == "app@contoso.example"
            assert {session.user for session in server.sessions()} == {"sa", "app@contoso.example"}
    assert server.counters.logins == 2


@pytest.mark.parametrize("encrypt", ["no", "yes"])
def test_a_token_never_travels_in_clear(server: DevServer, encrypt: str) -> None:
    """Where only the login's first packet is encrypted, its end would."""
    server.accept_token(LONG_TOKEN)
    with connect(server, LONG_TOKEN, Encrypt=encrypt) as connected:
        assert connected.execute("SELECT 1").fetchval() == 1


def test_an_unknown_token_is_refused(server: DevServer) -> None:
    assert REFUSED in refusal(server, "unknown")
    assert "expired" not in refusal(server, "unknown")
    assert server.sessions() == []


def test_a_revoked_token_is_refused(server: DevServer) -> None:
    server.revoke_token(TOKEN)
    server.revoke_token("never heard of")
    assert REFUSED in refusal(server, TOKEN)


def test_an_expired_token_gives_sql_servers_error(server: DevServer, clock: Clock) -> None:
    clock.now = NOON + HOUR
    assert EXPIRED in refusal(server, TOKEN)
    server.accept_token(TOKEN, expires_at=clock.now + HOUR)
    connect(server, TOKEN).close()


def test_a_session_outlives_its_token(server: DevServer, clock: Clock) -> None:
    with connect(server, TOKEN) as connected:
        clock.now = NOON + 2 * HOUR
        server.revoke_token(TOKEN)
        assert connected.execute("SELECT 1").fetchval() == 1


def test_a_token_is_no_password(server: DevServer) -> None:
    string = connection_string(server).replace(server.password, TOKEN)
    with pytest.raises(pyodbc.InterfaceError, match="Login failed for user 'sa'"):
        pyodbc.connect(string)


# --- on the wire -----------------------------------------------------------------------------


def prelogin(*, federated: bool, nonce: bytes = b"") -> bytes:
    options = {0: b"\x12" + b"\x00" * 5, 1: b"\x02"}
    if federated:
        options[6] = b"\x01"
    if nonce:
        options[7] = nonce
    head, data = b"", b""
    for number, value in options.items():
        head += struct.pack(">BHH", number, 5 * len(options) + 1 + len(data), len(value))
        data += value
    return head + b"\xff" + data


def login(token: str, *, echo: bool, nonce: bytes = b"") -> bytes:
    raw = token.encode("utf-16-le")
    data = bytes([0x01 << 1 | echo]) + struct.pack("<I", len(raw)) + raw + nonce
    return login7(
        user="", password="", features=b"\x02" + struct.pack("<I", len(data)) + data + b"\xff"
    )


@pytest.fixture
def clear_server(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> Iterator[DevServer]:
    """Without TLS, so that bare packets can be looked at."""
    with serving(engine, caplog, worst=logging.WARNING, tls=False) as running:
        running.accept_token(TOKEN)
        yield running


@pytest.mark.parametrize(
    ("asked", "echo", "accepted"),
    [(True, True, True), (False, False, True), (True, False, False), (False, True, False)],
)
def test_the_login_must_echo_what_prelogin_said(
    clear_server: DevServer, asked: bool, echo: bool, accepted: bool
) -> None:
    with RawClient(clear_server.port, login=False) as client:
        client.send(PacketType.PRELOGIN, prelogin(federated=asked))
        assert parse_prelogin(client.receive()).federated_authentication is asked
        client.send(PacketType.LOGIN7, login(TOKEN, echo=echo))
        reply = client.tokens()
    if accepted:
        assert ("features", [(2, b"")]) in reply
    else:
        assert reply[0][:5] == ("error", 18456, REFUSED, 14, 1)


@pytest.mark.parametrize("echoed", ["the server's", "none", "another"])
def test_a_nonce_is_echoed_both_ways(clear_server: DevServer, echoed: str) -> None:
    mine = b"c" * 32
    with RawClient(clear_server.port, login=False) as client:
        client.send(PacketType.PRELOGIN, prelogin(federated=True, nonce=mine))
        theirs = parse_prelogin(client.receive()).nonce
        assert len(theirs) == 32
        nonce = {"the server's": theirs, "none": b"", "another": mine}[echoed]
        client.send(PacketType.LOGIN7, login(TOKEN, echo=True, nonce=nonce))
        reply = client.tokens()
    if echoed == "the server's":
        assert ("features", [(2, mine)]) in reply
    else:
        assert reply[0][:3] == ("error", 18456, REFUSED)


def test_an_expired_token_has_azures_state(engine: FakeEngine, clock: Clock) -> None:
    tokens = AccessTokens({TOKEN: NOON}, clock=clock)
    with pytest.raises(SqlError) as caught:
        tokens.principal(TOKEN)
    failure = caught.value
    assert (failure.number, failure.severity, failure.state) == (18456, 14, 233)
    assert failure.text == EXPIRED


# --- the registry ----------------------------------------------------------------------------


def test_no_token_is_kept_or_shown() -> None:
    tokens = AccessTokens({TOKEN: None})
    assert tokens.principal(TOKEN) == "sa"
    assert TOKEN not in repr(tokens) + repr(vars(tokens))


def test_what_can_be_no_token_is_refused_at_once() -> None:
    tokens = AccessTokens()
    with pytest.raises(ValueError, match="empty"):
        tokens.accept("")
    with pytest.raises(ValueError, match="time zone"):
        tokens.accept(TOKEN, expires_at=NOON.replace(tzinfo=None))
