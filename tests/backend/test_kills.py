"""Random sessions are killed under load: who may notice, and who may not.

A request fails only if the session it used was being killed between the moment at which
the pool asked whether its peer had hung up and the moment at which the request failed. Whoever
is lent a connection that had been killed before gets another one, unseen.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import Error, OperationalError
from pytest_django import DjangoDbBlocker

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop
from mssql_async.pool.connector import Opened
from mssql_async.pool.odbc_connector import OdbcConnector
from mssql_async.pool.registry import close_pools, pool_statistics
from mssql_async.pool.statistics import PoolStatistics
from tests.pool.support import until

from .conftest import wrapper_for
from .killable import Kill, KillableServer
from .test_connections import ask

THREADS = 16
ROWS = 500
#: Seconds between two kills, at most.
PAUSE = 0.1
#: Seconds that a thread does something else between two requests, at most: meanwhile its
#: connection is idle, and may be killed as such.
IDLE = 0.01
OPTIONS: dict[str, Any] = {"connection_retries": 10, "connection_retry_backoff_time": 0.01}
#: Of the twin that asks nobody, and whose connections need no proof.
BLIND = {**OPTIONS, "pool": {"health_check_window": 3600.0}}


@pytest.fixture
def killable(django_db_blocker: DjangoDbBlocker) -> Iterator[KillableServer]:
    with django_db_blocker.unblock(), KillableServer() as server:
        yield server
        close_pools(lambda parameters: parameters.address == (server.host, server.port))


@dataclass(frozen=True)
class Use:
    """What is known of the connection that a thread was lent last."""

    spid: int
    asked_at: float


@dataclass(frozen=True)
class Failure:
    use: Use | None
    """``None``: no connection was had."""
    failed_at: float
    error: str

    def was_in_flight_at(self, kill: Kill) -> bool:
        return (
            self.use is not None
            and self.use.spid == kill.spid
            and kill.began <= self.failed_at
            and self.use.asked_at <= kill.ended
        )


@dataclass
class Load:
    """Threads that make requests until they are told to stop."""

    server: KillableServer
    options: dict[str, Any]
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = threading.local()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._spids: dict[Any, int] = {}

    def watch(self, monkeypatch: pytest.MonkeyPatch, *, blind: bool) -> None:
        """Note what each thread is lent, and when; ``blind``: and say that all is well."""
        open_one, ask = OdbcConnector.open, OdbcConnector.peer_hung_up

        def watched_open(connector: OdbcConnector, deadline: float) -> Opened:
            opened = open_one(connector, deadline)
            try:
                self._spids[opened.raw] = opened.raw.execute("SELECT @@SPID").fetchval()
            except BaseException:
                connector.close(opened.raw)
                raise
            return opened

        def watched_ask(connector: OdbcConnector, raw: Any) -> bool:
            self.last.use = Use(self._spids[raw], time.monotonic())
            return False if blind else ask(connector, raw)

        monkeypatch.setattr(OdbcConnector, "open", watched_open)
        monkeypatch.setattr(OdbcConnector, "peer_hung_up", watched_ask)

    def run(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Until the time is over, or it is enough, which is asked after each kill."""
        with_table(self.wrapper())
        threads = [threading.Thread(target=self._make_requests) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough():
            kill = self.server.kill_one()
            if kill is not None:
                self.kills.append(kill)
            self._stop.wait(random.random() * PAUSE)
        self._stop.set()
        for thread in threads:
            thread.join()

    def wrapper(self) -> DatabaseWrapper:
        return wrapper_for(self.server, OPTIONS=self.options)  # type: ignore[arg-type]

    def _make_requests(self) -> None:
        while not self._stop.is_set():
            number = random.randrange(ROWS)
            self.last.use = None
            wrapper = self.wrapper()
            try:
                with wrapper.cursor() as cursor:
                    cursor.execute(
                        "SELECT @@SPID, number, text FROM ledger WHERE number = %s", [number]
                    )
                    row = cursor.fetchone()
            except Error as error:
                with self._lock:
                    self.failures.append(Failure(self.last.use, time.monotonic(), repr(error)))
            else:
                expected = (self.last.use.spid, number, f"row {number}")
                with self._lock:
                    self.answered += 1
                    if row != expected:
                        self.wrong.append(f"{row}, not {expected}")
            wrapper.close()
            self._stop.wait(random.random() * IDLE)

    @property
    def unexcused(self) -> list[Failure]:
        """The failures of requests that were not in flight at any kill. For the thread that
        kills, or all are known."""
        return [
            failure
            for failure in list(self.failures)
            if not any(failure.was_in_flight_at(kill) for kill in self.kills)
        ]

    def the_pool(self) -> PoolStatistics:
        (statistics,) = (s for s in pool_statistics() if s.acquired >= self.answered > 0)
        return statistics


def with_table(wrapper: DatabaseWrapper) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("CREATE TABLE ledger (number int PRIMARY KEY, text nvarchar(50))")
        cursor.executemany(
            "INSERT INTO ledger VALUES (%s, %s)", [(n, f"row {n}") for n in range(ROWS)]
        )
    wrapper.close()


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_nobody_fails_who_was_not_in_flight_and_every_row_is_right(
    killable: KillableServer, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    load = Load(killable, OPTIONS)
    load.watch(monkeypatch, blind=False)
    load.run(seconds)
    assert load.unexcused == []
    assert load.wrong == []
    assert load.answered > len(load.kills) > 0
    until(lambda: load.the_pool().opening == 0)  # for callers who got another one meanwhile
    s = load.the_pool()
    assert s.hung_up > 0  # some were killed while they were idle, and replaced unseen
    assert (s.in_use, s.waiting) == (0, 0)


def test_a_pool_that_does_not_ask_fails_others(
    killable: KillableServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive control."""
    load = Load(killable, BLIND)
    load.watch(monkeypatch, blind=True)
    load.run(60, enough=lambda: bool(load.unexcused))
    assert len(load.unexcused) > 0
    assert load.wrong == []


class TestLoginsThatAreCutOff:
    """Nothing was asked of that connection yet: the next attempt is nobody's second statement."""

    @staticmethod
    def after_a_login(server: DevServer, retries: int) -> DatabaseWrapper:
        wrapper = wrapper_for(server, OPTIONS={**OPTIONS, "connection_retries": retries})
        ask(wrapper, "SELECT 1")
        wrapper.close()
        server.kill()
        return wrapper

    def test_are_tried_again_where_the_server_has_served_before(self, server: DevServer) -> None:
        wrapper = self.after_a_login(server, retries=1)
        fault = server.faults.drop_at("SET%", Drop.FIN)
        assert ask(wrapper, "SELECT 1") == (1,)
        assert fault.fired == 1
        wrapper.close()

    def test_but_no_oftener_than_asked_for(self, server: DevServer) -> None:
        wrapper = self.after_a_login(server, retries=0)
        server.faults.drop_at("SET%", Drop.FIN)
        with pytest.raises(OperationalError, match="08S01"):
            ask(wrapper, "SELECT 1")
        wrapper.close()
