"""Statements side by side, given up, and on connections that may be dead:
``python -m loadtests.bench.parallel``.

Three questions that a request's time under load does not answer, each put to this backend and to
stock mssql-django. What the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from mssql_async.devserver import DevServer

from .beside_measures import MANNERS, Beside, Manner, beside
from .checks_measures import CANDIDATES as CHECKED
from .checks_measures import Check, Pause, checks
from .counting import Counting
from .ending import run_main
from .hangup_measures import HangUp, hang_ups
from .machine import Machine
from .observer import observing
from .requests_sites import Candidate, Database, place_for
from .waiting import OURS, STOCK, STOCK_PERSISTENT
from .written import writer

MODULE = "loadtests.bench.parallel"
DISTRIBUTIONS = ("Django", "asgiref", "mssql-django", "uvicorn")
PARTS = ("beside", "hang-up", "checks")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. Times are in seconds."""

    requests: int = 10
    """Of each manner of running statements side by side."""
    statement: float = 3.0
    """What the client waits for that hangs up."""
    hang_ups: int = 5
    pauses: tuple[Pause, ...] = (Pause(0.0, 25), Pause(0.6, 1))
    """Before requests of one query: within the window of this backend, and past it."""
    rounds: int = 20
    """Of those requests: many short turns, as a disturbance takes a whole one."""


QUICK = Sizes(
    requests=2, statement=1.0, hang_ups=1, pauses=(Pause(0.0, 10), Pause(0.6, 1)), rounds=1
)


@dataclass(frozen=True, slots=True)
class Subjects:
    """Who is measured."""

    manners: Sequence[Manner] = MANNERS
    hanging_up: Sequence[Candidate] = (OURS, STOCK, STOCK_PERSISTENT)
    checked: Sequence[Candidate] = CHECKED


@dataclass(slots=True)
class Result:
    """A whole run."""

    machine: Machine
    sizes: Sizes
    embedded: bool
    """Whether the database is the embedded server."""
    beside: list[Beside] = field(default_factory=list)
    hang_ups: list[HangUp] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def run(
    subjects: Subjects,
    sizes: Sizes,
    command: str,
    parts: Sequence[str] = PARTS,
    tell: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Everything, one after the other; ``tell`` hears what there is after each part. On a server
    that ``MSSQL_HOST`` names nothing is counted: the counters are the embedded server's."""
    elsewhere = Database.of_the_environment()
    result = Result(Machine.this(command, DISTRIBUTIONS), sizes, embedded=elsewhere is None)
    with ExitStack() as stack:
        server = None if elsewhere else stack.enter_context(DevServer())
        database = elsewhere or Database(server.host, str(server.port)) if server else elsewhere
        assert database is not None
        counting = Counting(server)
        place = stack.enter_context(place_for(database))
        place.prepare()
        observer = stack.enter_context(observing(database))
        if "beside" in parts:
            result.beside = beside(place, subjects.manners, sizes.requests, counting, observer)
            tell(result)
        if "hang-up" in parts:
            result.hang_ups = hang_ups(
                place, subjects.hanging_up, sizes.statement, sizes.hang_ups, counting, observer
            )
            tell(result)
        if "checks" in parts:
            result.checks = checks(place, subjects.checked, sizes.pauses, sizes.rounds, counting)
            tell(result)
    return result


# --- in words ------------------------------------------------------------------------------


def report(result: Result) -> str:
    """The tables."""
    server = "embedded server" if result.embedded else "server of the environment"
    lines = [result.machine.in_words(), server]
    if result.beside:
        lines += ["", *_beside(result)]
    if result.hang_ups:
        lines += ["", *_hang_ups(result)]
    if result.checks:
        lines += ["", *_checks(result)]
    return "\n".join(lines)


def _beside(result: Result) -> Iterator[str]:
    yield (
        "One request with 8 statements of 100 ms; 'first' of its process, median of "
        f"{result.sizes.requests} more. 'left': sessions that stay open"
    )
    yield f"{'':48} {'first ms':>8} {'median ms':>9} {'messages':>8} {'logins':>6} {'left':>4}"
    for each in result.beside:
        yield (
            f"{each.name:48} {each.first:8.0f} {each.median:9.0f} "
            f"{_count(each.messages):>8} {_count(each.logins):>6} {each.left:4}"
        )


def _hang_ups(result: Result) -> Iterator[str]:
    yield (
        f"The client hangs up in a statement of {result.sizes.statement:g} s: ms until the server "
        f"runs it no longer, and until the view goes on; medians of {result.sizes.hang_ups}"
    )
    yield f"{'':48} {'server ms':>9} {'view ms':>9} {'messages':>8}"
    for each in result.hang_ups:
        yield f"{each.name:48} {each.server:9.1f} {each.view:9.1f} {_count(each.messages):>8}"


def _checks(result: Result) -> Iterator[str]:
    yield (
        "One request with one query on one thread (no HTTP), so long after the one before; "
        f"medians, {result.sizes.rounds} rounds"
    )
    yield f"{'':48} {'pause s':>8} {'median ms':>9} {'fastest':>8} {'messages':>8} {'logins':>6}"
    for each in result.checks:
        yield (
            f"{each.name:48} {each.pause:8g} {each.median:9.2f} {each.fastest:8.2f} "
            f"{_count(each.messages):>8} {_count(each.logins):>6}"
        )


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}".removesuffix(".0")


# --- the command ---------------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
        help=f"of {', '.join(PARTS)}",
    )  # fmt: skip
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    command = " ".join(["python -m", MODULE, *arguments])
    sizes = QUICK if options.quick else Sizes()
    print(report(run(Subjects(), sizes, command, options.parts, writer(options.json))))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(lambda: main(sys.argv[1:])))
