"""Statements of one request that could run beside one another. The results are plain data."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection

from .counting import Counting
from .observer import Observer
from .requests_load import MILLISECONDS
from .requests_measures import RequestsFailed
from .requests_sites import Candidate, Place, Site
from .waiting import OURS, STOCK, STOCK_PERSISTENT


@dataclass(frozen=True, slots=True)
class Manner:
    """How a view asks for its statements."""

    name: str
    candidate: Candidate
    path: str


MANNERS = (
    Manner("mssql_async, async_new_connection", OURS, "/beside"),
    Manner("mssql_async, gather alone", OURS, "/turns"),
    Manner("mssql, CONN_MAX_AGE 0, gather", STOCK, "/turns"),
    Manner("mssql, CONN_MAX_AGE 600, gather", STOCK_PERSISTENT, "/turns"),
    Manner("mssql, CONN_MAX_AGE 0, thread_sensitive=False", STOCK, "/threads"),
    Manner("mssql, CONN_MAX_AGE 600, thread_sensitive=False", STOCK_PERSISTENT, "/threads"),
)


@dataclass(frozen=True, slots=True)
class Beside:
    """One manner: medians of the requests. Times are in milliseconds."""

    name: str
    first: float
    """The first request of its process."""
    median: float
    messages: float | None
    """Of one request after the first; ``None``: nobody counts."""
    logins: float | None
    left: int
    """Sessions that stay open after the last request."""


def beside(
    place: Place,
    manners: Sequence[Manner],
    requests: int,
    counting: Counting,
    observer: Observer,
) -> list[Beside]:
    """Every manner on a site of its own.

    :raises RequestsFailed: a site answered with something else than 200.
    """
    found = []
    for manner in manners:
        with place.serving(manner.candidate) as site:
            found.append(_beside(site, manner, requests, counting, observer))
    return found


def _beside(
    site: Site, manner: Manner, requests: int, counting: Counting, observer: Observer
) -> Beside:
    first = get(site, manner.path)
    counted, times = counting.of(lambda: [get(site, manner.path) for _ in range(requests)])
    return Beside(
        manner.name,
        first,
        statistics.median(times),
        counted.messages and counted.messages / requests,
        None if counted.logins is None else counted.logins / requests,
        observer.sessions(site.process_id),
    )


def get(site: Site, path: str) -> float:
    """Milliseconds that a request takes, on a connection of its own."""
    client = HTTPConnection("127.0.0.1", site.port, timeout=60)
    try:
        client.connect()
        start = time.perf_counter()
        client.request("GET", path)
        status = client.getresponse().status
        took = (time.perf_counter() - start) * MILLISECONDS
    finally:
        client.close()
    if status != 200:
        raise RequestsFailed(f"{site.candidate.name}, {path}: answered with {status}.")
    return took
