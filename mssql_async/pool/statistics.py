"""Counters and histograms of a pool: cheap enough to be always on, read as one snapshot.

Names after OpenTelemetry's ``db.client.connection.*`` where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Buckets of a histogram: bucket n holds times of less than 2**n microseconds that bucket n-1
#: does not hold; the last one (134 s) everything longer.
BUCKETS = 28
#: What is counted in, so that no time (292,000 years) needs a look at the bounds.
_POSSIBLE = 64


class Tally:
    """Counts times in powers of two of a microsecond; written under the pool's lock."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * _POSSIBLE
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[int(seconds * 1_000_000).bit_length()] += 1
        self.total += seconds

    def snapshot(self) -> Histogram:
        kept = BUCKETS - 1
        return Histogram((*self.counts[:kept], sum(self.counts[kept:])), self.total)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often which time was taken. Times are in seconds."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    total: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """0.0 where nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """An upper bound, within a factor of two, of the time that a share ``q`` (0 to 1) of
        what was counted stayed within; 0.0 where nothing was counted."""
        wanted, seen = q * self.count, 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(2**bucket) / 1_000_000
        return 0.0

    def buckets(self) -> list[tuple[float, int]]:
        """Upper bounds and counts, as far as there are any."""
        last = max((i for i, count in enumerate(self.counts) if count), default=-1)
        return [(2**i / 1_000_000, self.counts[i]) for i in range(last + 1)]


class Counters:
    """Running totals; written only under the pool's lock."""

    __slots__ = (
        "abandoned",
        "acquired",
        "closed",
        "connect_errors",
        "create",
        "hung_up",
        "leaks",
        "opened",
        "proofs_failed",
        "proved",
        "refused",
        "timeouts",
        "use",
        "wait",
        "waits",
    )

    def __init__(self) -> None:
        self.acquired = self.opened = self.closed = self.connect_errors = 0
        self.proved = self.proofs_failed = self.hung_up = 0
        self.waits = self.timeouts = self.refused = self.abandoned = self.leaks = 0
        self.wait, self.use, self.create = Tally(), Tally(), Tally()


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool at one moment.

    ``size`` is ``in_use + idle + opening``. Totals count since the pool was made:
    ``acquired`` leases, connections ``opened`` and ``closed``, ``connect_errors``,
    round trips spent to prove or reset a connection (``proved``, of which
    ``proofs_failed``), connections found ``hung_up`` without a message, callers that had
    to wait (``waits``), ``timeouts``, callers ``refused`` by ``max_waiting`` or the
    breaker, leases ``abandoned`` by owners that ceased to exist, and ``leaks`` reported.
    """

    name: str
    state: str
    breaker: str
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
    timeouts: int
    refused: int
    abandoned: int
    leaks: int
    wait_time: Histogram
    """How long those waited that had to."""
    use_time: Histogram
    """How long leases were held."""
    create_time: Histogram
    """How long it took to open a connection."""
    last_connect_error: str | None

    @property
    def wait_seconds(self) -> float:
        """All waiting together."""
        return self.wait_time.total
