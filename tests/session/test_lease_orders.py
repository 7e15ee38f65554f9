"""Cursors of one context in random orders: each gives its own rows, whatever runs between."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest

from mssql_async.session.errors import LeaseOver
from mssql_async.session.lease import LeasedConnection
from mssql_async.session.scope import LeaseScope

from .drivers import COLUMN, StubLender

RUNS = 1500
STEPS = 40

#: Text -> its result sets: numbers of rows, or None for a statement without rows.
TEXTS: dict[str, list[int | None]] = {
    "SELECT few": [2],
    "SELECT many": [30],
    "SELECT none": [0],
    "SELECT ?; SELECT more": [3, 0, 4],
    "UPDATE t": [None],
    "UPDATE t; SELECT ?": [None, 5, None],
    "CREATE TABLE #t (a int)": [None],
}


class Expected:
    """What a cursor has to give, kept without any of the lease's means."""

    def __init__(self, sets: list[int | None], transaction: int | None) -> None:
        self.sets = [None if count is None else list(range(count)) for count in sets]
        self.transaction = transaction

    @property
    def rows(self) -> list[int] | None:
        return self.sets[0] if self.sets else None

    def nextset(self) -> bool:
        self.sets = self.sets[1:]
        return bool(self.sets)


class Player:
    """A context that does one thing after the other."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lender = StubLender(
            size=self.random.randint(1, 4),
            results={
                text: [None if n is None else [(i,) for i in range(n)] for n in sets]
                for text, sets in TEXTS.items()
            },
        )
        scope = self.random.choice([LeaseScope.TRANSACTION] * 3 + [LeaseScope.CONTEXT])
        self.lease = LeasedConnection(self.lender, scope)
        self.cursors: list[tuple[Any, Expected]] = []
        self.transaction: int | None = None
        self.rolled_back: set[int | None] = set()

    def play(self) -> None:
        actions = [
            *[self.execute] * 4,
            *[self.fetchone, self.fetchmany, self.fetchall, self.nextset] * 2,
            self.describe,
            self.close_cursor,
            self.forget_cursor,
            self.begin,
            self.end_transaction,
        ]
        for step in range(STEPS):
            self.random.choice(actions)()
            self.check(step)
        self.lease.close()
        assert self.lender.lent == []
        assert all(connection.raw.busy is None for connection in self.lender.idle)

    def check(self, step: int) -> None:
        assert len(self.lender.lent) <= self.lender.size, step
        busy = [one for one in self.lender.lent if one.raw.busy is not None]
        unread = sum(cursor._result is not None for cursor, _ in self.cursors)
        assert len(busy) <= unread + len(self.lease._orphans), step

    def execute(self) -> None:
        text = self.random.choice(list(TEXTS))
        params = [1] if "?" in text else []
        if self.cursors and self.random.random() < 0.3:
            number = self.random.randrange(len(self.cursors))
            cursor = self.cursors.pop(number)[0]
        else:
            cursor = self.lease.cursor()
        cursor.execute(text, *params)
        self.cursors.append((cursor, Expected(TEXTS[text], self.transaction)))

    def begin(self) -> None:
        if self.transaction is None:
            self.transaction = self.random.getrandbits(64)
            self.lease.autocommit = False

    def end_transaction(self) -> None:
        if self.transaction is None:
            return
        if self.random.random() < 0.5:
            self.lease.commit()
        else:
            self.lease.rollback()
            self.rolled_back.add(self.transaction)
        self.transaction = None
        self.lease.autocommit = True

    def any_cursor(self) -> tuple[Any, Expected] | None:
        return self.random.choice(self.cursors) if self.cursors else None

    def ask(self, call: str, *args: Any) -> tuple[Expected, Any] | None:
        """Call a method of some cursor that has rows; None where they went with a rollback."""
        picked = self.any_cursor()
        if picked is None or (call != "nextset" and picked[1].rows is None):
            return None
        cursor, expected = picked
        try:
            return expected, getattr(cursor, call)(*args)
        except LeaseOver:
            assert expected.transaction in self.rolled_back
            self.cursors.remove(picked)
            return None

    def fetchone(self) -> None:
        asked = self.ask("fetchone")
        if asked is not None:
            expected, row = asked
            assert expected.rows is not None
            assert row == ((expected.rows.pop(0),) if expected.rows else None)

    def fetchmany(self) -> None:
        size = self.random.randint(1, 5)
        asked = self.ask("fetchmany", size)
        if asked is not None:
            expected, rows = asked
            assert expected.rows is not None
            assert rows == [(value,) for value in expected.rows[:size]]
            del expected.rows[:size]

    def fetchall(self) -> None:
        asked = self.ask("fetchall")
        if asked is not None:
            expected, rows = asked
            assert expected.rows is not None
            assert rows == [(value,) for value in expected.rows]
            expected.rows.clear()

    def nextset(self) -> None:
        asked = self.ask("nextset")
        if asked is not None:
            expected, more = asked
            assert more is expected.nextset()

    def describe(self) -> None:
        picked = self.any_cursor()
        if picked is not None and picked[1].transaction not in self.rolled_back:
            cursor, expected = picked
            assert cursor.description == (None if expected.rows is None else COLUMN)

    def close_cursor(self) -> None:
        picked = self.any_cursor()
        if picked is not None:
            self.cursors.remove(picked)
            picked[0].close()

    def forget_cursor(self) -> None:
        picked = self.any_cursor()
        if picked is not None:
            self.cursors.remove(picked)


def test_every_cursor_gives_its_own_rows_in_any_order() -> None:
    for seed in range(RUNS):
        Player(seed).play()
    gc.collect()


def test_without_making_room_they_would_be_in_each_others_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The positive control: the connection is busy with another's results."""
    monkeypatch.setattr(LeasedConnection, "_make_room", lambda _lease, hold: hold)
    with pytest.raises(AssertionError, match="connection is busy"):
        for seed in range(RUNS):
            Player(seed).play()


def test_a_lease_that_kept_a_stream_waiting_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another: rows that are read into memory and not shown."""
    monkeypatch.setattr(
        LeasedConnection, "_read_into_memory", lambda _lease, hold: hold.result.let_go()
    )
    with pytest.raises((AssertionError, LeaseOver)):
        for seed in range(RUNS):
            Player(seed).play()
