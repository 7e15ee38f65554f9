"""What it costs to know that a connection is alive before it is used again. Plain data."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from .counting import Counting
from .ending import APART
from .peers import ROOT
from .requests_sites import PATIENCE, Candidate, Place
from .waiting import OURS, STOCK, STOCK_PERSISTENT, Waiting, cycles


def _checked(candidate: Waiting) -> Waiting:
    return replace(candidate, name=f"{candidate.name}, CONN_HEALTH_CHECKS", health_checks=True)


#: This backend takes no notice of CONN_HEALTH_CHECKS; both rows show that.
CANDIDATES: tuple[Candidate, ...] = (
    OURS,
    _checked(OURS),
    STOCK,
    STOCK_PERSISTENT,
    _checked(STOCK_PERSISTENT),
)


@dataclass(frozen=True, slots=True)
class Check:
    """A cycle, in which one thread serves a request with one query."""

    name: str
    pause: float
    """Seconds since the cycle before."""
    median: float
    """Milliseconds."""
    fastest: float
    messages: float | None
    """The query's own among them; ``None``: nobody counts."""
    logins: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """How many cycles with how many seconds before each make a turn."""

    seconds: float
    cycles: int


def checks(
    place: Place,
    candidates: Sequence[Candidate],
    pauses: Sequence[Pause],
    rounds: int,
    counting: Counting,
) -> list[Check]:
    """Candidates take turns, each in a process of its own."""
    with ExitStack() as stack:
        processes = {each.name: stack.enter_context(_process(place, each)) for each in candidates}
        found = []
        for pause in pauses:
            times: dict[str, list[float]] = {name: [] for name in processes}
            messages: dict[str, list[int]] = {name: [] for name in processes}
            logins: dict[str, list[int]] = {name: [] for name in processes}
            for process in processes.values():
                _turn(process, Pause(0, 20))  # warms up
            for _ in range(rounds):
                for name, process in processes.items():
                    # The first of a turn comes after the others' turns.
                    _turn(process, Pause(0, 1))
                    counted, took = counting.of(
                        lambda process=process, pause=pause: _turn(process, pause)
                    )
                    times[name] += took
                    if counted.messages is not None and counted.logins is not None:
                        messages[name].append(counted.messages)
                        logins[name].append(counted.logins)
            number = pause.cycles * rounds
            found += [
                Check(
                    name,
                    pause.seconds,
                    statistics.median(times[name]),
                    min(times[name]),
                    sum(messages[name]) / number if messages[name] else None,
                    sum(logins[name]) / number if logins[name] else None,
                )
                for name in processes
            ]
        return found


@contextmanager
def _process(place: Place, candidate: Candidate) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", cycles.__name__]
    with subprocess.Popen(
        command,
        env=place.environment(candidate),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=APART,
    ) as process:
        try:
            _line(process)
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which ends it
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _turn(process: subprocess.Popen[str], pause: Pause) -> list[float]:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"cycles": pause.cycles, "pause": pause.seconds}) + "\n")
    process.stdin.flush()
    found: list[float] = json.loads(_line(process))
    return found


def _line(process: subprocess.Popen[str]) -> str:
    """
    :raises RuntimeError: the process has ended; it has said why.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{cycles.__name__} has ended, see above.")
    return line
