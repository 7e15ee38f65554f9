"""Which statements may be a part of a profile, and as what."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from mssql_async.session.profile import ProvenSettings, replayable

CONTEXT = "EXEC sp_set_session_context N'tenant', ?"


class TestReplayable:
    @pytest.mark.parametrize(
        "sql",
        [
            "SET LANGUAGE Deutsch",
            "set lock_timeout -1;",
            "SET DATEFIRST 3; SET DATEFORMAT dmy;\nSET TEXTSIZE 4096",
            "SET CONTEXT_INFO 0x0102",
            "SET LANGUAGE N'us_english'",
            "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            "USE [a ]] b]",
            "EXECUTE sys.sp_set_session_context @key = N'it''s; GO', @value = 5, @read_only = 1",
        ],
    )
    def test_are_settings_as_they_stand(self, sql: str) -> None:
        replay = replayable(sql, ())
        assert replay is not None
        assert (replay.sql, replay.parameters) == (sql, ())

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT 1",
            "SET @a = 1",
            "SET NOEXEC ON",
            "SET IMPLICIT_TRANSACTIONS ON",
            "SET ANSI_DEFAULTS ON",
            "SET REMOTE_PROC_TRANSACTIONS ON",
            "SET IDENTITY_INSERT t ON",
            "SET LANGUAGE Deutsch; DELETE t",
            "SET LANGUAGE Deutsch DELETE t",
            "SET LANGUAGE Deutsch -- why",
            "SET LOCK_TIMEOUT @limit",
            "USE a; SELECT 1",
            "EXEC somebodys_procedure 1",
            "EXEC sp_set_session_context N'a', (SELECT 1)",
            "CREATE TABLE #t (a int)",
            "SET LANGUAGE 'unterminated",
            CONTEXT,
        ],
    )
    def test_is_nothing_else(self, sql: str) -> None:
        assert replayable(sql, ()) is None

    @pytest.mark.parametrize(
        ("value", "literal"),
        [
            ("acme", "N'acme'"),
            ("o'brien'; DROP TABLE t --", "N'o''brien''; DROP TABLE t --'"),
            ("", "N''"),
            ("?", "N'?'"),
            (-5, "-5"),
            (2**31 - 1, "2147483647"),
            (b"\x00\xff", "0x00ff"),
            (None, "NULL"),
        ],
    )
    def test_parameters_become_literals(self, value: Any, literal: str) -> None:
        replay = replayable(CONTEXT, (value,))
        assert replay is not None
        assert replay.sql == f"EXEC sp_set_session_context N'tenant', {literal}"

    @pytest.mark.parametrize(
        "value",
        [
            2**31, True, 1.0, Decimal(1), datetime.date(2026, 1, 1), "x" * 4001, "a\0b",
            b"x" * 8001, type("Text", (str,), {})("a"),
        ],
    )  # fmt: skip
    def test_unless_their_literal_would_be_of_another_type(self, value: Any) -> None:
        assert replayable(CONTEXT, (value,)) is None

    def test_equal_values_of_other_types_are_other_settings(self) -> None:
        assert replayable(CONTEXT, (1,)) != replayable(CONTEXT, ("1",))

    @pytest.mark.parametrize("parameters", [(), (1, 2)])
    def test_there_must_be_as_many_as_placeholders(self, parameters: tuple[Any, ...]) -> None:
        assert replayable(CONTEXT, parameters) is None

    def test_question_marks_in_literals_are_no_placeholders(self) -> None:
        replay = replayable("EXEC sp_set_session_context 'what?', ?", ("now?",))
        assert replay is not None
        assert replay.sql == "EXEC sp_set_session_context 'what?', N'now?'"

    def test_options_in_a_batch_with_parameters_end_with_it(self) -> None:
        assert replayable("SET LOCK_TIMEOUT ?", (5,)) is None
        assert replayable("SET LANGUAGE Deutsch; " + CONTEXT, ("a",)) is None


def test_what_is_proven_is_bounded() -> None:
    proven = ProvenSettings()
    for number in range(1000):
        proven.add(f"SET LOCK_TIMEOUT {number}")
    assert "SET LOCK_TIMEOUT 999" in proven
    assert "SET LOCK_TIMEOUT 0" not in proven
