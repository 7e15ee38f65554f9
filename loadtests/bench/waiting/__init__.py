"""The project with views in which something is waited for: an event stream, statements that run
beside one another, a statement whose client hangs up. Served as the project itself is, with
these settings; ``inmemory`` and ``cycles`` are programs that need no server."""

from __future__ import annotations

from dataclasses import dataclass

from ..requests_sites import Candidate

SETTINGS = f"{__name__}.settings"


@dataclass(frozen=True, slots=True)
class Waiting(Candidate):
    """A candidate that is served with these views."""

    health_checks: bool = False
    """``CONN_HEALTH_CHECKS``."""

    def environment(self) -> dict[str, str]:
        return {
            **Candidate.environment(self),
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "BENCH_CONN_HEALTH_CHECKS": "1" if self.health_checks else "",
        }


OUR_ENTRY = "mssql_async.asgi.get_asgi_application"
OURS = Waiting("ours", "mssql_async", "mssql_async", OUR_ENTRY)
STOCK = Waiting("stock", "mssql, CONN_MAX_AGE 0")
STOCK_PERSISTENT = Waiting("stock-persistent", "mssql, CONN_MAX_AGE 600", conn_max_age=600)
