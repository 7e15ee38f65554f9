"""A connection's life on the wire: login, requests, attention, reset, the many ways to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import socket
import struct
from collections.abc import Iterator, Sequence

import pytest

from mssql_async.devserver import sqltypes as t
from mssql_async.devserver.protocols import LoginRequest
from mssql_async.devserver.results import (
    Columns,
    Command,
    Done,
    Environment,
    EnvironmentChange,
    Event,
    Message,
    ResultColumn,
    Rows,
)
from mssql_async.devserver.server import DevServer, TdsServer
from mssql_async.devserver.tds.packets import PacketType, Status

from .fake_engine import PATIENCE, Block, FakeEngine, FakeSession, result
from .raw_client import (
    ATTENTION_DONE,
    CANCELLED_DONE,
    NO_TRANSACTION,
    PRELOGIN,
    RawClient,
    all_headers,
    batch,
    login7,
    packet,
    parse_tokens,
)
from .serving import serving

ONE_ROW = ("row", (1,))
DONE_SELECT = ("done", 0x10, Command.SELECT, 1)
RESET = Status.END_OF_MESSAGE | Status.RESET_CONNECTION
RESET_SKIP = Status.END_OF_MESSAGE | Status.RESET_CONNECTION_SKIP_TRANSACTION
_SO_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER)
UNPREPARE = bytes.fromhex("ffff0f000000000026040401000000")


class EndlessRows(Sequence[Sequence[Event]]):
    """A script whose result never ends."""

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: object) -> Sequence[Event]:  # type: ignore[override]
        if index == 0:
            return [Columns((ResultColumn("n", t.nvarchar(100)),))]
        return [Rows([("x" * 100,)] * 500)]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine({"endless": EndlessRows()})


@pytest.fixture
def server(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> Iterator[DevServer]:
    with serving(engine, caplog) as running:
        yield running


@pytest.fixture
def grumbling_server(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> Iterator[DevServer]:
    """A server that is expected to complain about its clients, but never about itself."""
    with serving(engine, caplog, worst=logging.WARNING) as running:
        yield running


@pytest.fixture
def client(server: DevServer) -> Iterator[RawClient]:
    with RawClient(server.port) as connected:
        yield connected


def alive(client: RawClient) -> bool:
    tokens = client.batch("SELECT 1")
    return ONE_ROW in tokens and tokens[-1] == DONE_SELECT


# --- login -------------------------------------------------------------------------------


def test_a_login_is_answered_in_sql_servers_order(client: RawClient) -> None:
    assert client.login_reply == [
        ("env", 1, "app", "master"),
        ("info", 5701, "Changed database context to 'app'.", 0, 2, 1, ""),
        ("env", 7, bytes.fromhex("0904d00034"), b""),
        ("env", 2, "us_english", ""),
        ("info", 5703, "Changed language setting to us_english.", 0, 1, 1, ""),
        ("loginack", b"\x74\x00\x00\x04", "Microsoft SQL Server", bytes.fromhex("10001045")),
        ("env", 4, "4096", "4096"),
        ("done", 0, 0, 0),
    ]


def try_login(client: RawClient, message: bytes) -> list[tuple[object, ...]]:
    client.send(PacketType.PRELOGIN, PRELOGIN)
    client.receive()
    client.send(PacketType.LOGIN7, message)
    return client.tokens()


@pytest.mark.parametrize(
    ("message", "number", "severity"),
    [
        (login7(password="wrong"), 18456, 14),
        (login7(database="missing"), 4060, 11),
        (login7(flags2=0x80), 18452, 14),
        (login7(flags3=0x01), 40517, 16),
        (login7(attach="C:\\app.mdf"), 40517, 16),
        (login7(features=b"\x02\x02\x00\x00\x00\x04\x01\xff"), 40517, 16),
        (login7(tds_version=0x71000001), 17832, 20),
    ],
    ids=["password", "database", "sspi", "new password", "attach", "adal", "tds 7.1"],
)
def test_a_refused_login_says_why_and_hangs_up(
    server: DevServer, message: bytes, number: int, severity: int
) -> None:
    with RawClient(server.port, login=False) as client:
        error, done = try_login(client, message)
        assert (error[0], error[1], error[3]) == ("error", number, severity)
        assert done == ("done", 0x02, 0, 0)
        assert client.hung_up()
    assert (server.counters.logins, server.counters.refused_logins) == (0, 1)


def test_an_engine_that_fails_at_login_refuses_it(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: LoginRequest) -> FakeSession:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(engine, "login", fail)
    with (
        serving(engine, caplog, worst=logging.ERROR) as server,
        RawClient(server.port, login=False) as client,
    ):
        assert try_login(client, login7())[0][:2] == ("error", 18456)
        assert client.hung_up()
    assert "disk on fire" in caplog.text
    assert "Passw0rd!" not in caplog.text


def test_a_login_with_an_access_token_is_acknowledged(
    server: DevServer, engine: FakeEngine
) -> None:
    token = "eyJ0eXAi".encode("utf-16-le")
    data = b"\x02" + struct.pack("<I", len(token)) + token
    features = b"\x02" + struct.pack("<I", len(data)) + data + b"\x0a\x01\x00\x00\x00\x01\xff"
    server.accept_token("eyJ0eXAi")
    with RawClient(server.port, login=False) as client:
        reply = try_login(client, login7(user="", password="", features=features))
        assert ("features", [(2, b""), (10, b"\x01")]) in reply
    assert engine.session.login.access_token == "eyJ0eXAi"


@pytest.mark.parametrize(
    "sent",
    [
        packet(PacketType.SQL_BATCH, batch("SELECT 1")),
        packet(PacketType.OLD_LOGIN, b"x" * 500),
        packet(PacketType.PRELOGIN, b"nonsense"),
        packet(PacketType.PRELOGIN, PRELOGIN) + packet(PacketType.PRELOGIN, b"\x16\x03\x01"),
        packet(PacketType.PRELOGIN, PRELOGIN) + packet(PacketType.LOGIN7, b"nonsense"),
        packet(PacketType.PRELOGIN, PRELOGIN) + packet(PacketType.ATTENTION),
        packet(PacketType.PRELOGIN, PRELOGIN) + packet(PacketType.LOGIN7, b"x" * 4000, 0) * 40,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        bytes.fromhex("160301000401000000"),
        bytes.fromhex("1603014900"),
    ],
)
def test_who_does_not_log_in_properly_is_hung_up_on(
    grumbling_server: DevServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with RawClient(grumbling_server.port, login=False) as client:
        with contextlib.suppress(ConnectionError):
            client.socket.sendall(sent)
        assert client.hung_up()
    assert re.search(r"TdsConnection 127.0.0.1:\d+ spid=None (PRE)?LOGIN>: .*error: ", caplog.text)
    assert grumbling_server.sessions() == []


async def test_who_says_nothing_is_hung_up_on_after_the_login_timeout(engine: FakeEngine) -> None:
    server = TdsServer(engine, login_timeout=0)
    await server.start()
    reader, writer = await asyncio.open_connection(server.host, server.port)
    assert await reader.read() == b""
    writer.close()
    await server.stop()


# --- requests ----------------------------------------------------------------------------


def test_a_batch_is_answered(client: RawClient, engine: FakeEngine) -> None:
    assert client.batch("SELECT 1") == [("columns", [("", t.INT, 9)]), ONE_ROW, DONE_SELECT]
    assert engine.session.requests == ["SELECT 1"]


def test_replies_carry_the_spid(client: RawClient, engine: FakeEngine) -> None:
    client.send(PacketType.SQL_BATCH, batch("SELECT 1"))
    assert {packet.spid for packet in client.packets()} == {engine.session.spid}


@pytest.mark.parametrize("size", [512, 8000, 32767])
def test_packets_have_the_agreed_size(server: DevServer, engine: FakeEngine, size: int) -> None:
    engine.script["many"] = [result([("n", t.nvarchar(100))], *[("x" * 100,)] * 1000)]
    with RawClient(server.port, login=False) as client:
        assert ("env", 4, str(size), "4096") in try_login(client, login7(packet_size=size))
        client.send(PacketType.SQL_BATCH, batch("many"))
        packets = client.packets()
        assert all(len(packet.body) == size - 8 for packet in packets[:-1])
        rows = list(parse_tokens(b"".join(packet.body for packet in packets)))
        assert rows.count(("row", ("x" * 100,))) == 1000
        assert alive(client)


def test_requests_may_be_sent_ahead_and_are_answered_in_order(
    client: RawClient, engine: FakeEngine
) -> None:
    block = Block(result([("", t.INT)], (2,)))
    engine.script["wait"] = [block]
    sent = packet(PacketType.SQL_BATCH, batch("wait"))
    client.socket.sendall(sent + packet(PacketType.SQL_BATCH, batch("SELECT 1")) * 40)
    assert block.entered.wait(PATIENCE)
    block.released.set()
    assert ("row", (2,)) in client.tokens()
    for _ in range(40):
        assert ONE_ROW in client.tokens()


def test_several_calls_in_one_message_have_one_reply(client: RawClient) -> None:
    client.send(PacketType.RPC, all_headers() + b"\xff".join([UNPREPARE] * 3))
    assert client.tokens() == [
        ("status", 0),
        ("doneproc", 0x01, Command.EXECUTE, 0),
        ("status", 0),
        ("doneproc", 0x01, Command.EXECUTE, 0),
        ("status", 0),
        ("doneproc", 0x00, Command.EXECUTE, 0),
    ]


def test_output_parameters_follow_the_return_status(client: RawClient) -> None:
    text = b"\x00\x00\xe7\x40\x00\x09\x04\xd0\x00\x34" + struct.pack("<H", 2) + b"x\x00"
    name = b"\x03" + "@n1".encode("utf-16-le")
    number = name + b"\x01" + bytes.fromhex("26040407000000")
    client.send(PacketType.RPC, all_headers() + b"\xff\xff\x0a\x00\x00\x00" + text * 2 + number)
    assert client.tokens()[-3:] == [
        ("status", 0),
        ("output", 2, "@n1", t.INT, 7),
        ("doneproc", 0, Command.EXECUTE, 0),
    ]


def test_an_ignored_message_is_only_answered_with_a_failed_done(
    client: RawClient, engine: FakeEngine
) -> None:
    client.socket.sendall(packet(PacketType.SQL_BATCH, batch("SELECT 1"), 0))
    client.send(PacketType.SQL_BATCH, b"", Status.END_OF_MESSAGE | Status.IGNORE)
    assert client.tokens() == [("done", 0x02, 0, 0)]
    assert engine.session.requests == []
    assert alive(client)


def test_the_statement_that_announces_a_bulk_load_is_refused_by_name(client: RawClient) -> None:
    error, done = client.batch("  Insert BULK dbo.t ([id] int NOT NULL)")
    assert error[1] == 40517
    assert "INSERT BULK" in error[2]
    assert done == ("done", 0x02, 0, 0)
    assert alive(client)


def test_bulk_load_is_refused_by_name(client: RawClient) -> None:
    client.send(PacketType.BULK_LOAD, b"\x81\x01\x00")
    error, done = client.tokens()
    assert error[1] == 40517
    assert "BulkLoad" in error[2]
    assert done == ("done", 0x02, 0, 0)
    assert alive(client)


def test_a_table_valued_parameter_is_refused_by_name(client: RawClient) -> None:
    call = bytes.fromhex("ffff0a00 0000 00 00 f3 000000".replace(" ", ""))
    client.send(PacketType.RPC, all_headers() + call)
    assert client.tokens()[0][1] == 40517
    assert alive(client)


def test_a_distributed_transaction_is_refused_by_name(client: RawClient) -> None:
    client.send(PacketType.TRANSACTION_MANAGER, all_headers() + b"\x06\x00")
    assert client.tokens()[0][1] == 40517
    assert alive(client)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PacketType.RPC, all_headers() + b"\xff\xff\x0d\x00"),
        (PacketType.SQL_BATCH, b"\x00"),
        (PacketType.SQL_BATCH, all_headers() + b"\x00"),
        (PacketType.TRANSACTION_MANAGER, all_headers() + b"\x63\x00"),
    ],
)
def test_a_malformed_request_is_an_error_and_the_end(
    grumbling_server: DevServer, engine: FakeEngine, kind: PacketType, body: bytes
) -> None:
    with RawClient(grumbling_server.port) as client:
        client.send(kind, body)
        error, done = client.tokens()
        assert (error[1], error[3]) == (4002, 20)
        assert done == ("done", 0x02, 0, 0)
        assert client.hung_up()
    assert engine.session.closed.wait(PATIENCE)


@pytest.mark.parametrize(
    "kind", [PacketType.PRELOGIN, PacketType.LOGIN7, PacketType.SSPI, PacketType.OLD_LOGIN]
)
def test_a_login_message_after_the_login_is_the_end(
    grumbling_server: DevServer, kind: PacketType
) -> None:
    with RawClient(grumbling_server.port) as client:
        client.send(kind, b"x")
        assert client.hung_up()


@pytest.mark.parametrize(
    "step",
    [ValueError("a bug"), [Rows([(1,)])], [*result([("n", t.INT)], (1,))[:1], Rows([("one",)])]],
    ids=["raises", "rows without columns", "wrong storage form"],
)
def test_a_bug_of_the_engine_is_an_error_of_the_request_only(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, step: Exception | list[Event]
) -> None:
    engine.script["buggy"] = [step]
    with (
        serving(engine, caplog, worst=logging.ERROR) as server,
        RawClient(server.port) as client,
    ):
        tokens = client.batch("buggy")
        assert tokens[-2][1] == 50000
        assert "Internal error" in tokens[-2][2]
        assert tokens[-1] == ("done", 0x02, 0, 0)
        assert alive(client)


def test_a_fatal_error_ends_the_connection_after_its_reply(
    client: RawClient, engine: FakeEngine
) -> None:
    engine.script["die"] = [[Message(596, "The session is in the kill state.", severity=21)]]
    assert client.batch("die") == [
        ("error", 596, "The session is in the kill state.", 21, 1, 1, ""),
        ("done", 0x02, 0, 0),
    ]
    assert client.hung_up()


# --- transactions and reset --------------------------------------------------------------


def begin(client: RawClient) -> bytes:
    client.send(PacketType.TRANSACTION_MANAGER, all_headers() + b"\x05\x00\x00\x00")
    change, done = client.tokens()
    assert (change[:2], change[3], done[:2]) == (("env", 8), b"", ("done", 0x04))
    descriptor: bytes = change[2]
    return descriptor


def test_a_request_must_name_the_transaction_it_belongs_to(client: RawClient) -> None:
    descriptor = begin(client)
    assert client.batch("SELECT 1")[0][1] == 3989
    client.send(PacketType.SQL_BATCH, batch("SELECT 1", descriptor))
    assert client.tokens()[-1] == ("done", 0x14, Command.SELECT, 1)
    client.send(PacketType.TRANSACTION_MANAGER, all_headers(descriptor) + b"\x08\x00\x00\x00")
    assert client.tokens() == [
        ("env", 10, b"", descriptor),
        ("done", 0, Command.ROLLBACK, 0),
    ]
    assert alive(client)


def test_a_commit_may_begin_the_next_transaction(client: RawClient) -> None:
    first = begin(client)
    payload = b"\x07\x00\x00\x01\x00\x00"
    client.send(PacketType.TRANSACTION_MANAGER, all_headers(first) + payload)
    ended, begun, done = client.tokens()
    assert ended == ("env", 9, b"", first)
    assert begun[1] == 8
    assert begun[2] not in (first, NO_TRANSACTION)
    assert done == ("done", 0x04, Command.COMMIT, 0)


def test_a_reset_is_done_first_and_acknowledged_first(
    client: RawClient, engine: FakeEngine
) -> None:
    begin(client)
    tokens = client.batch("SELECT 1", RESET)
    assert tokens[0] == ("env", 18, b"", b"")
    assert tokens[-1] == DONE_SELECT
    assert engine.session.resets == [False]
    assert alive(client)


def test_a_reset_tells_the_client_which_database_it_is_in_again(client: RawClient) -> None:
    client.batch("USE other")
    assert client.batch("SELECT 1", RESET)[:2] == [
        ("env", 1, "app", "other"),
        ("env", 18, b"", b""),
    ]


def test_a_reset_may_keep_the_transaction(client: RawClient, engine: FakeEngine) -> None:
    descriptor = begin(client)
    client.send(PacketType.SQL_BATCH, batch("SELECT 1", descriptor), RESET_SKIP)
    tokens = client.tokens()
    assert tokens[0] == ("env", 18, b"", b"")
    assert tokens[-1] == ("done", 0x14, Command.SELECT, 1)
    assert engine.session.resets == [True]


# --- attention ---------------------------------------------------------------------------


def acknowledgements(tokens: list[tuple[object, ...]]) -> int:
    return tokens.count(ATTENTION_DONE)


def test_an_attention_stops_the_running_request_at_once(
    client: RawClient, server: DevServer, engine: FakeEngine
) -> None:
    block = Block()
    engine.script["wait"] = [block]
    client.send(PacketType.SQL_BATCH, batch("wait"))
    assert block.entered.wait(PATIENCE)
    assert [session.state for session in server.sessions()] == ["running"]
    client.send(PacketType.ATTENTION)
    assert client.tokens() == [CANCELLED_DONE]
    assert client.tokens() == [ATTENTION_DONE]
    assert block.interrupted
    assert alive(client)
    assert [session.state for session in server.sessions()] == ["ready"]


def test_an_attention_without_a_request_is_acknowledged(client: RawClient) -> None:
    client.send(PacketType.ATTENTION)
    assert client.tokens() == [ATTENTION_DONE]
    assert alive(client)


def test_an_attention_that_comes_too_late_is_acknowledged_once(
    client: RawClient, engine: FakeEngine
) -> None:
    sent = packet(PacketType.SQL_BATCH, batch("SELECT 1")) + packet(PacketType.ATTENTION)
    client.socket.sendall(sent)
    tokens = client.tokens()
    if not acknowledgements(tokens):
        tokens = client.tokens()
    assert acknowledgements(tokens) == 1
    assert alive(client)


def test_an_attention_that_meets_the_end_of_its_request_is_acknowledged_once(
    client: RawClient, engine: FakeEngine
) -> None:
    for _ in range(50):
        block = Block(result([("", t.INT)], (1,)))
        engine.script["wait"] = [block]
        client.send(PacketType.SQL_BATCH, batch("wait"))
        assert block.entered.wait(PATIENCE)
        block.released.set()
        client.send(PacketType.ATTENTION)
        tokens = client.tokens()
        if not acknowledgements(tokens):
            tokens = client.tokens()
        assert acknowledgements(tokens) == 1
        assert tokens[-1] == ATTENTION_DONE
    assert alive(client)


def test_an_attention_ends_a_result_that_is_still_being_sent(
    client: RawClient, engine: FakeEngine
) -> None:
    client.send(PacketType.SQL_BATCH, batch("endless"))
    client.send(PacketType.ATTENTION)
    assert client.tokens()[-1] == CANCELLED_DONE
    assert client.tokens() == [ATTENTION_DONE]
    assert alive(client)


def test_an_attention_reaches_a_server_that_waits_for_its_slow_client(
    client: RawClient, engine: FakeEngine, server: DevServer
) -> None:
    client.send(PacketType.SQL_BATCH, batch("endless"))
    # More than the socket's buffers and the server's own hold, and nothing is read here.
    first = client.socket.recv(1)
    client.send(PacketType.ATTENTION)
    stream = first + client._exactly(7)
    length = struct.unpack_from(">H", stream, 2)[0]
    stream = client._exactly(length - 8) + client.receive()
    assert list(parse_tokens(stream))[-1] == CANCELLED_DONE
    assert client.tokens() == [ATTENTION_DONE]
    assert alive(client)


def test_an_attention_stops_all_calls_of_its_message(client: RawClient, engine: FakeEngine) -> None:
    block = Block()
    engine.script["wait"] = [block]
    wait = struct.pack("<H", 4) + "wait".encode("utf-16-le") + b"\x00\x00"
    client.send(PacketType.RPC, all_headers() + b"\xff".join([UNPREPARE, wait, UNPREPARE]))
    assert block.entered.wait(PATIENCE)
    client.send(PacketType.ATTENTION)
    assert client.tokens() == [
        ("status", 0),
        ("doneproc", 1, Command.EXECUTE, 0),
        CANCELLED_DONE,
    ]
    assert client.tokens() == [ATTENTION_DONE]
    assert len(engine.session.requests) == 2


def test_what_a_cancelled_request_did_to_the_session_is_still_told(
    client: RawClient, engine: FakeEngine
) -> None:
    descriptor = begin(client)
    rolled_back = EnvironmentChange(Environment.ROLLBACK_TRANSACTION, b"", descriptor)
    rows = result([("", t.INT)], (1,))
    block = Block(last_words=[*rows, rolled_back, Done(failed=True)])
    engine.script["wait"] = [block]
    client.send(PacketType.SQL_BATCH, batch("wait", descriptor))
    assert block.entered.wait(PATIENCE)
    client.send(PacketType.ATTENTION)
    assert client.tokens() == [
        ("env", 10, b"", descriptor),
        CANCELLED_DONE,
    ]
    assert client.tokens() == [ATTENTION_DONE]
    assert alive(client)


def test_two_attentions_are_acknowledged_twice(client: RawClient, engine: FakeEngine) -> None:
    block = Block()
    engine.script["wait"] = [block]
    client.send(PacketType.SQL_BATCH, batch("wait"))
    assert block.entered.wait(PATIENCE)
    client.socket.sendall(packet(PacketType.ATTENTION) * 2)
    assert client.tokens() == [CANCELLED_DONE]
    assert client.tokens() == [ATTENTION_DONE]
    assert client.tokens() == [ATTENTION_DONE]
    assert alive(client)


# --- endings -----------------------------------------------------------------------------


def test_a_client_that_hangs_up_while_its_request_waits_is_noticed(
    server: DevServer, engine: FakeEngine
) -> None:
    block = Block()
    engine.script["wait"] = [block]
    with RawClient(server.port) as client:
        client.send(PacketType.SQL_BATCH, batch("wait"))
        assert block.entered.wait(PATIENCE)
    assert engine.session.closed.wait(PATIENCE)
    assert block.interrupted


def test_a_client_that_hangs_up_while_it_is_sent_rows_leaves_no_trace_in_the_log(
    server: DevServer, engine: FakeEngine
) -> None:
    for _ in range(5):
        with RawClient(server.port) as client:
            client.send(PacketType.SQL_BATCH, batch("endless"))
            client.socket.recv(1)
        assert engine.session.closed.wait(PATIENCE)


def test_a_client_that_resets_the_connection_leaves_no_trace_in_the_log(
    server: DevServer, engine: FakeEngine
) -> None:
    with RawClient(server.port) as client:
        client.send(PacketType.SQL_BATCH, batch("endless"))
        client.socket.recv(1)
        linger = struct.pack("ii", 1, 0)
        client.socket.setsockopt(*_SO_LINGER, linger)
    assert engine.session.closed.wait(PATIENCE)


def test_a_killed_session_is_hung_up_on(client: RawClient, engine: FakeEngine) -> None:
    engine.session.kill()
    assert client.hung_up()
    assert engine.session.closed.wait(PATIENCE)


def test_a_session_killed_while_it_runs_is_hung_up_on(
    client: RawClient, engine: FakeEngine
) -> None:
    block = Block()
    engine.script["wait"] = [block]
    client.send(PacketType.SQL_BATCH, batch("wait"))
    assert block.entered.wait(PATIENCE)
    engine.session.kill()
    assert client.hung_up()
    assert engine.session.closed.wait(PATIENCE)


def test_a_server_that_closes_interrupts_what_runs(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    block = Block()
    engine.script["wait"] = [block]
    with serving(engine, caplog) as server, RawClient(server.port) as client:
        client.send(PacketType.SQL_BATCH, batch("wait"))
        assert block.entered.wait(PATIENCE)
        server.close()
        assert client.hung_up()
    assert block.interrupted


@pytest.mark.parametrize("seed", range(8))
def test_noise_never_hurts_the_server(
    engine: FakeEngine, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    noise = random.Random(seed)
    messages = [
        packet(PacketType.PRELOGIN, PRELOGIN),
        packet(PacketType.LOGIN7, login7()),
        packet(PacketType.SQL_BATCH, batch("SELECT 1")),
        packet(PacketType.SQL_BATCH, batch("endless")),
        packet(PacketType.RPC, all_headers() + UNPREPARE),
        packet(PacketType.TRANSACTION_MANAGER, all_headers() + b"\x05\x00\x00\x00"),
        packet(PacketType.ATTENTION),
        packet(PacketType.SQL_BATCH, batch("SELECT 1"), 1 | Status.RESET_CONNECTION),
    ]
    with serving(engine, caplog, worst=logging.WARNING) as server:
        for _ in range(25):
            # Mostly valid, so that every stage is reached; then one thing goes wrong.
            valid = messages[: noise.randint(0, 2)]
            valid += noise.choices(messages[2:], k=noise.randint(0, 4)) if len(valid) == 2 else []
            wrong = bytearray(noise.choice(messages))
            match noise.randint(0, 3):
                case 0:
                    wrong[noise.randrange(len(wrong))] = noise.randrange(256)
                case 1:
                    del wrong[noise.randrange(len(wrong)) :]
                case 2:
                    struct.pack_into(">H", wrong, 2, noise.randrange(65536))
                case _:
                    wrong = bytearray(noise.randbytes(noise.randint(1, 200)))
            with (
                RawClient(server.port, login=False) as client,
                contextlib.suppress(ConnectionError),
            ):
                client.socket.sendall(b"".join(valid) + wrong)
                # A hurt request may leave the server waiting for the rest of it.
                client.socket.shutdown(socket.SHUT_WR)
                if noise.random() < 0.5:
                    client.socket.recv(100)
        with RawClient(server.port) as client:
            assert alive(client)
