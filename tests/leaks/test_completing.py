"""What a wave's record lacks and the server, or an earlier wave, knows."""

from __future__ import annotations

import math
from dataclasses import replace

from loadtests.leaks.completing import LastUsers, name_sessions, told_by_the_application
from loadtests.leaks.probe import HARNESS_ASKS
from mssql_async.contrib.leaks.detectors import find_all
from mssql_async.contrib.leaks.record import (
    Held,
    Kind,
    Record,
    ServerSession,
    Session,
    Sight,
    State,
    Story,
    Unit,
    Use,
)

PROCESS = 42
SESSION = Session(51, "2026-11-30T10:00:00.000")
DUE, LEFT = State((("lock timeout", "-1"),)), State((("lock timeout", "4321"),))


def unit(token: int, ended: float, session: Session = SESSION) -> Unit:
    return Unit(
        token, session, Use.STATEMENT, ended - 0.5, ended, PROCESS, "SELECT 1", "views.py:1"
    )


def wave(token: int, at: float, *, units: bool = True) -> Record:
    """Of one context, which comes upon what is not the baseline."""
    sight = Sight(token, SESSION, at, PROCESS, LEFT, is_first=True)
    return Record(
        "set_options", 1, "x", {"default": DUE},
        [Story(token, "set_options", Kind.REQUEST, at - 1, PROCESS, ended_at=at + 1)],
        [unit(token, at)] if units else [],
        [sight],
    )  # fmt: skip


class TestWhoUsedASessionLast:
    def test_is_named_by_what_the_next_wave_comes_upon(self) -> None:
        users, first, second = LastUsers(), wave(1, 10), wave(2, 20)
        users.join(first)
        users.join(second)
        (found,) = find_all(second)
        assert found.culprit is not None
        assert found.culprit.what.startswith("request 1 of set_options")
        assert found.message.endswith("after request 1 had used it.")

    def test_is_not_where_nobody_remembers(self) -> None:
        """The control."""
        (found,) = find_all(wave(2, 20))
        assert found.culprit is None

    def test_is_remembered_over_waves_that_do_not_use_it(self) -> None:
        users, between, last = LastUsers(), replace(wave(2, 20), units=[], sights=[]), wave(3, 30)
        users.join(wave(1, 10))
        users.join(between)
        assert between.units == []
        users.join(last)
        assert [each.token for each in last.units] == [3, 1]
        assert [each.token for each in last.stories] == [3, 1]

    def test_is_the_last_one(self) -> None:
        users, first, second = LastUsers(), wave(1, 10), wave(2, 20)
        third = wave(3, 30)
        for each in (first, second, third):
            users.join(each)
        assert [each.token for each in third.units] == [3, 2]

    def test_is_told_of_where_the_server_shows_it_at_rest(self) -> None:
        users, later = LastUsers(), wave(2, 20, units=False)
        users.join(wave(1, 10))
        later.sights = []
        later.at_rest = [ServerSession(25, SESSION, PROCESS, "x", "sleeping")]
        users.join(later)
        assert [each.token for each in later.units] == [1]

    def test_is_not_told_of_twice_where_it_never_ended(self) -> None:
        users, first, second = LastUsers(), wave(1, 10), wave(2, 20)
        first.units = [unit(1, math.inf)]
        users.join(first)
        users.join(second)
        assert [each.token for each in second.units] == [2]


class TestSessions:
    def test_that_are_known_by_number_get_the_time_of_their_login(self) -> None:
        record = Record(
            units=[unit(1, 10, Session(51)), unit(1, 10, Session(52))],
            held=[
                Held(PROCESS, 11, 1, Session(51), None, ""),
                Held(PROCESS, 11, 1, None, None, ""),
            ],
            at_rest=[
                ServerSession(12, SESSION, PROCESS, "x", "sleeping"),
                ServerSession(12, Session(52, "earlier"), PROCESS + 1, "x", "sleeping"),
            ],
        )
        name_sessions(record)
        assert [each.session for each in record.units] == [SESSION, Session(52)]
        assert [each.session for each in record.held] == [SESSION, None]

    def test_have_not_executed_what_the_harness_asked(self) -> None:
        held = Held(1, 0.0, 17, Session(51), None, "", statement="SET DATEFIRST 3")
        seen = ServerSession(0.0, SESSION, 1, "x", "sleeping", statement=f"{HARNESS_ASKS} SELECT 1")
        assert told_by_the_application(seen, [held]).statement == "SET DATEFIRST 3"
        assert told_by_the_application(seen, []).statement == ""
        own = replace(seen, statement="SELECT 2")
        assert told_by_the_application(own, [held]) is own
