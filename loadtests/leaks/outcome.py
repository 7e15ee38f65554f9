"""What a run of the leak harness came to: what the terminal, the JSON and the HTML report show.

Plain data again, as in :mod:`mssql_async.contrib.leaks.record`: times are seconds since the
epoch. Statements and texts of errors are shown to people as they are: whoever fills this in
keeps secrets out.
"""

from __future__ import annotations

import math
import shlex
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mssql_async.contrib.leaks.findings import Detector, Finding, Party
from mssql_async.contrib.leaks.record import Session, Token, Use

#: Upper ends of the histogram's bars, in seconds: ten a decade from 100 µs to 100 s.
LATENCY_BOUNDS: Sequence[float] = tuple(round(10 ** (n / 10 - 4), 7) for n in range(61))


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long the contexts of a scenario took, in seconds, as their clients saw it."""

    counts: tuple[tuple[float, int], ...] = ()
    """Upper end of a bar (one of :data:`LATENCY_BOUNDS`; the last has the rest as well), and how
    many fell into it. Bars with none are left out."""
    p50: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latencies:
        ordered = sorted(seconds)
        if not ordered:
            return cls()
        counts: dict[float, int] = {}
        for each in ordered:
            bound = LATENCY_BOUNDS[min(bisect_left(LATENCY_BOUNDS, each), len(LATENCY_BOUNDS) - 1)]
            counts[bound] = counts.get(bound, 0) + 1

        def percentile(part: float) -> float:
            return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

        return cls(tuple(counts.items()), percentile(0.50), percentile(0.99), ordered[-1])

    def to_dict(self) -> dict[str, Any]:
        return {
            "counts": [list(pair) for pair in self.counts],
            "p50": self.p50,
            "p99": self.p99,
            "max": self.max,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Latencies:
        return cls(
            tuple((float(bound), int(count)) for bound, count in plain["counts"]),
            plain["p50"],
            plain["p99"],
            plain["max"],
        )


@dataclass(frozen=True, slots=True)
class Bar:
    """In a picture: one unit of a context (:class:`.record.Unit`) on its session's lane."""

    token: Token
    use: Use
    began_at: float
    ended_at: float
    statement: str = ""
    place: str = ""
    """Where its lease was acquired."""
    colliding: bool = False
    """Whether it overlaps a bar of another context on the same session."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "token": self.token,
            "use": self.use.value,
            "began_at": self.began_at,
            "ended_at": self.ended_at,
            "statement": self.statement,
            "place": self.place,
            "colliding": self.colliding,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Bar:
        return cls(**{**plain, "use": Use(plain["use"])})


@dataclass(frozen=True, slots=True)
class Lane:
    """In a picture: one session of the server, and who had it when."""

    session: Session
    process: int
    """Its client's."""
    bars: tuple[Bar, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "spid": self.session.spid,
            "login_time": self.session.login_time,
            "session_word": self.session.word,
            "process": self.process,
            "bars": [bar.to_dict() for bar in self.bars],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Lane:
        return cls(
            Session(plain["spid"], plain["login_time"], plain.get("session_word", "session")),
            plain["process"],
            tuple(Bar.from_dict(bar) for bar in plain["bars"]),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """In a picture: the story of a context that has a bar in it."""

    what: str
    """For people (:func:`mssql_async.contrib.leaks.findings.describe`)."""
    kind: str
    began_at: float
    ended_at: float | None = None
    """``None``: it had not ended."""
    outcome: str = ""
    """"ok", "cancelled", or the name of an exception class."""
    task: str = ""
    process: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "kind": self.kind,
            "began_at": self.began_at,
            "ended_at": self.ended_at,
            "outcome": self.outcome,
            "task": self.task,
            "process": self.process,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Told:
        return cls(**plain)


@dataclass(slots=True)
class ScenarioResult:
    """What one scenario came to."""

    name: str
    title: str = ""
    """The first line of its docstring."""
    contexts: int = 0
    hung: int = 0
    """Contexts that were given up."""
    errors: dict[str, int] = field(default_factory=dict)
    """Text -> how often. Not leaks, but they do not pass unseen."""
    statuses: dict[int, int] = field(default_factory=dict)
    """Of the answers; 0: the connection ended before there was one."""
    began_at: float = 0.0
    seconds: float = 0.0
    logins: int | None = None
    """Counted by the server; ``None``: it does not tell."""
    statements: int | None = None
    latencies: Latencies = field(default_factory=Latencies)
    skipped: str = ""
    """Why it did not run; "" if it ran."""
    findings: dict[Detector, int] = field(default_factory=dict)
    """How many there were, the suppressed ones too."""
    suppressed: int = 0
    """Findings that are counted and not kept: those beyond the first few of a detector."""
    unseen: dict[Detector, str] = field(default_factory=dict)
    """What could not be looked for, or not all the time, and why."""
    lanes: list[Lane] = field(default_factory=list)
    """The picture: about 300 bars, of the wave with findings, else of the first."""
    stories: dict[Token, Told] = field(default_factory=dict)
    """Of the contexts that have a bar in the picture."""

    @property
    def found(self) -> int:
        return sum(self.findings.values())

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "contexts": self.contexts,
            "hung": self.hung,
            "errors": dict(self.errors),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "began_at": self.began_at,
            "seconds": self.seconds,
            "logins": self.logins,
            "statements": self.statements,
            "latencies": self.latencies.to_dict(),
            "skipped": self.skipped,
            "findings": {detector.value: count for detector, count in self.findings.items()},
            "suppressed": self.suppressed,
            "unseen": {detector.value: why for detector, why in self.unseen.items()},
            "lanes": [lane.to_dict() for lane in self.lanes],
            "stories": {str(token): told.to_dict() for token, told in self.stories.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ScenarioResult:
        return cls(
            **{
                **plain,
                "statuses": {int(status): count for status, count in plain["statuses"].items()},
                "latencies": Latencies.from_dict(plain["latencies"]),
                "findings": {Detector(name): count for name, count in plain["findings"].items()},
                "unseen": {Detector(name): why for name, why in plain.get("unseen", {}).items()},
                "lanes": [Lane.from_dict(lane) for lane in plain["lanes"]],
                "stories": {
                    int(token): Told.from_dict(told) for token, told in plain["stories"].items()
                },
            }
        )


@dataclass(frozen=True, slots=True)
class ControlResult:
    """A deliberately broken backend or application, and whether it was caught."""

    name: str
    detector: Detector
    """The one that has to catch it."""
    caught: bool
    findings: int = 0
    """Of that detector."""
    seconds: float = 0.0
    title: str = ""
    """What is broken in it."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "detector": self.detector.value,
            "caught": self.caught,
            "findings": self.findings,
            "seconds": self.seconds,
            "title": self.title,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ControlResult:
        return cls(**{**plain, "detector": Detector(plain["detector"])})


@dataclass(frozen=True, slots=True)
class Moment:
    """Counts at one moment, over all processes. ``None``: nobody looked."""

    at: float
    sessions: int | None = None
    """Of the program under test, as the server sees them."""
    running: int | None = None
    """Those of them with a statement running."""
    threads: int | None = None
    waiting: int | None = None
    """Callers that wait for a connection."""
    in_use: int | None = None
    """Connections that are lent."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "at": self.at,
            "sessions": self.sessions,
            "running": self.running,
            "threads": self.threads,
            "waiting": self.waiting,
            "in_use": self.in_use,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Moment:
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was done to the server or the application on purpose: a kill, a freeze."""

    at: float
    what: str
    ended_at: float | None = None
    """``None``: it took no time."""

    def to_dict(self) -> dict[str, Any]:
        return {"at": self.at, "what": self.what, "ended_at": self.ended_at}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Mark:
        return cls(**plain)


@dataclass(slots=True)
class Outcome:
    """All of a run."""

    command: list[str] = field(default_factory=list)
    """What repeats it, its seed included, word by word."""
    started_at: float = 0.0
    ended_at: float = 0.0
    seed: int = 0
    engine: str = "mssql_async"
    conn_max_age: int | None = 0
    over: str = "in-process"
    processes: int = 1
    concurrency: int = 1
    server: str = ""
    """In words: which server, which version; never how to log in."""
    versions: dict[str, str] = field(default_factory=dict)
    broken_off: str = ""
    """Why it ended before all scenarios had run; what it has found until then is here."""
    scenarios: list[ScenarioResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    """The first ones of each scenario and detector."""
    controls: list[ControlResult] = field(default_factory=list)
    series: list[Moment] = field(default_factory=list)
    """Thinned to 2,000 at most."""
    marks: list[Mark] = field(default_factory=list)

    @property
    def command_line(self) -> str:
        return shlex.join(self.command)

    @property
    def contexts(self) -> int:
        return sum(scenario.contexts for scenario in self.scenarios)

    @property
    def found(self) -> int:
        """How many findings there are, the suppressed ones too."""
        return sum(scenario.found for scenario in self.scenarios)

    @property
    def failed(self) -> int:
        """How many contexts ended in errors that their scenarios do not allow for."""
        return sum(scenario.failed for scenario in self.scenarios)

    @property
    def silent(self) -> list[ControlResult]:
        """Controls that nobody caught: what the harness says about others is worth nothing then."""
        return [control for control in self.controls if not control.caught]

    @property
    def is_clean(self) -> bool:
        return not self.found and not self.silent

    def found_by(self, detector: Detector) -> int:
        return sum(scenario.findings.get(detector, 0) for scenario in self.scenarios)

    def to_dict(self) -> dict[str, Any]:
        return {
            "command": list(self.command),
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "seed": self.seed,
            "engine": self.engine,
            "conn_max_age": self.conn_max_age,
            "over": self.over,
            "processes": self.processes,
            "concurrency": self.concurrency,
            "server": self.server,
            "versions": dict(self.versions),
            "broken_off": self.broken_off,
            "scenarios": [scenario.to_dict() for scenario in self.scenarios],
            "findings": [_finding_to_dict(finding) for finding in self.findings],
            "controls": [control.to_dict() for control in self.controls],
            "series": [moment.to_dict() for moment in self.series],
            "marks": [mark.to_dict() for mark in self.marks],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Outcome:
        return cls(
            **{
                **plain,
                "scenarios": [ScenarioResult.from_dict(each) for each in plain["scenarios"]],
                "findings": [_finding_from_dict(each) for each in plain["findings"]],
                "controls": [ControlResult.from_dict(each) for each in plain["controls"]],
                "series": [Moment.from_dict(each) for each in plain["series"]],
                "marks": [Mark.from_dict(each) for each in plain["marks"]],
            }
        )


def _finding_to_dict(finding: Finding) -> dict[str, Any]:
    session = finding.session or Session(0)
    return {
        **finding.to_dict(),
        "login_time": session.login_time,
        "session_word": session.word,
    }


def _finding_from_dict(plain: Mapping[str, Any]) -> Finding:
    def party(each: Mapping[str, Any] | None) -> Party | None:
        return None if each is None else Party(**each)

    return Finding(
        detector=Detector(plain["detector"]),
        message=plain["message"],
        scenario=plain["scenario"],
        seed=plain["seed"],
        at=plain["at"],
        culprit=party(plain["culprit"]),
        victim=party(plain["victim"]),
        session=(
            None
            if plain["session"] is None
            else Session(
                plain["session"], plain["login_time"], plain.get("session_word", "session")
            )
        ),
    )
