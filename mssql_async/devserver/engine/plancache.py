"""Compiled statements and parsed batches, shared by the sessions of an engine.

Plans are kept by the identity of the parsed statement, which the parse cache keeps by
text, and are used as long as the catalogs they were compiled against are unchanged.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..results import Columns
from ..tsql.plan import OutputBind, Plan, SystemRowsBind
from .databases import Database

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """A bounded cache of two generations: what is not used for a whole generation goes.

    Safe without a lock: every step is one dictionary operation, and losing an entry to a
    race only means computing it again.
    """

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, value: Value) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def remembered(self) -> set[Key]:
        return set(self._young) | set(self._old)

    def __len__(self) -> int:
        return len(self.remembered())


@dataclass(slots=True)
class CachedPlan:
    """A plan with what it was compiled against.

    ``owner`` is the parsed statement or expression: as long as the entry lives, no other
    object can have its ``id``, which is the key.
    """

    plan: Plan
    owner: object
    versions: tuple[tuple[Database, int], ...]
    temporary_version: int | None
    table_variables: bool
    target_database: Database | None
    binds: tuple[str | SystemRowsBind | OutputBind, ...]
    columns: Columns
    slow: bool = False
    """A read that once took longer than may be spent on the caller's thread."""
    measured_slow: bool | None = None
    """Whether the last run of a modification took long; ``None`` before the first."""
