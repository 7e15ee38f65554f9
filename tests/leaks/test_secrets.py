"""What looks like a secret is hidden, and nothing else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mssql_async.contrib.leaks.detectors.index import shown
from mssql_async.contrib.leaks.findings import Detector, Finding, Party
from mssql_async.contrib.leaks.secrets import without_secrets

SECRET = "hunter2"
WEB_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("CREATE LOGIN x WITH PASSWORD = 'hunter2', y = 1", "WITH PASSWORD = …, y = 1"),
        ("ALTER LOGIN x WITH PASSWORD = N'hunter2''hunter2' UNLOCK", "PASSWORD = … UNLOCK"),
        ("UPDATE u SET [password] = 'hunter2' WHERE id = 3", "[password] = … WHERE id = 3"),
        ("PASSWORD = 'hunter2 and nobody has closed it", "PASSWORD = …"),
        ('{"password": "hunter2", "user": "sa"}', '"user": "sa"}'),
        ('{"password": "a\\"hunter2", "user": "sa"}', '"user": "sa"}'),
        (r'"{\"password\": \"hunter2\", \"user\": 1}"', r'\"user\": 1}"'),
        ("{'db_password': 'hunter2', 'user': 'sa'}", "'user': 'sa'}"),
        ("MSSQL_PASSWORD=hunter2 make test", "MSSQL_PASSWORD=… make test"),
        ("db_password: hunter2", "db_password: …"),
        ("connect(password='hunter2', user='sa')", "connect(password=…, user='sa')"),
        ("clientSecret=hunter2&user=sa", "clientSecret=…"),
        ("token=hunter2", "token=…"),
        ("PWD=hunter2,hunter2", "PWD=…"),
        ("SERVER=db;PWD=a,hunter2;Encrypt=yes", "SERVER=db;PWD=…;Encrypt=yes"),
        ("SERVER=db;PWD=a hunter2;Encrypt=yes", "SERVER=db;PWD=…;Encrypt=yes"),
        ("SERVER=db;PWD=a'hunter2;Encrypt=yes", "SERVER=db;PWD=…;Encrypt=yes"),
        ("SERVER=db;PWD=@hunter2;Encrypt=yes", "SERVER=db;PWD=…;Encrypt=yes"),
        ("SERVER=db;PWD={a;}}hunter2};Encrypt=yes", "SERVER=db;PWD=…;Encrypt=yes"),
        ("mssql://sa:hunter2@db:1433/app", "mssql://sa:…@db:1433/app"),
        ("redis://:p@hunter2@cache/0", "redis://:…@cache/0"),
        ("AccountName=x;AccountKey=hunter2==;EndpointSuffix=y", "AccountKey=…;EndpointSuffix=y"),
        ("SharedAccessSignature=sv=1&sig=hunter2", "SharedAccessSignature=…"),
        ("https://x/blob?sv=1&sig=hunter2&se=2", "https://x/blob?sv=1&sig=…&se=2"),
        ("Authorization: Basic hunter2", "Authorization: …"),
    ],
)
def test_a_secret_is_hidden(text: str, shown_as: str) -> None:
    assert SECRET in text
    assert SECRET not in without_secrets(text)
    assert without_secrets(text).endswith(shown_as)
    assert without_secrets(without_secrets(text)) == without_secrets(text)


@pytest.mark.parametrize(
    "said", ["token=", "Bearer ", '{"access_token": "', "a cookie called "], ids=str.strip
)
def test_a_web_token_is_hidden(said: str) -> None:
    assert without_secrets(f"{said}{WEB_TOKEN}") in (f"{said}…", f"{said.rstrip(chr(34))}…")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT [password_hash] FROM users WHERE [user] = @P1; SET LOCK_TIMEOUT 100",
        "UPDATE u SET password_changed_at = '2026-11-30' WHERE id = 3",
        "SELECT password FROM users WHERE id = 3",
        "SELECT * FROM t WHERE token = @p1 AND x = 'y'",
        "UPDATE u SET password = %s, token = ? WHERE id = %(id)s",
        "SELECT * FROM t WHERE token = @wanted",
        "SELECT * FROM t WHERE token IS NULL",
        "UPDATE t SET token = NULL WHERE x = 'y'",
        "SELECT * FROM [s] JOIN [t] ON [s].[token] = [t].[token]",
        "tokens: 12",
        "a bearer token is wanted",
        "http://localhost:8000/users/@me",
        "tests/test_user.py::TestToken::test_password leaks: 1 finding.",
        "test 3 has left an open atomic block on the database 'default'.",
    ],
)
def test_other_words_stay_as_they_are(text: str) -> None:
    assert without_secrets([text, {text: 1}]) == [text, {text: 1}]


@pytest.mark.parametrize(
    ("value", "as_shown"),
    [
        ({"password": SECRET, "user": "sa"}, {"password": "…", "user": "sa"}),
        ({"DB_PASSWORD": [SECRET, {"x": SECRET}]}, {"DB_PASSWORD": ["…", {"x": "…"}]}),
        ([{"clientSecret": SECRET.encode()}], [{"clientSecret": "…"}]),
        ({"options": ("PWD=hunter2",)}, {"options": ("PWD=…",)}),
        ({"token": 17, "tokens": [17, None]}, {"token": 17, "tokens": [17, None]}),
        ({"password": "", "password_changed_at": "now"}, None),
    ],
)
def test_a_key_may_say_that_its_value_is_a_secret(value: Any, as_shown: Any) -> None:
    assert without_secrets(value) == (value if as_shown is None else as_shown)


def test_no_finding_tells_a_secret() -> None:
    party = Party(1, "test 1", statement="ALTER LOGIN x WITH PASSWORD = 'hunter2'")
    said = Finding(
        Detector.ORPHAN_SESSION, 'last statement "PWD=hunter2".', "", 0, time.time(), party
    ).describe()
    assert SECRET not in said
    assert "ALTER LOGIN x WITH PASSWORD = …" in said


def test_no_sentence_has_the_half_of_a_secret_that_is_not_cut_off() -> None:
    statement = f"SELECT 1 /* {'x' * 68} mssql://sa:{SECRET}@db */"
    assert statement[:99].endswith(SECRET)  # the control: without what follows it is no password
    assert SECRET in without_secrets(statement[:99])
    assert SECRET not in shown(statement)
