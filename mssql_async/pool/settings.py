"""How a pool behaves. Every default stands here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart, a connection is tried again after a transient error.

    ``connection_retries`` and ``connection_retry_backoff_time`` of mssql-django's settings.
    """

    retries: int = 0
    """Attempts after the first."""

    backoff: float = 5.0
    """Seconds before the first of them, at least. Each further pause is twice as long, and
    a random part longer (:attr:`jitter`), so that many processes do not come back at once."""

    jitter: float = 0.25

    def __post_init__(self) -> None:
        if self.retries < 0 or self.backoff < 0 or self.jitter < 0:
            raise ValueError(f"retries, backoff and jitter must not be negative: {self}")


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Sizes are in connections, times in seconds.

    Validated by :mod:`mssql_async.options`, which names the Django setting in its errors;
    the checks here only keep a pool from being built that could never work.
    """

    min_size: int = 0
    """Connections kept open once the pool was used, even when nobody needs them."""

    max_size: int = 20
    """Physical connections open or being opened at any moment, at most."""

    max_opening: int = 8
    """Logins under way at any moment, at most."""

    acquire_timeout: float = 30.0
    """How long an acquire may take altogether: waiting, proving and opening."""

    max_waiting: int = 0
    """Callers that may wait at once beyond those the pool still has room for; the next one
    is refused. 0: no limit."""

    max_idle: float = 600.0
    """A connection idle for longer is closed, unless :attr:`min_size` keeps it."""

    max_lifetime: float | None = 3600.0
    """A connection older than this is replaced; ``None``: never.

    Each connection's own limit is shortened by up to :attr:`lifetime_jitter` of it, so
    that connections opened together do not all expire together (HikariCP#2004).
    """

    lifetime_jitter: float = 0.1

    health_check_window: float = 0.5
    """A connection that proved itself within this time is lent without a round trip."""

    leak_threshold: float | None = None
    """A lease held for longer is reported in the log with the place that acquired it."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {self.max_size}")
        if not 0 <= self.min_size <= self.max_size:
            raise ValueError(
                f"min_size must be between 0 and max_size ({self.max_size}), got {self.min_size}"
            )
        if self.max_opening < 1:
            raise ValueError(f"max_opening must be at least 1, got {self.max_opening}")
        if self.acquire_timeout <= 0:
            raise ValueError(f"acquire_timeout must be positive, got {self.acquire_timeout}")
