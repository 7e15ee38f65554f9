"""Settings are validated when the wrapper is made, and the error names the setting."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from mssql_async.options import BackendOptions, backend_options


def options(**settings: Any) -> BackendOptions:
    return backend_options({"NAME": "app", **settings}, "default")


def test_defaults_are_those_of_the_design() -> None:
    pool = options().pool
    assert (pool.max_size, pool.acquire_timeout, pool.max_waiting) == (20, 30, 0)
    assert (pool.max_idle, pool.max_lifetime, pool.health_check_window) == (600, 3600, 0.5)


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
    assert (o.connection_retries, o.connection_retry_backoff_time) == (5, 5)
    assert (o.connection_timeout, o.query_timeout, o.datefirst) == (0, 0, 7)


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
        ({"pool": "big"}, r"\['pool'\] is 'big'; it must be a dictionary"),
        ({"isolation_level": "CHAOS"}, r"\['isolation_level'\] is 'CHAOS'; use one of READ"),
        ({"datefirst": 9}, r"\['datefirst'\] is 9; use 1 \(Monday\)"),
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
