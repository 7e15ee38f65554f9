"""Orders faults, decides whom they hit, and remembers what they did.

Decisions are taken under one lock, in the order in which statements and logins come; what
is done to a connection is done afterwards, on its event loop. Nothing polls: a fault that
lasts for a while is over when the next one who asks reads the clock.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import SqlError, error
from ..protocols import LoginRequest
from ..tds.counters import SessionInfo
from .fault import Drop, Fault, FaultEvent, Kind
from .interfaces import Clock, FaultStage, FaultTarget, Verdict
from .refusals import refusal
from .rules import ChaosRule, DelayRule, RefusalRule, Rules, StatementRule
from .selectors import Pattern, Sessions, compile_pattern, pattern_text

CONTROL_PROGRAM = "mssql_async devserver fault"
"""Program name of the command line that orders faults: its own logins are not refused."""
_REMEMBERED = 10_000
"""Events in the history, and faults in the list, before the oldest are forgotten."""


class Faults:
    """The faults of one server. Every method may be called from any thread.

    ``clock`` measures how long a fault lasts, in seconds; tests give their own.
    """

    def __init__(self, stage: FaultStage, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self._stage = stage
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._faults: deque[Fault] = deque(maxlen=_REMEMBERED)
        self._history: deque[FaultEvent] = deque(maxlen=_REMEMBERED)
        self._rules = Rules()
        self._read_only: Fault | None = None

    def __repr__(self) -> str:
        active = [fault for fault in self.faults if fault.in_force]
        return f"<Faults {len(active)} in force, {len(self._history)} events>"

    @property
    def faults(self) -> list[Fault]:
        """All that were ordered, oldest first."""
        with self._changed:
            return list(self._faults)

    @property
    def history(self) -> list[FaultEvent]:
        """What faults did, oldest first."""
        with self._changed:
            return list(self._history)

    def find(self, number: int) -> Fault | None:
        return next((fault for fault in self.faults if fault.id == number), None)

    # --- connections ---------------------------------------------------------------------

    def drop(
        self,
        how: Drop = Drop.FIN,
        sessions: Sessions | None = None,
        *,
        wait: bool = True,
        sparing: int | None = None,
    ) -> Fault:
        """Drop the connections of these sessions; their transactions roll back.

        ``MID_REPLY`` waits in every session for its next reply, so the fault stays armed.
        With ``wait`` it returns when the sessions are closed. ``sparing`` is a SPID that is
        not touched.
        """
        chosen = sessions or Sessions.all()
        fault = self._new(Kind.DROP, f"{chosen} ({how.value})")
        victims: list[tuple[FaultTarget, SessionInfo]] = []

        def hang_up() -> None:
            victims.extend(self._matching(chosen, sparing))
            for target, info in victims:
                self._drop_one(fault, target, info, how)

        self._stage.on_loop(hang_up)
        if how is not Drop.MID_REPLY:
            fault.exhausted = True
            if wait:
                self._stage.wait_closed([target for target, _info in victims])
        return fault

    def drop_at(
        self,
        pattern: Pattern,
        how: Drop = Drop.RST,
        *,
        nth: int = 1,
        times: int | None = 1,
        sessions: Sessions | None = None,
    ) -> Fault:
        """Drop the connection of whoever runs the ``nth`` statement that matches, and the
        ones after it up to ``times`` (``None``: without end).

        With ``FIN`` and ``RST`` the statement is not run; with ``MID_REPLY`` it is, and
        the client does not hear of it. A transaction's end by the driver matches as
        ``COMMIT TRANSACTION`` or ``ROLLBACK TRANSACTION``.
        """
        fault = self._new(Kind.DROP, f"{pattern_text(pattern)} ({how.value})")
        return self._add_rule(fault, pattern, nth, times, sessions, drop=how)

    def freeze(self, sessions: Sessions | None = None, *, sparing: int | None = None) -> Fault:
        """Let the connections of these sessions stay open and answer nothing, as when the
        peer was unplugged. What they hold on the server stays held. Those who log in later
        are not concerned. Cancel the fault, or :meth:`thaw`, to go on."""
        chosen = sessions or Sessions.all()
        fault = self._new(Kind.FREEZE, str(chosen))

        def freeze_all() -> None:
            victims = self._matching(chosen, sparing)
            with self._changed:
                self._rules.frozen[fault] = [target for target, _info in victims]
                for _target, info in victims:
                    self._fire(fault, info, "frozen")
            for target, _info in victims:
                target.freeze()

        self._stage.on_loop(freeze_all)
        return fault

    def thaw(self, sessions: Sessions | None = None) -> int:
        """Let frozen sessions go on; says how many."""
        chosen = sessions or Sessions.all()
        with self._changed:
            thawed: list[FaultTarget] = []
            for fault, targets in list(self._rules.frozen.items()):
                kept: list[FaultTarget] = []
                for target in targets:
                    info = target.session_info
                    if info is None:
                        continue
                    (thawed if chosen.matches(info) else kept).append(target)
                self._rules.frozen[fault] = kept
                if not kept:
                    fault.exhausted = True
                    del self._rules.frozen[fault]
            # Frozen twice, it thaws when the last order ends.
            still = {id(target) for kept in self._rules.frozen.values() for target in kept}
        self._thaw([target for target in thawed if id(target) not in still])
        return len(thawed)

    def _thaw(self, targets: Sequence[FaultTarget]) -> None:
        def thaw_all() -> None:
            for target in targets:
                target.thaw()

        self._stage.on_loop(thaw_all)

    def delay(self, seconds: float, sessions: Sessions | None = None) -> Fault:
        """Let every reply to these sessions arrive ``seconds`` later, until it is cancelled:
        also to those that log in later, and for all sessions to logins too.

        :raises ValueError: ``seconds`` is not above 0.
        """
        if seconds <= 0:
            raise ValueError(f"A delay of {seconds} s is none: give seconds above 0.")
        chosen = sessions or Sessions.all()
        fault = self._new(Kind.DELAY, f"{chosen} by {seconds:g} s")
        with self._changed:
            self._rules.delays.append(DelayRule(fault, seconds, chosen))
        self._stage.on_loop(self._spread_delays)
        return fault

    def _spread_delays(self) -> None:
        for target in self._stage.targets():
            self._apply_delay(target)

    def _apply_delay(self, target: FaultTarget) -> None:
        """On the event loop."""
        info = target.session_info
        with self._changed:
            fitting = [
                each
                for each in self._rules.delays
                if each.fault.in_force
                and (each.sessions.everybody if info is None else each.sessions.matches(info))
            ]
        seconds = sum(each.seconds for each in fitting)

        def note() -> None:
            for each in fitting:
                with self._changed:
                    self._fire(each.fault, target.session_info, f"delayed by {each.seconds:g} s")

        target.set_delay(seconds, note)

    # --- logins --------------------------------------------------------------------------

    def refuse_logins(
        self,
        error_number: int = 40613,
        *,
        for_seconds: float | None = None,
        times: int | None = None,
        user: str | None = None,
        database: str | None = None,
        text: str | None = None,
    ) -> Fault:
        """Refuse logins with this error for ``for_seconds``, or ``times`` times, or until
        it is cancelled; only those of ``user`` or to ``database``, where given.

        :raises ValueError: the error's text is not known and ``text`` is not given.
        """
        self._require_text(error_number, text)
        whom = ["logins"]
        if user is not None:
            whom.append(f"of {user!r}")
        if database is not None:
            whom.append(f"to {database!r}")
        fault = self._new(Kind.REFUSE_LOGINS, f"{' '.join(whom)} with {error_number}")
        fault.until = self._end(for_seconds)
        with self._changed:
            self._rules.refusals.append(
                RefusalRule(fault, error_number, text, fault.until, times, user, database)
            )
        return fault

    def fail_over(
        self,
        down_for: float | None = 0.0,
        *,
        read_only: bool = False,
        answer: int | None = 40613,
        wait: bool = True,
        sparing: int | None = None,
    ) -> Fault:
        """Move to another instance: every connection is torn down (RST), for ``down_for``
        seconds (``None``: until it is cancelled) logins are answered with error ``answer``
        (``None``: connections are torn down before any login), and what comes back has
        another name and start time. With ``read_only`` its user databases refuse writes
        with 3906 until the fault is cancelled or the next failover.

        With ``wait`` it returns when the old sessions are closed. ``sparing`` is the SPID
        of whoever ordered it: its connection ends after its reply, and in good order.

        :raises ValueError: the text of error ``answer`` is not known.
        """
        if answer is not None:
            self._require_text(answer, None)
        how = ["everybody"] + ["back read-only"] * read_only
        fault = self._new(Kind.FAIL_OVER, ", ".join(how))
        until = self._end(down_for)
        with self._changed:
            previous, self._read_only = self._read_only, fault if read_only else None
            if previous is not None:
                previous.exhausted = True
            if not read_only:
                fault.until = until
            self._rules.refusals.append(RefusalRule(fault, answer, None, until, None, None, None))
        everybody: list[FaultTarget] = []

        def strike() -> None:
            everybody.extend(self._stage.targets())
            for target in everybody:
                info = target.session_info
                with self._changed:
                    self._note(fault, info, "torn down")
                if info is not None and info.spid == sparing:
                    target.close_after_reply()
                else:
                    target.drop(Drop.RST, _nothing)
            name = self._stage.renew_instance(read_only=read_only)
            with self._changed:
                self._fire(fault, None, f"now {name}" + (", read-only" if read_only else ""))

        self._stage.on_loop(strike)
        if wait:
            self._stage.wait_closed(everybody)
        return fault

    def refuses_connections(self) -> bool:
        """Whether a client that connects now is torn down at once."""
        with self._changed:
            rule = self._refusal_for(None)
            if rule is None:
                return False
            self._note(rule.fault, None, "connection refused")
            return True

    def refuse(self, login: LoginRequest) -> SqlError | None:
        """The error that this login gets, if it gets one."""
        if login.program_name == CONTROL_PROGRAM:
            return None
        with self._changed:
            rule = self._refusal_for(login)
            if rule is None or rule.error is None:
                return None
            what = f"login of {login.user!r} to {login.database!r} refused with {rule.error}"
            if rule.fault.kind is Kind.FAIL_OVER:
                self._note(rule.fault, None, what, login.program_name)
            else:
                self._fire(rule.fault, None, what, login.program_name)
                rule.fault.exhausted = rule.times is not None and rule.fault.fired >= rule.times
            return refusal(
                rule.error,
                user=login.user,
                database=login.database,
                server=self._stage.instance_name,
                incident=len(self._history),
                text=rule.text,
            )

    def _refusal_for(self, login: LoginRequest | None) -> RefusalRule | None:
        """The first rule for a login, or, without one, for a connection."""
        if not self._rules.refusals:
            return None
        now = self.clock()
        self._rules.refusals = [
            rule
            for rule in self._rules.refusals
            if rule.fault.in_force and (rule.until is None or now < rule.until)
        ]
        for rule in self._rules.refusals:
            if rule.error is None if login is None else rule.error is not None and rule.fits(login):
                return rule
        return None

    # --- statements ----------------------------------------------------------------------

    def deadlock(
        self,
        pattern: Pattern = "%",
        *,
        nth: int = 1,
        times: int | None = 1,
        sessions: Sessions | None = None,
    ) -> Fault:
        """Make the ``nth`` statement that matches, and the ones after it up to ``times``
        (``None``: without end), the victim of a deadlock: error 1205, its transaction is
        rolled back, its batch ends. ``BEGIN``, ``COMMIT`` and ``ROLLBACK TRANSACTION``
        sent by a driver count as statements of that text."""
        fault = self._new(Kind.DEADLOCK, pattern_text(pattern))
        return self._add_rule(
            fault, pattern, nth, times, sessions, lambda info: self._error(1205, None, (), info)
        )

    def fail_statement(
        self,
        pattern: Pattern,
        error_number: int,
        *arguments: object,
        text: str | None = None,
        nth: int = 1,
        times: int | None = 1,
        sessions: Sessions | None = None,
    ) -> Fault:
        """Let the ``nth`` statement that matches, and the ones after it up to ``times``
        (``None``: without end), fail with this error instead of being run. ``arguments``
        fill its text. Errors of severity 20 and above end the connection too.

        :raises ValueError: the error's text is not known and ``text`` is not given.
        """
        self._require_text(error_number, text)
        fault = self._new(Kind.FAIL_STATEMENT, f"{pattern_text(pattern)} with {error_number}")
        return self._add_rule(
            fault,
            pattern,
            nth,
            times,
            sessions,
            lambda info: self._error(error_number, text, arguments, info),
        )

    def chaos(
        self,
        seed: int,
        *,
        every: int = 10,
        times: int | None = None,
        how: Sequence[Drop] = (Drop.FIN, Drop.RST),
        sessions: Sessions | None = None,
    ) -> Fault:
        """Before every ``every``-th statement of these sessions drop one of them, chosen
        by ``seed`` like the way in which it is dropped: the same statements in the same
        order always hit the same sessions.

        :raises ValueError: ``every`` is below 1, or ``how`` is empty.
        """
        if every < 1 or not how:
            raise ValueError("Chaos needs every=… of 1 or more, and a way how to drop.")
        chosen = sessions or Sessions.all()
        fault = self._new(Kind.CHAOS, f"{chosen}, seed {seed}, every {every} statements")
        with self._changed:
            self._rules.chaos.append(
                ChaosRule(fault, random.Random(seed), chosen, every, times, tuple(how))  # noqa: S311
            )
        return fault

    def before_statement(self, target: FaultTarget, text: str) -> SqlError | Verdict | None:
        """What happens to a statement that is about to run; called on the thread that
        will run it."""
        rules = self._rules
        if not rules.statements and not rules.chaos:
            return None
        info = target.session_info
        if info is None:
            return None
        drops: list[tuple[Fault, FaultTarget, SessionInfo, Drop]] = []
        failure: SqlError | None = None
        with self._changed:
            rules.statements = [rule for rule in rules.statements if rule.fault.in_force]
            rules.chaos = [chaos for chaos in rules.chaos if chaos.fault.in_force]
            rule = next((rule for rule in rules.statements if rule.hits(info, text)), None)
            if rule is not None and rule.error is not None:
                failure = rule.error(info)
                self._fire(rule.fault, info, f"{failure.number} for {_shortened(text)}")
            elif rule is not None and rule.drop is not None:
                drops.append((rule.fault, target, info, rule.drop))
            if rule is None:
                for chaos in rules.chaos:
                    drops.extend(self._disturb(chaos, info))
        return failure or self._carry_out(drops, target)

    def _disturb(
        self, chaos: ChaosRule, info: SessionInfo
    ) -> list[tuple[Fault, FaultTarget, SessionInfo, Drop]]:
        if not chaos.sessions.matches(info):
            return []
        chaos.seen += 1
        if chaos.seen % chaos.every:
            return []
        candidates = self._matching(chaos.sessions, None)
        if not candidates:
            return []
        victim, victim_info = chaos.random.choice(candidates)
        how = chaos.random.choice(chaos.how)
        if chaos.times is not None and chaos.seen // chaos.every >= chaos.times:
            chaos.fault.exhausted = True
        return [(chaos.fault, victim, victim_info, how)]

    def _carry_out(
        self,
        drops: list[tuple[Fault, FaultTarget, SessionInfo, Drop]],
        running: FaultTarget,
    ) -> Verdict | None:
        verdict = None
        for fault, victim, info, how in drops:
            self._stage.soon_on_loop(partial(self._drop_one, fault, victim, info, how))
            if victim is running and how is not Drop.MID_REPLY:
                verdict = Verdict.CUT_OFF
        return verdict

    def _add_rule(
        self,
        fault: Fault,
        pattern: Pattern,
        nth: int,
        times: int | None,
        sessions: Sessions | None,
        error: Callable[[SessionInfo], SqlError] | None = None,
        drop: Drop | None = None,
    ) -> Fault:
        if nth < 1 or (times is not None and times < 1):
            raise ValueError("Statements are counted from 1: nth and times must be 1 or more.")
        rule = StatementRule(
            fault, compile_pattern(pattern), sessions or Sessions.all(), nth, times, error, drop
        )
        with self._changed:
            self._rules.statements.append(rule)
        return fault

    def _error(
        self, number: int, text: str | None, arguments: tuple[object, ...], info: SessionInfo
    ) -> SqlError:
        if arguments and text is None:
            return error(number, *arguments)
        return refusal(
            number,
            user=info.user,
            database=info.database,
            server=self._stage.instance_name,
            incident=len(self._history),
            text=text,
            spid=info.spid,
        )

    # --- the life of a fault -------------------------------------------------------------

    def cancel(self, fault: Fault | None = None) -> None:
        """End a fault, or all of them."""
        for each in self.faults if fault is None else [fault]:
            with self._changed:
                # A failover may be over and its successor read-only still.
                if each.cancelled or (each.exhausted and each not in self._rules.frozen):
                    continue
                each.cancelled = True
                frozen = self._rules.frozen.pop(each, [])
                armed = self._rules.cuts.pop(each, [])
                was_delay = any(delay.fault is each for delay in self._rules.delays)
                self._rules.delays = [d for d in self._rules.delays if d.fault is not each]
                still = {id(t) for kept in self._rules.frozen.values() for t in kept}
                was_read_only = self._read_only is each
                if was_read_only:
                    self._read_only = None
                self._changed.notify_all()
            if frozen:
                self._thaw([target for target in frozen if id(target) not in still])
            if armed:
                self._stage.on_loop(partial(_disarm, armed))
            if was_delay:
                self._stage.on_loop(self._spread_delays)
            if was_read_only:
                self._stage.make_writable()

    def wait(self, predicate: Callable[[], bool], timeout: float) -> bool:
        """Block until ``predicate`` holds; it is asked whenever a fault hits or ends."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout)

    def session_opened(self, target: FaultTarget) -> None:
        """A client has connected or logged in: what is in force for it begins. On the
        event loop."""
        if self._rules.delays:
            self._apply_delay(target)

    def _new(self, kind: Kind, target: str) -> Fault:
        with self._changed:
            fault = Fault(self, next(self._numbers), kind, target)
            self._faults.append(fault)
        return fault

    def _end(self, seconds: float | None) -> float | None:
        return None if seconds is None else self.clock() + seconds

    def _require_text(self, number: int, text: str | None) -> None:
        refusal(number, user="", database="", server="", incident=0, text=text)

    def _matching(
        self, sessions: Sessions, sparing: int | None
    ) -> list[tuple[FaultTarget, SessionInfo]]:
        """The logged-in sessions that fit, in the order in which they connected.

        Not by SPID: when a number is free again depends on how long a session takes to end,
        and the choices of chaos must not.
        """
        found = [
            (target, target.session_info)
            for target in self._stage.targets()
            if not target.is_leaving
        ]
        return [
            (target, info)
            for target, info in found
            if info is not None and info.spid != sparing and sessions.matches(info)
        ]

    def _drop_one(self, fault: Fault, target: FaultTarget, info: SessionInfo, how: Drop) -> None:
        """On the event loop."""

        def note() -> None:
            with self._changed:
                self._fire(fault, info, f"dropped by {how.name}")
                armed = self._rules.cuts.get(fault)
                if armed is not None:
                    armed[:] = [each for each in armed if each is not target]
                    if not armed:
                        del self._rules.cuts[fault]
                        # A rule for statements says itself when it is exhausted.
                        if fault.kind is Kind.DROP and not self._has_rule(fault):
                            fault.exhausted = True

        if how is Drop.MID_REPLY:
            with self._changed:
                self._rules.cuts.setdefault(fault, []).append(target)
        target.drop(how, note)

    def _has_rule(self, fault: Fault) -> bool:
        return any(rule.fault is fault for rule in self._rules.statements)

    # --- under the lock

    def _fire(
        self, fault: Fault, info: SessionInfo | None, what: str, program_name: str = ""
    ) -> None:
        fault.fired += 1
        self._note(fault, info, what, program_name)

    def _note(
        self, fault: Fault, info: SessionInfo | None, what: str, program_name: str = ""
    ) -> None:
        self._history.append(
            FaultEvent(
                time.time(),
                fault.id,
                fault.kind,
                None if info is None else info.spid,
                program_name if info is None else info.program_name,
                what,
            )
        )
        self._changed.notify_all()


def _disarm(targets: Sequence[FaultTarget]) -> None:
    for target in targets:
        target.disarm()


def _nothing() -> None:
    """Nobody needs to be told."""


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 80 else words[:79] + "…"
