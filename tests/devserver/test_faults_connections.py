"""Connections that are dropped, frozen and delayed, seen from the client's end of the wire."""

from __future__ import annotations

import asyncio
import re
import threading

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop, FaultState, Kind, Sessions
from mssql_async.devserver.sqltypes import INT
from mssql_async.devserver.tds.gate import OutputGate

from .fake_engine import PATIENCE, Block, FakeEngine, result
from .faulty import ask, connect, errors, has_something_to_read, rows, spid_of
from .raw_client import RawClient
from .serving import serving

ROWS = "SELECT 1 AS one"


def read_to_the_end(client: RawClient) -> bytes:
    """What is left to read; raises what the socket raises."""
    received = b""
    while chunk := client.socket.recv(65536):
        received += chunk
    return received


class TestDrop:
    def test_fin_ends_the_connection_in_good_order(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            assert rows(client.batch(ROWS)) == [(1,)]
            fault = faulty.faults.drop(Drop.FIN)
            assert read_to_the_end(client) == b""
        assert (fault.state, fault.fired) == (FaultState.ENDED, 1)

    def test_rst_tears_the_connection_down(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            assert rows(client.batch(ROWS)) == [(1,)]
            faulty.faults.drop(Drop.RST)
            with pytest.raises(ConnectionResetError):
                read_to_the_end(client)

    def test_mid_reply_lets_half_a_packet_through_and_tears_the_connection_down(
        self, faulty: DevServer
    ) -> None:
        with RawClient(faulty.port) as client:
            ask(client, ROWS)
            (whole,) = client.packets()
            fault = faulty.faults.drop(Drop.MID_REPLY)
            assert fault.state is FaultState.ARMED
            ask(client, ROWS)
            length = 8 + len(whole.body)
            received = client.socket.recv(length // 2)
            assert len(received) == length // 2
            assert int.from_bytes(received[2:4], "big") == length
            with pytest.raises(ConnectionResetError):
                read_to_the_end(client)
        assert fault.wait_fired()
        assert fault.state is FaultState.ENDED

    def test_mid_reply_can_be_taken_back(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            client.batch(ROWS)
            with faulty.faults.drop(Drop.MID_REPLY) as fault:
                pass
            assert rows(client.batch(ROWS)) == [(1,)]
        assert fault.fired == 0

    def test_only_the_chosen_session_is_dropped(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as one, RawClient(faulty.port) as other:
            spid = spid_of(one)
            faulty.faults.drop(Drop.FIN, Sessions.spid(spid))
            assert read_to_the_end(one) == b""
            assert rows(other.batch(ROWS)) == [(1,)]
            assert [info.spid for info in faulty.sessions()] == [spid_of(other)]

    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_a_running_request_is_stopped_and_its_session_closed(
        self, how: Drop, caplog: pytest.LogCaptureFixture
    ) -> None:
        engine = FakeEngine({"wait": [block := Block()]})
        with serving(engine, caplog) as server, RawClient(server.port) as client:
            ask(client, "wait")
            assert block.entered.wait(PATIENCE)
            server.faults.drop(how)
            assert block.interrupted
            assert engine.session.closed.is_set()
            assert client.hung_up()

    def test_fin_comes_after_the_packets_that_are_on_their_way(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A client that reads slowly still gets whole packets, and then the end."""
        # More than the buffers of both sockets hold: they grow to several MB.
        long = [result([("c", INT)], *[(number,) for number in range(1000)])] * 20_000
        engine = FakeEngine({"long": [*long, block := Block()]})
        with serving(engine, caplog) as server, RawClient(server.port) as client:
            ask(client, "long")
            client.socket.recv(1)
            server.faults.drop(Drop.FIN, wait=False)
            received = b"\x04" + read_to_the_end(client)
            assert not block.entered.is_set()
        assert len(received) > 0
        while received:
            length = int.from_bytes(received[2:4], "big")
            assert len(received) >= length
            received = received[length:]

    @pytest.mark.parametrize("how", [Drop.FIN, Drop.RST])
    def test_what_a_dropped_session_held_is_free_and_its_work_undone(
        self, faulty: DevServer, how: Drop
    ) -> None:
        other = connect(faulty)
        other.execute("CREATE TABLE t (a int)")
        holder = connect(faulty, APP="holder")
        holder.autocommit = False
        holder.execute("INSERT INTO t VALUES (1)")
        other.execute("SET LOCK_TIMEOUT 0")
        with pytest.raises(pyodbc.Error, match="1222"):
            other.execute("INSERT INTO t VALUES (2)")
        faulty.faults.drop(how, Sessions.program("holder"))
        other.execute("INSERT INTO t VALUES (2)")
        assert [tuple(row) for row in other.execute("SELECT a FROM t").fetchall()] == [(2,)]
        other.close()


class TestFreeze:
    def test_a_frozen_session_answers_nothing_until_it_thaws(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as frozen, RawClient(faulty.port) as other:
            with faulty.faults.freeze(Sessions.spid(spid_of(frozen))):
                ask(frozen, ROWS)
                assert rows(other.batch(ROWS)) == [(1,)]
                assert not has_something_to_read(frozen)
                assert [info.state for info in faulty.sessions()] == ["frozen", "ready"]
            assert rows(frozen.tokens()) == [(1,)]
            assert [info.state for info in faulty.sessions()] == ["ready", "ready"]

    def test_without_it_the_same_client_has_its_answer_by_then(self, faulty: DevServer) -> None:
        """The control of the test above."""
        with RawClient(faulty.port) as client, RawClient(faulty.port) as other:
            ask(client, ROWS)
            assert rows(other.batch(ROWS)) == [(1,)]
            assert has_something_to_read(client)

    def test_the_answer_of_a_running_request_is_held_back_too(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        block = Block(events=result([("c", INT)], (7,)))
        engine = FakeEngine({"wait": [block]})
        with (
            serving(engine, caplog) as server,
            RawClient(server.port) as frozen,
            RawClient(server.port) as other,
        ):
            ask(frozen, "wait")
            assert block.entered.wait(PATIENCE)
            fault = server.faults.freeze(Sessions.spid(51))
            block.released.set()
            assert other.batch("SELECT 1")
            assert not has_something_to_read(frozen)
            fault.cancel()
            assert rows(frozen.tokens()) == [(7,)]

    def test_what_a_frozen_session_holds_stays_held(self, faulty: DevServer) -> None:
        other = connect(faulty)
        other.execute("CREATE TABLE t (a int)")
        other.execute("SET LOCK_TIMEOUT 0")
        holder = connect(faulty, APP="holder")
        holder.autocommit = False
        holder.execute("INSERT INTO t VALUES (1)")
        with (
            faulty.faults.freeze(Sessions.program("holder")),
            pytest.raises(pyodbc.Error, match="1222"),
        ):
            other.execute("INSERT INTO t VALUES (2)")
        holder.commit()
        other.execute("INSERT INTO t VALUES (2)")
        holder.close()
        other.close()

    def test_a_frozen_session_can_be_dropped(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            fault = faulty.faults.freeze()
            ask(client, ROWS)
            faulty.faults.drop(Drop.FIN)
            assert faulty.sessions() == []
            assert client.hung_up()
            fault.cancel()

    def test_thaw_lets_the_chosen_go_on_and_ends_the_fault_with_the_last(
        self, faulty: DevServer
    ) -> None:
        with RawClient(faulty.port) as one, RawClient(faulty.port) as two:
            first, second = spid_of(one), spid_of(two)
            fault = faulty.faults.freeze()
            assert faulty.faults.thaw(Sessions.spid(first)) == 1
            assert rows(one.batch(ROWS)) == [(1,)]
            assert fault.state is FaultState.FIRED
            assert faulty.faults.thaw() == 1
            assert rows(two.batch(ROWS)) == [(1,)]
            assert fault.state is FaultState.ENDED
            assert second != first

    def test_who_is_frozen_twice_thaws_when_the_last_order_ends(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client, RawClient(faulty.port) as other:
            spid = spid_of(client)
            first = faulty.faults.freeze(Sessions.spid(spid))
            second = faulty.faults.freeze(Sessions.spid(spid))
            first.cancel()
            ask(client, ROWS)
            other.batch(ROWS)
            assert not has_something_to_read(client)
            second.cancel()
            assert rows(client.tokens()) == [(1,)]

    def test_a_server_with_frozen_sessions_can_be_closed(self) -> None:
        with DevServer() as server, RawClient(server.port) as client:
            server.faults.freeze()
            ask(client, ROWS)
            server.close()
            assert client.hung_up()


class TestDelay:
    def test_a_delayed_reply_is_on_its_way_until_the_delay_ends(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as slow, RawClient(faulty.port) as other:
            spid = spid_of(slow)
            with faulty.faults.delay(3600, Sessions.spid(spid)) as fault:
                ask(slow, ROWS)
                assert fault.wait_fired()
                assert rows(other.batch(ROWS)) == [(1,)]
                assert not has_something_to_read(slow)
                assert [info.delay for info in faulty.sessions()] == [3600, 0]
            assert rows(slow.tokens()) == [(1,)]
            assert rows(slow.batch(ROWS)) == [(1,)]

    def test_a_short_delay_passes_by_itself(self, faulty: DevServer) -> None:
        with faulty.faults.delay(0.01) as fault, RawClient(faulty.port) as client:
            assert [rows(client.batch(ROWS)) for _ in range(3)] == [[(1,)]] * 3
        # PRELOGIN, LOGIN7 and three batches.
        assert fault.fired == 5

    def test_delays_add_up(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            client.batch(ROWS)
            with faulty.faults.delay(0.25), faulty.faults.delay(0.5):
                assert [info.delay for info in faulty.sessions()] == [0.75]
            assert [info.delay for info in faulty.sessions()] == [0]

    def test_a_delay_of_nothing_is_refused(self, faulty: DevServer) -> None:
        with pytest.raises(ValueError, match="seconds above 0"):
            faulty.faults.delay(0)

    def test_who_logs_in_later_is_delayed_too(self, faulty: DevServer) -> None:
        with (
            faulty.faults.delay(0.001, Sessions.program("raw client")),
            RawClient(faulty.port) as client,
        ):
            client.batch(ROWS)
            assert [info.delay for info in faulty.sessions()] == [0.001]


class FakeTransport:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class TestGate:
    async def test_nothing_overtakes_what_waits(self) -> None:
        transport = FakeTransport()
        gate = OutputGate(transport, asyncio.get_running_loop())  # type: ignore[arg-type]
        gate.set_delay(0.01, lambda: None)
        gate.write(b"first")
        gate.set_delay(0.000001, lambda: None)
        gate.write(b"second")
        await gate.emptied()
        assert transport.written == [b"first", b"second"]
        gate.set_delay(0, lambda: None)
        gate.write(b"third")
        assert transport.written[2:] == [b"third"]

    async def test_what_is_held_back_counts_as_not_written(self) -> None:
        gate = OutputGate(FakeTransport(), asyncio.get_running_loop())  # type: ignore[arg-type]
        gate.freeze()
        gate.write(b"12345")
        assert gate.get_write_buffer_size() == 5
        gate.thaw()
        assert gate.get_write_buffer_size() == 0

    async def test_who_waits_for_room_is_woken_when_the_connection_ends(self) -> None:
        gate = OutputGate(FakeTransport(), asyncio.get_running_loop())  # type: ignore[arg-type]
        gate.freeze()
        gate.write(bytes(1_000_000))
        waiting = asyncio.create_task(gate.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.close()
        await waiting


class TestFaults:
    def test_a_fault_shows_what_it_is_and_what_became_of_it(self, faulty: DevServer) -> None:
        fault = faulty.faults.drop(Drop.MID_REPLY, Sessions.program("nobody"))
        assert repr(fault) == "<Fault 1 drop of program 'nobody' (mid_reply): ARMED>"
        fault.cancel()
        assert repr(fault) == "<Fault 1 drop of program 'nobody' (mid_reply): ENDED, hit 0 times>"
        assert repr(faulty.faults) == "<Faults 0 in force, 0 events>"

    def test_the_history_tells_who_was_hit_when_and_how(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            spid = spid_of(client)
            faulty.faults.drop(Drop.RST)
        (event,) = faulty.faults.history
        assert (event.fault, event.kind, event.spid) == (1, Kind.DROP, spid)
        assert event.at > 1_600_000_000
        assert str(event) == f"fault 1 drop: dropped by RST, session {spid} (raw client)"

    def test_faults_are_found_by_number(self, faulty: DevServer) -> None:
        fault = faulty.faults.deadlock("nothing")
        assert faulty.faults.find(fault.id) is fault
        assert faulty.faults.find(4711) is None
        assert faulty.faults.faults == [fault]

    def test_all_faults_can_be_cancelled_at_once(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            client.batch(ROWS)
            faulty.faults.freeze()
            faulty.faults.delay(3600)
            faulty.faults.deadlock("%one%")
            faulty.faults.drop(Drop.MID_REPLY)
            faulty.faults.cancel()
            assert rows(client.batch(ROWS)) == [(1,)]
        assert {fault.state for fault in faulty.faults.faults} == {FaultState.ENDED}

    def test_sessions_are_chosen_by_what_they_say_of_themselves(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            spid = spid_of(client)
            (info,) = faulty.sessions()
        chosen = [
            Sessions.all(),
            Sessions.spid(spid),
            Sessions.program("RAW client"),
            Sessions.process(4711),
            Sessions.database("APP"),
            Sessions.user("SA"),
            Sessions.where(lambda info: info.messages["login7"] == 1),
            Sessions.spid(1) | Sessions.user("sa"),
            Sessions.program("raw client") & ~Sessions.spid(1),
        ]
        assert [str(each) for each in chosen if not each.matches(info)] == []
        assert [str(each) for each in chosen if (~each).matches(info)] == []
        assert re.fullmatch(r"\(program 'raw client' and not session 1\)", str(chosen[-1]))

    def test_faults_may_be_ordered_from_any_thread(self, faulty: DevServer) -> None:
        with RawClient(faulty.port) as client:
            client.batch(ROWS)
            threads = [
                threading.Thread(target=faulty.faults.deadlock, args=("%one%",)) for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [errors(client.batch(ROWS)) for _ in range(9)] == [[1205]] * 8 + [[]]
        assert [fault.id for fault in faulty.faults.faults] == list(range(1, 9))
