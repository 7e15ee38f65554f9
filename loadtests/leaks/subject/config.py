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

    # --- across processes --------------------------------------------------------------------

    def to_environment(self) -> dict[str, str]:
        """What another process needs on top of this one's environment."""
        rest = {
            "engine": self.engine,
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
        if self.engine.endswith("sqlite3"):
            return self._files()
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

    def _files(self) -> dict[str, dict[str, Any]]:
        """SQLite: ``Database.name`` is a path."""
        entry = {"ENGINE": self.engine, "CONN_MAX_AGE": self.conn_max_age}
        name = self.database.name
        return {
            "default": {**entry, "NAME": name},
            "other": {**entry, "NAME": f"{name}.other"},
            "atomic": {**entry, "NAME": name, "ATOMIC_REQUESTS": True},
            "small": {**entry, "NAME": name},
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
