"""The harness's side of the server: who is there, what goes wrong on order, what is counted."""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyodbc
import pytest

from loadtests.leaks.faults import Faults
from loadtests.leaks.outcome import Moment
from loadtests.leaks.scenario import Need
from loadtests.leaks.server import CannotDo, Server, ServerFailed, the_server
from loadtests.leaks.subject import tokens
from loadtests.leaks.watcher import MOST_MOMENTS, Inside, Watcher
from mssql_async.devserver import DevServer
from mssql_async.driver import find_driver

PROGRAM = "under test"
TOKEN_ATTRIBUTE = 1256


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MSSQL_HOST", raising=False)
        with the_server() as server:
            yield server


@pytest.fixture
async def faults(server: Server, tmp_path: Path) -> AsyncIterator[Faults]:
    faults = Faults(server, PROGRAM, tmp_path / "token")
    yield faults
    await faults.end_all()
    faults.close()


@pytest.fixture
def log_in(server: Server) -> Iterator[Callable[[], pyodbc.Connection]]:
    """A session under test."""
    opened = []

    def connect() -> pyodbc.Connection:
        where = server.database
        connection = pyodbc.connect(
            find_driver().in_connection_string(
                f"DRIVER={find_driver().name};SERVER={where.host},{where.port};UID={where.user};"
                f"PWD={where.password};DATABASE={where.name};Encrypt=no;APP={PROGRAM}"
            ),
            autocommit=True,
            timeout=5,
        )
        connection.timeout = 5
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        with closing(connection):
            pass


LogIn = Callable[[], pyodbc.Connection]


def spid_of(connection: pyodbc.Connection) -> int:
    row = connection.execute("SELECT @@SPID").fetchone()
    assert row is not None
    return int(row[0])


class TestTheServer:
    def test_is_embedded_where_the_environment_names_none(self, server: Server) -> None:
        assert server.is_embedded
        assert "embedded" in server.describe()

    def test_is_the_one_that_the_environment_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with DevServer() as real:
            monkeypatch.setenv("MSSQL_HOST", real.host)
            monkeypatch.setenv("MSSQL_PORT", str(real.port))
            monkeypatch.setenv("MSSQL_PASSWORD", real.password)
            with the_server() as server:
                assert not server.is_embedded
                assert real.host in server.describe()

    def test_tells_its_password_to_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with DevServer(password="s3cret}") as real:
            monkeypatch.setenv("MSSQL_HOST", real.host)
            monkeypatch.setenv("MSSQL_PORT", str(real.port))
            monkeypatch.setenv("MSSQL_PASSWORD", "s3cret}")
            with the_server() as server:
                assert "s3cret" not in f"{server.describe()} {server!r}"
            monkeypatch.setenv("MSSQL_PASSWORD", "wr0ng")
            with the_server() as server, pytest.raises(ServerFailed) as failure:
                server.describe()
        assert "wr0ng" not in str(failure.value)


class TestFaults:
    async def test_hit_the_sessions_under_test_alone(
        self, faults: Faults, server: Server, log_in: LogIn
    ) -> None:
        first, second = log_in(), log_in()
        with closing(server.connect()) as other:
            assert await faults.sessions() == sorted([spid_of(first), spid_of(second)])
            await faults.drop()
            with pytest.raises(pyodbc.Error):
                first.execute("SELECT 1")
            assert other.execute("SELECT 1").fetchone()[0] == 1

    async def test_kill_one(self, faults: Faults, log_in: LogIn) -> None:
        connection = log_in()
        spid = spid_of(connection)
        assert await faults.kill(spid)
        with pytest.raises(pyodbc.Error):
            connection.execute("SELECT 1")
        assert not await faults.kill(30_000)

    async def test_kill_one_that_chance_chooses(self, faults: Faults, log_in: LogIn) -> None:
        assert await faults.kill_random(random.Random(1)) is None
        spids = {spid_of(log_in()), spid_of(log_in())}
        assert await faults.kill_random(random.Random(1)) in spids

    async def test_end_with_their_block(self, faults: Faults, log_in: LogIn) -> None:
        connection = log_in()
        async with faults.frozen():
            pass
        assert connection.execute("SELECT 1").fetchone()[0] == 1
        async with faults.refusing(18456):
            with pytest.raises(pyodbc.Error):
                log_in()
        assert spid_of(log_in())

    async def test_are_all_ended_at_last(self, faults: Faults, log_in: LogIn) -> None:
        await faults.refuse_logins(18456)
        await faults.end_all()
        assert spid_of(log_in())

    async def test_go_on_after_a_failover(self, faults: Faults, log_in: LogIn) -> None:
        await faults.sessions()
        await faults.fail_over()
        assert await faults.sessions() == []

    async def test_make_deadlock_victims(self, faults: Faults, log_in: LogIn) -> None:
        connection = log_in()
        await faults.deadlock("%'it''s me'%")
        with pytest.raises(pyodbc.Error, match="1205"):
            connection.execute("SELECT 'it''s me'")

    async def test_leave_marks_for_the_pictures(self, faults: Faults) -> None:
        async with faults.frozen():
            await faults.deadlock("%x%")
        frozen, deadlock = faults.marks
        assert frozen.what == "freeze"
        assert frozen.ended_at is not None
        assert frozen.at <= deadlock.at <= frozen.ended_at
        assert deadlock.ended_at is None

    async def test_issue_tokens_that_open_the_door(
        self, faults: Faults, server: Server, tmp_path: Path
    ) -> None:
        await faults.issue_token(60)
        token = (tmp_path / "token").read_text()
        assert (tmp_path / "token").stat().st_mode & 0o077 == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(tokens.TOKENS, str(tmp_path / "token"))
            value, _expires_at = tokens.provide()
        assert value in token
        assert value not in repr(faults.marks)
        raw = value.encode("utf-16-le")
        where = server.database
        with closing(
            pyodbc.connect(
                find_driver().in_connection_string(
                    f"DRIVER={find_driver().name};SERVER={where.host},{where.port};"
                    f"DATABASE={where.name};{where.extra_params}"
                ),
                attrs_before={TOKEN_ATTRIBUTE: struct.pack("<i", len(raw)) + raw},
            )
        ) as connection:
            assert spid_of(connection)

    async def test_are_refused_by_name_on_a_real_server(self, server: Server) -> None:
        faults = Faults(Server(server.database), PROGRAM)
        assert faults.lacks(Need.FAULTS)
        with pytest.raises(CannotDo, match="embedded"):
            await faults.freeze()
        with pytest.raises(CannotDo):
            await faults.issue_token()
        faults.close()


class TestTheWatcher:
    def test_counts_sessions_by_process(self, server: Server, log_in: LogIn) -> None:
        with Watcher(server, PROGRAM) as watcher:
            log_in()
            connection = log_in()
            connection.execute("BEGIN TRANSACTION")
            counts = watcher.counts()
            assert counts is not None
            assert counts.sessions == 2
            assert counts.in_transactions == 1
            assert len(counts.by_process) == 1

    def test_tells_all_of_a_session(self, server: Server, log_in: LogIn) -> None:
        connection = log_in()
        connection.execute("SET LOCK_TIMEOUT 4321")
        connection.execute(
            "EXEC sp_getapplock @Resource = 'mine', @LockMode = 'Exclusive', @LockOwner = 'Session'"
        )
        with Watcher(server, PROGRAM) as watcher:
            sessions = watcher.at_rest()
        assert sessions is not None
        (session,) = sessions
        assert session.session.spid == spid_of(connection)
        assert session.session.login_time.startswith("20")
        assert dict(session.settings)["lock timeout"] == "4321"
        (lock,) = session.locks
        assert "mine" in lock
        assert "session" in lock

    async def test_goes_on_after_a_failover(self, server: Server, faults: Faults) -> None:
        with Watcher(server, PROGRAM) as watcher:
            assert watcher.counts() is not None
            await faults.fail_over()
            seen = [watcher.counts() for _ in range(3)]
            assert seen[-1] is not None

    def test_counts_logins_and_statements_of_others_alone(
        self, server: Server, log_in: LogIn
    ) -> None:
        with Watcher(server, PROGRAM) as watcher:
            before = watcher.counted()
            watcher.at_rest()
            connection = log_in()
            connection.execute("SELECT 1")
            connection.execute("SELECT 2")
            since = watcher.counted().since(before)
        assert since.logins == 1
        assert since.statements == 2

    def test_keeps_a_series_that_stays_small_and_keeps_its_peaks(self, server: Server) -> None:
        watcher = Watcher(server, PROGRAM)
        count = 3 * MOST_MOMENTS
        for number in range(count):
            watcher._keep(Moment(float(number), 7 if number == 1000 else 1))
        assert MOST_MOMENTS // 2 <= len(watcher.moments) <= MOST_MOMENTS
        assert max(moment.sessions or 0 for moment in watcher.moments) == 7
        times = [moment.at for moment in watcher.moments]
        assert times == sorted(times)

    def test_has_what_the_processes_say_in_its_series(self, server: Server) -> None:
        with Watcher(server, PROGRAM, lambda: Inside(5, 2, 1)) as watcher:
            watcher.counts()
            watcher._over.wait(0.5)
        assert (watcher.moments[0].threads, watcher.moments[0].in_use) == (5, 1)
