"""Runs scenarios and draws conclusions: contexts in waves, what was recorded of each, findings.

A wave's record is dropped once the detectors have looked at it, so that a run may have as many
contexts as one likes.
"""

from __future__ import annotations

import os
import pkgutil
import platform
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Protocol

import pyodbc

from loadtests.bench.requests_sites import Database, place_for
from mssql_async.contrib.leaks.detectors import DETECTORS, find_all
from mssql_async.contrib.leaks.detectors.growth import LEAST_SAMPLES, enough_samples
from mssql_async.contrib.leaks.findings import Detector, Finding
from mssql_async.contrib.leaks.record import Held, Known, Record, Sample, ServerSession, Token

from . import clock, scenarios
from .catalogue import catalogue, title_of
from .completing import LastUsers, name_sessions, told_by_the_application
from .drive import MOST_HUNG, Tally, Wave, run_wave, shared
from .faults import Faults
from .options import OURS, RunOptions
from .outcome import Latencies, Outcome, ScenarioResult
from .picture import draw
from .scenario import Need, Scenario
from .server import CannotDo, OtherServer, Server, the_server
from .signals import SIGNALS
from .sites import Site, in_process, in_thread, over_sockets, prepare_database
from .subject.config import OTHER_DATABASE, SubjectConfig, configure
from .subject.databases import MICROSOFT, NoDatabase, vendor_of
from .watcher import Watcher

KEPT = 20
"""Findings of a detector and scenario that are kept in full; further ones are counted."""
STUCK_PATIENCE = 2.0
"""Seconds that a wave has to come to rest once an earlier one has not: what keeps it will not go
away."""
SERVER_PATIENCE = 5.0
"""Seconds in which the server has noticed which sessions are over."""
STEP = 0.05
"""Seconds between two looks."""
LONG_RUN = 10_000
"""Contexts; from there on it is also asked what all scenarios together have left behind."""
TOKEN_LIFE = 86_400.0
"""Seconds that the access token of a run lasts, unless a scenario has others."""

WITHOUT_GROWTH = tuple(detector for detector in DETECTORS if detector is not Detector.GROWTH)
"""What is asked of each wave; growth shows only over several."""
WHOLE_RUN = "whole run"


class Progress(Protocol):
    """What is told of a run while it goes on."""

    def scenario_began(self, name: str, contexts: int) -> None: ...

    def progressed(self, done: int, errors: int = 0, findings: int = 0) -> None: ...

    def scenario_ended(self, result: ScenarioResult) -> None: ...


class UnknownScenario(Exception):
    """There is none of that name."""


@dataclass(slots=True)
class Findings:
    """Of one scenario; the first few of each detector are kept."""

    kept: list[Finding] = field(default_factory=list)
    counts: dict[Detector, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, found: Sequence[Finding]) -> None:
        for finding in found:
            count = self.counts.get(finding.detector, 0)
            self.counts[finding.detector] = count + 1
            if count < KEPT:
                self.kept.append(finding)


@dataclass(slots=True)
class _Seen:
    """Of one scenario, as its waves come and go."""

    tally: Tally = field(default_factory=Tally)
    findings: Findings = field(default_factory=Findings)
    samples: list[Sample] = field(default_factory=list)
    waves: int = 0
    without_sessions: int = 0
    """Waves after which the server did not show its sessions."""
    without_rows: int = 0
    """Waves after which nobody could read what rows there were."""

    def unseen(self, blind: str) -> dict[Detector, str]:
        """What could not be looked for all the time. ``blind``: why the server shows nothing."""
        unseen = {}
        if self.without_sessions:
            unseen[Detector.ORPHAN_SESSION] = blind or (
                f"the server did not show its sessions after {self.without_sessions} of "
                f"{self.waves} waves"
            )
        if self.without_rows:
            unseen[Detector.TRANSACTION_BLEED] = (
                f"what rows were left could not be read after {self.without_rows} of "
                f"{self.waves} waves"
            )
        if not enough_samples(self.samples):
            unseen[Detector.GROWTH] = (
                f"it takes {LEAST_SAMPLES} waves: more contexts, or a smaller --wave"
            )
        return unseen


class KnownAlready:
    """What one wave has left is there after the next one still: it is told of once."""

    def __init__(self) -> None:
        self._held: set[tuple[object, ...]] = set()
        self._left: set[tuple[object, ...]] = set()

    def strike_out(self, record: Record) -> None:
        """Take out of a record what an earlier one had in it already. A session counts anew once
        somebody has used it again."""
        used = {unit.session for unit in record.units}
        record.held = [each for each in record.held if self._is_new(self._held, _lease(each))]
        record.at_rest = [
            each
            for each in record.at_rest
            if self._is_new(self._left, _state(each)) or each.session in used
        ]

    @staticmethod
    def _is_new(told: set[tuple[object, ...]], what: tuple[object, ...]) -> bool:
        is_new = what not in told
        told.add(what)
        return is_new


def _lease(held: Held) -> tuple[object, ...]:
    if held.since is not None:  # what else is known of it changes once its thread has ended
        return held.process, held.since
    return held.process, held.session, held.place, held.what


def _state(seen: ServerSession) -> tuple[object, ...]:
    return (
        *(seen.process, seen.session, seen.settings, seen.database),
        *(seen.transactions, seen.locks, seen.temporary),
    )


@dataclass(slots=True)
class Place:
    """What a run needs while it lasts."""

    config: SubjectConfig
    server: Server
    faults: Faults
    watcher: Watcher
    site: Site


def scenario_names() -> list[str]:
    """All there are; their modules are not imported, as Django may not be set up yet."""
    names = (module.name for module in pkgutil.iter_modules(scenarios.__path__))
    return sorted(name for name in names if not name.startswith("_"))


def chosen(options: RunOptions) -> Sequence[str]:
    """The names of the scenarios to run.

    :raises UnknownScenario: naming those that there are.
    """
    known = scenario_names()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise UnknownScenario(
            f"There is no scenario {', '.join(unknown)}; there are: {', '.join(known)}."
        )
    return options.names or known


def outcome_of(options: RunOptions) -> Outcome:
    """Of a run that has yet to be made."""
    return Outcome(
        command=options.command(),
        started_at=clock.now(),
        seed=options.seed,
        engine=options.engine,
        conn_max_age=options.conn_max_age,
        over=options.over,
        processes=options.processes if options.is_served else 1,
        concurrency=options.concurrency,
        versions=versions(),
    )


async def run(options: RunOptions, progress: Progress, outcome: Outcome) -> None:
    """Run what the options say; what is found goes into ``outcome`` as it is found, so that a
    run that does not come to its end has not been in vain.

    :raises UnknownScenario: see :func:`chosen`.
    :raises NoDatabase: there is no such engine, or nothing says where its database is.
    :raises ServerFailed: the server cannot be reached.
    :raises NotPrepared: the database cannot be made ready.
    :raises NotServed: a process under test does not start, or ends.
    """
    names = chosen(options)
    try:
        async with the_place(options) as place:
            known = catalogue()
            outcome.server = place.server.describe()
            if place.watcher.blind:
                outcome.server += f". {place.watcher.blind}"
            try:
                await _Run(options, place, outcome, progress).run([known[name] for name in names])
            finally:
                outcome.series = place.watcher.moments
                outcome.marks = list(place.faults.marks)
    finally:
        outcome.ended_at = clock.now()


@asynccontextmanager
async def the_place(options: RunOptions) -> AsyncIterator[Place]:
    """Server, database, application, watcher; see :func:`run` for what may fail."""
    vendor = await in_thread(lambda: vendor_of(options.engine))
    if options.databases and vendor == MICROSOFT:
        raise NoDatabase("A SQL Server is named by MSSQL_HOST and so on, not by --databases.")
    async with AsyncExitStack() as stack:
        if vendor == MICROSOFT:
            server = stack.enter_context(the_server())
        else:
            server = OtherServer(Database("", ""))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leaks-")))
        driver: Mapping[str, str] = {}
        if options.engine != OURS and vendor == MICROSOFT:
            driver = stack.enter_context(place_for(server.database)).driver
        has_tokens = server.is_embedded and options.engine == OURS
        config = SubjectConfig(
            server.database,
            engine=options.engine,
            vendor=vendor,
            databases_of=options.databases,
            folder=str(Path.cwd()),
            files=str(folder),
            conn_max_age=options.conn_max_age,
            program=f"leaks {os.getpid()}",
            control=options.control,
            driver=driver,
            tokens=str(folder / "token") if has_tokens else "",
        )
        config.databases()
        server.describe()
        faults = Faults(server, config.program, Path(config.tokens) if has_tokens else None)
        stack.callback(faults.close)
        if has_tokens:
            await faults.issue_token(TOKEN_LIFE)
        await in_thread(lambda: prepare_database(config))
        # Also where the application is elsewhere: scenarios are modules of its project.
        configure(replace(config, control="") if options.is_served else config)
        if isinstance(server, OtherServer):
            server.words = await in_thread(_database_in_words)
        if options.is_served:
            served = over_sockets(config, options.processes, options.over)
            site = await stack.enter_async_context(served)
        else:
            site = await stack.enter_async_context(in_process(config, options.loops))
        watcher = stack.enter_context(Watcher(server, config.program, site.inside))
        yield Place(config, server, faults, watcher, site)


class _Run:
    def __init__(
        self, options: RunOptions, place: Place, outcome: Outcome, progress: Progress
    ) -> None:
        self._place = place
        self._options = options
        self._outcome = outcome
        self._progress = progress
        self._samples: list[Sample] = []
        self._next_token: Token = 1
        self._patience = options.rest_patience
        self._known_already = KnownAlready()
        self._last_users = LastUsers()

    async def run(self, chosen: Sequence[Scenario]) -> None:
        missing = {each.name: self._missing(each) for each in chosen}
        shares = sum(each.share for each in chosen if not missing[each.name])
        so_far = 0.0
        for scenario in chosen:
            if missing[scenario.name]:
                result = ScenarioResult(
                    scenario.name, title_of(scenario), skipped=missing[scenario.name]
                )
                self._outcome.scenarios.append(result)
                self._progress.scenario_ended(result)
                continue
            # From where the one before ended, so that all together are as many as were asked for.
            first = round(self._options.contexts * so_far / shares)
            so_far += scenario.share
            last = round(self._options.contexts * so_far / shares)
            await self._scenario(scenario, max(1, last - first))
        self._whole_run()

    def _missing(self, scenario: Scenario) -> str:
        """Why a scenario cannot run here; "" if it can."""
        place = self._place
        have = {
            Need.FAULTS: place.server.is_embedded,
            Need.KILL: True,  # a server that does not allow it says so when asked to
            Need.OURS: place.config.is_ours,
            Need.SQL_SERVER: place.config.vendor == MICROSOFT,
            Need.PROCESSES: self._options.is_served,
            Need.FORK: hasattr(os, "fork"),
        }
        lacking = [need.value for need in scenario.needs if not have[need]]
        if lacking:
            return f"needs {' and '.join(lacking)}"
        if scenario.alias not in place.config.aliases:
            return f"needs the database {scenario.alias!r}, which only the embedded server has"
        return ""

    async def _scenario(self, scenario: Scenario, contexts: int) -> None:
        watcher = self._place.watcher
        result = ScenarioResult(scenario.name, title_of(scenario), began_at=clock.now())
        seen = _Seen()
        self._progress.scenario_began(scenario.name, contexts)
        first_token = self._next_token
        self._next_token += contexts
        began = time.perf_counter()
        before = await in_thread(watcher.counted)
        try:
            await self._waves(scenario, contexts, first_token, result, seen)
        finally:
            self._keep(result, seen, contexts, time.perf_counter() - began)
        # Whoever asks for the counters asks after the last context and before the next.
        counted = (await in_thread(watcher.counted)).since(before)
        result.logins, result.statements = counted.logins, counted.statements
        self._progress.scenario_ended(result)

    async def _waves(
        self, scenario: Scenario, contexts: int, first_token: Token, result: ScenarioResult,
        seen: _Seen,
    ) -> None:  # fmt: skip
        place, options, tally = self._place, self._options, seen.tally

        def progressed() -> None:
            self._progress.progressed(tally.done, tally.failed, seen.findings.total)

        step = options.wave_of(contexts, scenario.most_at_once)
        for start in range(0, contexts, step):
            numbers = range(start, min(start + step, contexts))
            wave = Wave(
                scenario, shared(numbers), first_token, options.seed, tally, progressed,
                options.context_patience,
            )  # fmt: skip
            await run_wave(
                wave, place.site.clients, options.concurrency, place.faults, place.site.loops
            )
            with suppress(CannotDo, pyodbc.Error):
                await place.faults.end_all()
            record = await self._settled(scenario, seen)
            seen.samples += record.samples
            record.samples = []
            found = find_all(record, WITHOUT_GROWTH)
            if found and not seen.findings.total:
                result.lanes, result.stories = draw(record, found)
            elif not result.lanes:
                result.lanes, result.stories = draw(record, ())
            seen.findings.add(found)
            await self._start_anew(record)
            for number in numbers:
                SIGNALS.forget(first_token + number)
            progressed()
            if tally.cannot or tally.hung >= MOST_HUNG:
                break

    def _keep(self, result: ScenarioResult, seen: _Seen, contexts: int, seconds: float) -> None:
        """What a scenario came to, also where it did not come to its end."""
        tally, findings = seen.tally, seen.findings
        findings.add(self._growth(result.name, seen.samples))
        self._samples += seen.samples
        result.skipped = tally.cannot
        result.contexts = tally.done
        result.hung = tally.hung
        result.errors = dict(tally.errors)
        if tally.done < contexts and not tally.cannot:
            result.errors["contexts that were not begun or not ended"] = contexts - tally.done
        result.statuses = dict(sorted(tally.statuses.items()))
        result.seconds = seconds
        result.latencies = Latencies.of(tally.latencies)
        result.findings = findings.counts
        result.suppressed = findings.total - len(findings.kept)
        result.unseen = seen.unseen(self._place.watcher.blind)
        if self._place.config.vendor != MICROSOFT:
            result.unseen[Detector.STATE_BLEED] = "what a session carries is SQL Server's to tell"
        self._outcome.scenarios.append(result)
        self._outcome.findings += findings.kept

    def _growth(self, name: str, samples: list[Sample]) -> list[Finding]:
        """Beyond what was there before: threads that were idle have ended and come back."""
        record = Record(
            name,
            self._options.seed,
            self._place.config.program,
            samples=samples if samples is self._samples else [*self._samples, *samples],
            watched_from=min((sample.at for sample in samples), default=0.0),
        )
        return find_all(record, (Detector.GROWTH,))

    def _whole_run(self) -> None:
        """Too little for one scenario may be too much in the end."""
        if self._outcome.contexts < LONG_RUN:
            return
        findings = Findings()
        findings.add(self._growth(WHOLE_RUN, self._samples))
        if findings.total:
            self._outcome.scenarios.append(
                ScenarioResult(
                    WHOLE_RUN,
                    "What all scenarios together left behind",
                    began_at=self._outcome.started_at,
                    findings=findings.counts,
                )
            )
            self._outcome.findings += findings.kept

    # --- what is seen once a wave is over ------------------------------------------------------

    async def _settled(self, scenario: Scenario, seen: _Seen) -> Record:
        """All that was seen of a wave, once everything that may come to rest has."""
        place = self._place
        record = await place.site.collect(self._patience)
        if record.held or any(story.ended_at is None for story in record.stories):
            self._patience = min(STUCK_PATIENCE, self._patience)
        record.scenario = scenario.name
        record.seed = self._options.seed
        record.program = place.config.program
        at_rest = await in_thread(lambda: self._at_rest(record.known))
        record.at_rest = [told_by_the_application(each, record.held) for each in at_rest or ()]
        name_sessions(record)
        place.server.own_statements += record.asked
        self._known_already.strike_out(record)
        self._last_users.join(record)
        record.rows = await in_thread(self._rows)
        seen.waves += 1
        seen.without_sessions += at_rest is None
        seen.without_rows += record.rows is None
        return record

    def _at_rest(self, known: Sequence[Known]) -> list[ServerSession] | None:
        """What the server shows once it has noticed who has hung up. A session that began only
        after the processes were asked is none that they should have known of."""
        counts = {each.process: each.count for each in known}
        watcher = self._place.watcher
        first: set[object] | None = None
        deadline = time.monotonic() + SERVER_PATIENCE
        while True:
            sessions = watcher.at_rest()
            if sessions is None:
                if watcher.blind or time.monotonic() >= deadline:
                    return None
                time.sleep(STEP)
                continue
            if first is None:
                first = {each.session for each in sessions}
            sessions = [each for each in sessions if each.session in first]
            if time.monotonic() >= deadline or _is_quiet(sessions, counts):
                return sessions
            time.sleep(STEP)

    def _rows(self) -> list[str] | None:
        """What the table holds, in both databases; they are empty afterwards."""
        if self._place.config.vendor != MICROSOFT:
            return _take_rows(self._place.config)
        found: list[str] = []
        for database in self._databases():
            try:
                with _connected(self._place.server, database) as connection:
                    # Another's open transaction may be in the way: then nobody has looked.
                    connection.execute("SET LOCK_TIMEOUT 2000")
                    rows = connection.execute(f"SELECT row FROM {NOTES}").fetchall()
                    found += [row[0] for row in rows]
                    connection.execute(f"DELETE FROM {NOTES}")
                    self._place.server.own_statements += 3
            except pyodbc.Error:
                return None
        return found

    def _databases(self) -> Iterator[str]:
        yield self._place.server.database.name
        yield OTHER_DATABASE

    async def _start_anew(self, record: Record) -> None:
        """End sessions that were left with a transaction or a lock, which would be in the way of
        whatever comes next; that they were is on record."""
        for left in record.at_rest:
            if left.transactions or left.locks:
                with suppress(CannotDo, pyodbc.Error):
                    await self._place.faults.kill(left.session.spid)


NOTES = "leaks_note"


def _take_rows(config: SubjectConfig) -> list[str] | None:
    from .subject.prepare import take_rows  # needs Django to be set up

    return take_rows(config)


def _database_in_words() -> str:
    from .subject.prepare import database_in_words

    return database_in_words()


@contextmanager
def _connected(server: Server, database: str) -> Iterator[pyodbc.Connection]:
    connection = server.connect(database)
    try:
        yield connection
    finally:
        connection.close()


def _is_quiet(sessions: Sequence[ServerSession], counts: Mapping[int, int]) -> bool:
    """No statement runs, no transaction is open, and nobody has more sessions than it knows."""
    there: dict[int, int] = {}
    for each in sessions:
        there[each.process] = there.get(each.process, 0) + 1
        if each.status == "running" or each.transactions:
            return False
    return all(count <= counts.get(process, 0) for process, count in there.items())


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    found = {"Python": platform.python_version()}
    names = ["Django", "asgiref", "mssql-async", "mssql-django", "pyodbc", "uvicorn", "uvloop",
             "daphne"]  # fmt: skip
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def fresh_seed() -> int:
    return secrets.randbelow(1_000_000)
