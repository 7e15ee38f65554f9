"""Backends of other databases than SQL Server: what runs there, and what is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtests.bench.peers import ROOT
from loadtests.leaks.cli import CLEAN, FAILED
from loadtests.leaks.options import RunOptions
from loadtests.leaks.outcome import Outcome
from loadtests.leaks.report.json import read_json
from loadtests.leaks.scenario import Need
from loadtests.leaks.subject.databases import MICROSOFT, SQLITE, NoDatabase, entry_of, vendor_of
from mssql_async.contrib.leaks.findings import Detector

from .test_places import assert_all_are_named

PATIENCE = 300.0
SQLITE_ENGINE = "django.db.backends.sqlite3"
SMALL = ("--contexts", "60", "--concurrency", "8", "--seed", "1")
SECRET = "not to be shown"


@dataclass(frozen=True)
class Ran:
    status: int
    printed: str
    file: Path

    @property
    def outcome(self) -> Outcome:
        assert self.file.exists(), self.printed
        return read_json(self.file)


def run_in(folder: Path, file: Path, *arguments: str) -> Ran:
    """The command line, from another directory than the project's."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtests", "leaks", *arguments, "--quiet", "--json", str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ran(done.returncode, done.stdout, file)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


class TestSqlite:
    def test_is_run_without_a_trace_in_any_directory(self, elsewhere: Path, tmp_path: Path) -> None:
        before = {*os.listdir(ROOT)}  # noqa: PTH208 - names are all that is needed
        ran = run_in(
            elsewhere, tmp_path / "outcome.json", "sync_views", "async_views", "exceptions",
            "--engine", SQLITE_ENGINE, *SMALL,
        )  # fmt: skip
        assert ran.status == CLEAN, ran.printed
        assert ran.outcome.contexts == 60
        assert not ran.outcome.failed, ran.printed
        assert list(elsewhere.iterdir()) == []
        assert {*os.listdir(ROOT)} == before  # noqa: PTH208

    def test_says_that_nobody_looked_from_the_servers_side(
        self, elsewhere: Path, tmp_path: Path
    ) -> None:
        ran = run_in(
            elsewhere, tmp_path / "outcome.json", "sync_views", "thread_insensitive",
            "--engine", SQLITE_ENGINE, *SMALL,
        )  # fmt: skip
        assert ran.outcome.server.startswith("SQLite ")
        assert "The server's side is left out" in ran.outcome.server
        skipped = {each.name: each.skipped for each in ran.outcome.scenarios}
        assert Need.SQL_SERVER.value in skipped["thread_insensitive"]

    def test_an_application_that_shares_a_connection_is_found_out(
        self, elsewhere: Path, tmp_path: Path
    ) -> None:
        ran = run_in(
            elsewhere, tmp_path / "outcome.json", "--control", "one_wrapper_for_all",
            "--engine", SQLITE_ENGINE, "--seed", "1",
        )  # fmt: skip
        assert not ran.outcome.silent, ran.printed
        first = ran.outcome.findings[0]
        assert first.detector is Detector.SHARED_SESSION
        assert str(first.session).startswith("connection ")
        assert "session" not in first.message
        assert_all_are_named(ran.outcome)


BACKEND = """
from django.db.backends.sqlite3 import base

class DatabaseWrapper(base.DatabaseWrapper):
    vendor = "mine"
    display_name = "Mine"
"""


@pytest.fixture
def backend(elsewhere: Path, tmp_path: Path) -> Path:
    """A backend of the user's, in his directory; gives the directory."""
    package = elsewhere / "mine"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    package.joinpath("base.py").write_text(BACKEND)
    entry = {"ENGINE": "mine", "NAME": str(tmp_path / "db"), "PASSWORD": SECRET}
    elsewhere.joinpath("databases.json").write_text(json.dumps({"default": entry}))
    elsewhere.joinpath("users.py").write_text(f"DATABASE = {entry!r}")
    return elsewhere


class TestABackendOfTheUsers:
    @pytest.mark.parametrize("where", ["databases.json", "users:DATABASE"])
    def test_runs_on_the_database_that_he_names(
        self, backend: Path, tmp_path: Path, where: str
    ) -> None:
        ran = run_in(
            backend, tmp_path / "outcome.json", "async_views", "--databases", where, "--over",
            "uvicorn", "--contexts", "8", "--concurrency", "1", "--seed", "1",
        )  # fmt: skip
        assert ran.status == CLEAN, ran.printed
        assert ran.outcome.engine == "mine"
        assert ran.outcome.server.startswith("Mine ")
        assert f"--databases {where}" in ran.outcome.command_line
        assert (tmp_path / "db").exists()
        assert SECRET not in ran.printed + ran.file.read_text()

    def test_needs_a_database(self, backend: Path, tmp_path: Path) -> None:
        ran = run_in(backend, tmp_path / "outcome.json", "async_views", "--engine", "mine")
        assert ran.status == FAILED
        assert "mine needs --databases" in ran.printed

    def test_that_is_not_there_is_told_in_one_line(self, elsewhere: Path, tmp_path: Path) -> None:
        ran = run_in(elsewhere, tmp_path / "outcome.json", "async_views", "--engine", "nonsense")
        assert ran.status == FAILED
        (line,) = ran.printed.splitlines()
        assert "The engine 'nonsense' cannot be used: ModuleNotFoundError" in line

    def test_a_sql_server_is_named_as_everywhere_else(
        self, elsewhere: Path, tmp_path: Path
    ) -> None:
        elsewhere.joinpath("d.json").write_text('{"ENGINE": "mssql", "NAME": "app"}')
        ran = run_in(elsewhere, tmp_path / "outcome.json", "--databases", "d.json")
        assert ran.status == FAILED
        assert "named by MSSQL_HOST" in ran.printed


class TestWhatTheUserSays:
    def test_is_one_entry_or_all_of_them(self, tmp_path: Path) -> None:
        tmp_path.joinpath("one.json").write_text('{"ENGINE": "a"}')
        tmp_path.joinpath("all.json").write_text('{"default": {"ENGINE": "b"}, "c": {}}')
        assert entry_of("one.json", str(tmp_path)) == {"ENGINE": "a"}
        assert entry_of("all.json", str(tmp_path)) == {"ENGINE": "b"}

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (f"{SECRET}", "cannot be read"),
            (f'{{"PASSWORD": "{SECRET}"}}', "no entry"),
            ("[]", "no"),
        ],
    )
    def test_that_makes_no_sense_is_refused_without_being_repeated(
        self, tmp_path: Path, content: str, why: str
    ) -> None:
        tmp_path.joinpath("wrong.json").write_text(content)
        with pytest.raises(NoDatabase, match=why) as refused:
            entry_of("wrong.json", str(tmp_path))
        assert SECRET not in str(refused.value)

    @pytest.mark.parametrize("where", ["nothing.json", "no_such_module:here", "json:nothing"])
    def test_has_to_be_there(self, tmp_path: Path, where: str) -> None:
        with pytest.raises(NoDatabase, match=where):
            entry_of(where, str(tmp_path))

    def test_is_repeated_by_where_it_is(self) -> None:
        options = RunOptions(engine="mine", databases="databases.json")
        assert options.command()[4:-2] == ["--engine", "mine", "--databases", "databases.json"]


@pytest.mark.parametrize(
    ("engine", "vendor"),
    [("mssql_async", MICROSOFT), ("mssql", MICROSOFT), (SQLITE_ENGINE, SQLITE)],
)
def test_whose_database_it_is_the_engine_says(engine: str, vendor: str) -> None:
    assert vendor_of(engine) == vendor
