"""The workers of this process, made at first use from the settings of its databases."""

from __future__ import annotations

import os
import threading

from django.db import connections

from ..options import MAX_WORKERS, backend_options
from .context import Context, ContextKind
from .surroundings import DjangoConnections
from .workers import WorkerPool, WorkerStatistics

_lock = threading.Lock()
_workers: WorkerPool | None = None


def workers() -> WorkerPool:
    """The process's workers: as many as the database that allows most."""
    global _workers
    if _workers is None:
        with _lock:
            if _workers is None:
                _workers = _from_settings()
    return _workers


def _from_settings() -> WorkerPool:
    """
    :raises InvalidSettings: as the database's own wrapper would.
    """
    all_options = [
        backend_options(settings, alias)
        for alias, settings in connections.settings.items()
        if settings.get("ENGINE") == "mssql_async"
    ]
    return WorkerPool(
        DjangoConnections(),
        max_workers=max((o.max_workers for o in all_options), default=MAX_WORKERS),
        acquire_timeout=max((o.pool.acquire_timeout for o in all_options), default=30.0),
        keep=any(o.keep_worker for o in all_options),
    )


def new_context(kind: ContextKind, *, parent: Context | None = None) -> Context:
    return Context(workers() if parent is None else parent.workers, kind, parent=parent)


def worker_statistics() -> WorkerStatistics | None:
    """The workers at this moment; ``None``: none was ever needed."""
    return None if _workers is None else _workers.statistics()


def _start_empty_after_fork() -> None:
    global _workers, _lock
    _workers = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_empty_after_fork)
