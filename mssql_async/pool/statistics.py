"""Counters of a pool: cheap enough to be always on, read as one consistent snapshot."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Running totals; written only under the pool's lock."""

    acquired: int = 0
    opened: int = 0
    closed: int = 0
    connect_errors: int = 0
    proved: int = 0
    proofs_failed: int = 0
    hung_up: int = 0
    waits: int = 0
    timeouts: int = 0
    refused: int = 0
    abandoned: int = 0
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool at one moment.

    ``size`` is ``in_use + idle + opening``. Totals count since the pool was made:
    ``acquired`` leases, connections ``opened`` and ``closed``, ``connect_errors``,
    round trips spent to prove a connection (``proved``, of which ``proofs_failed``),
    connections found ``hung_up`` without a message, callers that had to wait (``waits``,
    ``wait_seconds`` together), ``timeouts``, callers ``refused`` by ``max_waiting`` and
    leases ``abandoned`` by owners that ceased to exist.
    """

    name: str
    state: str
    max_size: int
    size: int
    in_use: int
    idle: int
    opening: int
    waiting: int
    generation: int
    acquired: int
    opened: int
    closed: int
    connect_errors: int
    proved: int
    proofs_failed: int
    hung_up: int
    waits: int
    wait_seconds: float
    timeouts: int
    refused: int
    abandoned: int
    last_connect_error: str | None
