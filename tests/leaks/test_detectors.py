"""What each detector concludes from a record written by hand, and where it stays silent."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, permutations
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mssql_async.contrib.leaks.detectors import DETECTORS, find_all, growth
from mssql_async.contrib.leaks.findings import Detector, Finding
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
)

PROCESS = 42
A, B = Session(51, "2026-11-23 10:00:00.000"), Session(52, "2026-11-23 10:00:01.000")
BASELINE = State((("database", "app"), ("language", "us_english"), ("lock timeout", "-1")))


def record(**seen: object) -> Record:
    """Of contexts 1 to 5, all of which have ended."""
    stories = [
        Story(token, "sync_views", Kind.REQUEST, 100.0 + token, PROCESS, ended_at=200.0)
        for token in range(1, 6)
    ]
    return Record(**{"scenario": "sync_views", "seed": 7, "stories": stories, **seen})  # type: ignore[arg-type]


def unit(
    token: int,
    began: float,
    ended: float,
    session: Session = A,
    use: Use = Use.STATEMENT,
    process: int = PROCESS,
) -> Unit:
    return Unit(token, session, use, began, ended, process, f"SELECT {token}", f"views.py:{token}")


def found_by(detector: Detector, of: Record) -> list[Finding]:
    return find_all(of, only=[detector])


def the_one(detector: Detector, of: Record) -> Finding:
    [finding] = found_by(detector, of)
    assert finding.detector is detector
    assert finding.scenario == "sync_views"
    assert finding.seed == 7
    assert finding.describe()  # a terminal can show it
    assert finding.to_dict()["message"] == finding.message
    return finding


def parties(finding: Finding) -> tuple[int | None, int | None]:
    """The tokens of the culprit and the victim."""
    return (
        finding.culprit.token if finding.culprit else None,
        finding.victim.token if finding.victim else None,
    )


def test_every_detector_of_the_verdict_table_is_there() -> None:
    assert set(DETECTORS) == set(Detector)


def test_of_an_empty_record_there_is_nothing_to_say() -> None:
    assert find_all(Record()) == []


def test_only_the_detectors_that_were_asked_for_are_run() -> None:
    shared_and_retained = record(
        units=[unit(1, 110, 112), unit(2, 111, 113)],
        held=[Held(PROCESS, 300, 1, None, None, "")],
    )
    assert {finding.detector for finding in find_all(shared_and_retained)} == {
        Detector.SHARED_SESSION,
        Detector.RETAINED_LEASE,
    }
    assert found_by(Detector.GROWTH, shared_and_retained) == []


class TestSharedSession:
    DETECTOR = Detector.SHARED_SESSION

    def test_names_who_had_the_session_and_who_came(self) -> None:
        seen = record(units=[unit(2, 111, 111.5), unit(1, 110, 112, use=Use.TRANSACTION)])
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (2, 1)
        assert finding.session == A
        assert finding.at == 111
        assert finding.message == (
            "request 2 used session 51 (a statement) while request 1 had it to itself "
            "(a transaction): 500.0 ms at the same time."
        )
        assert finding.culprit is not None
        assert finding.culprit.what == "request 2 of sync_views (process 42)"
        assert finding.culprit.statement == "SELECT 2"
        assert finding.culprit.place == "views.py:2"

    def test_one_finding_for_two_contexts_however_often_they_collide(self) -> None:
        units = [unit(1, 110, 150, use=Use.TRANSACTION)]
        units += [unit(2, at, at + 0.5) for at in range(111, 121)]
        assert parties(the_one(self.DETECTOR, record(units=units))) == (2, 1)

    def test_every_context_that_came_into_a_transaction_is_found(self) -> None:
        units = [unit(1, 110, 150, use=Use.TRANSACTION)]
        units += [unit(token, 111 + token, 111.5 + token) for token in (2, 3, 4)]
        findings = found_by(self.DETECTOR, record(units=units))
        assert [parties(finding) for finding in findings] == [(2, 1), (3, 1), (4, 1)]

    def test_a_long_unit_before_many_short_ones_of_its_own_context_is_not_forgotten(self) -> None:
        units = [unit(1, 110, 150, use=Use.TRANSACTION)]
        units += [unit(1, at, at + 0.5) for at in range(111, 121)]
        units += [unit(2, 149, 151)]
        assert parties(the_one(self.DETECTOR, record(units=units))) == (2, 1)

    def test_a_context_that_was_started_by_another_one_is_another_context(self) -> None:
        seen = record(units=[unit(1, 110, 112), unit(5, 111, 113)])
        seen.stories[4] = replace(seen.stories[4], kind=Kind.TASK, parent=1)
        finding = the_one(self.DETECTOR, seen)
        assert finding.message.startswith("task 5 used")

    def test_a_session_that_came_over_a_fork_is_shared_between_processes(self) -> None:
        seen = record(units=[unit(1, 110, 112), unit(2, 111, 113, process=43)])
        assert parties(the_one(self.DETECTOR, seen)) == (2, 1)

    @pytest.mark.parametrize(
        "units",
        [
            pytest.param([unit(1, 110, 111), unit(2, 111, 112)], id="they touch"),
            pytest.param([unit(1, 110, 112), unit(2, 111, 113, B)], id="another session"),
            pytest.param(
                [
                    unit(1, 110, 115, use=Use.TRANSACTION),
                    unit(1, 111, 114, use=Use.CURSOR),
                    unit(1, 112, 113),
                ],
                id="units of one context within each other",
            ),
            pytest.param(
                [unit(1, 110, 112), unit(2, 111, 113, Session(51, "2026-11-23 11:11:11.000"))],
                id="a number that came back",
            ),
            pytest.param(
                [unit(1, 110, 112, Session(51)), unit(2, 111, 113, Session(51), process=43)],
                id="the same number in two processes, of sessions without a time",
            ),
            pytest.param(
                [unit(1, 110, 112, Session(0)), unit(2, 111, 113, Session(0))],
                id="nobody could tell which sessions",
            ),
        ],
    )
    def test_stays_silent(self, units: list[Unit]) -> None:
        assert found_by(self.DETECTOR, record(units=units)) == []

    @given(
        st.lists(
            st.tuples(st.integers(1, 4), st.floats(0, 10), st.floats(0, 10)),
            max_size=40,
        )
    )
    def test_units_one_after_the_other_are_never_found(
        self, steps: list[tuple[int, float, float]]
    ) -> None:
        units, now = [], 0.0
        for token, lasting, pause in steps:
            units.append(unit(token, now, now + lasting))
            now += lasting + pause
        assert found_by(self.DETECTOR, record(units=units)) == []

    @given(
        st.lists(
            st.tuples(st.integers(1, 4), st.integers(0, 60), st.integers(0, 8)),
            min_size=2,
            max_size=30,
        )
    )
    def test_finds_a_collision_wherever_comparing_each_with_each_does(
        self, spans: list[tuple[int, int, int]]
    ) -> None:
        units = [unit(token, began, began + lasting) for token, began, lasting in spans]

        def collide(one: Unit, other: Unit) -> bool:
            return (
                one.token != other.token
                and one.began_at < other.ended_at
                and other.began_at < one.ended_at
            )

        intruders = {
            max(one, other, key=lambda each: (each.began_at, each.ended_at)).began_at
            for one in units
            for other in units
            if collide(one, other)
        }
        findings = found_by(self.DETECTOR, record(units=units))
        assert bool(findings) == bool(intruders)
        assert {finding.at for finding in findings} <= intruders
        if findings:
            assert min(finding.at for finding in findings) == min(intruders)


class TestRetainedLease:
    DETECTOR = Detector.RETAINED_LEASE

    def test_names_who_holds_it_and_where_it_was_acquired(self) -> None:
        seen = record(
            units=[unit(1, 110, 111), unit(3, 120, 121)],
            held=[Held(PROCESS, 203.5, 3, A, 120.0, "views.py:3 in broken")],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (3, None)
        assert finding.session == A
        assert finding.message == (
            "request 3 has ended and still holds a lease on session 51 83.5 s after it was "
            "acquired."
        )
        assert finding.culprit is not None
        assert finding.culprit.place == "views.py:3 in broken"
        assert finding.culprit.statement == "SELECT 3"

    def test_the_last_user_of_the_session_is_named_where_nobody_else_is_known(self) -> None:
        seen = record(
            units=[unit(1, 110, 111), unit(3, 120, 121)],
            held=[Held(PROCESS, 300, 0, A, None, "", "a wrapper's connection")],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (3, None)
        assert "still holds a wrapper's connection on session 51." in finding.message

    def test_a_lease_of_nobody_known_is_a_finding_as_well(self) -> None:
        finding = the_one(self.DETECTOR, record(held=[Held(PROCESS, 300, 0, None, None, "")]))
        assert finding.message == "a context of process 42 has ended and still holds a lease."

    def test_a_unit_without_an_end_is_one(self) -> None:
        seen = record(units=[unit(2, 110, math.inf, use=Use.CURSOR), unit(2, 110, math.inf)])
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (2, None)
        assert finding.session == A
        assert "without the end of a cursor" in finding.message

    def test_what_was_left_open_is_told_of_once(self) -> None:
        seen = record(
            units=[unit(2, 110, math.inf, use=Use.CURSOR)],
            held=[Held(PROCESS, 300, 2, A, 110.0, ""), Held(PROCESS, 301, 2, A, 110.0, "")],
        )
        assert parties(the_one(self.DETECTOR, seen)) == (2, None)

    def test_stays_silent_where_everything_has_come_back(self) -> None:
        seen = record(
            units=[unit(1, 110, 111)], known=[Known(PROCESS, 300, 1, (A,))], at_rest=[at_rest(A)]
        )
        assert found_by(self.DETECTOR, seen) == []


def at_rest(session: Session, process: int = PROCESS, **shows: object) -> ServerSession:
    return ServerSession(
        **{  # type: ignore[arg-type]
            "at": 300.0, "session": session, "process": process, "program": "leaks",
            "status": "sleeping", **shows,
        }
    )  # fmt: skip


class TestOrphanSession:
    DETECTOR = Detector.ORPHAN_SESSION

    def test_a_session_that_the_pools_do_not_name_is_one(self) -> None:
        seen = record(
            units=[unit(1, 110, 111, A), unit(2, 120, 121, B)],
            at_rest=[at_rest(A), at_rest(B, statement="SELECT 2")],
            known=[Known(PROCESS, 299, 1, (A,))],
        )
        finding = the_one(self.DETECTOR, seen)
        assert finding.session == B
        assert parties(finding) == (2, None)
        assert finding.message == (
            "The server has session 52 (sleeping, last statement 'SELECT 2') of process 42, "
            "which no pool knows (at the server 2, known 1); request 2 used it last."
        )

    def test_a_known_connection_whose_session_has_ended_makes_no_room_for_it(self) -> None:
        seen = record(
            at_rest=[at_rest(B)],
            known=[Known(PROCESS, 299, 1, (A,))],
        )
        assert the_one(self.DETECTOR, seen).session == B

    def test_where_sessions_are_only_counted_those_beyond_the_count_are(self) -> None:
        seen = record(
            at_rest=[at_rest(A), at_rest(B), at_rest(Session(53, "later"))],
            known=[Known(PROCESS, 299, 2, (A,))],
        )
        finding = the_one(self.DETECTOR, seen)
        assert "or another of 2" in finding.message
        assert parties(finding) == (None, None)

    def test_a_process_that_is_gone_leaves_none_behind(self) -> None:
        seen = record(
            at_rest=[at_rest(A), at_rest(B, process=43)],
            known=[Known(PROCESS, 299, 1, (A,))],
        )
        finding = the_one(self.DETECTOR, seen)
        assert finding.session == B
        assert "of process 43, which is gone" in finding.message

    @pytest.mark.parametrize(
        ("shown", "known"),
        [
            pytest.param([A, B], [Known(PROCESS, 299, 2, (A, B))], id="all known"),
            pytest.param([A, B], [Known(PROCESS, 299, 2)], id="all counted"),
            pytest.param([A, B], [Known(PROCESS, 299, 2, (A,))], id="one counted only"),
            pytest.param([A], [Known(PROCESS, 299, 2, (A, B))], id="one ended by the server"),
            pytest.param(
                [Session(A.spid, "another time")], [Known(PROCESS, 299, 1, (A,))],
                id="its login told anew after a reset",
            ),
            pytest.param([A, A], [Known(PROCESS, 299, 1)], id="looked at twice"),
            pytest.param(
                [A, B], [Known(PROCESS, 250, 1, (A,)), Known(PROCESS, 299, 2, (A, B))],
                id="opened since it was asked before",
            ),
            pytest.param([A, B], [], id="nobody was asked"),
        ],
    )  # fmt: skip
    def test_stays_silent(self, shown: list[Session], known: list[Known]) -> None:
        seen = record(at_rest=[at_rest(session) for session in shown], known=known)
        assert found_by(self.DETECTOR, seen) == []

    def test_sessions_of_other_programs_are_no_concern(self) -> None:
        seen = record(
            program="leaks",
            at_rest=[at_rest(A), at_rest(B, program="watcher")],
            known=[Known(PROCESS, 299, 1, (A,))],
        )
        assert found_by(self.DETECTOR, seen) == []


def sight(token: int, at: float, state: State = BASELINE, **more: object) -> Sight:
    return Sight(
        **{  # type: ignore[arg-type]
            "token": token, "session": A, "at": at, "process": PROCESS, "state": state,
            "is_first": True, "statement": f"SELECT {token}", "place": f"views.py:{token}", **more,
        }
    )  # fmt: skip


def with_setting(name: str, value: str) -> State:
    return State(tuple({**dict(BASELINE.settings), name: value}.items()))


GERMAN = with_setting("language", "Deutsch")


class TestStateBleed:
    DETECTOR = Detector.STATE_BLEED

    def record(self, **seen: object) -> Record:
        return record(baseline={"default": BASELINE}, **seen)

    def test_what_somebody_else_left_is_found_at_the_first_sight(self) -> None:
        seen = self.record(
            units=[unit(1, 110, 111), unit(3, 115, 116, B), unit(2, 120, 121)],
            sights=[sight(2, 120.5, GERMAN)],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (1, 2)
        assert finding.session == A
        assert finding.at == 120.5
        assert finding.message == (
            "request 2 came upon session 51 with language 'Deutsch' instead of 'us_english', "
            "after request 1 had used it."
        )

    def test_who_is_known_to_have_set_it_is_named_before_who_came_last(self) -> None:
        seen = self.record(
            units=[unit(1, 110, 111), unit(2, 120, 121), unit(3, 130, 131)],
            sights=[
                sight(1, 110.5, GERMAN, is_first=False, expected=(("language", "Deutsch"),)),
                sight(3, 130.5, GERMAN),
            ],
        )
        assert parties(the_one(self.DETECTOR, seen)) == (1, 3)

    def test_a_temporary_table_that_the_baseline_does_not_have_is_found(self) -> None:
        seen = self.record(sights=[sight(2, 120.5, with_setting("#probe", "yes"))])
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (None, 2)
        assert "#probe 'yes' instead of ''" in finding.message

    def test_what_changes_under_a_context_is_found(self) -> None:
        seen = self.record(
            units=[unit(1, 110, 130, use=Use.TRANSACTION), unit(2, 115, 116)],
            sights=[sight(1, 110.5), sight(1, 120, GERMAN, is_first=False)],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (2, 1)
        assert finding.message.startswith("session 51 changed under request 1: language")

    def test_ones_own_setting_that_was_undone_is_found(self) -> None:
        seen = self.record(
            sights=[sight(1, 120, is_first=False, expected=(("language", "Deutsch"),))]
        )
        assert "'us_english' instead of 'Deutsch'" in the_one(self.DETECTOR, seen).message

    def test_one_finding_for_a_context_that_sees_it_again_and_again(self) -> None:
        seen = self.record(sights=[sight(2, 120 + at, GERMAN) for at in range(5)])
        assert the_one(self.DETECTOR, seen).at == 120

    def test_what_the_server_shows_at_rest_is_found(self) -> None:
        seen = self.record(
            units=[unit(1, 110, 111), unit(2, 120, 121)],
            at_rest=[
                at_rest(
                    A,
                    database="master",
                    settings=(("language", "Deutsch"), ("row count", "0")),
                    locks=("nightly",),
                    temporary=("#work",),
                )
            ],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (2, None)
        assert finding.session == A
        assert finding.message == (
            "request 2 left session 51 at rest with database 'master' instead of 'app', "
            "language 'Deutsch' instead of 'us_english'; the application locks nightly; "
            "the temporary tables #work."
        )

    @pytest.mark.parametrize(
        "sights",
        [
            pytest.param([sight(1, 110), sight(2, 120)], id="the baseline"),
            pytest.param(
                [sight(1, 110, GERMAN, expected=(("language", "Deutsch"),))],
                id="its own doing, in a later unit",
            ),
            pytest.param(
                [sight(1, 110, GERMAN, is_first=False, expected=(("language", "Deutsch"),))],
                id="its own doing, in the same unit",
            ),
            pytest.param([sight(1, 110, GERMAN, alias="other")], id="no baseline to compare with"),
        ],
    )
    def test_stays_silent(self, sights: list[Sight]) -> None:
        assert found_by(self.DETECTOR, self.record(sights=sights)) == []

    def test_the_baseline_of_any_alias_will_do_at_rest_where_its_use_is_not_known(self) -> None:
        seen = record(
            baseline={"default": BASELINE, "other": with_setting("database", "second")},
            at_rest=[at_rest(A, database="second", settings=(("language", "us_english"),))],
        )
        assert found_by(self.DETECTOR, seen) == []

    def test_an_open_transaction_is_not_told_of_twice(self) -> None:
        seen = self.record(
            sights=[sight(2, 120, replace(BASELINE, transactions=1))],
            at_rest=[at_rest(A, transactions=1)],
        )
        assert found_by(self.DETECTOR, seen) == []
        assert len(found_by(Detector.TRANSACTION_BLEED, seen)) == 2


def written(token: int, fate: Fate, row: str = "row", at: float = 115) -> Written:
    return Written(token, row, fate, at, A, PROCESS, f"views.py:{token}")


class TestTransactionBleed:
    DETECTOR = Detector.TRANSACTION_BLEED
    OPEN = State(transactions=1)

    def test_a_transaction_that_was_left_open_is_found_by_the_next_context(self) -> None:
        seen = record(
            units=[unit(1, 110, 111), unit(2, 120, 121)],
            sights=[sight(2, 120.5, self.OPEN), sight(2, 120.6, self.OPEN, is_first=False)],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (1, 2)
        assert finding.session == A
        assert finding.message == (
            "request 2 is in a transaction on session 51 that it has not begun "
            "(@@TRANCOUNT 1), as request 1 left it."
        )

    def test_a_transaction_that_somebody_else_began_meanwhile_is_found(self) -> None:
        seen = record(
            units=[unit(1, 110, 130), unit(2, 115, 125, use=Use.TRANSACTION)],
            sights=[sight(1, 110.5), sight(1, 120, self.OPEN, is_first=False)],
        )
        assert parties(the_one(self.DETECTOR, seen)) == (2, 1)

    @pytest.mark.parametrize("fate", [Fate.ROLLED_BACK, Fate.OPEN])
    def test_a_row_that_nobody_committed_and_another_context_saw_is_found(self, fate: Fate) -> None:
        seen = record(
            written=[written(1, fate)],
            seen=[Seen(2, "row", 120, B, PROCESS, "SELECT row", "views.py:2")],
            rows=[],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (1, 2)
        assert finding.session == B
        assert "request 2 saw the row 'row' on session 52, which request 1 wrote" in finding.message
        assert finding.victim is not None
        assert finding.victim.statement == "SELECT row"

    def test_a_row_that_was_rolled_back_and_is_there_was_committed_by_somebody(self) -> None:
        seen = record(
            units=[unit(1, 110, 120, use=Use.TRANSACTION), unit(2, 116, 117)],
            written=[written(1, Fate.ROLLED_BACK)],
            rows=["row"],
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (2, 1)
        assert finding.session == A
        assert finding.message == (
            "The row 'row', which request 1 wrote on session 51 and has rolled back, is there: "
            "it was committed by request 2, which used the session meanwhile."
        )

    def test_a_row_that_was_committed_and_is_missing_was_rolled_back_by_somebody(self) -> None:
        seen = record(written=[written(1, Fate.COMMITTED)], rows=["another"])
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (None, 1)
        assert "has committed, is not there: it was rolled back." in finding.message

    def test_a_session_at_rest_with_an_open_transaction_is_found(self) -> None:
        seen = record(
            units=[unit(1, 110, 111), unit(2, 120, 121)], at_rest=[at_rest(A, transactions=2)]
        )
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (2, None)
        assert finding.message == (
            "request 2 left session 51 at rest with an open transaction (open transactions: 2)."
        )

    @pytest.mark.parametrize(
        "seen",
        [
            pytest.param(
                {"sights": [sight(1, 110, State(transactions=1), in_transaction=True)]},
                id="its own transaction",
            ),
            pytest.param({"sights": [sight(1, 110)]}, id="no transaction"),
            pytest.param(
                {
                    "written": [written(1, Fate.COMMITTED)],
                    "seen": [Seen(2, "row", 120, A, PROCESS)],
                    "rows": ["row"],
                },
                id="a committed row, seen and there",
            ),
            pytest.param(
                {"written": [written(1, Fate.ROLLED_BACK)], "rows": []},
                id="a row that was rolled back and is not there",
            ),
            pytest.param(
                {
                    "written": [written(1, Fate.ROLLED_BACK)],
                    "seen": [Seen(1, "row", 120, A, PROCESS)],
                },
                id="its own row",
            ),
            pytest.param({"seen": [Seen(2, "older", 120, A, PROCESS)]}, id="a row of nobody known"),
            pytest.param(
                {
                    "written": [written(1, Fate.OPEN, "there"), written(1, Fate.OPEN, "gone")],
                    "seen": [Seen(2, "there", 120, A, PROCESS)],
                    "rows": ["there"],
                },
                id="rows of clients that hung up",
            ),
            pytest.param({"written": [written(1, Fate.COMMITTED)]}, id="nobody looked"),
            pytest.param(
                {"written": [written(1, Fate.COMMITTED), written(1, Fate.OPEN)], "rows": []},
                id="the last word on its fate counts",
            ),
            pytest.param({"at_rest": [at_rest(A)]}, id="at rest without a transaction"),
        ],
    )
    def test_stays_silent(self, seen: dict[str, object]) -> None:
        assert found_by(self.DETECTOR, record(**seen)) == []


def answer(
    token: int, expected: str, got: str, kind: AnswerKind = AnswerKind.ROW, at: float = 120
) -> Answer:
    return Answer(token, A, at, PROCESS, kind, expected, got, f"SELECT '{expected}'", "views.py:9")


class TestResultMixUp:
    DETECTOR = Detector.RESULT_MIX_UP

    @pytest.mark.parametrize("kind", AnswerKind)
    def test_who_asked_for_what_came_is_the_culprit(self, kind: AnswerKind) -> None:
        seen = record(answers=[answer(1, "one", "one", kind), answer(2, "two", "one", kind)])
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (1, 2)
        assert finding.session == A
        assert finding.message == (
            f"request 2 got the {kind.value} 'one' on session 51, which answers request 1, "
            "where only 'two' fits."
        )
        assert finding.culprit is not None
        assert finding.culprit.statement == "SELECT 'one'"

    def test_two_that_got_each_others_are_two_findings(self) -> None:
        seen = record(answers=[answer(1, "one", "two"), answer(2, "two", "one")])
        findings = found_by(self.DETECTOR, seen)
        assert [parties(finding) for finding in findings] == [(2, 1), (1, 2)]

    def test_an_answer_that_nobody_asked_for_has_no_culprit(self) -> None:
        finding = the_one(self.DETECTOR, record(answers=[answer(2, "two", "")]))
        assert parties(finding) == (None, 2)
        assert "got the row nothing on session 51, where only 'two' fits" in finding.message

    def test_an_earlier_answer_of_its_own_is_wrong_as_well(self) -> None:
        seen = record(answers=[answer(2, "first", "first"), answer(2, "second", "first")])
        finding = the_one(self.DETECTOR, seen)
        assert parties(finding) == (None, 2)
        assert "another question of its own" in finding.message

    def test_a_session_that_nobody_could_tell_is_not_named(self) -> None:
        nowhere = replace(answer(2, "two", "one"), session=Session(0))
        finding = the_one(self.DETECTOR, record(answers=[nowhere]))
        assert finding.session is None
        assert "session" not in finding.message

    def test_a_long_answer_is_shortened(self) -> None:
        finding = the_one(self.DETECTOR, record(answers=[answer(2, "two", "x" * 10_000)]))
        assert len(finding.message) < 300

    @given(st.lists(st.tuples(st.integers(1, 5), st.text(min_size=1)), max_size=20))
    def test_stays_silent_where_everybody_got_what_fits(
        self, questions: list[tuple[int, str]]
    ) -> None:
        answers = [answer(token, text, text) for token, text in questions]
        assert found_by(self.DETECTOR, record(answers=answers)) == []


MIB = 1 << 20


def samples(sizes: list[int], size: str = "threads", *, contexts: int = 100) -> list[Sample]:
    """One after each ``contexts`` contexts; the other sizes stay as they are."""
    flat = Sample(PROCESS, 0, 0, threads=10, descriptors=30, sessions=5, memory=100 * MIB)
    return [
        replace(flat, at=float(number), contexts=number * contexts, **{size: value})
        for number, value in enumerate(sizes, 1)
    ]


class TestGrowth:
    DETECTOR = Detector.GROWTH

    @pytest.mark.parametrize(
        ("size", "name"),
        [("threads", "threads"), ("descriptors", "file descriptors"), ("sessions", "sessions")],
    )
    def test_more_than_one_per_hundred_contexts_is_found(self, size: str, name: str) -> None:
        sizes = [10, 12, 14, 16, 18, 20, 22, 24]
        finding = the_one(self.DETECTOR, record(samples=samples(sizes, size)))
        assert parties(finding) == (None, None)
        assert finding.at == 8
        assert finding.message == (
            f"The {name} of process 42 grew from 14 to 24 over 500 contexts and did not stop "
            "(2.0 per 100 contexts)."
        )

    def test_a_wild_sample_hides_nothing(self) -> None:
        sizes = [10, 12, 14, 16, 5, 20, 22, 24, 26, 28]
        assert the_one(self.DETECTOR, record(samples=samples(sizes)))

    def test_slow_growth_that_never_turns_back_is_found(self) -> None:
        slow = samples(list(range(10, 26)), contexts=1000)
        finding = the_one(self.DETECTOR, record(samples=slow))
        assert "0.1 per 100 contexts" in finding.message

    def test_memory_is_measured_per_context(self) -> None:
        sizes = [100 * MIB + number * 4 * MIB for number in range(12)]
        finding = the_one(self.DETECTOR, record(samples=samples(sizes, "memory", contexts=1000)))
        assert "grew from 116.0 MiB to 144.0 MiB over 7000 contexts" in finding.message
        assert "4.1 KiB a context" in finding.message

    def test_what_leads_beyond_all_that_was_before_is_found(self) -> None:
        seen = record(samples=samples([24, 12, 10, 12, 14, 16, 18, 20, 22, 25]), watched_from=3)
        assert "grew from 14 to 25" in the_one(self.DETECTOR, seen).message

    def test_what_only_comes_back_to_that_is_not(self) -> None:
        seen = record(samples=samples([26, 12, 10, 12, 14, 16, 18, 20, 22, 25]), watched_from=3)
        assert found_by(self.DETECTOR, seen) == []

    def test_each_process_is_looked_at_alone(self) -> None:
        flat = [replace(each, process=43) for each in samples([10] * 9)]
        growing = samples([10 + 3 * number for number in range(9)])
        finding = the_one(self.DETECTOR, record(samples=[*flat, *growing]))
        assert "process 42" in finding.message

    @pytest.mark.parametrize(
        ("sizes", "size"),
        [
            pytest.param([10] * 12, "threads", id="nothing grows"),
            pytest.param([5, 9, 14, 18, 20, 20, 20, 20, 20, 20], "sessions", id="a pool is filled"),
            pytest.param(
                [5, 5, 5, 5, 9, 13, 17, 20, 20, 20, 20, 20, 20, 20, 20], "sessions",
                id="a pool is filled after the warm-up",
            ),
            pytest.param(
                [5] * 6 + [35, 65, 72, 79, 86] + [86] * 5, "sessions",
                id="a pool is filled after the warm-up, in many steps",
            ),
            pytest.param(
                [45, 45, 46, 48, 48, 51, 54, 57], "threads",
                id="as many new highs as come once in 258 times",
            ),
            pytest.param([10, 12, 9, 13, 10, 12, 9, 13, 11, 10], "threads", id="to and fro"),
            pytest.param([30, 28, 26, 24, 22, 20, 18, 16], "descriptors", id="it shrinks"),
            pytest.param([10, 20, 30, 40, 50, 60], "threads", id="too few samples"),
            pytest.param(
                [45, 45, 45, 47, 47, 47, 56, 56], "threads", id="a pool is filled in steps"
            ),
            pytest.param([10, 10, 10, 11, 11, 11, 12, 12, 12], "threads", id="too little"),
            pytest.param(
                [100 * MIB + number * MIB // 8 for number in range(12)], "memory",
                id="memory below the limit",
            ),
            pytest.param(
                [100 * MIB, 140 * MIB, 160 * MIB, 170 * MIB, *([172 * MIB] * 6)], "memory",
                id="a cache gets warm",
            ),
        ],
    )  # fmt: skip
    def test_stays_silent(self, sizes: list[int], size: str) -> None:
        assert found_by(self.DETECTOR, record(samples=samples(sizes, size))) == []

    #: What seven waves may need at a time, at 20 for 100 contexts each.
    NEEDS = (20, 24, 28, 32, 36, 40, 44)

    def found_in_a_pool(self) -> float:
        """Of all orders in which they may need it: in how many a pool is taken for a leak, which
        has as many threads as were ever needed."""
        pools = [list(accumulate(order, max)) for order in permutations(self.NEEDS)]
        return sum(
            bool(found_by(self.DETECTOR, record(samples=samples(pool)))) for pool in pools
        ) / len(pools)

    def test_a_pool_that_fills_by_chance_is_taken_for_a_leak_once_in_800_at_most(self) -> None:
        assert self.found_in_a_pool() <= 1 / 800

    def test_by_the_slope_alone_it_would_be_taken_for_one_far_more_often(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(growth, "fewest_new_highs", lambda *_arguments: 0)
        assert self.found_in_a_pool() > 1 / 10

    def test_a_leak_of_every_fiftieth_context_is_found_while_a_pool_fills(self) -> None:
        found = 0
        for seed in range(100):
            chance = random.Random(seed)
            pool = accumulate((chance.randint(38, 54) for _wave in range(12)), max)
            leaks = accumulate(
                sum(chance.random() < 1 / 50 for _context in range(83)) for _wave in range(12)
            )
            sizes = [sum(parts) for parts in zip(pool, leaks, strict=True)]
            found += bool(found_by(self.DETECTOR, record(samples=samples(sizes, contexts=83))))
        assert found >= 90

    @given(st.lists(st.integers(0, 3), min_size=7, max_size=60))
    def test_noise_is_no_growth(self, noise: list[int]) -> None:
        sizes = [20 + each for each in noise]
        assert found_by(self.DETECTOR, record(samples=samples(sizes))) == []

    @given(
        st.integers(2, 50),
        st.lists(st.integers(0, 3), min_size=9, max_size=60),
    )
    def test_a_leak_is_found_under_noise(self, leak: int, noise: list[int]) -> None:
        sizes = [20 + 3 * leak * number + each for number, each in enumerate(noise)]
        assert the_one(self.DETECTOR, record(samples=samples(sizes)))


def wave(contexts: int) -> Record:
    """Of which each unit collides and has something to say to every detector."""
    sessions = [Session(50 + number, "now") for number in range(10)]
    found = Record("wave", baseline={"default": BASELINE})
    for token in range(1, contexts + 1):
        story = Story(token, "wave", Kind.REQUEST, token, PROCESS, ended_at=token + 50)
        found.stories.append(story)
        for part in range(10):
            session, at = sessions[(token + part) % 10], token + part * 2.0
            found.units.append(unit(token, at, at + 30, session))
            found.sights.append(
                sight(token, at, with_setting("language", str(token)), session=session)
            )
            found.written.append(written(token, Fate.ROLLED_BACK, f"{token}-{part}", at))
            found.answers.append(answer(token, f"{token}-{part}", f"{token - 1}-{part}"))
    found.rows = [row.row for row in found.written]
    return found


def steps_of(work: Callable[[], object]) -> int:
    """Lines run, which no clock and no other process changes."""
    steps = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return steps


def test_ten_times_the_contexts_cost_about_ten_times_as_much() -> None:
    small, large = wave(25), wave(250)
    assert steps_of(lambda: find_all(large)) < 13 * steps_of(lambda: find_all(small))


def test_the_test_of_the_cost_notices_a_walk_through_all_contexts_for_each() -> None:
    def walk(through: Record) -> None:
        for story in through.stories:
            through.story_of(story.token)

    small, large = wave(25), wave(250)
    assert steps_of(lambda: walk(large)) > 13 * steps_of(lambda: walk(small))
