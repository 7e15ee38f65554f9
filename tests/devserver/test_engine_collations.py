"""Which collation two strings meet under, and where none is found (468).

Source: SQL Server documentation, "Collation precedence".
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devserver.engine_door import Door, opened


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with opened() as engine:
        door = Door(engine)
        door.run(
            "CREATE TABLE t (cs varchar(9) COLLATE Latin1_General_CS_AS, plain varchar(9));"
            "INSERT t VALUES ('a', 'a'), ('A', 'a')"
        )
        yield door


@pytest.mark.parametrize(
    "condition",
    [
        "cs = plain",
        "plain < cs",
        "cs LIKE plain",
        "cs IN (SELECT plain FROM t)",
        "cs BETWEEN plain AND 'z'",
        "CHARINDEX(cs, plain) = 1",
    ],
)
def test_columns_of_two_collations_do_not_compare(door: Door, condition: str) -> None:
    message = door.error(f"SELECT 1 FROM t WHERE {condition}")
    assert message.number == 468
    assert "Latin1_General_CS_AS" in message.text
    assert "SQL_Latin1_General_CP1_CI_AS" in message.text


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("cs = 'A'", 1),
        ("cs = N'A'", 1),
        ("cs = @p", 1),
        ("cs = plain COLLATE Latin1_General_CS_AS", 1),
        ("cs = plain COLLATE DATABASE_DEFAULT", 2),
        ("cs IN (SELECT x FROM (SELECT 'A' AS x) AS q)", 1),
        ("cs IN (SELECT x FROM (VALUES ('A')) AS v (x))", 1),
        ("plain = (SELECT name FROM sys.tables WHERE name = plain)", 0),
    ],
)
def test_what_is_no_column_follows_the_column_and_collate_settles_it(
    door: Door, condition: str, count: int
) -> None:
    door.run("SELECT 1")
    found = door.value(f"DECLARE @p varchar(9) = 'A'; SELECT COUNT(*) FROM t WHERE {condition}")
    assert found == count
