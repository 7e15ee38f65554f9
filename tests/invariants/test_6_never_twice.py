"""Invariant 6: a statement is never run twice on its own.

The server counts what it is asked, whatever becomes of it; rows say what was run. Connections
are dropped at every stage of a statement, and each way to execute one is tried at each.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyodbc
import pytest
from asgiref.sync import async_to_sync
from django.db import Error, OperationalError, transaction

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.devserver.faults import Drop
from mssql_async.pool import odbc
from mssql_async.session.lease import LeasedConnection
from tests.backend.conftest import wrapper_for
from tests.backend.default_alias import default_database, make_tables
from tests.backend.test_connections import ask, do
from tests.shop.models import Tag

from .witness import Witness

INSERT = "INSERT INTO [shop_tag] ([name]) VALUES "


@pytest.fixture
def database(server: DevServer) -> Iterator[DatabaseWrapper]:
    with default_database(server) as wrapper:
        make_tables(wrapper, Tag)
        wrapper.close()
        yield wrapper


# --- ways to have the server run one statement --------------------------------------------------


def plainly(wrapper: DatabaseWrapper) -> None:
    do(wrapper, f"{INSERT} ('a')")


def prepared(wrapper: DatabaseWrapper) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute(f"{INSERT} (%s)", ["a"])


def of_many(wrapper: DatabaseWrapper) -> None:
    with wrapper.cursor() as cursor:
        cursor.executemany(f"{INSERT} (%s)", [["a"]])


def with_rows(wrapper: DatabaseWrapper) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("INSERT INTO [shop_tag] ([name]) OUTPUT inserted.id VALUES (%s)", ["a"])
        cursor.fetchall()


def by_the_orm(wrapper: DatabaseWrapper) -> None:
    Tag.objects.create(name="a")


def in_bulk(wrapper: DatabaseWrapper) -> None:
    Tag.objects.bulk_create([Tag(name="a")])


WAYS = [plainly, prepared, of_many, with_rows, by_the_orm]


@async_to_sync
async def asynchronously() -> None:
    await Tag.objects.acreate(name="a")


# --- when the connection is lost ----------------------------------------------------------------


class Stage(enum.Enum):
    IDLE = "while it is idle in the pool"
    ARRIVED_FIN = "when the statement arrives, with FIN"
    ARRIVED_RST = "when the statement arrives, with RST"
    MID_REPLY = "in the middle of its reply"
    ANSWERED = "once it is answered"


@dataclass(frozen=True)
class Expected:
    asked: int
    """How often the server is asked."""
    rows: int
    """How many there are in the end."""
    raises: bool


OUTSIDE = {
    Stage.IDLE: Expected(1, 1, raises=False),
    Stage.ARRIVED_FIN: Expected(1, 0, raises=True),
    Stage.ARRIVED_RST: Expected(1, 0, raises=True),
    Stage.MID_REPLY: Expected(1, 1, raises=True),
    Stage.ANSWERED: Expected(1, 1, raises=False),
}
INSIDE = {  # of a transaction
    Stage.IDLE: Expected(0, 0, raises=True),
    Stage.ARRIVED_FIN: Expected(1, 0, raises=True),
    Stage.ARRIVED_RST: Expected(1, 0, raises=True),
    Stage.MID_REPLY: Expected(1, 0, raises=True),
    Stage.ANSWERED: Expected(1, 0, raises=True),
}


def order_drop(server: DevServer, stage: Stage) -> None:
    """Before the statement."""
    match stage:
        case Stage.IDLE:
            server.faults.drop(Drop.RST)
        case Stage.ARRIVED_FIN:
            server.faults.drop_at("INSERT%", Drop.FIN)
        case Stage.ARRIVED_RST:
            server.faults.drop_at("INSERT%", Drop.RST)
        case Stage.MID_REPLY:
            server.faults.drop_at("INSERT%", Drop.MID_REPLY)


def drop_after(server: DevServer, stage: Stage) -> None:
    """And after it."""
    if stage is Stage.ANSWERED:
        server.faults.drop(Drop.RST)


def raised_by(work: Callable[[], Any]) -> bool:
    try:
        work()
    except Error:
        return True
    return False


def rows(wrapper: DatabaseWrapper) -> int:
    wrapper.close_if_unusable_or_obsolete()
    count: int = ask(wrapper, "SELECT count(*) FROM shop_tag")[0]
    return count


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("way", WAYS)
def test_whenever_its_connection_is_lost(
    server: DevServer,
    database: DatabaseWrapper,
    way: Callable[[DatabaseWrapper], None],
    stage: Stage,
) -> None:
    witness = Witness(server, "INSERT%")
    order_drop(server, stage)
    raised = raised_by(lambda: way(database))
    drop_after(server, stage)
    assert Expected(witness.count, rows(database), raised) == OUTSIDE[stage]


@pytest.mark.parametrize("stage", Stage)
def test_also_of_one_that_the_connection_has_prepared_before(
    server: DevServer, database: DatabaseWrapper, stage: Stage
) -> None:
    prepared(database)
    do(database, "DELETE FROM shop_tag")
    witness = Witness(server, "INSERT%")
    order_drop(server, stage)
    raised = raised_by(lambda: prepared(database))
    drop_after(server, stage)
    assert Expected(witness.count, rows(database), raised) == OUTSIDE[stage]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("way", [*WAYS, in_bulk])  # some Djangos begin one for it anyway
def test_in_a_transaction_it_is_gone_with_the_transaction(
    server: DevServer,
    database: DatabaseWrapper,
    way: Callable[[DatabaseWrapper], None],
    stage: Stage,
) -> None:
    witness = Witness(server, "INSERT%")

    def transact() -> None:
        with transaction.atomic():
            ask(database, "SELECT 1")
            order_drop(server, stage)
            way(database)
            drop_after(server, stage)

    raised = raised_by(transact)
    assert Expected(witness.count, rows(database), raised) == INSIDE[stage]


@pytest.mark.parametrize("stage", Stage)
def test_so_it_is_from_asynchronous_code(
    server: DevServer, database: DatabaseWrapper, stage: Stage
) -> None:
    witness = Witness(server, "INSERT%")
    order_drop(server, stage)
    raised = raised_by(asynchronously)
    drop_after(server, stage)
    assert Expected(witness.count, rows(database), raised) == OUTSIDE[stage]


@pytest.mark.parametrize(("how", "committed"), [(Drop.FIN, 0), (Drop.RST, 0), (Drop.MID_REPLY, 1)])
def test_a_commit_is_asked_for_once(
    server: DevServer, database: DatabaseWrapper, how: Drop, committed: int
) -> None:
    inserts, commits = Witness(server, "INSERT%"), Witness(server, "COMMIT TRANSACTION")
    server.faults.drop_at("COMMIT TRANSACTION", how)
    with pytest.raises(OperationalError, match="08S01"), transaction.atomic():
        plainly(database)
    assert (inserts.count, commits.count) == (1, 1)
    assert rows(database) == committed


def test_of_many_rows_those_after_the_drop_are_not_sent(
    server: DevServer, database: DatabaseWrapper
) -> None:
    witness = Witness(server, "INSERT%")
    server.faults.drop_at("INSERT%", Drop.MID_REPLY, nth=2)
    with pytest.raises(OperationalError, match="08S01"), database.cursor() as cursor:
        cursor.executemany(f"{INSERT} (%s)", [["a"], ["b"], ["c"]])
    assert (witness.count, rows(database)) == (2, 2)


def test_rows_that_are_cut_off_are_not_asked_for_again(
    server: DevServer, database: DatabaseWrapper
) -> None:
    """What the batch has done before them would be done again."""
    Tag.objects.bulk_create(Tag(name="b") for _ in range(100))
    witness = Witness(server, "INSERT%")
    with pytest.raises(OperationalError, match="08S01"), database.cursor() as cursor:
        cursor.execute(
            f"SET NOCOUNT ON; {INSERT} ('a'); "
            "SELECT REPLICATE('x', 4000) FROM shop_tag a, shop_tag b"  # 80 MB
        )
        assert cursor.fetchone() is not None
        server.faults.drop(Drop.RST)
        cursor.fetchall()
    assert (witness.count, rows(database)) == (1, 101)


@pytest.mark.parametrize("number", [*sorted(odbc.CONFLICTS), 8179, 40197, 40613, 596])
def test_an_error_is_no_reason_to_run_it_again(
    server: DevServer, database: DatabaseWrapper, number: int
) -> None:
    """Not even one after which another attempt might well succeed."""
    witness = Witness(server, "INSERT%")
    server.faults.fail_statement("INSERT%", number, text="It failed.")
    assert raised_by(lambda: prepared(database))
    assert (witness.count, rows(database)) == (1, 0)


def test_a_peer_that_does_not_answer_is_asked_once(
    server: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection past the window is proved by a question of the pool's own."""
    monkeypatch.setattr(odbc, "PROOF_TIMEOUT", 1)
    pool = {"health_check_window": 0}
    with default_database(server, OPTIONS={"pool": pool}) as database:
        make_tables(database, Tag)
        database.close()
        witness = Witness(server, "INSERT%")
        with server.faults.freeze():
            plainly(database)
            database.close()
        assert (witness.count, rows(database)) == (1, 1)


def test_logins_that_are_tried_again_carry_no_statement(server: DevServer) -> None:
    patient = {"connection_retries": 3, "connection_retry_backoff_time": 0.01}
    with default_database(server) as database:
        make_tables(database, Tag)
    witness = Witness(server, "INSERT%")
    refusals = server.faults.refuse_logins(40613, times=2)
    other = wrapper_for(server, OPTIONS=patient)
    plainly(other)
    assert refusals.fired == 2
    assert (witness.count, rows(other)) == (1, 1)
    other.close()


class TestControl:
    """A lease that helps itself, as drivers and proxies do that call it high availability."""

    @pytest.fixture(autouse=True)
    def _which_tries_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        execute = LeasedConnection._execute

        def execute_again(
            lease: LeasedConnection, hold: Any, sql: str, *rest: Any, **more: Any
        ) -> Any:
            try:
                return execute(lease, hold, sql, *rest, **more)
            except pyodbc.Error:
                if lease.pinned:
                    raise
                return execute(lease, lease._acquire(), sql, *rest, **more)

        monkeypatch.setattr(LeasedConnection, "_execute", execute_again)

    @pytest.mark.parametrize("stage", [Stage.ARRIVED_FIN, Stage.ARRIVED_RST, Stage.MID_REPLY])
    @pytest.mark.parametrize("way", [plainly, prepared, with_rows, by_the_orm])
    def test_is_seen_at_the_server(
        self,
        server: DevServer,
        database: DatabaseWrapper,
        way: Callable[[DatabaseWrapper], None],
        stage: Stage,
    ) -> None:
        witness = Witness(server, "INSERT%")
        order_drop(server, stage)
        way(database)
        found = Expected(witness.count, rows(database), raises=False)
        assert found == Expected(2, 2 if stage is Stage.MID_REPLY else 1, raises=False)
        assert found != OUTSIDE[stage]

    def test_so_is_one_that_takes_an_error_for_an_invitation(
        self, server: DevServer, database: DatabaseWrapper
    ) -> None:
        witness = Witness(server, "INSERT%")
        server.faults.fail_statement("INSERT%", 1205)
        prepared(database)
        assert witness.count == 2
