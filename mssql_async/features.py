"""What the backend can do beyond what the dialect knows of."""

from __future__ import annotations

from mssql.features import DatabaseFeatures as DialectFeatures


class DatabaseFeatures(DialectFeatures):  # type: ignore[misc]
    can_use_chunked_reads = True
    """Rows may be left unread while other queries run: the lease makes room for those."""
