"""The same faults for clients in other processes: procedures, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver import __main__ as program
from mssql_async.devserver.config import DEVELOPMENT_PASSWORD
from mssql_async.devserver.faults import FaultState, Kind
from mssql_async.driver import find_driver
from tests.devserver.engine_door import Door, opened

from .faulty import Clock, ask, connect, errors, failure_of, has_something_to_read, rows, spid_of
from .raw_client import RawClient

ROWS = "SELECT 1 AS one"


def order(client: RawClient, call: str) -> tuple[Any, ...]:
    """What a procedure says of the fault it ordered."""
    tokens = client.batch(f"EXEC devserver.{call}")
    assert errors(tokens) == []
    return rows(tokens)[-1]


class TestProcedures:
    def test_drop_sessions(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as victim:
            spid = spid_of(victim)
            said = order(caller, f"drop_sessions @spid = {spid}, @how = 'rst'")
            assert said == (1, "drop", "ENDED", 1, f"session {spid} (rst)")
            with pytest.raises(ConnectionResetError):
                victim.socket.recv(1)
            assert rows(caller.batch(ROWS)) == [(1,)]

    def test_everybody_means_everybody_but_the_caller(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as victim:
            victim.batch(ROWS)
            assert order(caller, "drop_sessions")[3] == 1
            assert victim.hung_up()
            assert rows(caller.batch(ROWS)) == [(1,)]

    def test_the_caller_too_where_it_names_itself(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller:
            ask(caller, "DECLARE @me int = @@SPID; EXEC devserver.drop_sessions @spid = @me")
            assert caller.hung_up()

    def test_drop_at(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as victim:
            order(caller, "drop_at @pattern = N'%two%', @how = 'fin', @nth = 2")
            assert rows(victim.batch("SELECT 1 AS two")) == [(1,)]
            ask(victim, "SELECT 1 AS two")
            assert victim.hung_up()

    def test_freeze_and_thaw(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as frozen:
            spid = spid_of(frozen)
            assert order(caller, "freeze")[1:4] == ("freeze", "FIRED", 1)
            ask(frozen, ROWS)
            caller.batch(ROWS)
            assert not has_something_to_read(frozen)
            assert order(caller, f"thaw @spid = {spid}")[1:4] == ("freeze", "ENDED", 1)
            assert rows(frozen.tokens()) == [(1,)]

    def test_delay(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as slow:
            spid = spid_of(slow)
            said = order(caller, f"delay @seconds = 0.25, @spid = {spid}")
            assert said == (1, "delay", "ARMED", 0, f"session {spid} by 0.25 s")
            assert [info.delay for info in faulty.sessions()] == [0, 0.25]

    def test_refuse_logins(self, faulty: DevServer, clock: Clock) -> None:
        with RawClient(faulty.port) as caller:
            order(caller, "refuse_logins @error = 40501, @seconds = 5, @login = N'sa'")
            with RawClient(faulty.port) as refused:
                assert errors(refused.login_reply) == [40501]
            clock.advance(5)
            with RawClient(faulty.port) as welcome:
                assert errors(welcome.login_reply) == []

    def test_fail_over_answers_its_caller_before_it_drops_it(
        self, faulty: DevServer, clock: Clock
    ) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as other:
            other.batch(ROWS)
            assert order(caller, "fail_over @seconds = 3, @read_only = 1")[1] == "fail_over"
            assert caller.hung_up()
            with pytest.raises(ConnectionResetError):
                other.socket.recv(1)
        with RawClient(faulty.port) as refused:
            assert errors(refused.login_reply) == [40613]
        clock.advance(3)
        with RawClient(faulty.port) as client:
            assert errors(client.batch("CREATE TABLE t (a int)")) == [3906]

    def test_deadlock_hits_no_call_of_these_procedures(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            order(client, "deadlock @pattern = N'%one%', @nth = 2")
            order(client, "deadlock @pattern = N'%one%two%'")
            order(client, "faults")
            assert [errors(client.batch(ROWS)) for _ in range(3)] == [[], [1205], []]

    def test_fail_statement(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            order(client, "fail_statement @pattern = N'%one%', @error = 1222, @times = 2")
            assert [errors(client.batch(ROWS)) for _ in range(3)] == [[1222], [1222], []]

    def test_chaos_never_hits_its_caller(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as caller, RawClient(faulty.port) as victim:
            order(caller, "chaos @seed = 7, @every = 2, @how = 'fin'")
            for _ in range(10):
                assert rows(caller.batch(ROWS)) == [(1,)]
            victim.batch(ROWS)
            ask(victim, ROWS)
            assert victim.hung_up()

    def test_faults_are_listed_cancelled_and_remembered(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            order(client, "deadlock @pattern = N'%one%'")
            order(client, "refuse_logins")
            client.batch(ROWS)
            listed = rows(client.batch("EXEC devserver.faults"))
            assert [row[:4] for row in listed] == [
                (1, "deadlock", "ENDED", 1),
                (2, "refuse_logins", "ARMED", 0),
            ]
            assert order(client, "cancel_fault @id = 2")[2] == "ENDED"
            ((at, *event),) = rows(client.batch("EXEC devserver.history"))
            assert event == [1, "deadlock", spid_of(client), "raw client", f"1205 for {ROWS}"]
            assert at > "2026"
            order(client, "delay @seconds = 0.001")
            assert {row[2] for row in rows(client.batch("EXEC devserver.cancel_fault"))} == {
                "ENDED"
            }

    def test_counters_in_total_and_for_each_session(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client, RawClient(faulty.port) as other:
            spid = spid_of(client)
            other.batch("SELECT 1; SELECT 2")
            client.batch("EXEC devserver.reset_counters")
            client.batch(ROWS)
            counted = {
                (who, name): value
                for who, name, value in rows(client.batch("EXEC devserver.counters"))
            }
        assert counted[None, "statements"] == 1
        assert counted[None, "logins"] == 0
        assert counted[None, "messages.batch"] == 2
        assert counted[spid, "statements"] == 2
        assert counted[spid, "messages"] == 6
        assert counted[spid, "messages.login7"] == 1
        assert counted[None, "bytes_received"] < counted[spid, "bytes_received"]

    @pytest.mark.parametrize(
        ("call", "number", "text"),
        [
            ("nothing_of_the_kind", 2812, "Could not find stored procedure"),
            ("delay", 201, "@seconds"),
            ("delay @seconds = 0", 50000, "seconds above 0"),
            ("delay @seconds = N'soon'", 8114, "nvarchar"),
            ("drop_sessions @how = 'gently'", 50000, "one of fin, rst, mid_reply"),
            ("drop_sessions @whom = 1", 8145, "@whom"),
            ("refuse_logins @error = 47000", 50000, "text of error 47000"),
            ("cancel_fault @id = 4711", 50000, "no fault 4711"),
        ],
    )
    def test_wrong_calls_are_refused(
        self, faulty: DevServer, call: str, number: int, text: str
    ) -> None:
        with RawClient(faulty.port) as client:
            (failure,) = [
                token for token in client.batch(f"EXEC devserver.{call}") if token[0] == "error"
            ]
        assert failure[1] == number
        assert text in failure[2]
        assert faulty.faults.history == []

    def test_names_may_be_quoted_and_arguments_be_variables(self, faulty: DevServer) -> None:
        connection = connect(faulty)
        sql = "DECLARE @p nvarchar(20) = N'%one%'; EXEC [app].[devserver].[deadlock] @p"
        assert connection.execute(sql).fetchone()[1] == "deadlock"
        assert connection.execute("{CALL devserver.faults}").fetchone()[0] == 1
        connection.close()

    def test_an_engine_without_a_server_has_none(self) -> None:
        with opened() as engine:
            assert Door(engine).error("EXEC devserver.faults").number == 2812


# --- the command line ------------------------------------------------------------------


def run(server: DevServer, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What ``python -m mssql_async.devserver fault …`` prints; it must succeed."""
    driver = find_driver()
    head = ["fault", "--port", str(server.port), "--driver", str(driver.library or driver.name)]
    assert program.main([*head, *arguments]) == 0
    return capsys.readouterr().out


class TestCommandLine:
    def test_it_orders_lists_and_cancels(
        self, faulty: DevServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        printed = run(faulty, capsys, "deadlock", "--pattern", "%it's%", "--nth", "2")
        assert printed.splitlines() == [
            "id  kind      state  fired  target",
            '1   deadlock  ARMED  0      "%it\'s%"',
        ]
        assert run(faulty, capsys, "list") == printed
        run(faulty, capsys, "cancel", "--id", "1")
        (fault,) = faulty.faults.faults
        assert fault.state is FaultState.ENDED

    def test_it_drops_a_session_by_its_number(
        self, faulty: DevServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with RawClient(faulty.port) as one, RawClient(faulty.port) as two:
            run(faulty, capsys, "drop", "--spid", str(spid_of(one)), "--how", "fin")
            assert one.hung_up()
            assert rows(two.batch(ROWS)) == [(1,)]

    @pytest.mark.parametrize(
        ("arguments", "kind"),
        [
            (["freeze", "--program", "nobody"], Kind.FREEZE),
            (["delay", "--seconds", "0.001"], Kind.DELAY),
            (["refuse-logins", "--error", "18456", "--seconds", "0.5"], Kind.REFUSE_LOGINS),
            (["fail-over", "--seconds", "0", "--read-only", "1"], Kind.FAIL_OVER),
            (["drop-at", "--pattern", "%", "--how", "rst"], Kind.DROP),
            (["fail-statement", "--pattern", "%", "--error", "1222"], Kind.FAIL_STATEMENT),
            (["chaos", "--seed", "1", "--every", "5"], Kind.CHAOS),
        ],
    )
    def test_every_fault_can_be_ordered(
        self,
        faulty: DevServer,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        kind: Kind,
    ) -> None:
        run(faulty, capsys, *arguments)
        assert [fault.kind for fault in faulty.faults.faults] == [kind]

    def test_it_shows_history_and_counters(
        self, faulty: DevServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        faulty.faults.fail_over()
        assert "now mssql-async-devserver-2" in run(faulty, capsys, "history")
        assert "refused_logins" in run(faulty, capsys, "counters")
        assert run(faulty, capsys, "reset-counters") == ""

    def test_it_passes_on_what_the_server_refuses(
        self, faulty: DevServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        driver = find_driver()
        library = str(driver.library or driver.name)
        head = ["fault", "--port", str(faulty.port), "--driver", library]
        assert program.main([*head, "delay", "--seconds", "0"]) == 1
        assert "seconds above 0" in capsys.readouterr().err

    def test_the_driver_is_found_where_none_is_named(self, faulty: DevServer) -> None:
        command = [sys.executable, "-m", "mssql_async.devserver", "fault"]
        done = subprocess.run(
            [*command, "--port", str(faulty.port), "list"],
            env={**os.environ, "MSSQL_PASSWORD": DEVELOPMENT_PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("id  kind  state  fired  target\n", "")

    def test_serving_needs_no_driver(self) -> None:
        code = "import mssql_async.devserver.__main__, sys; assert 'pyodbc' not in sys.modules"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_driver_sees_the_same_errors(faulty: DevServer) -> None:
    connection = connect(faulty)
    kind, state, text = failure_of(lambda: connection.execute("EXEC devserver.delay 0"))
    assert (kind, state) == ("ProgrammingError", "42000")
    assert "(50000)" in text
    with pytest.raises(pyodbc.ProgrammingError, match="2812"):
        connection.execute("EXEC devserver.nothing")
    connection.close()
