"""The tests of the invariants look at the same server as those of the backend."""

from __future__ import annotations

from tests.backend.conftest import server, wrapper

__all__ = ["server", "wrapper"]
