"""The server's Python API and its command line."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mssql_async.devserver import DevServer, config
from mssql_async.devserver.certificates import Certificate
from mssql_async.devserver.config import EngineConfig
from mssql_async.devserver.server import TdsServer
from mssql_async.devserver.tds.packets import PacketType

from .fake_engine import PATIENCE, Block, FakeEngine
from .raw_client import RawClient, batch
from .serving import serving


def threads_of_servers() -> set[threading.Thread]:
    """Those of the suite's own server included, which other tests may have started."""
    return {each for each in threading.enumerate() if each.name.startswith("mssql-devserver")}


def test_a_server_is_ready_when_it_is_constructed_and_gone_when_it_is_closed() -> None:
    before = threads_of_servers()
    server = DevServer(engine=FakeEngine())
    assert server.host == "127.0.0.1"
    assert server.port > 0
    with RawClient(server.port) as client:
        assert client.batch("SELECT 1")
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port))
    assert threads_of_servers() == before
    assert "closed" in repr(server)


def test_two_servers_run_side_by_side() -> None:
    with DevServer(engine=FakeEngine()) as one, DevServer(engine=FakeEngine()) as two:
        assert one.port != two.port
        for server in (one, two):
            with RawClient(server.port) as client:
                assert client.batch("SELECT 1")
            assert server.counters.messages["batch"] == 1


class OtherLoops(asyncio.DefaultEventLoopPolicy):
    """Of a process that serves with uvloop: what runs in its loops has other transports."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        raise LookupError("not asyncio's own")


@pytest.fixture
def process_with_other_loops() -> Iterator[None]:
    asyncio.set_event_loop_policy(OtherLoops())
    yield
    asyncio.set_event_loop_policy(None)


@pytest.mark.usefixtures("process_with_other_loops")
def test_a_server_runs_in_asyncios_own_loop_whatever_the_process_has_chosen() -> None:
    with pytest.raises(LookupError):
        asyncio.Runner().get_loop()
    with DevServer(engine=FakeEngine()) as server, RawClient(server.port) as client:
        assert client.batch("SELECT 1")
        assert server.kill() == 1
        assert client.hung_up()


def test_a_port_in_use_is_an_os_error_and_closes_the_engine() -> None:
    before = threads_of_servers()
    engine = FakeEngine()
    with DevServer(engine=FakeEngine()) as first, pytest.raises(OSError, match="in use"):
        DevServer(engine=engine, port=first.port)
    assert engine.closed
    assert threads_of_servers() == before


def test_a_forgotten_server_is_closed_when_it_is_collected() -> None:
    before = threads_of_servers()
    engine = FakeEngine()
    server = DevServer(engine=engine)
    del server
    gc.collect()
    assert engine.closed
    assert threads_of_servers() == before


def test_counters_tell_round_trips_by_name(caplog: pytest.LogCaptureFixture) -> None:
    with serving(FakeEngine(), caplog) as server, RawClient(server.port) as client:
        client.batch("SELECT 1")
        counted = server.reset_counters()
        assert counted.messages == {"prelogin": 1, "login7": 1, "batch": 1}
        assert counted.total_messages == 3
        assert (counted.connections, counted.logins, counted.refused_logins) == (1, 1, 0)
        assert counted.bytes_received > 300
        assert counted.bytes_sent > 200
        client.batch("SELECT 1")
        assert server.counters.messages == {"batch": 1}
        assert server.counters.logins == 0


def test_sessions_are_listed(caplog: pytest.LogCaptureFixture) -> None:
    with serving(FakeEngine(), caplog) as server:
        assert server.sessions() == []
        with RawClient(server.port) as one, RawClient(server.port) as two:
            one.batch("SELECT 1")
            two.batch("USE other")
            first, second = server.sessions()
            assert (first.spid, first.user, first.program_name) == (51, "sa", "raw client")
            assert first.messages == {"prelogin": 1, "login7": 1, "batch": 1}
            assert (second.spid, second.database, second.state) == (52, "other", "ready")


def test_the_end_of_sessions_can_be_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with serving(FakeEngine(), caplog) as server:
        with RawClient(server.port), RawClient(server.port):
            assert server.wait_for_sessions(2)
            assert not server.wait_for_sessions(1, timeout=0)
        assert server.wait_for_sessions(0, timeout=PATIENCE)
        assert server.sessions() == []


def test_everybody_can_be_hung_up_on(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    with serving(engine, caplog) as server:
        with RawClient(server.port) as one, RawClient(server.port) as two:
            assert server.kill(4711) == 0
            assert server.kill() == 2
            assert all(session.closed.is_set() for session in engine.sessions)
            assert one.hung_up()
            assert two.hung_up()
        with RawClient(server.port) as client:
            assert client.batch("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_server_alone(caplog: pytest.LogCaptureFixture) -> None:
    with serving(FakeEngine(), caplog) as server, RawClient(server.port) as client:
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert client.batch("SELECT 1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_client_is_told_of_a_hang_up_even_while_a_forked_child_holds_the_socket(
    caplog: pytest.LogCaptureFixture,
) -> None:
    held, let_go = os.pipe()
    with serving(FakeEngine(), caplog) as server, RawClient(server.port) as client:
        child = os.fork()
        if child == 0:
            os.close(let_go)
            os.read(held, 1)
            os._exit(0)
        os.close(held)
        server.kill()
        assert client.hung_up()
        os.close(let_go)
        os.waitpid(child, 0)


def test_the_engine_is_opened_with_what_the_server_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[EngineConfig] = []

    def open_engine(settings: EngineConfig) -> FakeEngine:
        opened.append(settings)
        return FakeEngine()

    monkeypatch.setattr("mssql_async.devserver.server.open_configured_engine", open_engine)
    file = tmp_path / "shop.db"
    with DevServer(file, user="shop", password="S3cret!!", database="shop") as server:
        assert server.connection_string() == (
            f"Driver={{ODBC Driver 18 for SQL Server}};Server=127.0.0.1,{server.port};"
            "UID=shop;PWD={S3cret!!};Database=shop;Encrypt=no"
        )
        assert "S3cret!!" not in repr(server)
    (settings,) = opened
    assert (settings.database_file, settings.database) == (file, "shop")
    assert settings.logins == {"shop": "S3cret!!"}
    assert settings.product_version == "16.0.4165.4"
    assert "S3cret!!" not in repr(settings)


async def test_a_stopped_server_has_no_connections_left() -> None:
    engine = FakeEngine({"wait": [block := Block()]})
    server = TdsServer(engine)
    await server.start()
    assert "listening" in repr(server)
    port = server.port

    def client() -> bool:
        with RawClient(port) as connected:
            connected.send(PacketType.SQL_BATCH, batch("wait"))
            return connected.hung_up()

    waiting = asyncio.create_task(asyncio.to_thread(client))
    assert await asyncio.to_thread(block.entered.wait, PATIENCE)
    await server.stop()
    assert await waiting
    assert server.sessions() == []
    assert engine.session.closed.is_set()
    assert "stopped" in repr(server)


# --- the command line --------------------------------------------------------------------

PROGRAM = """
import sys
from mssql_async.devserver import __main__ as program
from tests.devserver.fake_engine import FakeEngine
program.open_configured_engine = lambda config: FakeEngine()
sys.exit(program.main())
"""


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--port", "0", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    program = start(MSSQL_PASSWORD="")
    assert program.stdout is not None
    line = program.stdout.readline()
    port = int(line.partition("127.0.0.1:")[2].partition(",")[0])
    assert f"Server=127.0.0.1,{port};UID=sa;PWD={config.DEVELOPMENT_PASSWORD};" in line
    with RawClient(port) as client:
        assert client.batch("SELECT 1")
        program.send_signal(number)
        assert client.hung_up()
    rest, complaints = program.communicate(timeout=PATIENCE)
    assert (program.returncode, rest, complaints) == (0, "", "")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_the_program_prints_no_password_of_yours_and_warns_beyond_loopback() -> None:
    program = start("--host", "0.0.0.0", "--user", "shop", MSSQL_PASSWORD="Tr0ub4dor")  # noqa: S104
    assert program.stdout is not None
    line = program.stdout.readline()
    program.terminate()
    rest, complaints = program.communicate(timeout=PATIENCE)
    assert "UID=shop;PWD=<password>;" in line
    assert "Tr0ub4dor" not in line + rest + complaints
    assert "can be reached from other machines" in complaints
    assert program.returncode == 0


def test_the_program_says_when_it_cannot_listen() -> None:
    with DevServer(engine=FakeEngine()) as server:
        program = start("--port", str(server.port))
        out, complaints = program.communicate(timeout=PATIENCE)
    assert program.returncode == 1
    assert out == ""
    assert f"cannot listen on 127.0.0.1:{server.port}" in complaints


def test_the_program_serves_with_a_certificate_of_yours_and_hands_out_the_one_it_made(
    tmp_path: Path,
) -> None:
    made = Certificate.self_signed()
    certificate, key, out = (tmp_path / name for name in ("c.pem", "k.pem", "out.pem"))
    certificate.write_text(made.certificate_pem)
    key.write_text(made.key_pem)
    mine = ("--certificate", str(certificate), "--key", str(key))
    program = start(*mine, "--write-certificate", str(out), "--require-encryption")
    assert program.stdout is not None
    line = program.stdout.readline()
    program.terminate()
    program.communicate(timeout=PATIENCE)
    assert "Encrypt=yes;TrustServerCertificate=yes" in line
    assert out.read_text() == made.certificate_pem


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--certificate", "missing.pem"), "missing.pem"),
        (("--key", "key.pem"), "--key needs --certificate"),
        (("--no-tls", "--require-encryption"), "contradicts"),
        (("--certificate", __file__), "no private key in PEM format"),
    ],
)
def test_the_program_says_what_is_wrong_with_its_certificate(
    arguments: tuple[str, ...], complaint: str
) -> None:
    # This file speaks of a -----BEGIN CERTIFICATE-----, but holds none.
    out, complaints = start(*arguments).communicate(timeout=PATIENCE)
    assert out == ""
    assert complaints.startswith("no TLS: ")
    assert complaint in complaints
    assert "Traceback" not in complaints
