"""What is measured of the sites, and how. The results are plain data.

Sites take turns (A B C A B C …), so that whatever else the machine does hits all of them alike,
and ratios are taken between neighbouring turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mssql_async.devserver import DevServer

from .requests_load import MILLISECONDS, Answers, Load, Order
from .requests_sites import STOCK, Site

_QUIET = 0.06
"""Seconds without a message after which a site is taken to have nothing more to send."""
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


def count(
    sites: Sequence[Site], works: Iterable[Work], server: DevServer, load: Load, requests: int
) -> list[Count]:
    """One request after the other, ``requests`` of each kind, after as many that warm up.

    :raises RequestsFailed: not all were answered with 200.
    """
    for site in sites:
        if site.candidate.serves(ONE_QUERY.key):  # so that all its threads are there
            crowd = Order(site.port, site.path(ONE_QUERY.path), CROWD, requests=4 * CROWD)
            _all_served(site, ONE_QUERY, load(crowd))
    return [
        _count(site, work, server, load, requests)
        for work in works
        for site in sites
        if site.candidate.serves(work.key)
    ]


def _count(site: Site, work: Work, server: DevServer, load: Load, requests: int) -> Count:
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
        raise RequestsFailed(f"{site.candidate.name}, {work.name}: {answers.failed} failed.")


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
    """A site under load: medians of the rounds. Latencies are in milliseconds."""

    candidate: str
    work: str
    clients: int
    delay_ms: float
    """Added between the site and its database, each way."""
    per_second: float
    ratio: float | None
    """To stock mssql-django's: the median of the ratios of neighbouring turns. ``None``: it
    took no part."""
    p50: float | None
    p99: float | None
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
) -> Iterator[list[Throughput]]:
    """Kinds of request, each with a number of clients, in rounds in which sites take turns.

    ``delay_ms`` is what the sites were placed with. What is compared comes together.

    :raises RequestsFailed: a site cannot serve such a request at all.
    """
    for work, number in cells:
        able = [site for site in sites if site.candidate.serves(work.key)]
        seen = {site.candidate.name: _Seen() for site in able}
        for site in able:  # so that its threads and connections are there
            first = load(Order(site.port, site.path(work.path), number, requests=number))
            if not first.received:
                _all_served(site, work, first)
            seen[site.candidate.name].failed += first.failed
        for _ in range(turns.rounds):
            for site in able:
                order = Order(
                    site.port,
                    site.path(work.path),
                    number,
                    turns.seconds,
                    turns.warm_up,
                    at_least=number,
                    patience=turns.patience,
                )
                seen[site.candidate.name].turns.append(_turn(site, load, order))
        stock = seen[STOCK.name].turns if STOCK.name in seen else []
        yield [_throughput(name, work, number, delay_ms, own, stock) for name, own in seen.items()]


@dataclass(slots=True)
class _Seen:
    """Of one site."""

    turns: list[Turn] = field(default_factory=list)
    failed: int = 0


def _turn(site: Site, load: Load, order: Order) -> Turn:
    before = site.processor_seconds()
    answers = load(order)
    after = site.processor_seconds()
    if before is None or after is None or not answers.received:
        return Turn(answers, None)
    return Turn(answers, (after - before) * MILLISECONDS / answers.received)


def _throughput(
    name: str, work: Work, clients: int, delay_ms: float, own: _Seen, stock: list[Turn]
) -> Throughput:
    rates = [turn.answers.per_second for turn in own.turns]
    of_stock = [turn.answers.per_second for turn in stock]
    return Throughput(
        name,
        work.name,
        clients,
        delay_ms,
        per_second=statistics.median(rates),
        ratio=_median([a / b for a, b in zip(rates, of_stock, strict=False) if b]),
        p50=_median([turn.answers.p50 for turn in own.turns]),
        p99=_median([turn.answers.p99 for turn in own.turns]),
        processor=_median([turn.processor for turn in own.turns]),
        failed=own.failed + sum(turn.answers.failed for turn in own.turns),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
