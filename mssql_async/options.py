"""Django's settings of one database, validated into frozen objects.

Every setting of mssql-django keeps its meaning; ``OPTIONS["pool"]`` and
``OPTIONS["token_provider"]`` are ours. ``docs/settings.md`` lists them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .errors import InvalidSettings
from .pool import PoolSettings
from .pool.settings import RetryPolicy
from .pool.tokens import Provider
from .session.scope import LeaseScope

#: ``OPTIONS["pool"]`` keys -> (lowest value allowed, whether None is allowed, type).
_POOL_KEYS: dict[str, tuple[float, bool, type[int] | type[float]]] = {
    "min_size": (0, False, int),
    "max_size": (1, False, int),
    "max_opening": (1, False, int),
    "acquire_timeout": (0.001, False, float),
    "max_waiting": (0, False, int),
    "max_idle": (0, False, float),
    "max_lifetime": (0.001, True, float),
    "health_check_window": (0, False, float),
    "leak_threshold": (0.001, True, float),
}

#: Keys of ``OPTIONS["pool"]`` that are not a pool's own.
_KEYS_BESIDE = ("lease", "max_workers", "worker")

MAX_WORKERS = 64
"""``OPTIONS["pool"]["max_workers"]`` where it is not set."""

#: What ``OPTIONS["pool"]["worker"]`` may say: how long a context keeps the thread of its calls.
_WORKER_SCOPES = ("call", "context")

#: Every key of ``OPTIONS`` that has an effect: those of mssql-django, of its ``dbshell``, ours.
_KNOWN_OPTIONS = (
    "collation", "connection_recovery_interval_msec", "connection_retries",
    "connection_retry_backoff_time", "connection_timeout", "datefirst", "driver",
    "driver_charset", "driver_needs_utf8", "dsn", "extra_params", "host_is_server",
    "isolation_level", "python_driver", "query_timeout", "return_rows_bulk_insert",
    "setdecoding", "setencoding", "unicode_results",
    "db", "host", "passwd", "port", "read_default_file", "user",
    "pool", "token_provider",
)  # fmt: skip

_TEXTS = ("driver", "dsn", "extra_params", "collation", "driver_charset")
_FLAGS = ("unicode_results", "return_rows_bulk_insert", "host_is_server")

#: Keywords of a connection string with which the driver takes no access token (its FA005).
_KEYWORDS_WITHOUT_TOKEN = frozenset({"uid", "pwd", "trusted_connection", "authentication"})


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
    token_provider: Provider | None = None
    """``OPTIONS["token_provider"]``: what gives the access tokens to log in with."""
    lease: LeaseScope = LeaseScope.TRANSACTION
    max_workers: int = MAX_WORKERS
    """Threads that run the synchronous calls of contexts, at most. One set of threads serves all
    databases of a process: the largest number of theirs holds."""
    keep_worker: bool = False
    """``OPTIONS["pool"]["worker"]`` is ``"context"``: each context keeps its thread to its end."""
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
    if not isinstance(options, Mapping):
        raise InvalidSettings(f"{where} is of type {type(options).__name__}; use a dictionary.")
    if str(options.get("python_driver") or "pyodbc").strip().lower() != "pyodbc":
        raise InvalidSettings(
            f"{where}['python_driver'] selects mssql-python, but mssql_async works through "
            "pyodbc only: remove it, or use ENGINE = 'mssql' for this database."
        )
    _check_texts(settings_dict, options, alias)

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
    number("connection_recovery_interval_msec", 0, 0, float)
    retry = RetryPolicy(
        retries=number("connection_retries", 5, 0),
        backoff=number("connection_retry_backoff_time", 5, 0, float),
    )
    return BackendOptions(
        pool=_pool_settings(settings_dict, options, alias, retry),  # also that it is a dictionary
        lease=_lease_scope(options, alias),
        max_workers=_max_workers(options, alias),
        keep_worker=_keeps_worker(options, alias),
        token_provider=_token_provider(settings_dict, options, alias),
        driver=options.get("driver"),
        dsn=options.get("dsn"),
        connection_timeout=number("connection_timeout", 0, 0),
        query_timeout=number("query_timeout", 0, 0),
        retries_are_explicit="connection_retries" in options,
        isolation_level=level,
        datefirst=datefirst,
        return_rows_bulk_insert=bool(options.get("return_rows_bulk_insert", False)),
        setencoding=_keyword_lists(f"{where}['setencoding']", options.get("setencoding")),
        setdecoding=_keyword_lists(f"{where}['setdecoding']", options.get("setdecoding")),
        unicode_results=bool(options.get("unicode_results", False)),
    )


def settings_without_effect(settings_dict: Mapping[str, Any], alias: str) -> list[str]:
    """A sentence for each key of ``OPTIONS`` that nobody reads, most likely misspelt.

    They are no errors, because mssql-django lets them pass.
    """
    options = settings_dict.get("OPTIONS") or {}
    found = []
    for key in options:
        if key in _KNOWN_OPTIONS:
            continue
        text = f"DATABASES[{alias!r}]['OPTIONS'][{key!r}] is not a setting and has no effect."
        if key in _POOL_KEYS or key in _KEYS_BESIDE:
            text += f" It belongs into OPTIONS['pool'][{key!r}]."
        else:
            text += _did_you_mean(key, _KNOWN_OPTIONS)
        found.append(text)
    return found


def _pool_settings(
    settings_dict: Mapping[str, Any], options: Mapping[str, Any], alias: str, retry: RetryPolicy
) -> PoolSettings:
    where = f"DATABASES[{alias!r}]['OPTIONS']['pool']"
    given = options.get("pool")
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise InvalidSettings(
            f"{where} is {given!r}; it must be a dictionary such as {{'max_size': 20}}. To turn "
            "pooling off set DATABASE_CONNECTION_POOLING = False."
        )
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in _KEYS_BESIDE:
            continue
        if key not in _POOL_KEYS:
            hint = _did_you_mean(key, (*_POOL_KEYS, *_KEYS_BESIDE))
            raise InvalidSettings(
                f"{where}[{key!r}] is not a setting of the pool.{hint} "
                f"There are: {', '.join((*_POOL_KEYS, *_KEYS_BESIDE))}."
            )
        lowest, optional, kind = _POOL_KEYS[key]
        values[key] = _number(f"{where}[{key!r}]", value, lowest, optional, kind)
    default = PoolSettings()
    smallest = values.get("min_size", default.min_size)
    largest = values.get("max_size", default.max_size)
    if smallest > largest:
        raise InvalidSettings(
            f"{where}['min_size'] is {smallest}, more than max_size, which is {largest}: "
            "lower the one or raise the other."
        )
    if "max_lifetime" not in values:
        values.update(_lifetime(settings_dict, alias))
    return PoolSettings(**values, retry=retry)


def _lease_scope(options: Mapping[str, Any], alias: str) -> LeaseScope:
    given = (options.get("pool") or {}).get("lease", LeaseScope.TRANSACTION.value)
    try:
        return LeaseScope(given)
    except ValueError:
        allowed = " or ".join(repr(scope.value) for scope in LeaseScope)
        raise InvalidSettings(
            f"DATABASES[{alias!r}]['OPTIONS']['pool']['lease'] is {given!r}; use {allowed}."
        ) from None


def _max_workers(options: Mapping[str, Any], alias: str) -> int:
    given = (options.get("pool") or {}).get("max_workers", MAX_WORKERS)
    where = f"DATABASES[{alias!r}]['OPTIONS']['pool']['max_workers']"
    count: int = _number(where, given, 1, False, int)
    return count


def _keeps_worker(options: Mapping[str, Any], alias: str) -> bool:
    given = (options.get("pool") or {}).get("worker", _WORKER_SCOPES[0])
    if given not in _WORKER_SCOPES:
        allowed = " or ".join(map(repr, _WORKER_SCOPES))
        raise InvalidSettings(
            f"DATABASES[{alias!r}]['OPTIONS']['pool']['worker'] is {given!r}; use {allowed}."
        )
    return bool(given == "context")


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


# --- access tokens ---------------------------------------------------------------------------


def _token_provider(
    settings_dict: Mapping[str, Any], options: Mapping[str, Any], alias: str
) -> Provider | None:
    """The provider, once nothing contradicts it or the token in its place."""
    where = f"DATABASES[{alias!r}]"
    given = options.get("token_provider")
    if "TOKEN" in settings_dict:
        if given is not None:
            raise InvalidSettings(
                f"{where} has both TOKEN and OPTIONS['token_provider']: remove TOKEN, and tokens "
                "are renewed; or the provider, and logins fail once that token has expired."
            )
        token = settings_dict["TOKEN"]
        if not isinstance(token, str) or not token:
            what = "empty" if token == "" else f"of type {type(token).__name__}"
            raise InvalidSettings(
                f"{where}['TOKEN'] is {what}: give the text of an access token, or leave TOKEN "
                "out and give OPTIONS['token_provider'], which can renew it."
            )
        _require_no_other_credentials(settings_dict, options, where, "TOKEN", ("USER",))
        return None
    if given is None:
        return None
    _require_no_other_credentials(
        settings_dict, options, where, "OPTIONS['token_provider']", ("USER", "PASSWORD")
    )
    where += "['OPTIONS']['token_provider']"
    if not isinstance(given, str):
        return _provider(given, where)
    if not _is_dotted_path(given):  # it may be a token, and is not shown
        raise InvalidSettings(
            f"{where} is a text that is no dotted path. Give a callable or a credential, or the "
            "path to one, such as 'myproject.database.credential'."
        )
    return _provider(_imported(given, where), f"{where} = {given!r}")


def _require_no_other_credentials(
    settings_dict: Mapping[str, Any],
    options: Mapping[str, Any],
    where: str,
    tokens: str,
    credentials: tuple[str, ...],
) -> None:
    found = [name for name in credentials if settings_dict.get(name)]
    trusted = settings_dict.get("Trusted_Connection")
    if tokens != "TOKEN" and trusted and str(trusted).strip().lower() != "no":
        found.append("Trusted_Connection")
    found += [
        f"{keyword!r} in OPTIONS['extra_params']"
        for keyword, value in _extra_params(options).items()
        if keyword in _KEYWORDS_WITHOUT_TOKEN
        and (keyword, value.strip().lower()) != ("trusted_connection", "no")
    ]
    if found:
        raise InvalidSettings(
            f"{where} has both {tokens} and {' and '.join(found)}: the driver logs in with one "
            "of them only. Remove the other."
        )


def _extra_params(options: Mapping[str, Any]) -> dict[str, str]:
    """By the dialect's own parser; nothing where the dialect cannot be loaded, which another
    check names."""
    if not options.get("extra_params"):
        return {}
    try:
        from mssql.base import DatabaseWrapper
    except (ImportError, ImproperlyConfigured):
        return {}
    found: dict[str, str] = DatabaseWrapper._parse_extra_params(  # noqa: SLF001
        options["extra_params"]
    )
    return found


def _is_dotted_path(text: str) -> bool:
    parts = text.split(".")
    return (
        len(parts) > 1
        and all(part.isidentifier() for part in parts)
        and len(text) < 200
        and not text.startswith("eyJ")  # as every JSON Web Token does
    )


@cache
def _found_at(path: str) -> object:
    """What a dotted path leads to; of a class the one instance that all aliases share."""
    found: object = import_string(path)
    if isinstance(found, type) and _has_providing_instances(found):
        return found()
    return found


def _imported(path: str, where: str) -> object:
    try:
        return _found_at(path)
    except Exception as error:
        raise InvalidSettings(
            f"{where} is {path!r}, which cannot be had ({type(error).__name__}: {error}). Give a "
            "dotted path to a callable without arguments, to a credential with get_token(), or "
            "to a class of either that needs no arguments."
        ) from error


def _has_providing_instances(found: type) -> bool:
    return hasattr(found, "get_token") or any("__call__" in vars(one) for one in found.__mro__[:-1])


def _provider(given: object, where: str) -> Provider:
    if isinstance(given, type):
        raise InvalidSettings(
            f"{where} is the class {given.__qualname__}: give an instance of it"
            f"{'' if hasattr(given, 'get_token') else ', or a function'}."
        )
    try:
        return Provider(given)
    except TypeError as error:
        raise InvalidSettings(
            f"{where} cannot be used: {error}. Give a callable without arguments that returns an "
            "access token and its expiry, or a credential such as azure-identity's "
            "DefaultAzureCredential()."
        ) from None


# --- single values ---------------------------------------------------------------------------


def _number(where: str, value: Any, lowest: float, optional: bool, kind: type) -> Any:
    if value is None and optional:
        return None
    expected = "a whole number" if kind is int else "a number"
    if (
        isinstance(value, bool)
        or not isinstance(value, int if kind is int else int | float)
        or not _is_finite(value)
    ):
        raise InvalidSettings(
            f"{where} is {value!r}; it must be {expected}{' or None' if optional else ''}."
        )
    if value < lowest:
        raise InvalidSettings(f"{where} is {value!r}; it must be at least {lowest}.")
    return kind(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _check_texts(settings_dict: Mapping[str, Any], options: Mapping[str, Any], alias: str) -> None:
    """What goes into the connection string. Values are not shown: some are secrets."""
    values = {f"[{name!r}]": settings_dict.get(name) for name in ("HOST", "USER", "PASSWORD")}
    values |= {f"['OPTIONS'][{name!r}]": options.get(name) for name in _TEXTS}
    for name, value in values.items():
        if value is not None and not isinstance(value, str):
            raise InvalidSettings(
                f"DATABASES[{alias!r}]{name} is of type {type(value).__name__}; it must be a str."
            )
    port = str(settings_dict.get("PORT") or "")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:9]) < 65536):
        raise InvalidSettings(
            f"DATABASES[{alias!r}]['PORT'] is {port!r}; use a number from 1 to 65535, or '' for "
            "the default."
        )
    for name in _FLAGS:
        if not isinstance(options.get(name, False), bool | int | None):
            raise InvalidSettings(
                f"DATABASES[{alias!r}]['OPTIONS'][{name!r}] is {options[name]!r}; use True or "
                "False."
            )


def _keyword_lists(where: str, entries: Any) -> tuple[tuple[tuple[str, Any], ...], ...]:
    """``setencoding`` and ``setdecoding``: lists of keyword dictionaries, made hashable."""
    if entries is None:
        return ()
    if not isinstance(entries, list | tuple) or not all(
        isinstance(entry, Mapping) and all(isinstance(key, str) for key in entry)
        for entry in entries
    ):
        raise InvalidSettings(
            f"{where} is {entries!r}; it must be a list of dictionaries of pyodbc's keywords, "
            "such as [{'encoding': 'utf-8'}]."
        )
    return tuple(tuple(sorted(entry.items())) for entry in entries)


def _did_you_mean(key: object, known: tuple[str, ...]) -> str:
    close = get_close_matches(str(key), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


assert set(_POOL_KEYS) <= {field.name for field in fields(PoolSettings)}  # noqa: S101
