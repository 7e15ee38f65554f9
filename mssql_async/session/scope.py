"""How long a lease lasts. Apart from the lease itself, which needs a driver to load."""

from __future__ import annotations

import enum


class LeaseScope(enum.Enum):
    """How long a lease lasts where nothing pins it."""

    TRANSACTION = "transaction"
    """In autocommit to the close of the last cursor, else to commit or rollback."""
    CONTEXT = "context"
    """To the end of the context: one server session from the first statement on."""
