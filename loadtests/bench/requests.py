"""One Django project on several backends under Uvicorn: ``python -m loadtests.bench.requests``.

Round trips and logins per request, counted at the server; then requests a second and latencies,
in one run, taking turns. What the figures mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from mssql_async.devserver import DevServer

from .devserver import server_process
from .machine import Machine
from .requests_load import Load, load_process
from .requests_measures import COUNTED, LOADED, Count, Throughput, count, throughput
from .requests_sites import CANDIDATES, STOCK, Candidate, Database, Place, Site, place_for

MODULE = "loadtests.bench.requests"
DISTRIBUTIONS = ("Django", "asgiref", "mssql-django", "uvicorn")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. Times are in seconds."""

    counted: int = 10
    """Requests of each kind whose round trips are counted; 0: none are."""
    clients: tuple[int, ...] = (1, 16, 64)
    rounds: int = 3
    seconds: float = 0.7
    """Of a turn under load, after its warm-up; 0: there is no load."""
    loaded: tuple[str, ...] = tuple(work.key for work in LOADED)
    """Which kinds of request."""
    warm_up: float = 0.2


QUICK = Sizes(counted=3, clients=(1, 16), rounds=1, seconds=0.3, warm_up=0.1)


@dataclass(slots=True)
class Result:
    """A whole run."""

    machine: Machine
    sizes: Sizes
    uvicorn: str
    """What its HTTP is parsed and its event loop made with."""
    middleware: bool
    embedded: bool
    """Whether the database is the embedded server."""
    counts: list[Count] = field(default_factory=list)
    throughput: list[Throughput] = field(default_factory=list)


def run(
    candidates: Sequence[Candidate], sizes: Sizes, command: str, *, middleware: bool = False
) -> Result:
    """Everything, one after the other. On a server that ``MSSQL_HOST`` names nothing is
    counted: the counters are the embedded server's."""
    elsewhere = Database.of_the_environment()
    result = Result(
        Machine.this(command, DISTRIBUTIONS),
        sizes,
        _uvicorn(),
        middleware,
        embedded=elsewhere is None,
    )
    with load_process() as load:
        if sizes.counted and elsewhere is None:
            result.counts = counted(candidates, sizes, load, middleware=middleware)
        if sizes.seconds:
            with ExitStack() as stack:
                database = elsewhere or stack.enter_context(_embedded())
                sites = stack.enter_context(all_served(candidates, database, middleware))
                result.throughput = throughput(
                    sites,
                    [work for work in LOADED if work.key in sizes.loaded],
                    sizes.clients,
                    load,
                    rounds=sizes.rounds,
                    seconds=sizes.seconds,
                    warm_up=sizes.warm_up,
                )
    return result


def counted(
    candidates: Sequence[Candidate], sizes: Sizes, load: Load, *, middleware: bool = False
) -> list[Count]:
    """On an embedded server in this process, whose counters can be read here."""
    with DevServer() as server:
        database = Database(server.host, str(server.port))
        with all_served(candidates, database, middleware) as sites:
            return count(sites, COUNTED, server, load, sizes.counted)


@contextmanager
def _embedded() -> Iterator[Database]:
    """An embedded server in a process of its own."""
    with server_process() as port:
        yield Database("127.0.0.1", str(port))


@contextmanager
def all_served(
    candidates: Sequence[Candidate], database: Database, middleware: bool
) -> Iterator[list[Site]]:
    with ExitStack() as stack:
        place: Place = stack.enter_context(place_for(database, middleware=middleware))
        place.prepare()
        yield [stack.enter_context(place.serving(each)) for each in candidates]


def _uvicorn() -> str:
    """As Uvicorn chooses when it is not told."""
    http = "httptools" if find_spec("httptools") else "h11"
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    return f"{http}, {loop}"


# --- in words ------------------------------------------------------------------------------


def report(result: Result) -> str:
    """The tables."""
    lines = [
        result.machine.in_words(),
        f"Uvicorn with {result.uvicorn}; "
        + ("Django's default middleware" if result.middleware else "no middleware")
        + ("; embedded server" if result.embedded else "; server of the environment"),
    ]
    if result.counts:
        lines += ["", *_counts(result)]
    if result.throughput:
        lines += ["", *_throughput(result)]
    return "\n".join(lines)


def _counts(result: Result) -> Iterator[str]:
    yield "Round trips (and logins) of one request, counted at the server"
    names = list(dict.fromkeys(each.name for each in result.counts))
    yield f"{'':32}" + "".join(f"{chr(ord('a') + n):>13}" for n in range(len(names)))
    works = dict.fromkeys(each.work for each in result.counts)
    found = {(each.name, each.work): each for each in result.counts}
    for work in works:
        yield f"{work:32}" + "".join(f"{_cell(found[name, work]):>13}" for name in names)
    for n, name in enumerate(names):
        yield f"{chr(ord('a') + n)}: {name}"


def _cell(each: Count) -> str:
    logins = f"{each.logins:.1f}".removesuffix(".0")
    return f"{each.messages:.1f}".removesuffix(".0") + f" ({logins})"


def _throughput(result: Result) -> Iterator[str]:
    sizes = result.sizes
    yield (
        f"Requests a second, latencies in ms; medians of {sizes.rounds} rounds of "
        f"{sizes.seconds:g} s; to {STOCK.name}: medians of the rounds' ratios"
    )
    yield "'processor': ms of the site's process for one request"
    previous = None
    for each in result.throughput:
        if each.work != previous:
            yield ""
            yield (
                f"{each.work:36} {'clients':>7} {'requests/s':>10} {'to stock':>8} "
                f"{'p50':>7} {'p99':>7} {'processor':>9} {'failed':>6}"
            )
            previous = each.work
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}x"
        yield (
            f"{each.name:36} {each.clients:7} {each.per_second:10,.0f} {ratio:>8} "
            f"{_number(each.p50, 1):>7} {_number(each.p99, 1):>7} "
            f"{_number(each.processor, 2):>9} {each.failed:6}"
        )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


# --- the command ---------------------------------------------------------------------------


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    keys = [each.key for each in CANDIDATES]
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns")
    parser.add_argument(
        "--candidates", nargs="+", choices=keys, default=keys, metavar="NAME",
        help=f"of {', '.join(keys)}",
    )  # fmt: skip
    works = Sizes().loaded
    parser.add_argument(
        "--loaded", nargs="+", choices=works, default=works, metavar="KIND",
        help=f"kinds of request under load: of {', '.join(works)}",
    )  # fmt: skip
    parser.add_argument("--clients", type=int, nargs="+", metavar="N", help="at a time")
    parser.add_argument("--seconds", type=float, help="of a turn; 0: count only")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--counted", type=int, help="requests of each kind; 0: load only")
    parser.add_argument("--middleware", action="store_true", help="with Django's default stack")
    return parser.parse_args(arguments)


def sizes_of(options: argparse.Namespace) -> Sizes:
    default = QUICK if options.quick else Sizes()

    def given(name: str) -> float:
        value: float | None = getattr(options, name)
        return getattr(default, name) if value is None else value

    return Sizes(
        counted=int(given("counted")),
        clients=tuple(options.clients or default.clients),
        rounds=int(given("rounds")),
        seconds=given("seconds"),
        warm_up=default.warm_up,
        loaded=tuple(options.loaded),
    )


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    command = " ".join(["python -m", MODULE, *arguments])
    candidates = [each for each in CANDIDATES if each.key in options.candidates]
    result = run(candidates, sizes_of(options), command, middleware=options.middleware)
    print(report(result))
    if options.json:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
