"""The tests of the invariants look at the same server as those of the backend and of contexts."""

from __future__ import annotations

from tests.backend.conftest import server, wrapper
from tests.context.conftest import _project

__all__ = ["_project", "server", "wrapper"]
