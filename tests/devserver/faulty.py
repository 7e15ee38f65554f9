"""A server with its real engine and a clock of the test's own, and what its clients see."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any

import pyodbc
import pytest

from mssql_async.devserver import DevServer
from mssql_async.devserver.tds.packets import PacketType
from mssql_async.driver import find_driver

from .raw_client import RawClient, batch

Tokens = list[tuple[Any, ...]]


class Clock:
    """The time of faults, which passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def connection_string(server: DevServer, **changes: str) -> str:
    driver = find_driver()
    string = server.connection_string(driver=str(driver.library or driver.name))
    return string + "".join(f";{name}={value}" for name, value in changes.items())


def connect(server: DevServer, *, timeout: int = 0, **changes: str) -> pyodbc.Connection:
    """Through Microsoft's driver, in autocommit."""
    return pyodbc.connect(connection_string(server, **changes), autocommit=True, timeout=timeout)


def spid_of(client: RawClient) -> int:
    ask(client, "SELECT 1")
    return client.packets()[0].spid


def ask(client: RawClient, sql: str) -> None:
    """Send a batch and wait for nothing."""
    client.send(PacketType.SQL_BATCH, batch(sql))


def errors(tokens: Tokens) -> list[int]:
    return [token[1] for token in tokens if token[0] == "error"]


def rows(tokens: Tokens) -> list[tuple[Any, ...]]:
    return [token[1] for token in tokens if token[0] == "row"]


def has_something_to_read(client: RawClient) -> bool:
    return bool(select.select([client.socket], [], [], 0)[0])


def failure_of(work: Callable[[], Any]) -> tuple[str, str, str]:
    """What the driver says of ``work``, which must fail: class, SQLSTATE, text."""
    with pytest.raises(pyodbc.Error) as raised:
        work()
    state, text = raised.value.args
    return type(raised.value).__name__, state, text
