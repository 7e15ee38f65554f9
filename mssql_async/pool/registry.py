"""The pools of this process: one for each set of connection parameters.

Two aliases, or two wrappers of one alias, that would open interchangeable connections share
a pool; when an alias's parameters change (a test database renames itself), it simply
belongs to another pool from then on. The old one closes its connections when they have been
idle for long enough, and is forgotten when it has none left.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import NamedTuple

from .connector import Connector, ConnectParameters
from .lenders import ConnectionSource
from .nullpool import NullPool
from .pool import Pool
from .settings import PoolSettings
from .statistics import PoolStatistics


class _Key(NamedTuple):
    parameters: ConnectParameters
    settings: PoolSettings
    pooled: bool


_lock = threading.Lock()
_sources: dict[_Key, ConnectionSource] = {}


def connection_source(
    parameters: ConnectParameters,
    settings: PoolSettings,
    make_connector: Callable[[ConnectParameters], Connector],
    *,
    pooled: bool = True,
    name: str = "default",
) -> ConnectionSource:
    """The pool for these parameters, made at first use."""
    key = _Key(parameters, settings, pooled)
    source = _sources.get(key)
    if source is None:
        with _lock:
            source = _sources.get(key)
            if source is None:
                _forget_unused()
                kind = Pool if pooled else NullPool
                source = kind(make_connector(parameters), settings, name=name)
                _sources[key] = source
    return source


def _forget_unused() -> None:
    """Settings that change often (a token in ``TOKEN``) would leave a pool behind each time."""
    for key in [key for key, source in _sources.items() if source.is_unused()]:
        del _sources[key]


def close_pools(matches: Callable[[ConnectParameters], bool] = lambda _: True) -> None:
    """Close and forget the pools whose parameters match; all of them by default.

    Connections that are lent are closed when they come back.
    """
    with _lock:
        chosen = [key for key in _sources if matches(key.parameters)]
        sources = [_sources.pop(key) for key in chosen]
    for source in sources:
        source.close()


def connection_sources() -> list[ConnectionSource]:
    """Every pool of this process."""
    return list(_sources.values())


def pool_statistics() -> list[PoolStatistics]:
    """A snapshot of every pool of this process."""
    return [source.statistics() for source in connection_sources()]


def _start_empty_after_fork() -> None:
    global _sources, _lock
    _sources = {}
    _lock = threading.Lock()  # the parent may have held it at the moment of the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty_after_fork)
atexit.register(close_pools)
