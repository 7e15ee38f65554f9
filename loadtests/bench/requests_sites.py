"""Who is measured, each in a process of its own: the same project on several backends, and what
users would pick instead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from mssql_async.devserver.config import (
    DEVELOPMENT_DATABASE,
    DEVELOPMENT_PASSWORD,
    DEVELOPMENT_USER,
)
from mssql_async.driver import Driver, find_driver

from .ending import APART
from .peers import ROOT

PATIENCE = 10.0
"""Seconds that a process has to end."""
PROJECT = "loadtests.bench.project"
RIVALS = "loadtests.bench.rivals"
OF_RIVALS = frozenset(["no-query", "one-query", "three-queries", "atomic"])
"""Kinds of request that the rivals serve."""
PERSISTENT = 600
"""Seconds that a connection of Django's is kept."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is; by default an embedded server's."""

    host: str
    port: str
    user: str = DEVELOPMENT_USER
    password: str = field(default=DEVELOPMENT_PASSWORD, repr=False)
    name: str = DEVELOPMENT_DATABASE
    extra_params: str = "Encrypt=no"

    @classmethod
    def of_the_environment(cls) -> Database | None:
        """The one that ``MSSQL_HOST`` and so on name, as for the tests; ``None``: none."""
        given = os.environ
        if "MSSQL_HOST" not in given:
            return None
        return cls(
            given["MSSQL_HOST"],
            given.get("MSSQL_PORT", "1433"),
            given.get("MSSQL_USER", DEVELOPMENT_USER),
            given.get("MSSQL_PASSWORD", ""),
            given.get("MSSQL_DATABASE", DEVELOPMENT_DATABASE),
            given.get("MSSQL_EXTRA_PARAMS", "Encrypt=no"),
        )

    def environment(self) -> dict[str, str]:
        return {
            "MSSQL_HOST": self.host,
            "MSSQL_PORT": self.port,
            "MSSQL_USER": self.user,
            "MSSQL_PASSWORD": self.password,
            "MSSQL_DATABASE": self.name,
            "MSSQL_EXTRA_PARAMS": self.extra_params,
        }


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who answers requests, and how it is served."""

    key: str
    """What the command line calls it."""
    name: str
    engine: str = "mssql"
    """The backend of a Django project; empty for others."""
    entry: str = "django.core.asgi.get_asgi_application"
    """What makes a Django project's application."""
    conn_max_age: int = 0
    module: tuple[str, ...] = (PROJECT,)
    """What Python runs to serve it, and the arguments."""
    prefix: str = ""
    """What all its paths begin with."""
    works: frozenset[str] | None = None
    """Keys of the kinds of request that it serves; ``None``: all."""
    needs: tuple[str, ...] = ()
    """Packages that it needs and the project does not."""
    variables: tuple[tuple[str, str], ...] = ()
    """Of its environment."""
    counted_with: tuple[str, ...] = ()
    """What Python runs instead where round trips are counted."""
    pooled_by_odbc: bool = False
    """Whether unixODBC keeps its connections."""

    def environment(self) -> dict[str, str]:
        """What ``project/settings.py``, ``project/asgi.py`` and the rivals read, the database
        apart."""
        return {
            "DJANGO_SETTINGS_MODULE": f"{PROJECT}.settings",
            "BENCH_ENGINE": self.engine,
            "BENCH_ENTRY": self.entry,
            "BENCH_CONN_MAX_AGE": str(self.conn_max_age),
            **dict(self.variables),
        }

    def to_be_counted(self) -> Candidate:
        return replace(self, module=self.counted_with or self.module)

    def serves(self, work: str) -> bool:
        return self.works is None or work in self.works

    def missing(self) -> list[str]:
        """Packages that it needs and that are not installed here."""
        return [each for each in self.needs if find_spec(each) is None]


OURS = Candidate("ours", "mssql_async", "mssql_async", "mssql_async.asgi.get_asgi_application")
OURS_WITH_DJANGOS_ENTRY = Candidate(
    "ours-django-entry", "mssql_async, Django's entry point", "mssql_async"
)
STOCK = Candidate("stock", "mssql, CONN_MAX_AGE 0")
STOCK_PERSISTENT = Candidate("stock-persistent", "mssql, CONN_MAX_AGE 600", conn_max_age=PERSISTENT)
STOCK_ODBC_POOLING = Candidate(
    "stock-odbc-pooling", "mssql, CONN_MAX_AGE 0, unixODBC's pooling", pooled_by_odbc=True
)


def _wsgi(threads: int) -> Candidate:
    """What most have today: synchronous views under gunicorn, each thread its connection."""
    return Candidate(
        f"wsgi-{threads}",
        f"WSGI, {threads} threads: mssql, CONN_MAX_AGE 600",
        conn_max_age=PERSISTENT,
        module=(PROJECT, "wsgi", str(threads)),
        # Which of several threads serves is left to chance, and so is whether its connection and
        # its prepared statements are there.
        counted_with=(PROJECT, "wsgi", "1"),
        prefix="/sync",
        works=frozenset(
            ["no-query", "one-query", "three-queries", "create", "atomic", "savepoint", "bulk",
             "prefetch"]
        ),
        needs=("gunicorn",),
    )  # fmt: skip


def _rival(
    key: str, name: str, module: str, *needs: str, works: frozenset[str] = OF_RIVALS,
    **variables: str,
) -> Candidate:  # fmt: skip
    return Candidate(
        key, name, "", module=(RIVALS, module), works=works, needs=needs,
        variables=tuple(variables.items()),
    )  # fmt: skip


CANDIDATES = (
    OURS,
    OURS_WITH_DJANGOS_ENTRY,
    STOCK,
    STOCK_PERSISTENT,
    STOCK_ODBC_POOLING,
    _wsgi(16),
    _wsgi(64),
    _rival(
        "sqlalchemy", "Starlette, SQLAlchemy, aioodbc", "starlette_sqlalchemy",
        "starlette", "sqlalchemy", "greenlet", "aioodbc",
    ),
    _rival("fastmssql", "Starlette, fastmssql", "starlette_fastmssql", "starlette", "fastmssql"),
    _rival(
        "fastmssql-documented", "Starlette, fastmssql, a login per transaction",
        "starlette_fastmssql", "starlette", "fastmssql",
        works=frozenset(["atomic"]), BENCH_TRANSACTIONS="documented",
    ),
    _rival("bare", "bare ASGI, pyodbc by hand", "bare"),
)  # fmt: skip
LOADED_BY_DEFAULT = tuple(
    each for each in CANDIDATES if each.key not in ("ours-django-entry", "fastmssql-documented")
)


@dataclass(frozen=True, slots=True)
class Site:
    """A candidate that is being served."""

    candidate: Candidate
    port: int
    process_id: int

    def path(self, path: str) -> str:
        """Where it serves what others serve at ``path``."""
        return self.candidate.prefix + path

    def processor_seconds(self) -> float | None:
        """What its process and those that it started have used of the processor; ``None``
        where nobody says."""
        own = Path(f"/proc/{self.process_id}")
        try:
            children = (own / f"task/{self.process_id}/children").read_text().split()
            return sum(_processor_seconds(each) for each in (str(self.process_id), *children))
        except OSError:
            return None


def _processor_seconds(process_id: str) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


class DidNotStart(RuntimeError):
    """A site that ended before it listened."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where sites are served: one database, and for all of them the same driver."""

    database: Database
    driver: Mapping[str, str]
    """The environment in which all others than this project find the driver."""
    pooling_driver: Mapping[str, str]
    """The same, where unixODBC keeps connections."""
    middleware: bool = False

    def environment(self, candidate: Candidate) -> dict[str, str]:
        found = {**os.environ, **self.database.environment(), **candidate.environment()}
        if candidate.engine != OURS.engine:
            found |= self.pooling_driver if candidate.pooled_by_odbc else self.driver
        if self.middleware:
            found["BENCH_MIDDLEWARE"] = "1"
        return found

    def prepare(self) -> None:
        """Make the table, anew if there is one.

        :raises subprocess.CalledProcessError: it cannot be made; Django has said why.
        """
        command = [sys.executable, "-m", PROJECT, "prepare"]
        subprocess.run(command, env=self.environment(OURS), cwd=ROOT, check=True)

    @contextmanager
    def serving(self, candidate: Candidate) -> Iterator[Site]:
        """
        :raises DidNotStart: it has said why.
        """
        command = [sys.executable, "-m", *candidate.module]
        with subprocess.Popen(
            command,
            env=self.environment(candidate),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            process_group=APART,
        ) as process:
            assert process.stdout is not None
            try:
                port = process.stdout.readline()
                if not port:
                    raise DidNotStart(f"{candidate.name}: did not start")
                yield Site(candidate, int(port), process.pid)
            finally:
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()


@contextmanager
def place_for(database: Database, *, middleware: bool = False) -> Iterator[Place]:
    """The others know Microsoft's driver by its name only. Where it is not installed
    under that, a private ``odbcinst.ini`` names the library that this project finds."""
    driver = find_driver()
    found = {"BENCH_DRIVER": driver.name}
    with tempfile.TemporaryDirectory() as folder:
        alone, pooling = Path(folder, "alone"), Path(folder, "pooling")
        _register(driver, pooling, pooled=True)
        if driver.library is not None:
            _register(driver, alone)
            found["ODBCSYSINI"] = str(alone)
        yield Place(database, found, {**found, "ODBCSYSINI": str(pooling)}, middleware)


def _register(driver: Driver, folder: Path, *, pooled: bool = False) -> None:
    """Write an ``odbcinst.ini``; of a driver that is installed, the system's with changes."""
    known = ConfigParser(interpolation=None)
    known.optionxform = str  # type: ignore[assignment, method-assign]
    if driver.library is None:
        known.read(Path(os.environ.get("ODBCSYSINI", "/etc"), "odbcinst.ini"), encoding="utf-8")
    else:
        known[driver.name] = {"Driver": str(driver.library)}
    if pooled:
        for section in known.sections():
            known[section]["CPTimeout"] = str(PERSISTENT)
        known["ODBC"] = {"Pooling": "Yes"}
    folder.mkdir()
    with Path(folder, "odbcinst.ini").open("w", encoding="utf-8") as file:
        known.write(file, space_around_delimiters=False)
