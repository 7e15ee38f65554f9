"""A record survives the way between processes."""

from __future__ import annotations

import json

import pytest

from mssql_async.contrib.leaks.record import (
    Answer,
    AnswerKind,
    Fate,
    Held,
    Kind,
    Known,
    Record,
    Sample,
    Seen,
    ServerSession,
    Session,
    Sight,
    State,
    Story,
    Unit,
    Use,
    Written,
    from_plain,
    to_plain,
)

SESSION = Session(51, "2024-01-01T00:00:00.123")
STATE = State((("language", "us_english"), ("date first", "7")), 1)


def full_record() -> Record:
    return Record(
        scenario="sync_views",
        seed=7,
        program="leaks",
        baseline={"default": STATE},
        stories=[Story(1, "sync_views", Kind.REQUEST, 1.5, 42, 2.5, 0, "task", "ok")],
        units=[Unit(1, SESSION, Use.CURSOR, 1.6, 1.7, 42, "SELECT 1", "x.py:1 in view")],
        sights=[
            Sight(1, SESSION, 1.65, 42, STATE, True, (("language", "Deutsch"),), True, "s", "p")
        ],
        answers=[Answer(1, SESSION, 1.7, 42, AnswerKind.MESSAGE, "a", "b")],
        written=[Written(1, "1-1", Fate.OPEN, 1.8, SESSION, 42)],
        seen=[Seen(2, "1-1", 1.9, SESSION, 42)],
        held=[Held(42, 2.6, 1, None, None, "p"), Held(42, 2.6, 1, SESSION, 1.6, "p")],
        known=[Known(42, 2.6, 1, (SESSION,))],
        at_rest=[
            ServerSession(2.7, SESSION, 42, "leaks", "sleeping", 0, "app", STATE.settings, ("l",))
        ],
        rows=["1-1"],
        samples=[Sample(42, 2.7, 1, 3, 9, 1, 1 << 20)],
    )


def test_a_record_comes_back_from_json_as_it_was() -> None:
    record = full_record()
    assert from_plain(Record, json.loads(json.dumps(to_plain(record)))) == record


def test_parts_of_a_record_come_back_as_well() -> None:
    unit = full_record().units[0]
    assert from_plain(Unit, to_plain(unit)) == unit
    assert from_plain(list[Unit], to_plain([unit])) == [unit]


def test_nobody_having_looked_is_not_an_empty_table() -> None:
    assert from_plain(Record, to_plain(Record())).rows is None
    assert from_plain(Record, to_plain(Record(rows=[]))).rows == []


def test_what_was_written_before_a_field_was_added_is_read_with_its_default() -> None:
    known = Known(42, 2.6, 3)
    assert from_plain(Known, to_plain(known)[:3]) == known


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="too many"):
        from_plain(Session, [1, "x", "y", "z"])
    with pytest.raises(ValueError, match="teapot"):
        from_plain(Story, [1, "sync_views", "teapot", 1.5, 42])
    with pytest.raises(TypeError, match="object"):
        to_plain([object()])
