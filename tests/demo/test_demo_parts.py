"""The parts of the demo that need no server."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from demo_asgi.ledger.cursor import MOST_GAPS, PATIENCE, FeedCursor
from demo_asgi.problems import DemoError, explain

ENVIRONMENT = {
    "MSSQL_HOST": "db.example",
    "MSSQL_PORT": "1433",
    "MSSQL_USER": "ann",
    "MSSQL_PASSWORD": "hush;hush",
    "MSSQL_DATABASE": "books",
}
DRIVER = "[Microsoft][ODBC Driver 18 for SQL Server]"


def test_a_cursor_remembers_the_ids_it_passed_over() -> None:
    cursor = FeedCursor(10)
    cursor.advance([11, 14])
    assert (cursor.position, cursor.gaps) == (14, [12, 13])
    cursor.advance([12, 15])
    assert (cursor.position, cursor.gaps) == (15, [13])


def test_a_cursor_starts_with_the_gaps_before_it() -> None:
    assert FeedCursor(10, recent={6, 8, 10}, window=5).gaps == [7, 9]
    assert FeedCursor(3, recent={1, 2, 3}, window=100).gaps == []


def test_a_cursor_gives_up_on_ids_that_never_come() -> None:
    cursor = FeedCursor(0)
    cursor.advance([2])
    for _ in range(PATIENCE - 1):
        cursor.advance([])
        assert cursor.gaps == [1]
    cursor.advance([])
    assert cursor.gaps == []


def test_a_cursor_does_not_wait_for_the_ids_that_a_restart_skips() -> None:
    cursor = FeedCursor(0)
    cursor.advance([1, 100_001])
    assert len(cursor.gaps) < MOST_GAPS


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (f"[28000] {DRIVER}[SQL Server]Login failed for user 'ann'. (18456)", ["ann", "login"]),
        (
            f'[42000] {DRIVER}[SQL Server]Cannot open database "books" requested by the login. '
            "The login failed. (4060); Login failed for user 'ann'. (18456)",
            ["books", "MSSQL_DATABASE"],
        ),
        (f"[HYT00] {DRIVER}Login timeout expired (0)", ["cannot reach", "db.example:1433"]),
        (f"[08001] {DRIVER}TCP Provider: Error code 0x2749", ["cannot reach"]),
        (
            f"[08001] {DRIVER}SSL Provider: [error:0A000086:SSL routines::certificate verify "
            "failed:self-signed certificate]",
            ["not trusted", "TrustServerCertificate"],
        ),
        ("[01000] [unixODBC][Driver Manager]Can't open lib 'x' : file not found", ["unixODBC"]),
    ],
)
def test_the_drivers_words_become_advice(message: str, words: list[str]) -> None:
    line = explain(OperationalError("state", message), ENVIRONMENT)
    assert all(word in line for word in words), line


def test_a_refused_token_is_not_called_a_password() -> None:
    error = OperationalError("28000", f"{DRIVER}[SQL Server]Login failed for user ''. (18456)")
    line = explain(error, ENVIRONMENT | {"MSSQL_ACCESS_TOKEN": "eyJ"})
    assert "MSSQL_ACCESS_TOKEN" in line
    assert "PASSWORD" not in line


def test_the_cause_of_an_error_counts() -> None:
    error = RuntimeError("no connection")
    error.__cause__ = OperationalError("HYT00", "Login timeout expired")
    assert "cannot reach" in explain(error, ENVIRONMENT)


def test_no_secret_is_in_an_unknown_error_and_it_is_one_line() -> None:
    error = RuntimeError("odd:\nDRIVER=x;UID=ann;PWD={other};PASSWORD=third;with hush;hush")
    line = explain(error, ENVIRONMENT)
    assert "\n" not in line
    assert not any(secret in line for secret in ("hush", "other", "third"))


def test_the_demos_own_errors_are_shown_as_they_are() -> None:
    assert explain(DemoError("as it is"), ENVIRONMENT) == "as it is"
