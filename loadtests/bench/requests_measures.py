"""What is measured of the sites, and how. The results are plain data.

Sites take turns (A B C A B C …), so that whatever else the machine does hits all of them alike,
and ratios are taken between neighbouring turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mssql_async.devserver import DevServer

from .requests_load import MILLISECONDS, Answers, Load, Order
from .requests_sites import STOCK, Site

_QUIET = 0.06
"""Seconds without a message after which a site is taken to have nothing more to send."""
_PATIENCE = 5.0
"""Seconds after which that is waited for no longer."""


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of request."""

    name: str
    path: str

    @property
    def key(self) -> str:
        """What the command line calls it."""
        return self.path.split("/")[1]


NO_QUERY = Work("no query", "/no-query")
ONE_QUERY = Work("1 query", "/one-query/{pk}")
THREE_QUERIES = Work("3 queries", "/three-queries/{pk}")
CREATE = Work("acreate()", "/create")
ATOMIC = Work("atomic: read, write", "/atomic/{pk}")
SAVEPOINT = Work("the same, write in a savepoint", "/savepoint/{pk}")
BULK = Work("abulk_create() of 100", "/bulk")
PREFETCH = Work("prefetch_related()", "/prefetch")
ONE_QUERY_SYNC = Work("1 query, synchronous view", "/one-query-sync/{pk}")

COUNTED = (NO_QUERY, ONE_QUERY, THREE_QUERIES, CREATE, ATOMIC, SAVEPOINT, BULK, PREFETCH)
LOADED = (NO_QUERY, ONE_QUERY, THREE_QUERIES, ATOMIC, ONE_QUERY_SYNC)


class RequestsFailed(RuntimeError):
    """A site answered with something else than 200: what it would cost says nothing."""


# --- counted at the server -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """What one request costs at the server, on average. A message is a round trip."""

    name: str
    work: str
    messages: float
    logins: float


def count(
    sites: Sequence[Site], works: Iterable[Work], server: DevServer, load: Load, requests: int
) -> list[Count]:
    """One request after the other, ``requests`` of each kind, after as many that warm up.

    :raises RequestsFailed: not all were answered with 200.
    """
    return [_count(site, work, server, load, requests) for work in works for site in sites]


def _count(site: Site, work: Work, server: DevServer, load: Load, requests: int) -> Count:
    order = Order(site.port, work.path, clients=1, requests=requests)
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

    name: str
    work: str
    clients: int
    per_second: float
    ratio: float | None
    """To stock mssql-django's: the median of the ratios of neighbouring turns. ``None``: it
    took no part."""
    p50: float | None
    p99: float | None
    processor: float | None
    """Milliseconds of the site's process for one request, the server's own not included."""
    failed: int
    """Of all rounds."""


@dataclass(frozen=True, slots=True)
class Turn:
    answers: Answers
    processor: float | None


def throughput(
    sites: Sequence[Site],
    works: Iterable[Work],
    clients: Iterable[int],
    load: Load,
    *,
    rounds: int,
    seconds: float,
    warm_up: float,
) -> list[Throughput]:
    """Every kind of request at every number of clients, in rounds in which sites take turns.

    :raises RequestsFailed: a site cannot serve such a request at all.
    """
    clients = tuple(clients)
    found = []
    for work in works:
        for number in clients:
            turns: dict[str, list[Turn]] = {site.candidate.name: [] for site in sites}
            for site in sites:  # so that its threads and connections are there
                first = Order(site.port, work.path, number, requests=2 * number)
                _all_served(site, work, load(first))
            for _ in range(rounds):
                for site in sites:
                    order = Order(site.port, work.path, number, seconds, warm_up)
                    turns[site.candidate.name].append(_turn(site, load, order))
            found += [_throughput(name, work, number, turns) for name in turns]
    return found


def _turn(site: Site, load: Load, order: Order) -> Turn:
    before = site.processor_seconds()
    answers = load(order)
    after = site.processor_seconds()
    if before is None or after is None or not answers.received:
        return Turn(answers, None)
    return Turn(answers, (after - before) * MILLISECONDS / answers.received)


def _throughput(name: str, work: Work, clients: int, turns: dict[str, list[Turn]]) -> Throughput:
    own = turns[name]
    rates = [turn.answers.per_second for turn in own]
    stock = [turn.answers.per_second for turn in turns.get(STOCK.name, ())]
    return Throughput(
        name,
        work.name,
        clients,
        per_second=statistics.median(rates),
        ratio=_median([a / b for a, b in zip(rates, stock, strict=False) if b]),
        p50=_median([turn.answers.p50 for turn in own]),
        p99=_median([turn.answers.p99 for turn in own]),
        processor=_median([turn.processor for turn in own]),
        failed=sum(turn.answers.failed for turn in own),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
