"""What many open contexts cost, one candidate after the other. The results are plain data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ending import APART
from .observer import Observer
from .peers import ROOT
from .requests_load import Answers
from .requests_sites import PATIENCE, Candidate, Place
from .scale_contexts import Opened
from .waiting import inmemory

OVER_SOCKETS = "sockets"
IN_MEMORY = "memory"
SPARE_FILES = 200
"""Files that a site has open apart from its clients' sockets and the server's."""
KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a candidate is stopped, so that the machine survives."""

    threads: int = 15_000
    memory: int = 8 * KIB**3
    """Bytes that its process may have resident."""
    files: int = 0
    """Files that one process may have open; 0: nobody says."""
    sessions: int = 0
    """Sessions for which the server has room; 0: for all."""


@dataclass(frozen=True, slots=True)
class Process:
    """What the system says of a process; ``None`` where it does not say."""

    threads: int | None
    resident: int | None
    """Bytes."""

    @classmethod
    def seen(cls, process_id: int) -> Process:
        try:
            text = Path(f"/proc/{process_id}/status").read_text()
        except OSError:
            return cls(None, None)
        lines = dict(line.partition(":")[::2] for line in text.splitlines())
        return cls(int(lines["Threads"]), int(lines["VmRSS"].split()[0]) * KIB)


@dataclass(frozen=True, slots=True)
class Scale:
    """A candidate with so many contexts open. Latencies, of requests with one query made one
    after the other beside them, are in milliseconds."""

    name: str
    wanted: int
    opened: int
    over: str
    """``sockets``, or ``memory``: without HTTP."""
    threads: int | None
    connections: int | None
    """Sessions at the server."""
    resident: float | None
    """MiB of the process."""
    per_context: float | None
    """KiB more than before any context was open, for each that is."""
    p50: float | None
    p99: float | None
    failed: int
    """Streams that ended or never began, and requests that failed."""
    stopped: str = ""
    """Why no more were opened; where contexts failed, there are no latencies."""


class Held:
    """A site, and the process that holds contexts of it open."""

    def __init__(self, over: str, process_id: int, orders: subprocess.Popen[str]) -> None:
        self.over = over
        self.process_id = process_id
        self._orders = orders
        self.opened = Opened(0, 0)

    def open(self, streams: int, period: float) -> None:
        answer = self._do("open", streams=streams, milliseconds=round(period * 1000))
        self.opened = Opened(**answer)

    def requests(self, number: int) -> Answers:
        return Answers(**self._do("requests", number=number))

    def _do(self, what: str, **order: object) -> dict[str, Any]:
        """
        :raises RuntimeError: the process has ended.
        """
        assert self._orders.stdin is not None
        try:
            self._orders.stdin.write(json.dumps({"do": what, **order}) + "\n")
            self._orders.stdin.flush()
            line = _answer(self._orders)
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError("The process that holds the contexts has ended, see above.")
        found: dict[str, Any] = json.loads(line)
        return found


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@contextmanager
def over_sockets(place: Place, candidate: Candidate) -> Iterator[Held]:
    with (
        place.serving(candidate) as site,
        _ordered("loadtests.bench.scale_contexts", [str(site.port)], None) as orders,
    ):
        yield Held(OVER_SOCKETS, site.process_id, orders)


@contextmanager
def in_memory(place: Place, candidate: Candidate) -> Iterator[Held]:
    with _ordered(inmemory.__name__, [], place.environment(candidate)) as orders:
        yield Held(IN_MEMORY, orders.pid, orders)


@contextmanager
def _ordered(
    module: str, arguments: Sequence[str], environment: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        process_group=APART,
    ) as process:
        try:
            if not _answer(process):
                raise RuntimeError(f"{module} did not start, see above.")
            yield process
        finally:
            # Not asked to end: a thousand threads would each log out first.
            process.kill()
            process.wait(PATIENCE)


@dataclass(frozen=True, slots=True)
class Plan:
    """``steps`` contexts are opened before limits are looked at again."""

    contexts: tuple[int, ...]
    period: float
    """Seconds between two queries of a context."""
    requests: int
    steps: int = 250
    limits: Limits = Limits()


def scale(
    place: Place, candidates: Sequence[Candidate], observer: Observer, plan: Plan
) -> Iterator[Scale]:
    """One candidate after the other, with more and more contexts; each as it is measured."""
    for candidate in candidates:
        in_sockets = [n for n in plan.contexts if _fits(n, candidate, plan.limits)]
        beyond = [n for n in plan.contexts if n not in in_sockets]
        stopped = False
        if in_sockets:
            found = _held(over_sockets(place, candidate), candidate, in_sockets, observer, plan)
            for each in found:
                stopped = bool(each.stopped)
                yield each
        if beyond and not stopped:
            yield from _held(in_memory(place, candidate), candidate, beyond, observer, plan)


def _keeps_sessions(candidate: Candidate) -> bool:
    """Whether each of its contexts keeps a session of its own, with a socket."""
    return candidate.engine != "mssql_async"


def _room(contexts: int, candidate: Candidate, limits: Limits) -> int:
    """How many of so many contexts the server has sessions for."""
    if limits.sessions and _keeps_sessions(candidate):
        return min(contexts, limits.sessions)
    return contexts


def _fits(contexts: int, candidate: Candidate, limits: Limits) -> bool:
    """Whether its process may have as many sockets as that takes."""
    sockets = _room(contexts, candidate, limits) * (2 if _keeps_sessions(candidate) else 1)
    return not limits.files or sockets + SPARE_FILES <= limits.files


def _held(
    holding: AbstractContextManager[Held],
    candidate: Candidate,
    sizes: Sequence[int],
    observer: Observer,
    plan: Plan,
) -> Iterator[Scale]:
    with holding as held:
        held.requests(plan.requests)  # warms up
        before = Process.seen(held.process_id)
        for size in sizes:
            room = _room(size, candidate, plan.limits)
            reason = _open_to(room, held, plan)
            if room < size and not reason:
                reason = f"the server has files for {room:,} sessions"
            answers = None if held.opened.failed else held.requests(plan.requests)
            yield _scale(candidate, size, held, before, observer, answers, reason)
            if reason:
                return


def _open_to(size: int, held: Held, plan: Plan) -> str:
    """Why it was not reached; empty: it was."""
    while (missing := size - held.opened.open) > 0:
        failed = held.opened.failed
        held.open(min(missing, plan.steps), plan.period)
        process = Process.seen(held.process_id)
        limits = plan.limits
        if process.threads is not None and process.threads > limits.threads:
            return f"{process.threads:,} threads"
        if process.resident is not None and process.resident > limits.memory:
            return f"{process.resident / KIB**3:.1f} GiB resident"
        if held.opened.failed > failed:
            return f"{held.opened.failed - failed:,} contexts failed"
    return ""


def _scale(
    candidate: Candidate,
    wanted: int,
    held: Held,
    before: Process,
    observer: Observer,
    answers: Answers | None,
    stopped: str,
) -> Scale:
    process = Process.seen(held.process_id)
    opened = held.opened.open
    per_context = None
    if process.resident is not None and before.resident is not None and opened:
        per_context = (process.resident - before.resident) / opened / KIB
    return Scale(
        candidate.name,
        wanted,
        opened,
        held.over,
        process.threads,
        observer.sessions(held.process_id),
        None if process.resident is None else process.resident / KIB**2,
        per_context,
        answers.p50 if answers else None,
        answers.p99 if answers else None,
        held.opened.failed + (answers.failed if answers else 0),
        stopped,
    )
