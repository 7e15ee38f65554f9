"""Whole requests: ``python -m loadtests.bench.requests``.

One Django project on several backends, and what users would pick instead. Round trips and
logins per request, counted at the server; then requests a second and latencies, in one run,
taking turns, with and without delay on the way to the database. What the figures mean is in
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from mssql_async.devserver import DevServer

from . import peers, rivals
from .delay import relay_process
from .devserver import server_process
from .ending import BROKEN_OFF, run_main
from .machine import Machine
from .requests_load import MILLISECONDS, Load, load_process
from .requests_measures import (
    ENOUGH,
    LOADED,
    WORKS,
    Count,
    RequestsFailed,
    Throughput,
    Turns,
    Work,
    count,
    throughput,
    warm_up,
)
from .requests_sites import (
    CANDIDATES,
    LOADED_BY_DEFAULT,
    STOCK,
    Candidate,
    Database,
    DidNotStart,
    Place,
    Site,
    place_for,
)
from .written import writer

MODULE = "loadtests.bench.requests"
DISTRIBUTIONS = ("Django", "asgiref", "mssql-django", "uvicorn")
RIVALS = ("starlette", "SQLAlchemy", "aioodbc", "fastmssql", "gunicorn")
"""Distributions whose versions belong to a result where they are installed."""

_START = 1.2
"""Seconds that a site takes to start, for the estimate."""
_PATIENCE = 20.0
"""Seconds that a turn may take longer where answers take long."""
_CHANGE = 0.15
"""Seconds that a turn takes beyond its time, for the estimate."""
_COUNTING = 0.5
"""Seconds that one kind of request takes to be counted, for the estimate."""
_ROUND_TRIPS = {"no-query": 0, "one-query": 4, "atomic": 10}
"""Of a request, on the average of those who take part, for the estimate; of others 6."""
_A_ROUND_TRIP = 1.3
"""Milliseconds that one takes beside its delay, for the estimate."""
_MOST = 250.0
"""Requests a second that two processors serve, on that average, for the estimate."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. Times are in seconds, unless they say otherwise."""

    counted: int = 10
    """Requests of each kind whose round trips are counted; 0: none are."""
    clients: tuple[int, ...] = (1, 16, 64, 256)
    delays: tuple[float, ...] = (0.0, 1.0, 5.0)
    """Milliseconds added each way between the sites and their database."""
    rounds: int = 3
    seconds: float = 0.5
    """Of a turn under load, after its warm-up; 0: there is no load."""
    samples: int = 200
    """Latencies of all rounds together, at least; turns last longer where they must."""
    samples_of_each: int = 1
    """The same for each client. What all clients still wait for when a turn ends comes on top
    of that, so it is about four of each in three rounds."""
    loaded: tuple[str, ...] = tuple(work.key for work in LOADED)
    """Which kinds of request."""
    warm_up: float = 0.1
    limit: float = 28.0
    """Minutes after which nothing more is begun."""

    def cells(self, *, embedded: bool = True) -> Iterator[tuple[float, Work, int]]:
        """What is measured: delay, kind of request, clients.

        What asks no database is measured once. In the embedded server one transaction at a time
        may write: with a delay its lock would be all that more than one client measures.
        """
        for delay in self.delays:
            for work in WORKS:
                if work.key not in self.loaded:
                    continue
                if not work.queries and delay != self.delays[0]:
                    continue
                alone = embedded and delay and work.transacts
                for clients in (min(self.clients),) if alone else self.clients:
                    yield delay, work, clients

    def estimate(self, candidates: Sequence[Candidate]) -> float:
        """Seconds that a run takes, roughly."""
        turns = sum(
            self._estimated_turn(*cell)
            for cell in self.cells()
            for each in candidates
            if each.serves(cell[1].key)
        )
        starts = len(candidates) * (len(self.delays) * bool(self.seconds) + bool(self.counted))
        counted = sum(each.serves(work.key) for each in candidates for work in WORKS)
        counts = counted * bool(self.counted) * _COUNTING
        return turns * self.rounds * bool(self.seconds) + starts * _START + counts

    def _estimated_turn(self, delay: float, work: Work, clients: int) -> float:
        alone = 1 + _ROUND_TRIPS.get(work.key, 6) * (2 * delay + _A_ROUND_TRIP)
        per_second = min(clients * MILLISECONDS / alone, _MOST)
        # Every client's first answer is to a request of the warm-up, and its last comes late.
        wave = clients / per_second
        samples = wave + self.turns().at_least(clients) / per_second
        return self.warm_up + max(self.seconds, min(samples, _PATIENCE)) + wave + _CHANGE

    def turns(self) -> Turns:
        return Turns(
            self.rounds,
            self.seconds,
            self.warm_up,
            _PATIENCE,
            self.samples,
            self.samples_of_each,
        )


QUICK = Sizes(
    counted=3, clients=(1, 16), delays=(0.0,), rounds=1, seconds=0.3, samples=20, samples_of_each=1
)


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
    left_out: list[str] = field(default_factory=list)
    """Who took no part, or not in all of it, and what there was no time for; and why."""
    broken_off: bool = False
    counts: list[Count] = field(default_factory=list)
    throughput: list[Throughput] = field(default_factory=list)


def run(
    candidates: Sequence[Candidate],
    sizes: Sizes,
    command: str,
    *,
    middleware: bool = False,
    tell: Callable[[Result], None] = lambda _: None,
) -> Result:
    """Everything, one after the other; ``tell`` hears what there is whenever it has become more.
    On a server that ``MSSQL_HOST`` names nothing is counted: the counters are the embedded
    server's."""
    until = time.monotonic() + sizes.limit * 60
    elsewhere = Database.of_the_environment()
    result = Result(
        Machine.this(command, [*DISTRIBUTIONS, *filter(_is_installed, RIVALS)]),
        sizes,
        _uvicorn(),
        middleware,
        embedded=elsewhere is None,
    )
    able = []
    for each in candidates:
        if missing := each.missing():
            result.left_out.append(f"{each.name}: not installed: {', '.join(missing)}")
        else:
            able.append(each)
    run = _Run(result, able, tell)
    try:
        with load_process() as load:
            if sizes.counted and elsewhere is None:
                run.count(load)
            if sizes.seconds:
                with ExitStack() as stack:
                    run.under_load(load, elsewhere or stack.enter_context(_embedded()), until)
    except KeyboardInterrupt:
        result.broken_off = True
    if left := run.left():
        why = "broken off" if result.broken_off else f"after {sizes.limit:g} minutes"
        result.left_out.append(f"{why}: {', '.join(left)}")
    tell(result)
    return result


@dataclass(slots=True)
class _Run:
    """What fails for one candidate is written down, and the others go on."""

    result: Result
    candidates: Sequence[Candidate]
    tell: Callable[[Result], None]
    _tried: set[tuple[float, str, int]] = field(default_factory=set)
    """Delay, kind of request, clients."""

    def count(self, load: Load) -> None:
        """On an embedded server in this process, whose counters can be read here."""
        result = self.result
        with DevServer() as server:
            database = Database(server.host, str(server.port))
            candidates = [each.to_be_counted() for each in self.candidates]
            with all_served(candidates, database, result.middleware, self._leave_out) as sites:
                for site in sites:
                    warm_up(site, load)
                for work, site in itertools.product(WORKS, sites):
                    if site.candidate.serves(work.key):
                        try:
                            result.counts.append(
                                count(site, work, server, load, result.sizes.counted)
                            )
                        except RequestsFailed as failure:
                            self._leave_out(str(failure))
        self.tell(result)

    def under_load(self, load: Load, database: Database, until: float) -> None:
        """The sites start anew for every delay. Nothing is begun after ``until``, in seconds of
        the monotonic clock."""
        for delay in self.result.sizes.delays:
            cells = [each[1:] for each in self._cells() if each[0] == delay]
            if cells and time.monotonic() <= until:
                with (
                    _delayed(database, delay) as seen_by_sites,
                    all_served(
                        self.candidates, seen_by_sites, self.result.middleware, self._leave_out
                    ) as sites,
                ):
                    self._delayed_by(delay, cells, sites, load, until)

    def _delayed_by(
        self,
        delay: float,
        cells: Sequence[tuple[Work, int]],
        sites: Sequence[Site],
        load: Load,
        until: float,
    ) -> None:
        result = self.result
        found = throughput(
            sites,
            cells,
            load,
            result.sizes.turns(),
            delay_ms=delay,
            leave_out=self._leave_out,
        )
        for (work, clients), rows in zip(cells, found, strict=True):
            self._tried.add((delay, work.key, clients))
            result.throughput += rows
            print(*map(_progress, rows), sep="\n", file=sys.stderr)
            self.tell(result)
            if time.monotonic() > until:
                break

    def left(self) -> list[str]:
        """What there was no time for."""
        return [
            f"{work.name} at {clients} clients and {delay:g} ms"
            for delay, work, clients in self._cells()
            if (delay, work.key, clients) not in self._tried
        ]

    def _cells(self) -> Iterator[tuple[float, Work, int]]:
        sizes = self.result.sizes
        return sizes.cells(embedded=self.result.embedded) if sizes.seconds else iter(())

    def _leave_out(self, why: str) -> None:
        print(f"left out: {why}", file=sys.stderr)
        if why not in self.result.left_out:
            self.result.left_out.append(why)


@contextmanager
def _embedded() -> Iterator[Database]:
    """An embedded server in a process of its own."""
    with server_process() as port:
        yield Database("127.0.0.1", str(port))


@contextmanager
def _delayed(database: Database, milliseconds: float) -> Iterator[Database]:
    """The same database, further away."""
    if not milliseconds:
        yield database
        return
    with relay_process(database.host, int(database.port), milliseconds) as port:
        yield replace(database, host="127.0.0.1", port=str(port))


@contextmanager
def all_served(
    candidates: Sequence[Candidate],
    database: Database,
    middleware: bool,
    leave_out: Callable[[str], None],
) -> Iterator[list[Site]]:
    """Those that start; ``leave_out`` hears of the others."""
    sites = []
    with ExitStack() as stack:
        place: Place = stack.enter_context(place_for(database, middleware=middleware))
        place.prepare()
        for each in candidates:
            try:
                sites.append(stack.enter_context(place.serving(each)))
            except DidNotStart as failure:
                leave_out(str(failure))
        yield sites


def _uvicorn() -> str:
    """As Uvicorn chooses when it is not told."""
    http = "httptools" if find_spec("httptools") else "h11"
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    return f"{http}, {loop}"


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


# --- in words ------------------------------------------------------------------------------


def report(result: Result) -> str:
    """The tables."""
    lines = [
        result.machine.in_words(),
        f"Uvicorn with {result.uvicorn}; "
        + ("Django's default middleware" if result.middleware else "no middleware")
        + ("; embedded server" if result.embedded else "; server of the environment"),
        *(f"left out: {each}" for each in result.left_out),
    ]
    if result.counts:
        lines += ["", *_counts(result)]
    if result.throughput:
        lines += ["", *_throughput(result)]
    return "\n".join(lines)


def _counts(result: Result) -> Iterator[str]:
    yield "Round trips (and logins) of one request, counted at the server"
    names = list(dict.fromkeys(each.candidate for each in result.counts))
    yield f"{'':42}" + "".join(f"{chr(ord('a') + n):>10}" for n in range(len(names)))
    works = dict.fromkeys(each.work for each in result.counts)
    found = {(each.candidate, each.work): each for each in result.counts}
    for work in works:
        yield f"{work:42}" + "".join(f"{_cell(found.get((name, work))):>10}" for name in names)
    for n, name in enumerate(names):
        yield f"{chr(ord('a') + n)}: {name}"


def _cell(each: Count | None) -> str:
    if each is None:
        return ""
    logins = f"{each.logins:.1f}".removesuffix(".0")
    return f"{each.messages:.1f}".removesuffix(".0") + f" ({logins})"


def _throughput(result: Result) -> Iterator[str]:
    sizes = result.sizes
    yield (
        f"Requests a second: medians of {sizes.rounds} rounds of {sizes.seconds:g} s or more; to "
        f"{STOCK.name}: medians of the rounds' ratios"
    )
    yield (
        f"Latencies in ms, of all rounds together; of fewer than {ENOUGH} 'samples' there is no p99"
    )
    yield "'processor': ms of the site's process for one request"
    previous = None
    for each in result.throughput:
        if (each.work, each.delay_ms, each.clients) != previous:
            delay = f", {each.delay_ms:g} ms further away each way" if each.delay_ms else ""
            clients = f"{each.clients} client{'s' if each.clients > 1 else ''}"
            yield ""
            yield (
                f"{f'{each.work}, {clients}{delay}':62} {'requests/s':>10} {'to stock':>8} "
                f"{'samples':>7} {'p50':>7} {'p99':>7} {'processor':>9} {'failed':>6}"
            )
            previous = each.work, each.delay_ms, each.clients
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}x"
        yield (
            f"{each.candidate:62} {each.per_second:10,.0f} {ratio:>8} "
            f"{each.samples:7,} {_number(each.p50, 1):>7} {_number(each.p99, 1):>7} "
            f"{_number(each.processor, 2):>9} {each.failed:6}"
        )


def _progress(row: Throughput) -> str:
    return (
        f"{row.work}, {row.clients} clients, {row.delay_ms:g} ms: "
        f"{row.candidate}: {row.per_second:,.0f}/s"
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
        "--alone", action="store_true", help="only Django under Uvicorn: nothing is installed"
    )
    parser.add_argument(
        "--candidates", nargs="+", choices=keys, metavar="NAME", help=f"of {', '.join(keys)}",
        default=[each.key for each in LOADED_BY_DEFAULT],
    )  # fmt: skip
    works = [work.key for work in WORKS]
    parser.add_argument(
        "--loaded", nargs="+", choices=works, default=list(Sizes().loaded), metavar="KIND",
        help=f"kinds of request under load: of {', '.join(works)}",
    )  # fmt: skip
    parser.add_argument("--clients", type=int, nargs="+", metavar="N", help="at a time")
    parser.add_argument(
        "--delays", type=float, nargs="+", metavar="MS",
        help="milliseconds added each way between the sites and the database",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, help="of a turn; 0: count only")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--samples", type=int, help="latencies of all rounds, at least: turns last until then"
    )
    parser.add_argument("--limit", type=float, help="minutes after which nothing more is begun")
    parser.add_argument("--counted", type=int, help="requests of each kind; 0: load only")
    parser.add_argument("--middleware", action="store_true", help="with Django's default stack")
    return parser.parse_args(arguments)


def sizes_of(options: argparse.Namespace) -> Sizes:
    default = QUICK if options.quick else Sizes()

    def given(name: str) -> float:
        value: float | None = getattr(options, name)
        return getattr(default, name) if value is None else value

    return replace(
        default,
        counted=int(given("counted")),
        clients=tuple(options.clients or default.clients),
        delays=tuple(options.delays or default.delays),
        rounds=int(given("rounds")),
        seconds=given("seconds"),
        samples=int(given("samples")),
        loaded=tuple(options.loaded),
        limit=given("limit"),
    )


def candidates_of(options: argparse.Namespace) -> list[Candidate]:
    asked = [each for each in CANDIDATES if each.key in options.candidates]
    return [each for each in asked if not (options.alone and each.needs)]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    if options.json:
        options.json = options.json.absolute()
    candidates = candidates_of(options)
    if any(each.needs for each in candidates) and not peers.is_inside():
        try:
            return peers.run_with(rivals.REQUIREMENTS, MODULE, arguments)
        except subprocess.CalledProcessError:
            print("No rival can be installed: measuring without.", file=sys.stderr)
    command = " ".join(["python -m", MODULE, *arguments])
    sizes = sizes_of(options)
    print(announcement(candidates, sizes), file=sys.stderr)
    result = run(
        candidates, sizes, command, middleware=options.middleware, tell=writer(options.json)
    )
    print(report(result))
    return BROKEN_OFF if result.broken_off else 0


def announcement(candidates: Sequence[Candidate], sizes: Sizes) -> str:
    """What is to be expected, and what may be missing in the end."""
    minutes = sizes.estimate(candidates) / 60
    text = (
        f"{len(candidates)} candidates: about {minutes:.0f} minutes on a machine with nothing "
        f"else to do. Nothing is begun after {sizes.limit:g} (--limit)"
    )
    if not sizes.seconds:
        return text + "."
    _, work, clients = last = list(sizes.cells())[-1]
    return (
        f"{text}: on a slower one what comes last may be missing, beginning with "
        f"'{work.name}' at {clients} clients and {last[0]:g} ms, and is named then."
    )


if __name__ == "__main__":
    sys.exit(run_main(lambda: main(sys.argv[1:])))
