"""Collations, LIKE, decimals and dates as SQLite sees them."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from mssql_async.devserver.sqltypes import Collation
from mssql_async.devserver.tsql import dates, decimals, json_text, strings

from .tsql_world import World

TEXTS = some.text(alphabet="aAbBćĆcC z1_-%[]^é", max_size=6)


@pytest.mark.parametrize(
    ("left", "right", "ci", "cs", "ai", "binary"),
    [
        ("abc", "ABC", 0, -1, 0, 1),
        ("abc", "abc  ", 0, 0, 0, 0),
        ("e", "é", -1, -1, 0, -1),
        ("é", "f", -1, -1, -1, 1),
        ("_a", "0", -1, -1, -1, 1),
        ("9", "a", -1, -1, -1, -1),
        ("", " ", 0, 0, 0, 0),
        ("a", "B", -1, -1, -1, 1),
    ],
)
def test_collations_order_texts(
    left: str, right: str, ci: int, cs: int, ai: int, binary: int
) -> None:
    found = [
        strings.COMPARE[collation](left, right)
        for collation in (
            Collation.TEXT_CI,
            Collation.TEXT_CS,
            Collation.TEXT_CI_AI,
            Collation.TEXT_BIN,
        )
    ]
    assert found == [ci, cs, ai, binary]


@pytest.mark.parametrize("collation", list(strings.COMPARE))
@given(TEXTS, TEXTS, TEXTS)
def test_a_collation_is_an_order(collation: Collation, a: str, b: str, c: str) -> None:
    compare = strings.COMPARE[collation]
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    first, second, third = sorted([a, b, c], key=functools.cmp_to_key(compare))
    assert compare(first, second) <= 0
    assert compare(first, third) <= 0


@pytest.mark.parametrize(
    ("value", "pattern", "expected"),
    [
        ("Hello", "h%", True),
        ("Hello", "h_llo", True),
        ("a%b", "a[%]b", True),
        ("axb", "a[%]b", False),
        ("a_b", "a[_]b", True),
        ("b", "[a-c]", True),
        ("d", "[a-c]", False),
        ("d", "[^a-c]", True),
        ("-", "[a-]", True),
        ("[", "[[]", True),
        ("]", "[]]", False),
        ("a", "[a", False),
        ("abc ", "abc", True),
        ("abc", "abc ", False),
        ("a\nb", "a%b", True),
        ("(a)", "(a)", True),
    ],
)
def test_like_knows_wildcards_and_classes(value: str, pattern: str, expected: bool) -> None:
    assert strings.like(value, pattern, None, Collation.TEXT_CI.value, unicode=False) is expected


def test_blanks_at_the_end_of_a_unicode_value_count() -> None:
    assert not strings.like("abc ", "abc", None, Collation.TEXT_CI.value, unicode=True)
    assert strings.like("abc ", "abc ", None, Collation.TEXT_CI.value, unicode=True)


@given(TEXTS)
def test_an_escaped_text_is_like_itself(text: str) -> None:
    pattern = "".join(f"\\{character}" for character in text)
    assert strings.like(text, pattern, "\\", Collation.TEXT_CS.value, unicode=False)


@given(some.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9,
                     places=4))  # fmt: skip
def test_decimals_keep_their_value_and_order(number: Decimal) -> None:
    text = decimals.fit(number, 38, 6)
    assert Decimal(text) == number
    assert decimals.compare(text, decimals.fit(number + 1, 38, 2)) == -1
    assert decimals.add(text, "0.5", 38, 6) == decimals.fit(number + Decimal("0.5"), 38, 6)


@given(some.datetimes(), some.integers(min_value=-(10**6), max_value=10**6))
def test_adding_and_telling_apart_agree_with_python(moment: datetime, seconds: int) -> None:
    text = moment.isoformat(sep=" ", timespec="microseconds") + "0"
    ticks = dates.ticks(text)
    assert dates.moment_text(ticks) == text
    try:
        expected = moment + timedelta(seconds=seconds)
    except OverflowError:
        with pytest.raises(dates.OutOfRange):
            dates.add("second", seconds, ticks)
    else:
        found = dates.add("second", seconds, ticks)
        assert dates.moment_text(found)[:26] == expected.isoformat(" ", "microseconds")
        assert dates.difference("second", ticks, found) == seconds


@given(some.datetimes(min_value=datetime(1753, 1, 2)))  # noqa: DTZ001
def test_datetime_rounds_to_three_hundredths(moment: datetime) -> None:
    ticks = dates.ticks(moment.isoformat(sep=" ", timespec="microseconds") + "0")
    rounded = dates.rounded_to_datetime(ticks)
    assert abs(rounded - ticks) <= dates.SECOND // 300
    assert dates.time_text(rounded)[11:12] in ("0", "3", "7")


@given(some.recursive(some.none() | some.booleans() | some.integers() | some.text(max_size=5),
                      lambda inner: some.lists(inner, max_size=3)
                      | some.dictionaries(some.text(max_size=3), inner, max_size=3),
                      max_leaves=8))  # fmt: skip
def test_json_paths_find_what_json_holds(value: object) -> None:
    import json

    text = json.dumps({"a": [value]})
    found = json_text.find(text, json_text.parse_path("$.a[0]"))
    assert found is not None
    assert json.loads(text[found.start : found.end]) == value


@pytest.mark.parametrize(
    ("column", "rows", "ordered"),
    [
        ("numeric(9,2)", ["10", "9.5", "-1", "100"], ["-1.00", "9.50", "10.00", "100.00"]),
        ("nvarchar(9)", ["b", "A", "á", "C"], ["A", "á", "b", "C"]),
        (
            "datetimeoffset(0)",
            ["2024-01-01T10:00:00+02:00", "2024-01-01T09:00:00+00:00"],
            ["2024-01-01 08:00:00.0000000+02:00", "2024-01-01 09:00:00.0000000+00:00"],
        ),
        (
            "uniqueidentifier",
            ["00000000-0000-0000-0000-000000000002", "FFFFFFFF-0000-0000-0000-000000000001"],
            ["FFFFFFFF-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"],
        ),
    ],
)
def test_columns_sort_as_sql_server_sorts_their_type(
    column: str, rows: list[str], ordered: list[str]
) -> None:
    world = World()
    world.create(f"CREATE TABLE t (c {column} NULL)")
    world.run("INSERT INTO t (c) VALUES " + ", ".join(f"(N'{row}')" for row in rows))
    assert [row[0] for row in world.run("SELECT c FROM t ORDER BY c")] == ordered
    assert world.run("SELECT MIN(c), MAX(c) FROM t") == [(ordered[0], ordered[-1])]


def test_dates_follow_the_session() -> None:
    world = World()
    world.date_format, world.date_first = "dmy", 1
    assert world.value("CAST('01/02/2024' AS date)") == ("date", "2024-02-01")
    assert world.value("DATEPART(weekday, CAST('2024-01-07' AS date))") == ("int", 7)
    world.date_format, world.date_first = "mdy", 7
    assert world.value("CAST('01/02/2024' AS date)") == ("date", "2024-01-02")
    assert world.value("DATEPART(weekday, CAST('2024-01-07' AS date))") == ("int", 1)


def test_the_host_answers_session_functions() -> None:
    world = World()
    world.session["@@spid"] = 51
    world.session["serverproperty"] = "16.0.1000.6"
    world.scope_identity = 7
    assert world.value("@@SPID") == ("smallint", 51)
    assert world.value("CAST(SERVERPROPERTY('ProductVersion') AS varchar)") == (
        "varchar(30)",
        "16.0.1000.6",
    )
    assert world.value("CAST(SERVERPROPERTY('x') AS varchar(2))") == ("varchar(2)", "16")
    assert world.value("SCOPE_IDENTITY()") == ("numeric(38,0)", "7")
