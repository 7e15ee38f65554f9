"""More and more open contexts: ``python -m loadtests.bench.scale``.

Event streams that each query every few seconds, on this backend and on stock mssql-django:
threads, server sessions, memory, and how long a request with one query takes beside them. What
the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from .devserver import server_process
from .ending import run_main
from .machine import Machine
from .observer import observing
from .requests_sites import Candidate, Database, place_for
from .scale_measures import SPARE_FILES, Limits, Plan, Scale, scale
from .waiting import OURS, STOCK, STOCK_PERSISTENT
from .written import writer

MODULE = "loadtests.bench.scale"
DISTRIBUTIONS = ("Django", "asgiref", "mssql-django", "uvicorn")
CANDIDATES: tuple[Candidate, ...] = (OURS, STOCK, STOCK_PERSISTENT)

DEFAULT = Plan(contexts=(10, 100, 1_000, 10_000), period=60.0, requests=300)
QUICK = Plan(contexts=(10, 100), period=5.0, requests=50)


@dataclass(slots=True)
class Result:
    """A whole run."""

    machine: Machine
    plan: Plan
    embedded: bool
    """Whether the database is the embedded server."""
    scale: list[Scale] = field(default_factory=list)


def run(
    candidates: Sequence[Candidate],
    plan: Plan,
    command: str,
    tell: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Every candidate at every size; ``tell`` hears what there is after each figure."""
    elsewhere = Database.of_the_environment()
    result = Result(Machine.this(command, DISTRIBUTIONS), plan, embedded=elsewhere is None)
    if elsewhere is None and plan.limits.files:
        plan = replace(plan, limits=replace(plan.limits, sessions=_sessions(plan.limits.files)))
        result.plan = plan
    with ExitStack() as stack:
        database = elsewhere or Database("127.0.0.1", str(stack.enter_context(server_process())))
        place = stack.enter_context(place_for(database))
        place.prepare()
        observer = stack.enter_context(observing(database))
        for each in scale(place, candidates, observer, plan):
            print(line(each), file=sys.stderr, flush=True)
            result.scale.append(each)
            tell(result)
    return result


def _sessions(files: int) -> int:
    """For how many the embedded server has files: a socket and up to three of SQLite's each."""
    return max((files - SPARE_FILES) // 4 // 100 * 100, 1)


def most_files() -> int:
    """Raise to the most that is allowed how many files this process and those it starts may
    have open; 0: the system has no such limit."""
    if sys.platform == "win32":
        return 0
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        return 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


# --- in words ------------------------------------------------------------------------------


def report(result: Result) -> str:
    """The table."""
    plan = result.plan
    server = "embedded server" if result.embedded else "server of the environment"
    return "\n".join(
        [
            result.machine.in_words(),
            server,
            "",
            f"Open event streams that each query every {plan.period:g} s. 'ms': of {plan.requests}"
            " requests with one query, one after the other beside them",
            *_lines(result.scale),
        ]
    )


def _lines(found: Sequence[Scale]) -> Iterator[str]:
    yield (
        f"{'':26} {'contexts':>8} {'over':>8} {'threads':>8} {'sessions':>8} {'MiB':>7} "
        f"{'KiB each':>8} {'p50 ms':>7} {'p99 ms':>7} {'failed':>6}"
    )
    for each in found:
        yield line(each)


def line(each: Scale) -> str:
    text = (
        f"{each.name:26} {each.opened:8,} {each.over:>8} {_number(each.threads):>8} "
        f"{_number(each.connections):>8} {_number(each.resident):>7} "
        f"{_number(each.per_context):>8} {_number(each.p50, 1):>7} {_number(each.p99, 1):>7} "
        f"{each.failed:6}"
    )
    return f"{text}  no more: {each.stopped}" if each.stopped else text


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


# --- the command ---------------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    keys = [each.key for each in CANDIDATES]
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--quick", action="store_true", help="fewer contexts")
    parser.add_argument(
        "--candidates", nargs="+", choices=keys, default=keys, metavar="NAME",
        help=f"of {', '.join(keys)}",
    )  # fmt: skip
    parser.add_argument("--contexts", type=int, nargs="+", metavar="N", help="open at a time")
    parser.add_argument("--period", type=float, help="seconds between two queries of a context")
    parser.add_argument("--requests", type=int, help="measured beside the contexts")
    limits = Limits()
    parser.add_argument(
        "--threads", type=int, default=limits.threads, help="stop a candidate that has more"
    )
    parser.add_argument(
        "--memory", type=float, default=limits.memory / 1024**3, metavar="GIB",
        help="stop a candidate that has more",
    )  # fmt: skip
    return parser.parse_args(arguments)


def plan_of(options: argparse.Namespace, files: int) -> Plan:
    default = QUICK if options.quick else DEFAULT
    return Plan(
        contexts=tuple(sorted(options.contexts or default.contexts)),
        period=default.period if options.period is None else options.period,
        requests=default.requests if options.requests is None else options.requests,
        limits=Limits(options.threads, int(options.memory * 1024**3), files),
    )


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    command = " ".join(["python -m", MODULE, *arguments])
    candidates = [each for each in CANDIDATES if each.key in options.candidates]

    print(report(run(candidates, plan_of(options, most_files()), command, writer(options.json))))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(lambda: main(sys.argv[1:])))
