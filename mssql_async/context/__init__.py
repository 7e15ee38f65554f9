"""Contexts: what owns leases in asynchronous code, and the workers that run its calls."""

from .context import Context, ContextKind, current_context
from .errors import (
    CancelledAfterCommit,
    CommitOutcomeUnknown,
    TransactionBlockEnded,
    WaitsForItself,
    WorkerTimeout,
)
from .registry import new_context, worker_statistics
from .routing import ContextScope
from .worker import Worker, current_worker
from .workers import WorkerPool, WorkerStatistics

__all__ = [
    "CancelledAfterCommit",
    "CommitOutcomeUnknown",
    "Context",
    "ContextKind",
    "ContextScope",
    "TransactionBlockEnded",
    "WaitsForItself",
    "Worker",
    "WorkerPool",
    "WorkerStatistics",
    "WorkerTimeout",
    "current_context",
    "current_worker",
    "new_context",
    "worker_statistics",
]
