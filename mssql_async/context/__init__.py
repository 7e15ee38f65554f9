"""Contexts: what owns leases in asynchronous code, and the workers that run its calls."""

from .context import Context, ContextKind, ContextScope, current_context
from .errors import (
    CancelledAfterCommit,
    CommitOutcomeUnknown,
    TransactionBlockEnded,
    WaitsForItself,
    WorkerTimeout,
)
from .registry import new_context, worker_statistics
from .workers import Worker, WorkerPool, WorkerStatistics, current_worker

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
