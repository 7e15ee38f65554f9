"""Identity counters and row versions: in memory, never rolled back, written down when the
engine closes.

Source: SQL Server documentation, "CREATE TABLE (Transact-SQL) IDENTITY (Property)",
"DBCC CHECKIDENT (Transact-SQL)", "IDENT_CURRENT (Transact-SQL)",
"rowversion (Transact-SQL)", "@@DBTS (Transact-SQL)".
"""

from __future__ import annotations

import threading

from ..schema import Identity

_FIRST_ROWVERSION = 2000
"""Where the counter of a new database stands on SQL Server; no documentation says so."""


class IdentityCounters:
    """The counters of one database by the table's object id."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._values: dict[int, tuple[int, bool]] = {}
        """Current value, and whether it has been given to a row yet."""
        self._rowversion = _FIRST_ROWVERSION

    # --- rowversion: "Each database has a counter that is incremented for each insert or
    # update operation that is performed on a table that contains a rowversion column"

    def next_rowversion(self) -> bytes:
        with self._mutex:
            self._rowversion += 1
            return self._rowversion.to_bytes(8)

    def last_rowversion(self) -> bytes:
        """@@DBTS: "the last-used rowversion value of the current database"."""
        with self._mutex:
            return self._rowversion.to_bytes(8)

    def note_rowversion(self, known: bytes) -> None:
        with self._mutex:
            self._rowversion = max(self._rowversion, int.from_bytes(known))

    # --- identity

    def define(self, object_id: int, identity: Identity) -> None:
        """Start a counter at its seed; also what TRUNCATE TABLE does."""
        with self._mutex:
            self._values[object_id] = (identity.seed, False)

    def next(self, object_id: int, identity: Identity) -> int:
        with self._mutex:
            value, used = self._values.get(object_id, (identity.seed, False))
            if used:
                value += identity.increment
            self._values[object_id] = (value, True)
            return value

    def note(self, object_id: int, identity: Identity, explicit: int) -> None:
        """An explicit value was inserted: the counter moves on to it, never back."""
        with self._mutex:
            value, used = self._values.get(object_id, (identity.seed, False))
            beyond = explicit > value if identity.increment > 0 else explicit < value
            if beyond or explicit == value:
                self._values[object_id] = (explicit, True)
            else:
                self._values[object_id] = (value, used)

    def reseed(self, object_id: int, identity: Identity, value: int) -> None:
        """DBCC CHECKIDENT RESEED: the next row gets ``value`` if the table never had rows
        (or was truncated), and ``value`` plus the increment otherwise."""
        with self._mutex:
            _, used = self._values.get(object_id, (identity.seed, False))
            self._values[object_id] = (value, used)

    def current(self, object_id: int) -> int | None:
        """IDENT_CURRENT."""
        with self._mutex:
            found = self._values.get(object_id)
            return found[0] if found else None

    def last_value(self, object_id: int) -> int | None:
        """``sys.identity_columns.last_value``: NULL until a row got a value."""
        with self._mutex:
            value, used = self._values.get(object_id, (0, False))
            return value if used else None

    def state(self, object_id: int) -> tuple[int, bool] | None:
        with self._mutex:
            return self._values.get(object_id)

    def restore(self, object_id: int, state: tuple[int, bool] | None) -> None:
        """Put a counter back to what :meth:`state` said (a probe used it up)."""
        with self._mutex:
            if state is None:
                self._values.pop(object_id, None)
            else:
                self._values[object_id] = state

    def used_values(self) -> list[tuple[int, int]]:
        with self._mutex:
            return [(key, value) for key, (value, used) in self._values.items() if used]
