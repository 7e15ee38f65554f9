"""The session as the functions of its SQLite connection see it."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import error
from ...schema import Identity
from ...sqltypes import StorageValue
from ..sessionstate import SessionState
from .registry import FUNCTIONS


class SessionHost:
    """See :class:`mssql_async.devserver.tsql.plan.Host`."""

    def __init__(self, session: SessionState) -> None:
        self._session = session

    def session_function(self, name: str, arguments: Sequence[StorageValue]) -> StorageValue:
        function = FUNCTIONS.get(name)
        if function is None:
            raise error(195, name.upper(), "built-in function name")
        return function(self._session, arguments)

    def next_identity(self, object_id: int) -> int:
        identity = self._identity()
        counters = self._session.identity_counters
        if counters is None:
            raise error(208, str(object_id))
        value = counters.next(object_id, identity)
        self._session.frame.scope_identity = value
        self._session.last_identity = value
        return value

    def note_identity(self, object_id: int, value: int) -> None:
        counters = self._session.identity_counters
        if counters is None:
            raise error(208, str(object_id))
        counters.note(object_id, self._identity(), int(value))
        self._session.frame.scope_identity = int(value)
        self._session.last_identity = int(value)

    def _identity(self) -> Identity:
        target = self._session.identity_target
        column = target.identity_column if target is not None else None
        return (column.identity if column is not None else None) or Identity()

    @property
    def date_first(self) -> int:
        return self._session.options.date_first

    @property
    def date_format(self) -> str:
        return self._session.options.date_format

    @property
    def check_interrupt(self) -> bool:
        return self._session.interrupted.is_set()
