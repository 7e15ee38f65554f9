"""How a pool behaves. Every default stands here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Sizes are in connections, times in seconds.

    Validated by :mod:`mssql_async.options`, which names the Django setting in its errors;
    the checks here only keep a pool from being built that could never work.
    """

    max_size: int = 20
    """Physical connections open or being opened at any moment, at most."""

    acquire_timeout: float = 30.0
    """How long an acquire may take altogether: waiting, proving and opening."""

    max_waiting: int = 0
    """Callers that may wait at once; the next one is refused. 0: no limit."""

    max_idle: float = 600.0
    """A connection idle for longer is closed instead of being lent."""

    max_lifetime: float | None = 3600.0
    """A connection older than this is replaced at its next touch; ``None``: never.

    Each connection's own limit is shortened by up to :attr:`lifetime_jitter` of it, so
    that connections opened together do not all expire together.
    """

    lifetime_jitter: float = 0.1

    health_check_window: float = 0.5
    """A connection that proved itself within this time is lent without a round trip."""

    def __post_init__(self) -> None:
        if self.max_size < 1:
            raise ValueError(f"max_size must be at least 1, got {self.max_size}")
        if self.acquire_timeout <= 0:
            raise ValueError(f"acquire_timeout must be positive, got {self.acquire_timeout}")
