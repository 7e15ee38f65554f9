"""Django's settings of one database, validated into frozen objects.

Every setting of mssql-django keeps its meaning; ``OPTIONS["pool"]`` is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from .errors import InvalidSettings
from .pool import PoolSettings
from .session.scope import LeaseScope

#: ``OPTIONS["pool"]`` keys -> (lowest value allowed, whether None is allowed, type).
_POOL_KEYS: dict[str, tuple[float, bool, type[int] | type[float]]] = {
    "max_size": (1, False, int),
    "acquire_timeout": (0.001, False, float),
    "max_waiting": (0, False, int),
    "max_idle": (0, False, float),
    "max_lifetime": (0.001, True, float),
    "health_check_window": (0, False, float),
}


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """What this backend reads from one entry of ``DATABASES``. Times are in seconds."""

    pool: PoolSettings
    driver: str | None = None
    """``OPTIONS["driver"]``; ``None``: find one (:mod:`mssql_async.driver`)."""
    dsn: str | None = None
    """``OPTIONS["dsn"]``: a data source of the driver manager's, which names its driver itself."""
    connection_timeout: int = 0
    query_timeout: int = 0
    connection_retries: int = 5
    connection_retry_backoff_time: float = 5.0
    lease: LeaseScope = LeaseScope.TRANSACTION
    retries_are_explicit: bool = False
    """``connection_retries`` was set, so that even a name that may be wrong is retried."""
    isolation_level: str = "READ COMMITTED"
    datefirst: int = 7
    return_rows_bulk_insert: bool = False
    setencoding: tuple[tuple[tuple[str, Any], ...], ...] = ()
    setdecoding: tuple[tuple[tuple[str, Any], ...], ...] = ()
    unicode_results: bool = False

    @property
    def needs_a_driver(self) -> bool:
        """Whether the settings leave it to us to find a driver."""
        return self.driver is None and self.dsn is None

    @property
    def session_setup(self) -> str:
        """The batch that takes a fresh or reset session to this alias's baseline.

        The isolation level is always said: ``sp_reset_connection`` does not restore it on
        every version of SQL Server.
        """
        return (
            f"SET TRANSACTION ISOLATION LEVEL {self.isolation_level}; "
            f"SET DATEFORMAT ymd; SET DATEFIRST {self.datefirst}"
        )


_ISOLATION_LEVELS = (
    "READ UNCOMMITTED",
    "READ COMMITTED",
    "REPEATABLE READ",
    "SERIALIZABLE",
    "SNAPSHOT",
)


def backend_options(settings_dict: Mapping[str, Any], alias: str) -> BackendOptions:
    """Read and validate one entry of ``DATABASES``.

    :raises InvalidSettings: naming the setting, what was found and what is allowed.
    """
    options = settings_dict.get("OPTIONS") or {}
    where = f"DATABASES[{alias!r}]['OPTIONS']"
    if options.get("python_driver"):
        raise InvalidSettings(
            f"{where}['python_driver'] selects mssql-python, but mssql_async works through "
            "pyodbc only: remove it, or use ENGINE = 'mssql' for this database."
        )

    def number(name: str, default: float, lowest: float, kind: type = int) -> Any:
        return _number(f"{where}[{name!r}]", options.get(name, default), lowest, False, kind)

    level = " ".join(str(options.get("isolation_level") or "READ COMMITTED").upper().split())
    if level not in _ISOLATION_LEVELS:
        raise InvalidSettings(
            f"{where}['isolation_level'] is {options['isolation_level']!r}; use one of "
            f"{', '.join(_ISOLATION_LEVELS)}."
        )
    datefirst = number("datefirst", 7, 1)
    if datefirst > 7:
        raise InvalidSettings(f"{where}['datefirst'] is {datefirst}; use 1 (Monday) to 7 (Sunday).")
    return BackendOptions(
        pool=_pool_settings(settings_dict, options, alias),  # also that it is a dictionary
        lease=_lease_scope(options, alias),
        driver=options.get("driver"),
        dsn=options.get("dsn"),
        connection_timeout=number("connection_timeout", 0, 0),
        query_timeout=number("query_timeout", 0, 0),
        connection_retries=number("connection_retries", 5, 0),
        retries_are_explicit="connection_retries" in options,
        connection_retry_backoff_time=number("connection_retry_backoff_time", 5, 0, float),
        isolation_level=level,
        datefirst=datefirst,
        return_rows_bulk_insert=bool(options.get("return_rows_bulk_insert", False)),
        setencoding=_keyword_lists(options.get("setencoding")),
        setdecoding=_keyword_lists(options.get("setdecoding")),
        unicode_results=bool(options.get("unicode_results", False)),
    )


def _pool_settings(
    settings_dict: Mapping[str, Any], options: Mapping[str, Any], alias: str
) -> PoolSettings:
    where = f"DATABASES[{alias!r}]['OPTIONS']['pool']"
    given = options.get("pool") or {}
    if not isinstance(given, Mapping):
        raise InvalidSettings(
            f"{where} is {given!r}; it must be a dictionary such as {{'max_size': 20}}. To turn "
            "pooling off set DATABASE_CONNECTION_POOLING = False."
        )
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key == "lease":
            continue
        if key not in _POOL_KEYS:
            close = get_close_matches(str(key), (*_POOL_KEYS, "lease"), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidSettings(
                f"{where}[{key!r}] is not a setting of the pool.{hint} "
                f"There are: {', '.join((*_POOL_KEYS, 'lease'))}."
            )
        lowest, optional, kind = _POOL_KEYS[key]
        values[key] = _number(f"{where}[{key!r}]", value, lowest, optional, kind)
    if "max_lifetime" not in values:
        values.update(_lifetime(settings_dict, alias))
    return PoolSettings(**values)


def _lease_scope(options: Mapping[str, Any], alias: str) -> LeaseScope:
    given = (options.get("pool") or {}).get("lease", LeaseScope.TRANSACTION.value)
    try:
        return LeaseScope(given)
    except ValueError:
        allowed = " or ".join(repr(scope.value) for scope in LeaseScope)
        raise InvalidSettings(
            f"DATABASES[{alias!r}]['OPTIONS']['pool']['lease'] is {given!r}; use {allowed}."
        ) from None


def _lifetime(settings_dict: Mapping[str, Any], alias: str) -> dict[str, float | None]:
    """``CONN_MAX_AGE`` as a pooled connection's lifetime.

    Contexts never own persistent connections here, so 0, Django's default, cannot mean
    "close after the request": it leaves the pool's own default, and ``None`` means no limit.
    """
    age = settings_dict.get("CONN_MAX_AGE", 0)
    if age is None:
        return {"max_lifetime": None}
    age = _number(f"DATABASES[{alias!r}]['CONN_MAX_AGE']", age, 0, True, float)
    return {"max_lifetime": age} if age else {}


def _number(where: str, value: Any, lowest: float, optional: bool, kind: type) -> Any:
    if value is None and optional:
        return None
    expected = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise InvalidSettings(
            f"{where} is {value!r}; it must be {expected}{' or None' if optional else ''}."
        )
    if value < lowest:
        raise InvalidSettings(f"{where} is {value!r}; it must be at least {lowest}.")
    return kind(value)


def _keyword_lists(entries: Any) -> tuple[tuple[tuple[str, Any], ...], ...]:
    """``setencoding`` and ``setdecoding``: lists of keyword dictionaries, made hashable."""
    return tuple(tuple(sorted(entry.items())) for entry in entries or ())


assert set(_POOL_KEYS) <= {field.name for field in fields(PoolSettings)}  # noqa: S101
