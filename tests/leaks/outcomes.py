"""Made-up outcomes that look like real ones, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from loadtests.leaks.outcome import (
    Bar,
    ControlResult,
    Lane,
    Latencies,
    Mark,
    Moment,
    Outcome,
    ScenarioResult,
    Told,
)
from mssql_async.contrib.leaks.findings import Detector, Finding, Party
from mssql_async.contrib.leaks.record import Session, Token, Use

STARTED_AT = 1_790_000_000.0
PLACE = "loadtests/leaks/scenarios/{name}.py:31 in view"
#: What must neither end the script it is embedded in nor become markup.
HOSTILE = "SELECT '</script><script>alert(1)</script><!-- -->', N'\u2028', '<b onclick=x>&amp;'"
_STATEMENTS = (
    "SELECT CAST(@P1 AS int), @@SPID, s.login_time FROM sys.dm_exec_sessions AS s "
    "WHERE s.session_id = @@SPID",
    "INSERT INTO [subject_note] ([token], [row], [fate]) VALUES (@P1, @P2, @P3)",
    "SELECT TOP 21 [subject_note].[id], [subject_note].[row] FROM [subject_note] "
    "WHERE [subject_note].[fate] = @P1",
    "UPDATE [subject_note] SET [fate] = @P1 WHERE [row] = @P2",
)


def outcome(
    seed: int = 1,
    *,
    clean: Sequence[str] = ("sync_views", "async_views", "server_sent_events"),
    leaking: Sequence[str] = ("tasks_outlive_request", "state_on_purpose"),
    skipped: Sequence[str] = (),
    bars: int = 220,
    controls: bool = True,
) -> Outcome:
    rand = random.Random(seed)
    result = Outcome(
        command=[
            "python", "-m", "loadtests", "leaks", "--engine", "mssql", "--conn-max-age", "600",
            "--contexts", "5000", "--concurrency", "64", "--seed", str(seed),
        ],
        started_at=STARTED_AT,
        seed=seed,
        engine="mssql" if leaking else "mssql_async",
        conn_max_age=600 if leaking else 0,
        over="uvicorn",
        processes=2,
        concurrency=64,
        server="embedded server, as SQL Server 2022 (16.0.4135.4)",
        versions={
            "Python": "3.13.5", "Django": "6.1.3", "mssql-django": "2.0.0",
            "pyodbc": "5.5.0", "ODBC Driver 18": "18.6.2.1",
        },
    )  # fmt: skip
    at = STARTED_AT + 0.8
    for number, name in enumerate((*clean, *leaking)):
        scenario = _scenario(rand, name, at, number * 1_000, bars, is_leaking=name in leaking)
        result.scenarios.append(scenario)
        if name in leaking:
            result.findings.extend(_findings(rand, scenario, seed))
        at += scenario.seconds + 0.3
    for name in skipped:
        result.scenarios.append(
            ScenarioResult(
                name, "A failover while requests run.", skipped="needs the embedded server"
            )
        )
    result.ended_at = at + 0.4
    _series(rand, result)
    if controls:
        result.controls = [
            ControlResult(
                f"control_{detector.name.lower()}",
                detector,
                caught=detector is not Detector.GROWTH or not leaking,
                findings=0 if detector is Detector.GROWTH and leaking else rand.randint(1, 400),
                seconds=rand.uniform(0.6, 4.0),
                title=f"A backend that is broken on purpose: {detector.value}.",
            )
            for detector in Detector
        ]
    return result


def _scenario(
    rand: random.Random, name: str, at: float, base: Token, bars: int, *, is_leaking: bool
) -> ScenarioResult:
    contexts = rand.randint(3_000, 5_200)
    middle = rand.uniform(0.004, 0.03)
    samples = [rand.lognormvariate(0, 0.5) * middle for _ in range(contexts)]
    samples += [rand.uniform(0.4, 2.4) for _ in range(rand.randint(0, 9))]
    scenario = ScenarioResult(
        name=name,
        title=f"{name.replace('_', ' ').capitalize()}: what one leaves, the next one must not see.",
        contexts=contexts,
        statuses={200: contexts - 40, 0: 40},
        began_at=at,
        seconds=rand.uniform(3.0, 9.0),
        logins=rand.randint(16, 64),
        statements=contexts * rand.randint(3, 7),
        latencies=Latencies.of(samples),
    )
    lanes, place = rand.randint(9, 13), PLACE.format(name=name)
    each = max(1, bars // (lanes * 2))
    token = base
    for number in range(lanes):
        drawn: list[Bar] = []
        now = at + rand.uniform(0, 0.004)
        for _ in range(each):
            token += 1
            length = rand.lognormvariate(0, 0.6) * 0.009
            ended = now + length
            statement = HOSTILE if token % 97 == 0 else rand.choice(_STATEMENTS)
            use = rand.choice([Use.TRANSACTION, Use.STATEMENT, Use.CURSOR, Use.TRANSACTION])
            drawn.append(Bar(token, use, now, ended, statement, place))
            if use is Use.TRANSACTION:
                inside = now + length * 0.15
                for part in (0.3, 0.25):
                    drawn.append(
                        Bar(
                            token, Use.STATEMENT, inside, inside + length * part,
                            rand.choice(_STATEMENTS), place,
                        )
                    )  # fmt: skip
                    inside += length * (part + 0.08)
            scenario.stories[token] = Told(
                what=f"request {token} of {name} (Task-{token}, process {4200 + number % 2})",
                kind="request",
                began_at=now - rand.uniform(0.0002, 0.002),
                ended_at=ended + rand.uniform(0.0002, 0.004),
                outcome="ok" if rand.random() > 0.05 else "cancelled",
                task=f"Task-{token}",
                process=4200 + number % 2,
            )
            now = ended + rand.expovariate(400)
        session = Session(51 + number, f"2026-11-23T21:5{number % 10}:07.{number:03}")
        scenario.lanes.append(Lane(session, 4200 + number % 2, tuple(drawn)))
    if is_leaking:
        _collide(rand, scenario)
    return scenario


def _collide(rand: random.Random, scenario: ScenarioResult) -> None:
    """Let tasks that outlive their request go on with the sessions of three lanes."""
    token = max(scenario.stories)
    place = f"loadtests/leaks/scenarios/{scenario.name}.py:44 in remember"
    for number in (1, 4, 5):
        lane = scenario.lanes[number]
        drawn = list(lane.bars)
        whole = [bar for bar in drawn if bar.use is not Use.STATEMENT] or drawn
        for victim in rand.sample(whole, min(3, len(whole))):
            token += 1
            length = victim.ended_at - victim.began_at
            began = victim.began_at + length * rand.uniform(0.2, 0.6)
            drawn[drawn.index(victim)] = Bar(
                victim.token, victim.use, victim.began_at, victim.ended_at,
                victim.statement, victim.place, colliding=True,
            )  # fmt: skip
            late = Bar(
                token, Use.STATEMENT, began, began + length * rand.uniform(0.2, 1.1),
                _STATEMENTS[3], place, colliding=True,
            )  # fmt: skip
            drawn.append(late)
            scenario.stories[token] = Told(
                what=f"task {token} of {scenario.name} (remember-{token}, process {lane.process})",
                kind="task",
                began_at=began - 0.01,
                ended_at=late.ended_at + 0.001,
                outcome="ok",
                task=f"remember-{token}",
                process=lane.process,
            )
        drawn.sort(key=lambda bar: bar.began_at)
        scenario.lanes[number] = Lane(lane.session, lane.process, tuple(drawn))


def _findings(rand: random.Random, scenario: ScenarioResult, seed: int) -> list[Finding]:
    found: list[Finding] = []
    for lane in scenario.lanes:
        colliding = [bar for bar in lane.bars if bar.colliding]
        for first, second in ((a, b) for a in colliding for b in colliding):
            if first.token != second.token and first.began_at <= second.began_at < first.ended_at:
                found.append(
                    Finding(
                        Detector.SHARED_SESSION,
                        f"{lane.session} ran a {second.use.value} of context {second.token} within "
                        f"a {first.use.value} of context {first.token}",
                        scenario.name, seed, second.began_at,
                        culprit=_party(scenario, second), victim=_party(scenario, first),
                        session=lane.session,
                    )
                )  # fmt: skip
    for lane in rand.sample(scenario.lanes, 4):
        before, after = lane.bars[0], lane.bars[-1]
        found.append(
            Finding(
                Detector.STATE_BLEED,
                "language was 'Deutsch' and not 'us_english' in the first statement on a lease",
                scenario.name, seed, after.began_at,
                culprit=_party(scenario, before), victim=_party(scenario, after),
                session=lane.session,
            )
        )  # fmt: skip
    lane = rand.choice(scenario.lanes)
    found.append(
        Finding(
            Detector.ORPHAN_SESSION,
            f"{lane.session} is on the server at rest, and no pool knows it",
            scenario.name, seed, scenario.began_at + scenario.seconds,
            culprit=_party(scenario, lane.bars[-1]), session=lane.session,
        )
    )  # fmt: skip
    for finding in found:
        scenario.findings[finding.detector] = scenario.findings.get(finding.detector, 0) + 1
    scenario.findings[Detector.STATE_BLEED] += 1_180
    scenario.suppressed = 1_180
    scenario.errors = {"OperationalError: 08S01 Communication link failure": 3}
    return found


def _party(scenario: ScenarioResult, bar: Bar) -> Party:
    what = scenario.stories[bar.token].what
    return Party(bar.token, what, bar.statement, bar.place, bar.began_at)


def _series(rand: random.Random, result: Outcome) -> None:
    at, waiting, threads = result.started_at, 0, 9
    while at < result.ended_at:
        in_use = rand.randint(38, 64)
        waiting = max(0, waiting + rand.randint(-6, 6))
        threads = min(90, threads + rand.choice((0, 0, 0, 1)))
        result.series.append(
            Moment(at, 64, min(in_use, rand.randint(20, 60)), threads, waiting, in_use)
        )
        at += 0.1
    middle = (result.started_at + result.ended_at) / 2
    result.marks = [
        Mark(middle, "kill session 57"),
        Mark(middle + 3.0, "freeze the server", middle + 4.2),
        Mark(middle + 6.0, "refuse logins (40613)", middle + 6.6),
    ]
