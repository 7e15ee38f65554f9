"""Kept statements on a driver of stubs."""

from __future__ import annotations

import pyodbc
import pytest

from mssql_async.session.statements import PARKED_LIMIT, KeptStatements, Statement

from .drivers import StubCursor, StubRaw


@pytest.fixture
def raw() -> StubRaw:
    return StubRaw({})


@pytest.fixture
def kept(raw: StubRaw) -> KeptStatements:
    return KeptStatements(raw, capacity=3)


def use(kept: KeptStatements, sql: str, *, keep: bool = True, timeout: int = 0) -> Statement:
    statement = kept.prepared(sql, timeout, keep=keep)
    kept.put_back(statement, ended=True)
    return statement


class TestPrepared:
    def test_a_text_finds_its_statement_again_and_the_object_it_was_prepared_with(
        self, kept: KeptStatements
    ) -> None:
        text = "SELECT ?"
        first = use(kept, text)
        again = use(kept, "".join(["SELECT", " ?"]))
        assert again is first
        assert again.sql is text

    def test_the_least_recently_used_one_makes_place(
        self, kept: KeptStatements, raw: StubRaw
    ) -> None:
        oldest = use(kept, "a")
        for text in ("b", "c", "a"):
            use(kept, text)
        recycled = use(kept, "d")
        assert recycled is not oldest
        assert recycled.sql == "d"
        assert (len(kept), len(raw.cursors)) == (3, 3)
        assert use(kept, "a") is oldest

    def test_one_whose_results_cannot_be_ended_is_closed(self, kept: KeptStatements) -> None:
        """As with a pyodbc that does not show its handles."""
        statement = kept.prepared("a", 0)
        kept.put_back(statement, ended=False)
        assert statement.cursor.closed
        assert len(kept) == 0

    def test_one_whose_time_limit_cannot_be_changed_is_replaced(self, kept: KeptStatements) -> None:
        before = use(kept, "a", timeout=0)
        after = use(kept, "a", timeout=5)
        assert before.cursor.closed
        assert (after.timeout, after.cursor.closed) == (5, False)

    def test_texts_that_are_not_to_be_kept_share_one(
        self, kept: KeptStatements, raw: StubRaw
    ) -> None:
        assert use(kept, "a", keep=False) is use(kept, "b", keep=False)
        assert len(kept) == 0

    def test_but_use_what_is_kept_already(self, kept: KeptStatements) -> None:
        assert use(kept, "a") is use(kept, "a", keep=False)
        assert len(kept) == 1


class TestDirect:
    def test_texts_without_parameters_share_one_that_is_never_prepared(
        self, kept: KeptStatements, raw: StubRaw
    ) -> None:
        prepared = use(kept, "a")
        for _ in range(2):
            statement = kept.direct(0)
            assert statement is not prepared
            kept.put_back(statement, ended=True)
        assert len(raw.cursors) == 2


class TestReset:
    def test_forgets_without_closing(self, kept: KeptStatements, raw: StubRaw) -> None:
        texts = ["a", "b", "c"]
        before = [use(kept, text).cursor for text in texts]
        before.append(use(kept, "d", keep=False).cursor)
        kept.session_was_reset()
        assert len(kept) == 0
        after = [use(kept, text).cursor for text in texts]
        assert not {id(cursor) for cursor in before} & {id(cursor) for cursor in after}
        assert not any(cursor.closed for cursor in raw.cursors)

    def test_spares_the_one_that_is_never_prepared(self, kept: KeptStatements) -> None:
        statement = kept.direct(0)
        kept.put_back(statement, ended=True)
        kept.session_was_reset()
        assert kept.direct(0) is statement

    def test_wears_out_a_connection_in_time(self, raw: StubRaw) -> None:
        kept = KeptStatements(raw)
        for number in range(PARKED_LIMIT):
            kept.park(StubCursor(raw))
            assert not kept.worn_out, number
        kept.park(StubCursor(raw))
        assert kept.worn_out


class TestFailing:
    @pytest.mark.parametrize("keep", [True, False])
    def test_a_prepared_one_whose_text_did_not_compile_is_put_aside(
        self, kept: KeptStatements, keep: bool
    ) -> None:
        statement = use(kept, "a", keep=keep)
        statement.is_prepared = True
        kept.failed(pyodbc.ProgrammingError("42000", "no such thing"), statement)
        assert use(kept, "a", keep=keep) is not statement
        assert not statement.cursor.closed

    def test_one_that_failed_otherwise_stays(self, kept: KeptStatements) -> None:
        statement = use(kept, "a")
        statement.is_prepared = True
        kept.failed(pyodbc.IntegrityError("23000", "there is one already"), statement)
        assert use(kept, "a") is statement
