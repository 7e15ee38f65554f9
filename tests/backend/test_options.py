"""Settings are validated when the wrapper is made, and the error names the setting."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from mssql_async import options as options_module
from mssql_async.checks import check_databases
from mssql_async.errors import InvalidSettings
from mssql_async.options import BackendOptions, backend_options
from mssql_async.pool import PoolSettings

SETTINGS_PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
SECRET = "eyJ0eXAiOiJKV1QifQ.secret"


def options(**settings: Any) -> BackendOptions:
    return backend_options({"NAME": "app", **settings}, "default")


def test_defaults_are_those_of_the_design() -> None:
    pool = options().pool
    assert (pool.max_size, pool.acquire_timeout, pool.max_waiting) == (20, 30, 0)
    assert (pool.max_idle, pool.max_lifetime, pool.health_check_window) == (600, 3600, 0.5)
    assert (pool.min_size, pool.max_opening, pool.leak_threshold) == (0, 8, None)
    assert options().token_provider is None


def test_conn_max_age_is_a_pooled_connections_lifetime() -> None:
    assert options(CONN_MAX_AGE=120).pool.max_lifetime == 120


def test_conn_max_age_zero_is_djangos_default_and_leaves_the_pools_own() -> None:
    assert options(CONN_MAX_AGE=0).pool.max_lifetime == 3600


def test_conn_max_age_none_means_no_limit() -> None:
    assert options(CONN_MAX_AGE=None).pool.max_lifetime is None


def test_the_pools_own_setting_wins_over_conn_max_age() -> None:
    assert options(CONN_MAX_AGE=5, OPTIONS={"pool": {"max_lifetime": 60}}).pool.max_lifetime == 60


def test_the_settings_of_mssql_django_keep_their_defaults() -> None:
    o = options()
    assert (o.pool.retry.retries, o.pool.retry.backoff) == (5, 5)
    assert (o.connection_timeout, o.query_timeout, o.datefirst) == (0, 0, 7)


def test_every_setting_of_the_pool_reaches_it() -> None:
    given = {
        "min_size": 1,
        "max_size": 2,
        "max_opening": 1,
        "acquire_timeout": 3.5,
        "max_waiting": 4,
        "max_idle": 5,
        "max_lifetime": 6,
        "health_check_window": 0,
        "leak_threshold": 7,
    }
    pool = options(OPTIONS={"pool": {**given, "lease": "context"}}).pool
    assert {name: getattr(pool, name) for name in given} == given


def test_the_settings_of_workers_are_read() -> None:
    o = options(OPTIONS={"pool": {"max_workers": 3, "worker": "context"}})
    assert (o.max_workers, o.keep_worker) == (3, True)
    assert not options(OPTIONS={"pool": {"worker": "call"}}).keep_worker


def test_retries_are_the_pools_retry_policy() -> None:
    o = options(OPTIONS={"connection_retries": 2, "connection_retry_backoff_time": 0.5})
    assert (o.pool.retry.retries, o.pool.retry.backoff) == (2, 0.5)
    assert o.retries_are_explicit
    assert not options().retries_are_explicit


def test_pyodbc_may_be_named_as_mssql_django_allows() -> None:
    assert options(OPTIONS={"python_driver": " PyODBC "}) == options()


def test_every_session_starts_with_date_settings_and_isolation_level() -> None:
    o = options(OPTIONS={"isolation_level": "snapshot", "datefirst": 1})
    assert o.session_setup == (
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; SET DATEFORMAT ymd; SET DATEFIRST 1"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pool": {"max_sise": 3}}, r"\['pool'\]\['max_sise'\] is not .* Did you mean 'max_size'"),
        ({"pool": {"max_size": 0}}, r"\['max_size'\] is 0; it must be at least 1"),
        ({"pool": {"max_size": "9"}}, r"\['max_size'\] is '9'; it must be a whole number"),
        ({"pool": {"max_size": True}}, r"\['max_size'\] is True; it must be a whole number"),
        ({"pool": {"acquire_timeout": 0}}, r"\['acquire_timeout'\] is 0; it must be at least"),
        ({"pool": {"acquire_timeout": None}}, r"\['acquire_timeout'\] is None; .* a number\."),
        (
            {"pool": {"lease": "request"}},
            r"\['lease'\] is 'request'; use 'transaction' or 'context'",
        ),
        ({"pool": {"max_workers": 0}}, r"\['max_workers'\] is 0; it must be at least 1"),
        ({"pool": {"worker": "request"}}, r"\['worker'\] is 'request'; use 'call' or 'context'"),
        ({"pool": {"workers": 9}}, r"\['workers'\] is not .* Did you mean 'worker'"),
        ({"pool": {"acquire_timeout": float("nan")}}, r"\['acquire_timeout'\] is nan; it must be"),
        ({"pool": {"acquire_timeout": float("inf")}}, r"\['acquire_timeout'\] is inf; it must be"),
        ({"pool": {"max_idle": 10**400}}, r"\['max_idle'\] is 10+; it must be a number"),
        ({"pool": {"max_lifetime": float("inf")}}, r"\['max_lifetime'\] is inf; .* or None"),
        ({"pool": {"max_lifetime": 0}}, r"\['max_lifetime'\] is 0; it must be at least"),
        ({"pool": {"min_size": -1}}, r"\['min_size'\] is -1; it must be at least 0"),
        ({"pool": {"min_size": 1.5}}, r"\['min_size'\] is 1.5; it must be a whole number"),
        (
            {"pool": {"min_size": 3, "max_size": 2}},
            r"\['min_size'\] is 3, more than max_size, which is 2: lower the one or raise",
        ),
        ({"pool": {"min_size": 21}}, r"\['min_size'\] is 21, more than max_size, which is 20"),
        ({"pool": {"max_opening": 0}}, r"\['max_opening'\] is 0; it must be at least 1"),
        ({"pool": {"leak_threshold": 0}}, r"\['leak_threshold'\] is 0; it must be at least"),
        ({"pool": {"leak_threshold": "1"}}, r"\['leak_threshold'\] is '1'; .* or None"),
        ({"pool": "big"}, r"\['pool'\] is 'big'; it must be a dictionary"),
        ({"pool": False}, r"\['pool'\] is False; .* set DATABASE_CONNECTION_POOLING = False"),
        ({"isolation_level": "CHAOS"}, r"\['isolation_level'\] is 'CHAOS'; use one of READ"),
        ({"datefirst": 9}, r"\['datefirst'\] is 9; use 1 \(Monday\)"),
        ({"connection_retry_backoff_time": float("nan")}, r"_backoff_time'\] is nan; it must be"),
        ({"connection_recovery_interval_msec": "1"}, r"_msec'\] is '1'; it must be a number"),
        ({"query_timeout": 1.5}, r"\['query_timeout'\] is 1.5; it must be a whole number"),
        ({"extra_params": ["a=b"]}, r"\['extra_params'\] is of type list; it must be a str"),
        ({"unicode_results": "False"}, r"\['unicode_results'\] is 'False'; use True or False"),
        ({"setencoding": {"encoding": "utf-8"}}, r"\['setencoding'\] is .* a list of dict"),
        ({"setdecoding": ["utf-8"]}, r"\['setdecoding'\] is .* a list of dictionaries"),
        ({"connection_retries": -1}, r"\['connection_retries'\] is -1; it must be at least 0"),
        ({"python_driver": "mssql_python"}, r"\['python_driver'\] selects mssql-python"),
    ],
)
def test_a_wrong_setting_is_named_with_the_fix(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        options(OPTIONS=given)


def test_a_data_source_or_a_named_driver_needs_no_driver_of_ours() -> None:
    assert options().needs_a_driver
    assert not options(OPTIONS={"dsn": "mine"}).needs_a_driver
    assert not options(OPTIONS={"driver": "FreeTDS"}).needs_a_driver


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"OPTIONS": ["pool"]}, r"\['OPTIONS'\] is of type list; use a dictionary"),
        ({"CONN_MAX_AGE": -1}, r"\['CONN_MAX_AGE'\] is -1; it must be at least 0"),
        ({"CONN_MAX_AGE": float("nan")}, r"\['CONN_MAX_AGE'\] is nan; it must be a number"),
        ({"PORT": "mssql"}, r"\['PORT'\] is 'mssql'; use a number from 1 to 65535"),
        ({"PORT": 65536}, r"\['PORT'\] is '65536'; use a number"),
        ({"HOST": 127}, r"\['HOST'\] is of type int; it must be a str"),
    ],
)
def test_a_wrong_setting_beside_options_is_named_too(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"DATABASES\['default'\]{message}"):
        options(**given)


@pytest.mark.parametrize("port", ["", None, 1433, "1433"])
def test_a_port_is_a_number_or_left_to_the_driver(port: Any) -> None:
    assert options(PORT=port) == options()


def test_a_password_of_a_wrong_type_is_not_shown() -> None:
    with pytest.raises(InvalidSettings, match="is of type bytes") as raised:
        options(USER="sa", PASSWORD=b"hunter2")
    assert "hunter2" not in str(raised.value)


# --- access tokens ---------------------------------------------------------------------------


def provide() -> tuple[str, int]:
    return SECRET, 4_000_000_000


class Credential:
    """As those of azure-identity."""

    def get_token(self, *scopes: str) -> tuple[str, int]:
        return SECRET, 4_000_000_000


class Maker:
    """Its instances are callable; azure's are not."""

    def __call__(self) -> tuple[str, int]:
        return SECRET, 4_000_000_000


class NeedsArguments:
    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __call__(self) -> tuple[str, int]:
        return self.secret, 4_000_000_000


class NoProvider:
    pass


async def provide_later() -> tuple[str, int]:
    return SECRET, 4_000_000_000


credential = Credential()
number = 42
HERE = __name__


def with_provider(given: object, **settings: Any) -> BackendOptions:
    return options(OPTIONS={"token_provider": given, **settings.pop("OPTIONS", {})}, **settings)


@pytest.mark.parametrize(
    "given",
    [
        provide,
        Credential(),
        Maker(),
        f"{HERE}.provide",
        f"{HERE}.credential",
        f"{HERE}.Credential",
        f"{HERE}.Maker",
    ],
)
def test_a_token_provider_is_a_callable_a_credential_or_the_path_to_one(given: object) -> None:
    provider = with_provider(given).token_provider
    assert provider is not None
    assert provider() == (SECRET, 4_000_000_000)


@pytest.mark.parametrize("name", ["provide", "credential", "Credential", "Maker"])
def test_aliases_with_the_same_path_share_the_provider(name: str) -> None:
    path = f"{HERE}.{name}"
    assert with_provider(path).token_provider == with_provider(path).token_provider
    assert with_provider(path).token_provider != with_provider(Credential()).token_provider


def test_a_path_and_the_object_it_leads_to_are_the_same_provider() -> None:
    assert with_provider(f"{HERE}.provide").token_provider == with_provider(provide).token_provider


def test_azures_default_credential_is_taken_as_it_is() -> None:
    identity = pytest.importorskip("azure.identity")
    assert with_provider(identity.DefaultAzureCredential()).token_provider is not None
    assert with_provider("azure.identity.DefaultAzureCredential").token_provider is not None
    aio = pytest.importorskip("azure.identity.aio")
    unmade = object.__new__(aio.DefaultAzureCredential)  # it asks for aiohttp when it is made
    with pytest.raises(InvalidSettings, match=r"asynchronous, .* azure\.identity instead"):
        with_provider(unmade)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.provider", r"is 'nowhere.provider', which cannot be had \(ModuleNotFoundError"),
        (f"{HERE}.missing", r"cannot be had \(ImportError: .*\"missing\""),
        (f"{HERE}.NeedsArguments", r"cannot be had \(TypeError: .*'secret'"),
        (f"{HERE}.NoProvider", r"NoProvider' is the class NoProvider: give an instance"),
        (f"{HERE}.number", r"number' cannot be used: it is of type int, which can neither"),
        (f"{HERE}.provide_later", r"asynchronous, .* Give a callable without arguments"),
        (provide_later, "asynchronous"),
        (Credential, r"is the class Credential: give an instance of it\."),
        (lambda scope: None, "cannot be called without arguments"),
        (42, "it is of type int"),
        (False, "it is of type bool"),
        ("", "is a text that is no dotted path"),
        ("provider", r"no dotted path. .* such as 'myproject\.database\.credential'"),
    ],
)
def test_what_is_no_token_provider_is_named_with_the_fix(given: object, message: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"\['token_provider'\].*{message}"):
        with_provider(given)


def test_a_token_in_the_providers_place_is_not_shown() -> None:
    with pytest.raises(InvalidSettings) as raised:
        with_provider(SECRET)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        ({"USER": "sa"}, "USER"),
        ({"USER": "sa", "PASSWORD": "hunter2"}, "USER and PASSWORD"),
        ({"PASSWORD": "hunter2"}, "PASSWORD"),
        ({"Trusted_Connection": "yes"}, "Trusted_Connection"),
        ({"OPTIONS": {"extra_params": "Encrypt=yes;UID=sa"}}, "'uid' in OPTIONS"),
        ({"OPTIONS": {"extra_params": "Authentication=ActiveDirectoryMsi"}}, "'authentication'"),
        ({"OPTIONS": {"extra_params": "trusted_connection=Yes"}}, "'trusted_connection'"),
    ],
)
def test_a_provider_beside_another_way_to_log_in_is_refused(
    beside: dict[str, Any], named: str
) -> None:
    """The driver would refuse each login (FA005)."""
    with pytest.raises(InvalidSettings, match=rf"both .*token_provider.* and {named}.*Remove"):
        with_provider(provide, **beside)


@pytest.mark.parametrize(
    "beside",
    [
        {"USER": "", "PASSWORD": ""},
        {"USER": None, "PASSWORD": None},
        {"Trusted_Connection": "no"},
        {"OPTIONS": {"extra_params": "Trusted_Connection=no;Encrypt=yes"}},
    ],
)
def test_what_says_nothing_of_logging_in_stands_beside_a_provider(beside: dict[str, Any]) -> None:
    assert with_provider(provide, **beside).token_provider is not None


def test_a_token_beside_a_provider_is_refused() -> None:
    with pytest.raises(InvalidSettings, match=r"both TOKEN and .*remove TOKEN") as raised:
        with_provider(provide, TOKEN=SECRET)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("token", "said"), [(None, "of type NoneType"), ("", "empty"), (b"secret", "of type bytes")]
)
def test_a_token_that_cannot_be_one_is_refused(token: Any, said: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"\['TOKEN'\] is {said}: give the text") as raised:
        options(TOKEN=token)
    assert "secret" not in str(raised.value)


def test_a_token_is_no_companion_of_a_user() -> None:
    with pytest.raises(InvalidSettings, match="both TOKEN and USER"):
        options(TOKEN=SECRET, USER="sa")
    options(TOKEN=SECRET, USER="", PASSWORD="left over", Trusted_Connection="yes")


# --- the system checks -----------------------------------------------------------------------


def messages_about(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[checks.CheckMessage]:
    """What the checks say of one more database."""
    database = {"ENGINE": "mssql_async", "NAME": "app", **settings}
    monkeypatch.setitem(django_settings.DATABASES, "checked", database)
    return [message for message in check_databases() if "'checked'" in message.msg]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pool": {"min_size": 3, "max_size": 2}}, "['min_size'] is 3, more than max_size"),
        ({"token_provider": "nowhere.provider"}, "['token_provider'] is 'nowhere.provider'"),
    ],
)
def test_the_checks_report_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    (message,) = messages_about(monkeypatch, OPTIONS=given)
    assert (message.id, message.level) == ("mssql_async.E001", checks.ERROR)
    assert said in message.msg


def test_the_checks_have_nothing_to_say_of_right_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"token_provider": provide, "extra_params": "", "pool": {"min_size": 1}}
    assert messages_about(monkeypatch, OPTIONS=options) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("conection_retries", "has no effect. Did you mean 'connection_retries'?"),
        ("max_size", "has no effect. It belongs into OPTIONS['pool']['max_size']."),
        ("lease", "has no effect. It belongs into OPTIONS['pool']['lease']."),
        ("something_else", "['something_else'] is not a setting and has no effect."),
    ],
)
def test_the_checks_warn_of_a_setting_that_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    (message,) = messages_about(monkeypatch, OPTIONS={key: 1})
    assert (message.id, message.level) == ("mssql_async.W001", checks.WARNING)
    assert said in message.msg


PROJECT = """
import sys
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(
    INSTALLED_APPS=["mssql_async"],
    DATABASES={"default": {"ENGINE": "mssql_async", "NAME": "x", "OPTIONS": {"pool": {"min": 1}}}},
)
execute_from_command_line(["manage", "check"])
"""


def test_a_project_with_a_wrong_setting_does_not_start(tmp_path: Path) -> None:
    manage = tmp_path / "manage.py"
    manage.write_text(PROJECT)
    done = subprocess.run(
        [sys.executable, str(manage)],
        env={"PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "(mssql_async.E001) DATABASES['default']['OPTIONS']['pool']['min']" in done.stderr


# --- the documentation -----------------------------------------------------------------------


def documented_defaults() -> dict[str, str]:
    """Setting -> default, as the table of ``docs/settings.md`` has it."""
    found = {}
    for line in SETTINGS_PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            names, default = line.split(" | ")[:2]
            for name in re.findall(r"`([^`]+)`", names):
                found[name] = default.strip("| `")
    return found


def test_every_setting_is_documented() -> None:
    known = {
        *options_module._KNOWN_OPTIONS,
        *options_module._POOL_KEYS,
        *options_module._KEYS_BESIDE,
    }
    assert known - documented_defaults().keys() == set()


def test_the_documented_defaults_of_the_pool_are_the_real_ones() -> None:
    documented, pool = documented_defaults(), PoolSettings()
    for key in options_module._POOL_KEYS:
        assert ast.literal_eval(documented[key]) == getattr(pool, key), key
    assert ast.literal_eval(documented["lease"]) == options().lease.value
    assert ast.literal_eval(documented["max_workers"]) == options().max_workers
    assert ast.literal_eval(documented["worker"]) == "call"
    assert not options().keep_worker


@pytest.mark.parametrize(
    "name", ["connection_timeout", "query_timeout", "isolation_level", "datefirst"]
)
def test_the_documented_defaults_of_options_are_the_real_ones(name: str) -> None:
    assert ast.literal_eval(documented_defaults()[name]) == getattr(options(), name)
