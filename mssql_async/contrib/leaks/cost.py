"""What the pytest plugin costs a test: ``python -m mssql_async.contrib.leaks.cost``.

Does around a query what the plugin does around a test, with and without asking the server, on
the embedded server or on the one that ``MSSQL_HOST`` names.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from ..testserver import server_for_tests
from .watch import Check, Watch
from .wrappers import Wrappers


def measure(times: int, check: Check) -> list[float]:
    """Seconds beside the query's own, of each of so many tests, in order of size."""
    from django.db import connection

    wrappers = Wrappers()
    costs: list[float] = []
    try:
        for _ in range(times):
            began = time.perf_counter()
            watch = Watch("a test", check, wrappers, lambda: None)
            started = time.perf_counter()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.fetchall()
            ran = time.perf_counter()
            found = [*watch.pending_tasks(), *watch.held(), *watch.orphans(), *watch.rest()]
            watch.end()
            ended = time.perf_counter()
            if found:
                raise RuntimeError(f"A query leaks: {found[0].describe()}")
            costs.append(started - began + ended - ran)
    finally:
        wrappers.remove()
    return sorted(costs)


def main() -> None:
    import django
    from django.conf import settings

    parser = argparse.ArgumentParser(prog="python -m mssql_async.contrib.leaks.cost")
    parser.add_argument("--tests", type=int, default=1000, help="how many (default: 1000)")
    times = parser.parse_args().tests
    with server_for_tests() as server:
        settings.configure(DATABASES={"default": server.database_settings()})
        django.setup()
        measure(min(times, 20), Check())  # imports, and the first login
        for what, check in (
            ("with a look at the server", Check()),
            ("without", Check(server=False)),
        ):
            costs = measure(times, check)
            sys.stdout.write(
                f"{what}: median {statistics.median(costs) * 1000:.2f} ms, "
                f"99 % within {costs[int(len(costs) * 0.99)] * 1000:.2f} ms a test\n"
            )


if __name__ == "__main__":
    main()
