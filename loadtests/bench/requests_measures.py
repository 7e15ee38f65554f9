"""What is measured of the sites, and how. The results are plain data.

Sites take turns (A B C A B C …), so that whatever else the machine does hits all of them alike,
and ratios are taken between neighbouring turns.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mssql_async.devserver import DevServer

from .requests_load import MILLISECONDS, Answers, Load, Order, percentile
from .requests_sites import STOCK, Site

_QUIET = 0.06
"""Seconds without a message after which a site is taken to have nothing more to send."""
ENOUGH = 100
"""Latencies below which there is no 99th percentile: it would be the slowest of them."""
CROWD = 64
"""Clients that a site is warmed up with."""
_PATIENCE = 5.0
"""Seconds after which that is waited for no longer."""


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of request."""

    key: str
    """What the command line calls it."""
    name: str
    path: str
    queries: bool = True
    """Whether the database has anything to do with it."""
    transacts: bool = False
    """Whether it keeps others from writing while its statements are on their way."""

    def in_a_synchronous_view(self) -> Work:
        return Work(
            f"{self.key}-sync",
            f"{self.name}, sync view",
            f"/sync{self.path}",
            self.queries,
            self.transacts,
        )


NO_QUERY = Work("no-query", "no query", "/no-query", queries=False)
ONE_QUERY = Work("one-query", "1 query", "/one-query/{pk}")
THREE_QUERIES = Work("three-queries", "3 queries", "/three-queries/{pk}")
CREATE = Work("create", "create()", "/create")
ATOMIC = Work("atomic", "atomic: read, write", "/atomic/{pk}", transacts=True)
SAVEPOINT = Work("savepoint", "the same, write in a savepoint", "/savepoint/{pk}", transacts=True)
BULK = Work("bulk", "bulk_create() of 100", "/bulk")
PREFETCH = Work("prefetch", "prefetch_related()", "/prefetch")

ASYNC = (NO_QUERY, ONE_QUERY, THREE_QUERIES, CREATE, ATOMIC, SAVEPOINT, BULK, PREFETCH)
SYNC = tuple(each.in_a_synchronous_view() for each in ASYNC)
WORKS = (*ASYNC, *SYNC)
LOADED = (NO_QUERY, ONE_QUERY, ATOMIC)
"""Under load, unless others are asked for."""


class RequestsFailed(RuntimeError):
    """A site answered with something else than 200: what it costs would say nothing."""


# --- counted at the server -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """What one request costs at the server, on average. A message is a round trip."""

    candidate: str
    work: str
    messages: float
    logins: float


def warm_up(site: Site, load: Load) -> None:
    """So that all its threads and connections are there."""
    if site.candidate.serves(ONE_QUERY.key):
        load(Order(site.port, site.path(ONE_QUERY.path), CROWD, requests=4 * CROWD))


def count(site: Site, work: Work, server: DevServer, load: Load, requests: int) -> Count:
    """One request after the other, after as many that warm up.

    :raises RequestsFailed: not all were answered with 200.
    """
    order = Order(site.port, site.path(work.path), clients=1, requests=requests)
    _all_served(site, work, load(order))
    _until_quiet(server)
    server.reset_counters()
    _all_served(site, work, load(order))
    _until_quiet(server)
    counted = server.counters
    return Count(
        site.candidate.name,
        work.name,
        counted.total_messages / requests,
        counted.logins / requests,
    )


def _all_served(site: Site, work: Work, answers: Answers) -> None:
    if answers.failed:
        raise RequestsFailed(f"{site.candidate.name}, {work.name}: {answers.failed} failed")


def _until_quiet(server: DevServer) -> None:
    """Stock backends end their connections after the answer."""
    start = last_change = time.monotonic()
    seen = -1
    while (now := time.monotonic()) < start + _PATIENCE and now < last_change + _QUIET:
        total = server.counters.total_messages
        if total != seen:
            seen, last_change = total, now
        time.sleep(_QUIET / 10)


# --- under load ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Throughput:
    """A site under load: medians of the rounds, and latencies of all of them together, in
    milliseconds."""

    candidate: str
    work: str
    clients: int
    delay_ms: float
    """Added between the site and its database, each way."""
    per_second: float
    ratio: float | None
    """To stock mssql-django's: the median of the ratios of neighbouring turns. ``None``: it
    took no part."""
    samples: int
    """Latencies that the percentiles are of."""
    p50: float | None
    p99: float | None
    """``None``: of fewer than :data:`ENOUGH` there is none."""
    processor: float | None
    """Milliseconds of the site's process for one request, the server's own not included."""
    failed: int
    """Of all rounds, the warm-up included."""


@dataclass(frozen=True, slots=True)
class Turns:
    """How long sites are under load. Times are in seconds."""

    rounds: int
    seconds: float
    warm_up: float
    patience: float = 0.0
    """How much longer a turn may take where answers take long."""
    samples: int = 0
    """Latencies of all rounds together, at least, if patience allows."""
    samples_of_each: int = 0
    """The same for each client."""

    def at_least(self, clients: int) -> int:
        """Latencies of one turn."""
        return math.ceil(max(self.samples, self.samples_of_each * clients) / self.rounds)


@dataclass(frozen=True, slots=True)
class Turn:
    answers: Answers
    processor: float | None


def throughput(
    sites: Sequence[Site],
    cells: Iterable[tuple[Work, int]],
    load: Load,
    turns: Turns,
    *,
    delay_ms: float = 0.0,
    leave_out: Callable[[str], None],
) -> Iterator[list[Throughput]]:
    """Kinds of request, each with a number of clients, in rounds in which sites take turns.

    ``delay_ms`` is what the sites were placed with. What is compared comes together.
    ``leave_out`` hears of sites that cannot serve such requests at all, and why.
    """
    for work, number in cells:
        asked = [_Seen(site) for site in sites if site.candidate.serves(work.key)]
        able = [each for each in asked if _answers(each, work, number, load, delay_ms, leave_out)]
        for n in range(turns.rounds):
            for seen in _rotated(able, n):
                seen.turns.append(_turn(seen.site, load, _order(seen.site, work, number, turns)))
        stock = next((each.turns for each in able if each.site.candidate.key == STOCK.key), [])
        yield [_throughput(each, work, number, delay_ms, stock) for each in able]


@dataclass(slots=True)
class _Seen:
    """Of one site."""

    site: Site
    turns: list[Turn] = field(default_factory=list)
    failed: int = 0


def _answers(
    seen: _Seen, work: Work, clients: int, load: Load, delay_ms: float,
    leave_out: Callable[[str], None],
) -> bool:  # fmt: skip
    """Whether the site serves such requests; its threads and connections are there then."""
    site = seen.site
    first = load(Order(site.port, site.path(work.path), clients, requests=clients))
    seen.failed = first.failed
    if not first.received:
        leave_out(
            f"{site.candidate.name}, {work.name} at {clients} clients and {delay_ms:g} ms: "
            f"{first.failed} failed, none was served"
        )
    return first.received > 0


def _rotated(sites: list[_Seen], rounds: int) -> list[_Seen]:
    """Begin each round with another, so that none always follows the same one."""
    first = rounds % len(sites) if sites else 0
    return sites[first:] + sites[:first]


def _order(site: Site, work: Work, clients: int, turns: Turns) -> Order:
    return Order(
        site.port,
        site.path(work.path),
        clients,
        turns.seconds,
        turns.warm_up,
        at_least=turns.at_least(clients),
        patience=turns.patience,
    )


def _turn(site: Site, load: Load, order: Order) -> Turn:
    before = site.processor_seconds()
    answers = load(order)
    after = site.processor_seconds()
    if before is None or after is None or not answers.received:
        return Turn(answers, None)
    return Turn(answers, (after - before) * MILLISECONDS / answers.received)


def _throughput(
    own: _Seen, work: Work, clients: int, delay_ms: float, stock: list[Turn]
) -> Throughput:
    latencies = [each for turn in own.turns for each in turn.answers.latencies]
    rates = [turn.answers.per_second for turn in own.turns]
    of_stock = [turn.answers.per_second for turn in stock]
    return Throughput(
        own.site.candidate.name,
        work.name,
        clients,
        delay_ms,
        per_second=statistics.median(rates),
        ratio=_median([a / b for a, b in zip(rates, of_stock, strict=False) if b]),
        samples=len(latencies),
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99) if len(latencies) >= ENOUGH else None,
        processor=_median([turn.processor for turn in own.turns]),
        failed=own.failed + sum(turn.answers.failed for turn in own.turns),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
