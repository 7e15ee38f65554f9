"""The benchmark of the pool alone: it counts what it says it counts. No times here."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import venv
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from loadtests.bench import peers, pool
from loadtests.bench.candidates import OURS, Candidate, Make, make_floor, make_ours, ours
from loadtests.bench.peer_pools import Peer
from loadtests.bench.pool_measures import Contest, contended, order, recovery, uncontended
from loadtests.bench.stubs import StubConnection, StubConnector, StubServer
from mssql_async.pool.pool import Pool
from mssql_async.pool.settings import PoolSettings

ONCE = Contest(contenders=8, connections=2, hold=0.0, pause=0.0, seconds=0.0, rounds=3)
TINY = pool.Sizes(turns=2, cycles=3, depth=3, contest=ONCE, stale=(2,), idle=0.0)


async def make_ours_proving_each_time(server: StubServer, size: int, checked: bool) -> Candidate:
    settings = PoolSettings(max_size=size, health_check_window=0.0)
    return ours(Pool(StubConnector(server), settings))


async def make_another(server: StubServer, size: int, checked: bool) -> Candidate:
    return replace(await make_ours(server, size, checked), name="another")


class Unfair:
    """One connection. Its holder gets it again for the asking, ``favours`` times; after that
    who came last is served first."""

    def __init__(self, server: StubServer, favours: int) -> None:
        self._connection = StubConnection(server)
        self._lock = threading.Lock()
        self._favours = favours
        self._is_free = True
        self.gates: list[threading.Event] = []

    def acquire(self) -> StubConnection:
        with self._lock:
            if self._is_free:
                self._is_free = False
                return self._connection
            gate = threading.Event()
            self.gates.append(gate)
        assert gate.wait(30)
        return self._connection

    def release(self, connection: StubConnection) -> None:
        with self._lock:
            if self._favours or not self.gates:
                self._favours -= 1
                self._is_free = True
            else:
                self.gates.pop().set()

    async def close(self) -> None:
        assert not self.gates


def unfair(favours: int) -> Make:
    async def make(server: StubServer, size: int, checked: bool) -> Candidate:
        twin = Unfair(server, favours)
        return Candidate("unfair", twin.acquire, twin.release, lambda: len(twin.gates), twin.close)

    return make


async def test_a_run_without_peers_fills_every_table() -> None:
    result = await pool.run(pool.Field(), TINY, "a test")
    assert [cost.name for cost in result.uncontended] == [
        "floor: lock and deque", OURS, f"{OURS}, leak_threshold",
    ]  # fmt: skip
    assert [each.name for each in result.contended] == ["floor: SimpleQueue", OURS]
    assert [each.name for each in result.order] == [OURS]
    assert [each.announced for each in result.recovery] == [True, False]
    text = pool.report(result)
    assert "a test" in text
    assert text.count(OURS) >= 5
    assert json.loads(json.dumps(asdict(result)))["machine"]["command"] == "a test"


async def test_every_turn_but_the_first_counts_for_everybody() -> None:
    acquired: list[int] = []

    async def make(server: StubServer, size: int, checked: bool) -> Candidate:
        candidate = await make_floor(server, size, checked)

        def acquire() -> StubConnection:
            acquired.append(1)
            connection: StubConnection = candidate.acquire()
            return connection

        return Candidate(OURS, acquire, candidate.release, candidate.waiting, candidate.close)

    [cost] = await uncontended([make], turns=4, cycles=5, depth=2)
    assert len(acquired) == (4 + 1) * 5
    assert cost.ratio == 1


async def test_every_contender_gets_a_lease_and_gives_it_back() -> None:
    pools: list[Pool] = []

    async def make(server: StubServer, size: int, checked: bool) -> Candidate:
        pools.append(Pool(StubConnector(server), PoolSettings(max_size=size)))
        return ours(pools[-1])

    [result] = await contended([make], ONCE)
    assert result.kind == "threads"
    assert (result.fewest, result.most) == (1, 1)
    to_fill_it = ONCE.connections
    assert [each.statistics().acquired - to_fill_it for each in pools] == [8, 8, 8]
    assert [each.statistics().in_use for each in pools] == [0, 0, 0]


async def test_our_pool_serves_in_order_and_nobody_overtakes() -> None:
    [result] = await order([make_ours], waiters=8)
    assert (result.waiters, result.out_of_order, result.overtaken_by_newcomers) == (8, 0, 0)


async def test_a_pool_that_serves_the_last_first_is_seen() -> None:
    [result] = await order([unfair(favours=0)], waiters=4)
    assert result.out_of_order == 3


async def test_a_pool_that_lets_newcomers_in_front_is_seen() -> None:
    [result] = await order([unfair(favours=4)], waiters=4)
    assert result.overtaken_by_newcomers == 4


@pytest.mark.parametrize("stale", [1, 20])
async def test_stale_connections_cost_our_pool_one_proof_and_one_login(stale: int) -> None:
    [result] = await recovery(
        [make_ours_proving_each_time], [stale], announced=False, idle=0.0, limit=30.0
    )
    assert (result.failed_proofs, result.logins) == (1, 1)
    assert (result.errors, result.not_asked) == (0, 0)
    assert result.first_served_after is not None


async def test_where_the_peer_hung_up_no_proof_is_spent() -> None:
    [result] = await recovery([make_ours], [20], announced=True, idle=0.0, limit=30.0)
    assert (result.failed_proofs, result.logins, result.errors) == (0, 1, 0)


async def test_a_pool_that_checks_nothing_costs_every_caller_an_error() -> None:
    [result] = await recovery([make_floor], [5], announced=False, idle=0.0, limit=30.0)
    assert (result.errors, result.failed_proofs, result.logins) == (5, 0, 0)
    assert result.first_served_after is None


def test_peers_are_pinned() -> None:
    assert all("==" in requirement for requirement in peers.POOLS)


def test_an_environment_that_is_up_to_date_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[object]] = []

    def note(command: list[object], **options: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess([], 0, stdout=str(tmp_path))

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.setattr(venv, "create", lambda *_, **__: ran.append(["venv"]))
    first = peers.prepare(["a==1"], tmp_path)
    assert [command[0] for command in ran].count("venv") == 1
    assert ran[-1][-1] == "a==1"

    ran.clear()
    assert peers.prepare(["a==1"], tmp_path) == first
    assert ran == []

    peers.prepare(["a==1", "b==2"], tmp_path)
    assert [command[-1] for command in ran] == ["b==2"]

    ran.clear()
    monkeypatch.setattr(sys, "prefix", "elsewhere")
    peers.prepare(["a==1"], tmp_path)
    assert ran[0] == ["venv"]
    assert ran[-1][-1] == "a==1"


def test_what_cannot_be_installed_does_not_keep_the_rest_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "pip" not in command:
            return subprocess.CompletedProcess([], 0, stdout=str(tmp_path))
        requirements = [str(each) for each in command if "==" in str(each)]
        asked.append(requirements)
        return subprocess.CompletedProcess([], int("nowhere==1" in requirements), stdout="")

    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(venv, "create", lambda *_, **__: None)
    peers.prepare(["a==1", "nowhere==1", "b==2"], tmp_path)
    assert asked == [["a==1", "nowhere==1", "b==2"], ["a==1"], ["nowhere==1"], ["b==2"]]

    asked.clear()
    peers.prepare(["a==1", "nowhere==1", "b==2"], tmp_path)
    assert asked[0] == ["nowhere==1"]  # once more: there may be a network now


async def test_pools_that_are_not_installed_are_left_out_with_a_word() -> None:
    absent = Peer(("nobody_has_this",), (), (make_floor,))
    there = Peer(("json",), ("pyodbc",), (make_another,))
    taking_part = pool.with_peers([absent, there])
    assert taking_part.checking == (make_another,)
    assert taking_part.left_out == ("nobody_has_this: not installed",)
    told: list[int] = []
    result = await pool.run(taking_part, TINY, "a test", lambda each: told.append(len(each.order)))
    assert "left out: nobody_has_this: not installed" in pool.report(result)
    assert told == [0, 0, 2, 2]
