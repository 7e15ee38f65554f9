"""On what the project under test runs, and how its processes are told.

In the harness's own process :func:`configure` sets Django up; another process gets
:meth:`SubjectConfig.to_environment` and finds it again in ``subject/settings.py``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from loadtests.bench.requests_sites import Database

from .. import clock
from .databases import MICROSOFT, SQLITE, NoDatabase, entry_of, import_path

VARIABLE = "LEAKS_SUBJECT"
SETTINGS = "loadtests.leaks.subject.settings"
CONTROLS = "loadtests.leaks.controls"
TOKENS = "LEAKS_TOKENS"
"""Names the file that :mod:`.tokens` reads."""

PROVIDER = "loadtests.leaks.subject.tokens.provide"

OTHER_DATABASE = "leaks_other"

SMALL_POOL: Mapping[str, Any] = {"max_size": 2, "acquire_timeout": 2}


@dataclass(frozen=True, slots=True)
class SubjectConfig:
    """One database server, the backend to reach it by, and how that is set."""

    database: Database
    engine: str = "mssql_async"
    """``DATABASES[…]["ENGINE"]``; any Django backend."""
    vendor: str = MICROSOFT
    """Of its connections, as Django has it."""
    databases_of: str = ""
    """Where the user says which database it is, if that is no SQL Server: see
    :func:`.databases.entry_of`."""
    folder: str = ""
    """Where that is looked for, and the user's modules."""
    files: str = ""
    """The run's folder for what is kept in files: SQLite."""
    conn_max_age: int | None = 0
    program: str = "leaks"
    """What the sessions under test call themselves at the server."""
    control: str = ""
    """A module of ``controls/``, whose ``install()`` is called once Django is set up."""
    pool: Mapping[str, Any] = field(default_factory=dict)
    """Of ``OPTIONS["pool"]``, where the engine is mssql_async: ``lease``, ``max_size``, …"""
    driver: Mapping[str, str] = field(default_factory=dict)
    """The environment in which stock mssql-django finds the driver: ``Place.driver``."""
    tokens: str = ""
    """A file with the access token of the alias "token", which exists only then: see
    :mod:`.tokens`."""

    @property
    def is_ours(self) -> bool:
        return engine_is_ours(self.engine)

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self.databases())

    @property
    def aliases_apart(self) -> tuple[str, ...]:
        """One for each database that there really is."""
        return ("default", "other") if self.vendor in (MICROSOFT, SQLITE) else ("default",)

    # --- across processes --------------------------------------------------------------------

    def to_environment(self) -> dict[str, str]:
        """What another process needs on top of this one's environment."""
        rest = {
            "engine": self.engine,
            "vendor": self.vendor,
            "databases_of": self.databases_of,
            "folder": self.folder,
            "files": self.files,
            "conn_max_age": self.conn_max_age,
            "program": self.program,
            "control": self.control,
            "pool": dict(self.pool),
            "driver": dict(self.driver),
            "tokens": self.tokens,
        }
        return {
            **self.database.environment(),
            **clock.environment(),
            **self.driver,
            **(import_path(self.folder) if self.folder else {}),
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            TOKENS: self.tokens,
            VARIABLE: json.dumps(rest),
        }

    @classmethod
    def from_environment(cls) -> SubjectConfig:
        """
        :raises LookupError: this process was not told.
        """
        database = Database.of_the_environment()
        if database is None or VARIABLE not in os.environ:
            raise LookupError("MSSQL_HOST and LEAKS_SUBJECT name the database and its backend.")
        return cls(database, **json.loads(os.environ[VARIABLE]))

    # --- Django's settings -------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        return {
            "DATABASES": self.databases(),
            "ALLOWED_HOSTS": ["*"],
            "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
            "INSTALLED_APPS": ["loadtests.leaks.subject"],
            "MIDDLEWARE": [],
            "ROOT_URLCONF": "loadtests.leaks.subject.urls",
            "SECRET_KEY": "for load tests only",
            "USE_TZ": True,
            # Scenarios fail on purpose by the thousand.
            "LOGGING": {
                "version": 1,
                "disable_existing_loggers": False,
                "loggers": {
                    "django.request": {"level": "CRITICAL", "propagate": False},
                    "mssql_async": {"level": "CRITICAL", "propagate": False},
                },
            },
        }

    def databases(self) -> dict[str, dict[str, Any]]:
        if self.vendor != MICROSOFT:
            return self._of_others()
        found = {
            "default": self._entry(self.pool),
            "other": {**self._entry(self.pool), "NAME": OTHER_DATABASE},
            "atomic": {**self._entry(self.pool), "ATOMIC_REQUESTS": True},
            "small": self._entry({**self.pool, **SMALL_POOL}),
        }
        if self.tokens and self.is_ours:
            entry = self._entry(self.pool)
            del entry["USER"], entry["PASSWORD"]
            entry["OPTIONS"]["token_provider"] = PROVIDER
            found["token"] = entry
        return found

    def _entry(self, pool: Mapping[str, Any]) -> dict[str, Any]:
        database = self.database
        options: dict[str, Any] = {
            "extra_params": ";".join(filter(None, (database.extra_params, f"APP={self.program}")))
        }
        if self.is_ours:
            options["pool"] = dict(pool)
        elif "BENCH_DRIVER" in self.driver:
            options["driver"] = self.driver["BENCH_DRIVER"]
        return {
            "ENGINE": self.engine,
            "NAME": database.name,
            "HOST": database.host,
            "PORT": database.port,
            "USER": database.user,
            "PASSWORD": database.password,
            "CONN_MAX_AGE": self.conn_max_age,
            "OPTIONS": options,
        }

    def _of_others(self) -> dict[str, dict[str, Any]]:
        """Where it is no SQL Server all aliases have one database, which need not be made; but
        each of two files of SQLite has its own lock."""
        entry: dict[str, Any] = {"ENGINE": self.engine, "CONN_MAX_AGE": self.conn_max_age}
        other: dict[str, Any] = {}
        if self.databases_of:
            entry = {**entry_of(self.databases_of, self.folder), **entry, "ATOMIC_REQUESTS": False}
        elif self.vendor != SQLITE:
            raise NoDatabase(f"{self.engine} needs --databases, which says where its database is.")
        if self.vendor == SQLITE:
            entry["NAME"] = str(Path(self.files, "leaks.sqlite3"))
            other["NAME"] = str(Path(self.files, "other.sqlite3"))
        return {
            "default": {**entry},
            "other": {**entry, **other},
            "atomic": {**entry, "ATOMIC_REQUESTS": True},
            "small": {**entry},
        }


@cache
def engine_is_ours(engine: str) -> bool:
    """Whether it is mssql_async, or built on it. Its text is read and not imported: importing a
    backend takes the settings that this decides on.

    :raises ModuleNotFoundError: there is no such engine.
    """
    if engine == "mssql_async":
        return True
    found = find_spec(f"{engine}.base")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"There is no database backend {engine!r}.")
    text = Path(found.origin).read_text(encoding="utf-8")
    return re.search(r"^\s*(from|import)\s+mssql_async\b", text, re.MULTILINE) is not None


def configure(config: SubjectConfig) -> None:
    """Set Django up in this process. Once only: a process serves one project."""
    import django
    from django.conf import settings

    if not settings.configured and os.environ.get("DJANGO_SETTINGS_MODULE") != SETTINGS:
        os.environ.update(config.driver)
        os.environ[TOKENS] = config.tokens
        settings.configure(**config.settings())
    django.setup(set_prefix=False)


def install_control(config: SubjectConfig) -> None:
    """Break what the control is there to break, for good."""
    if config.control:
        import_module(f"{CONTROLS}.{config.control}").install()
