"""How fast the embedded server answers one client: ``python -m loadtests.bench.devserver``.

The server runs in a process of its own, the client is pyodbc with Microsoft's driver on one
connection, so a figure is what a test suite or a demo gets: driver, sockets, wire, T-SQL and
SQLite together. Each figure is the median of several rounds of a fixed number of requests.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pyodbc

from mssql_async.devserver.config import (
    DEVELOPMENT_DATABASE,
    DEVELOPMENT_PASSWORD,
    DEVELOPMENT_USER,
)
from mssql_async.driver import find_driver

from .ending import APART

ROWS = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """Requests a second: the median of the rounds, and the slowest and fastest of them."""

    work: str
    median: float
    slowest: float
    fastest: float


@contextmanager
def server_process() -> Iterator[int]:
    """A server in a process of its own; yields its port."""
    command = [sys.executable, "-m", "mssql_async.devserver", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, process_group=APART
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            yield int(line.split("Server=127.0.0.1,")[1].split(";")[0])
        finally:
            process.terminate()


def connect(port: int) -> pyodbc.Connection:
    driver = find_driver()
    text = (
        f"DRIVER={driver.name};SERVER=127.0.0.1,{port};UID={DEVELOPMENT_USER};"
        f"PWD={DEVELOPMENT_PASSWORD};DATABASE={DEVELOPMENT_DATABASE};Encrypt=no"
    )
    pyodbc.pooling = False
    return pyodbc.connect(driver.in_connection_string(text), autocommit=True)


def works(connection: pyodbc.Connection) -> dict[str, Callable[[int], Any]]:
    """What is measured: name -> the n-th request."""
    setup = connection.cursor()
    setup.execute(
        "CREATE TABLE bench (id int NOT NULL PRIMARY KEY IDENTITY, name nvarchar(50) NOT NULL, "
        "amount numeric(19, 4) NOT NULL, made datetime2 NOT NULL)"
    )
    row = "INSERT INTO bench (name, amount, made) VALUES (?, ?, SYSDATETIME())"
    for number in range(ROWS):
        setup.execute(row, f"row {number}", number)
    # Kept open, as the driver then sends one message a request and no sp_unprepare.
    plain, keyed, adding = connection.cursor(), connection.cursor(), connection.cursor()
    return {
        "SELECT 1": lambda n: plain.execute("SELECT 1").fetchall(),
        "SELECT by primary key, parameterised": lambda n: keyed.execute(
            "SELECT id, name, amount, made FROM bench WHERE id = ?", n % ROWS + 1
        ).fetchall(),
        "INSERT, parameterised": lambda n: adding.execute(row, f"more {n}", n),
    }


def measure(port: int, requests: int, rounds: int) -> list[Figure]:
    connection = connect(port)
    figures = []
    for work, request in works(connection).items():
        rates = []
        for round_number in range(rounds + 1):
            start = time.perf_counter()
            for n in range(requests):
                request(n)
            rate = requests / (time.perf_counter() - start)
            if round_number:  # the first warms up
                rates.append(rate)
        figures.append(Figure(work, statistics.median(rates), min(rates), max(rates)))
    connection.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=5000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    with server_process() as port:
        figures = measure(port, arguments.requests, arguments.rounds)
    if arguments.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    print(f"Python {platform.python_version()}, pyodbc {pyodbc.version}, one connection")
    print(f"{'requests a second':40} {'median':>8} {'slowest':>8} {'fastest':>8}")
    for f in figures:
        print(f"{f.work:40} {f.median:8,.0f} {f.slowest:8,.0f} {f.fastest:8,.0f}")


if __name__ == "__main__":
    main()
