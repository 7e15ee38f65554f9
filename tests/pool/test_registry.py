"""One pool for each set of parameters, and what becomes of those nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mssql_async.pool import ConnectParameters, NullPool, Pool, PoolSettings
from mssql_async.pool.lenders import ConnectionSource
from mssql_async.pool.registry import close_pools, connection_source, pool_statistics

from .stubs import StubConnector

TARGET = "a server of the registry's tests"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    close_pools(lambda parameters: parameters.target == TARGET)


def source(
    database: str, *, pooled: bool = True, settings: PoolSettings | None = None
) -> ConnectionSource:
    return connection_source(
        ConnectParameters(connection_string="", target=TARGET, database=database),
        settings or PoolSettings(),
        lambda _: StubConnector(),
        pooled=pooled,
        name=f"registry {database}",
    )


def known() -> set[str]:
    return {each.name for each in pool_statistics() if each.name.startswith("registry ")}


def test_equal_parameters_share_a_pool() -> None:
    assert source("app") is source("app")


def test_a_database_that_was_renamed_has_a_pool_of_its_own() -> None:
    assert source("app") is not source("test_app")


def test_other_settings_mean_another_pool() -> None:
    assert source("app") is not source("app", settings=PoolSettings(max_size=3))


def test_without_pooling_nothing_is_kept() -> None:
    assert isinstance(source("app"), Pool)
    assert isinstance(source("app", pooled=False), NullPool)


def test_closing_chooses_by_parameters() -> None:
    kept, closed = source("kept"), source("closed")
    close_pools(lambda parameters: parameters.database == "closed")
    assert source("kept") is kept
    assert source("closed") is not closed


def test_a_pool_with_a_connection_lent_is_not_forgotten() -> None:
    old = source("old", settings=PoolSettings(max_idle=0))
    lent = old.acquire()
    source("new")
    assert known() == {"registry old", "registry new"}
    assert lent is not None


def test_an_empty_one_is_forgotten_when_another_is_made() -> None:
    source("old", settings=PoolSettings(max_idle=0))
    source("new")
    assert known() == {"registry new"}


@pytest.mark.parametrize("pooled", [True, False])
def test_what_is_lent_is_open(pooled: bool) -> None:
    one = source("counted", pooled=pooled)
    connection = one.acquire()
    assert connection is not None
    assert one.open_connections() == [connection.number]
    one.release(connection)
    assert one.open_connections() == ([connection.number] if pooled else [])
