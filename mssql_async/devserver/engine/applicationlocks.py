"""The names and modes of application locks (sp_getapplock).

Source: SQL Server documentation, "sp_getapplock", "APPLOCK_MODE", "APPLOCK_TEST".
"""

from __future__ import annotations

from .locks import LockMode
from .sessionstate import SessionState

_MODES = {mode.value.casefold(): mode for mode in LockMode}


def lock_mode(name: str) -> LockMode | None:
    return _MODES.get(name.casefold())


def application_lock_key(session: SessionState, resource: str) -> tuple[str, str, str]:
    """Application locks belong to the database they are taken in; names heed case."""
    return ("application", session.current_database.schema_name, resource[:255])
