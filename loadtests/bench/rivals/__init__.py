"""What users would pick instead, each written as a good user of it would write it.

They are sites like the others: same paths, same table, same work, one process, twenty
connections where there is a pool.
"""

from __future__ import annotations

POOL_SIZE = 20
"""Connections: what the project's own pool has by default."""

#: What has to be installed for all of them, at the versions that the documented figures were
#: taken with.
REQUIREMENTS = (
    "aioodbc==0.5.0",
    "fastmssql==0.7.7",
    "gunicorn==27.0.1",
    "SQLAlchemy[asyncio]==2.1.9",
    "starlette==1.10.0",
)
