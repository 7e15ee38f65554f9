"""The project under test, in processes of its own: prepared, served, asked for its record."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from loadtests.bench.peers import ROOT
from loadtests.bench.requests_sites import Database
from loadtests.leaks.catalogue import NotAScenario, catalogue, scenario_in, title_of
from loadtests.leaks.subject.config import SubjectConfig, engine_is_ours
from mssql_async.contrib.leaks.detectors import find_all
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.contrib.leaks.record import Fate, Record, Use, from_plain
from mssql_async.devserver import DevServer

SUBJECT = [sys.executable, "-m", "loadtests.leaks.subject"]


@pytest.fixture(scope="module")
def config() -> Iterator[SubjectConfig]:
    with DevServer() as server:
        config = SubjectConfig(Database(server.host, str(server.port)), program="leaks of a test")
        environment = {**os.environ, **config.to_environment()}
        subprocess.run([*SUBJECT, "prepare"], env=environment, cwd=ROOT, check=True, timeout=60)
        yield config


class Served:
    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = ports

    def get(self, path: str, token: int) -> int:
        """Status."""
        port = self.ports[token % len(self.ports)]
        headers = {"x-leaks-token": str(token)}
        address = f"http://127.0.0.1:{port}{path}"
        return httpx.get(address, headers=headers, timeout=30, trust_env=False).status_code

    def get_many(self, path: str, count: int) -> set[int]:
        with ThreadPoolExecutor(8) as clients:
            return set(clients.map(lambda token: self.get(path, token), range(1, count + 1)))

    def collect(self) -> Record:
        record = Record()
        for port in self.ports:
            address = f"http://127.0.0.1:{port}/__leaks__/collect?patience=10"
            answer = httpx.get(address, timeout=30, trust_env=False).json()
            record.add(from_plain(Record, answer))
        return record


@contextmanager
def serving(config: SubjectConfig, *options: str, processes: int = 1) -> Iterator[Served]:
    environment = {**os.environ, **config.to_environment()}
    with subprocess.Popen(
        [*SUBJECT, *options], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield Served([int(process.stdout.readline()) for _ in range(processes)])
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def served(config: SubjectConfig) -> Iterator[Served]:
    with serving(config) as served:
        yield served


def test_stories_of_synchronous_views_are_told_to_their_end(served: Served) -> None:
    assert served.get_many("/sync_views/transaction/", 20) == {200}
    record = served.collect()
    assert {story.token for story in record.stories} == {*range(1, 21)}
    assert {story.outcome for story in record.stories} == {"ok"}
    assert all(story.ended_at is not None for story in record.stories)
    assert len([unit for unit in record.units if unit.use is Use.TRANSACTION]) == 20
    assert [written.fate for written in record.written] == [Fate.COMMITTED] * 20
    assert find_all(record) == []


def test_stories_of_asynchronous_views_are_told_to_their_end(served: Served) -> None:
    assert served.get_many("/async_views/", 20) == {200}
    record = served.collect()
    assert {story.token for story in record.stories} == {*range(1, 21)}
    assert len(record.sights) == len(record.written) == 20
    assert {sight.place.partition(":")[0] for sight in record.sights} == {
        "loadtests/leaks/scenarios/async_views.py"
    }
    assert find_all(record) == []


def test_rows_that_are_rolled_back_are_told_of_as_such(served: Served) -> None:
    assert served.get_many("/sync_views/refused/", 8) == {200}
    assert [each.fate for each in served.collect().written] == [Fate.ROLLED_BACK] * 8


def test_what_a_view_raises_is_the_outcome_of_its_story(served: Served) -> None:
    assert served.get_many("/exceptions/without/", 4) == {500}
    assert {story.outcome for story in served.collect().stories} == {"Refused"}


def test_what_was_told_once_is_not_told_again(served: Served) -> None:
    served.get("/sync_views/", 1)
    assert served.collect().units
    assert served.collect().units == []


def test_a_process_knows_its_connections_and_what_new_ones_look_like(
    served: Served, config: SubjectConfig
) -> None:
    served.get("/sync_views/", 1)
    record = served.collect()
    (known,), (sample,) = record.known, record.samples
    assert known.count >= 1
    assert {sight.session for sight in record.sights} <= {*known.sessions}
    assert record.held == []
    assert set(record.baseline) == set(config.aliases)
    assert dict(record.baseline["other"].settings)["database"] == "leaks_other"
    assert (sample.sessions, sample.process) == (known.count, known.process)


def test_forked_processes_tell_each_for_themselves(config: SubjectConfig) -> None:
    with serving(config, "--fork", "2", processes=2) as served:
        assert served.get_many("/sync_views/", 20) == {200}
        record = served.collect()
    assert len({known.process for known in record.known}) == 2
    assert len(record.stories) == 20
    assert find_all(record) == []


def test_a_control_breaks_its_process(config: SubjectConfig) -> None:
    with serving(replace(config, control="no_reset")) as served:
        assert served.get_many("/set_options/?choice=locks", 20) == {200}
        found = {finding.detector for finding in find_all(served.collect())}
    assert found == {Detector.STATE_BLEED}


class TestConfig:
    def test_another_process_finds_it_in_its_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = SubjectConfig(
            Database("host", "1433"), conn_max_age=600, pool={"max_size": 3}, tokens="/a/file"
        )
        for name, value in config.to_environment().items():
            monkeypatch.setenv(name, value)
        assert SubjectConfig.from_environment() == config

    def test_other_engines_get_no_pool(self) -> None:
        def options(engine: str) -> dict[str, Any]:
            config = SubjectConfig(Database("host", "1433"), engine=engine, program="leaks 1")
            found: dict[str, Any] = config.databases()["small"]["OPTIONS"]
            return found

        assert options("mssql_async")["pool"]["max_size"] == 2
        assert "pool" not in options("mssql")
        assert options("mssql")["extra_params"].endswith("APP=leaks 1")

    @pytest.mark.parametrize(
        ("engine", "ours"),
        [("mssql_async", True), ("mssql", False), ("django.db.backends.sqlite3", False)],
    )
    def test_an_engine_is_ours_or_not(self, engine: str, ours: bool) -> None:
        assert engine_is_ours(engine) is ours

    def test_an_engine_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(ModuleNotFoundError):
            engine_is_ours("json")


class TestCatalogue:
    def test_each_module_is_a_scenario_of_its_name(self) -> None:
        found = catalogue()
        assert {"sync_views", "async_views"} <= set(found)
        assert all(scenario.name == name for name, scenario in found.items())
        assert all(title_of(scenario).endswith(".") for scenario in found.values())

    def test_a_module_without_one_is_refused(self) -> None:
        from loadtests.leaks import scenario

        with pytest.raises(NotAScenario, match=r"loadtests\.leaks\.clock defines 0"):
            from loadtests.leaks import clock

            scenario_in(clock)
        assert scenario_in(scenario).name == "scenario"
