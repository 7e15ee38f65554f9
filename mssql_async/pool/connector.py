"""What the pool asks of a driver, and what it tells it.

The one for SQL Server is in :mod:`.odbc_connector`; nothing here needs a driver installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class Connector(Protocol):
    """What the pool asks of a driver. ``raw`` is whatever :meth:`open` returned."""

    def open(self, deadline: float) -> Any:
        """Open a connection in autocommit mode, its session set up.

        ``deadline`` is a reading of :func:`time.monotonic`; retries end before it.
        """

    def reset(self, raw: Any) -> None:
        """Bring the session back to the baseline and prove the connection, in one round
        trip. Raises where it cannot: then the connection is closed."""

    def peer_hung_up(self, raw: Any) -> bool:
        """Whether the driver knows, without sending a message, that the peer is gone."""

    def close(self, raw: Any) -> None:
        """Close for good. Never raises."""


@dataclass(frozen=True, slots=True)
class ConnectParameters:
    """Everything that decides which connections are interchangeable: a pool's identity.

    ``connection_string`` and ``access_token`` are secrets and appear in no ``repr``; ``target`` is
    what errors and logs call the server. Times are in seconds; 0 leaves them to the
    driver. ``setup`` is the batch that takes a fresh or reset session to the baseline.
    """

    connection_string: str = field(repr=False)
    target: str
    database: str = ""
    address: tuple[str, int] | None = None
    """Host and TCP port, where both are known: asked once before the first login, because
    the driver takes its whole time-out (15 s) to say that nobody listens there."""
    setup: str = ""
    access_token: bytes | None = field(default=None, repr=False)
    connection_timeout: int = 0
    query_timeout: int = 0
    connection_retries: int = 5
    connection_retry_backoff_time: float = 5.0
    transient_errors: frozenset[int] = frozenset()
    """Numbers of the server's errors that are worth another attempt."""
    definite_at_first: frozenset[int] = frozenset()
    """Those of them that are not until a first connection has succeeded: before it, a
    database that cannot be opened is a wrong name, not one that is failing over."""
    setencoding: tuple[tuple[tuple[str, Any], ...], ...] = ()
    setdecoding: tuple[tuple[tuple[str, Any], ...], ...] = ()
    unicode_results: bool = False
