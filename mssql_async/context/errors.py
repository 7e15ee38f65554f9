"""What contexts raise, under the classes that callers of Django catch."""

from __future__ import annotations

import asyncio

from django.db.transaction import TransactionManagementError

from ..errors import PoolTimeout
from ..errors import WaitsForItself as WaitsForItself


class WorkerTimeout(PoolTimeout):
    """No worker became free within ``acquire_timeout``; the message has the numbers."""


class TransactionBlockEnded(TransactionManagementError):
    """A task used the database in a transaction block that it has outlived."""


class CommitOutcomeUnknown(asyncio.CancelledError):
    """The task was cancelled while its commit was under way, and the server did not answer in
    time: the transaction is committed or rolled back, nobody here knows which."""


class CancelledAfterCommit(asyncio.CancelledError):
    """The task was cancelled while its commit was under way, and the commit was completed."""
