"""A run of all benchmarks as it is written, with invented figures: nothing is measured."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict
from typing import Any

from loadtests.bench import parallel, pool, requests, scale
from loadtests.bench.beside_measures import MANNERS, Beside
from loadtests.bench.checks_measures import CANDIDATES as CHECKED
from loadtests.bench.checks_measures import Check
from loadtests.bench.hangup_measures import HangUp
from loadtests.bench.machine import Machine
from loadtests.bench.plots import SHOWN_STALE
from loadtests.bench.pool_measures import Contention, Cost, Order, Recovery
from loadtests.bench.requests_measures import Count, Throughput
from loadtests.bench.scale_measures import Scale

OURS = "mssql_async"
STOCK = "mssql, CONN_MAX_AGE 0"
PERSISTENT = "mssql, CONN_MAX_AGE 600"
ODBC_POOLING = "mssql, CONN_MAX_AGE 0, unixODBC's pooling"
#: Requests a second with a client, and messages of a query.
ANSWERING = {
    OURS: (900, 1),
    STOCK: (200, 10),
    PERSISTENT: (210, 10),
    ODBC_POOLING: (240, 8),
    "WSGI, 16 threads: mssql, CONN_MAX_AGE 600": (420, 2),
    "WSGI, 64 threads: mssql, CONN_MAX_AGE 600": (400, 2),
    "Starlette, SQLAlchemy, aioodbc": (500, 3),
    "Starlette, fastmssql": (760, 2),
    "bare ASGI, pyodbc by hand": (1700, 1),
}


def machine(part: str) -> Machine:
    return Machine(
        date="2026-11-24T10:00:00+00:00",
        command=f"python -m loadtests.bench.{part}",
        python="CPython 3.13.0",
        system="Linux",
        processor="A <processor> & more",
        cores=2,
        load=0.1,
        revision="0123abc",
        versions={"mssql_async": "0.1.0", "pyodbc": "5.5.0", "Django": "6.1.3"},
    )


def a_run() -> dict[str, Any]:
    """Part -> result, as in ``results.json``."""
    return {
        "machine": asdict(machine("all")),
        "pool": asdict(_pool()),
        "requests": asdict(_requests()),
        "scale": asdict(_scale()),
        "parallel": asdict(_parallel()),
    }


def _requests() -> requests.Result:
    result = requests.Result(
        machine("requests"), requests.Sizes(), "h11, asyncio", middleware=False, embedded=True
    )
    for name, (rate, per_query) in ANSWERING.items():
        for queries, work in enumerate(("no query", "1 query", "2 queries", "3 queries")):
            logins = 1.0 if name in (STOCK, PERSISTENT) and queries else 0.0
            result.counts.append(Count(name, work, float(per_query * queries), logins))
        for delay, work, clients in result.sizes.cells():
            share = 0.4 if work.transacts else 1.0
            served = rate * share * (1.3 if clients > 1 else 1 / (1 + delay / 2))
            served *= 1 - clients / 2000 - delay / 50 * per_query / 3
            result.throughput.append(
                Throughput(
                    name,
                    work.name,
                    clients,
                    delay,
                    per_second=served,
                    ratio=served / ANSWERING[STOCK][0],
                    samples=600,
                    p50=clients / served * 1000,
                    p99=clients / served * 2500,
                    processor=1000 / served,
                    failed=0,
                )
            )
    return result


def _pool() -> pool.Result:
    result = pool.Result(machine("pool"), pool.Sizes())
    first: dict[str, list[float | None]] = {
        "mssql_async": [0.0006, 0.0003, 0.0003, 0.0002, 0.0002],
        "psycopg_pool": [0.0002, 0.98, 6.3, None, None],
        "SQLAlchemy QueuePool": [0.0002, 0.0001, 0.00004, 0.00004, 0.00004],
        "aioodbc": [None] * 5,
    }
    for name, times in first.items():
        for stale in result.sizes.stale:
            served = times[bisect_left(SHOWN_STALE, stale)]
            errors = stale if served is None else 0
            result.recovery.append(Recovery(name, stale, False, served, 1, 1, errors, 0))
    for n, name in enumerate(first):
        result.uncontended.append(Cost(name, 1.8 + n, 1.7 + n, 1 + n / 2))
        result.contended.append(
            Contention(name, "threads", 16_000.0, 1.5, 2.5, 5.0 + n, 3.1 + n, 0.99, 1.01)
        )
        result.order.append(Order(name, 64, 20 * n, n))
    return result


def _scale() -> scale.Result:
    result = scale.Result(machine("scale"), scale.DEFAULT, embedded=True)
    for contexts in (10, 100, 1_000, 10_000):
        threads, sessions = min(contexts, 60) + 4, min(contexts, 20)
        mib, p99 = 58 + contexts * 0.025, 3.0 + contexts / 400
        result.scale.append(
            Scale(OURS, contexts, contexts, "sockets", threads, sessions, mib, 25.0, 1.4, p99, 0)
        )
        for name in (STOCK, PERSISTENT):
            opened = min(contexts, 4_900)
            reason = "the server has files for 4,900 sessions" if opened < contexts else ""
            result.scale.append(
                Scale(
                    name,
                    contexts,
                    opened,
                    "sockets" if opened < 4_900 else "memory",
                    opened + 2,
                    opened,
                    58 + opened * 0.22,
                    220.0,
                    5.0,
                    None if reason and name is PERSISTENT else 15 + opened / 20,
                    0,
                    reason,
                )
            )
    return result


def _parallel() -> parallel.Result:
    result = parallel.Result(machine("parallel"), parallel.Sizes(), embedded=True)
    for n, manner in enumerate(MANNERS):
        median = 105.0 if n == 0 else 830.0 if "gather" in manner.name else 215.0
        result.beside.append(Beside(manner.name, median * 1.5, median, 8.0 + n, n / 4, n))
    for name in (OURS, STOCK, PERSISTENT):
        gone = 3.4 if name == OURS else 3000.0
        result.hang_ups.append(HangUp(name, 3000.0, gone, 0.7, 2.0 if name == OURS else 9.0))
    for pause in (0.0, 0.6):
        for candidate in CHECKED:
            login = 1.0 if candidate.name == STOCK else 0.0
            result.checks.append(Check(candidate.name, pause, 1.25 + login, 0.5, 1.0, login))
    return result
