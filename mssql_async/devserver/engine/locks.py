"""Locks: one writer per database, and application locks; first in, first out.

Waits can be interrupted, end after ``SET LOCK_TIMEOUT``, and are checked for cycles
before they begin. Decide under the manager's mutex; sleep outside of it.

Source: SQL Server documentation, "Transaction locking and row versioning guide",
"SET LOCK_TIMEOUT", "sp_getapplock". SQL Server locks rows; the stand-in locks the whole
database for writing, so it makes writers wait where SQL Server might not.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import error


class LockMode(enum.Enum):
    INTENT_SHARED = "IntentShared"
    SHARED = "Shared"
    UPDATE = "Update"
    INTENT_EXCLUSIVE = "IntentExclusive"
    EXCLUSIVE = "Exclusive"


_COMPATIBLE = {
    frozenset({LockMode.INTENT_SHARED}),
    frozenset({LockMode.INTENT_SHARED, LockMode.SHARED}),
    frozenset({LockMode.INTENT_SHARED, LockMode.UPDATE}),
    frozenset({LockMode.INTENT_SHARED, LockMode.INTENT_EXCLUSIVE}),
    frozenset({LockMode.SHARED}),
    frozenset({LockMode.SHARED, LockMode.UPDATE}),
    frozenset({LockMode.INTENT_EXCLUSIVE}),
}
_STRENGTH = {mode: position for position, mode in enumerate(LockMode)}


def strongest(modes: Iterable[LockMode]) -> LockMode | None:
    return max(modes, key=_STRENGTH.__getitem__, default=None)


def compatible(one: LockMode, other: LockMode) -> bool:
    return frozenset({one, other}) in _COMPATIBLE


class LockOwner(Protocol):
    """A session, as far as locks know."""

    @property
    def spid(self) -> int: ...

    @property
    def deadlock_priority(self) -> int: ...


class Interrupted(Exception):
    """The client sent an attention, or the session was killed."""


class _Outcome(enum.Enum):
    WAITING = "waiting"
    GRANTED = "granted"
    TIMED_OUT = "timed out"
    DEADLOCK_VICTIM = "deadlock victim"
    INTERRUPTED = "interrupted"


@dataclass(slots=True, eq=False)
class _Waiter:
    owner: LockOwner
    mode: LockMode
    resource: _Resource
    woken: threading.Event = field(default_factory=threading.Event)
    outcome: _Outcome = _Outcome.WAITING
    since: float = field(default_factory=time.time)


@dataclass(slots=True, eq=False)
class _Resource:
    key: Hashable
    holders: dict[LockOwner, list[LockMode]] = field(default_factory=dict)
    queue: deque[_Waiter] = field(default_factory=deque)

    def blockers(self, owner: LockOwner, mode: LockMode) -> list[LockOwner]:
        return [
            holder
            for holder, modes in self.holders.items()
            if holder is not owner and any(not compatible(mode, held) for held in modes)
        ]


@dataclass(frozen=True, slots=True)
class LockInfo:
    """A row for ``sys.dm_tran_locks``."""

    key: Hashable
    spid: int
    mode: LockMode
    granted: bool


@dataclass(frozen=True, slots=True)
class LockWait:
    """A row for ``sys.dm_exec_requests``. ``blocker`` is a session."""

    key: Hashable
    mode: LockMode
    since: float
    blocker: int


class LockManager:
    """All locks of one engine."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._resources: dict[Hashable, _Resource] = {}
        self._waiting: dict[LockOwner, _Waiter] = {}

    def try_acquire(
        self, owner: LockOwner, key: Hashable, mode: LockMode = LockMode.EXCLUSIVE
    ) -> bool:
        """Take the lock if nobody stands in the way; never waits."""
        with self._mutex:
            return self._try(owner, key, mode)

    def _try(self, owner: LockOwner, key: Hashable, mode: LockMode) -> bool:
        resource = self._resources.get(key)
        if resource is None:
            self._resources[key] = _Resource(key, {owner: [mode]})
            return True
        held = resource.holders.get(owner)
        if resource.blockers(owner, mode):
            return False
        if resource.queue and not held:
            return False
        resource.holders.setdefault(owner, []).append(mode)
        return True

    def acquire(
        self,
        owner: LockOwner,
        key: Hashable,
        mode: LockMode = LockMode.EXCLUSIVE,
        timeout: float | None = None,
    ) -> None:
        """Take the lock, waiting for at most ``timeout`` seconds.

        :raises SqlError: 1222 after the timeout, 1205 for the victim of a deadlock.
        :raises Interrupted: the wait was ended by :meth:`interrupt`.
        """
        with self._mutex:
            if self._try(owner, key, mode):
                return
            if timeout == 0:
                raise error(1222, state=51)
            resource = self._resources[key]
            waiter = _Waiter(owner, mode, resource)
            if owner in resource.holders:
                resource.queue.appendleft(waiter)  # a conversion goes before newcomers
            else:
                resource.queue.append(waiter)
            self._waiting[owner] = waiter
            self._break_cycle(waiter)
        waiter.woken.wait(timeout)
        with self._mutex:
            if waiter.outcome is _Outcome.WAITING:
                self._give_up(waiter, _Outcome.TIMED_OUT)
            outcome = waiter.outcome
        if outcome is _Outcome.TIMED_OUT:
            raise error(1222, state=51)
        if outcome is _Outcome.DEADLOCK_VICTIM:
            raise error(1205, owner.spid, "lock", state=51)
        if outcome is _Outcome.INTERRUPTED:
            raise Interrupted

    def release(self, owner: LockOwner, key: Hashable, mode: LockMode = LockMode.EXCLUSIVE) -> bool:
        """Give one hold back; false when there was none."""
        with self._mutex:
            resource = self._resources.get(key)
            modes = resource.holders.get(owner) if resource else None
            if resource is None or not modes or mode not in modes:
                return False
            modes.remove(mode)
            if not modes:
                del resource.holders[owner]
            self._grant(resource)
            return True

    def interrupt(self, owner: LockOwner) -> None:
        """End the owner's wait, if it waits."""
        with self._mutex:
            waiter = self._waiting.get(owner)
            if waiter is not None:
                self._give_up(waiter, _Outcome.INTERRUPTED)

    def is_waiting(self, owner: LockOwner) -> bool:
        with self._mutex:
            return owner in self._waiting

    def would_grant(self, owner: LockOwner, key: Hashable, mode: LockMode) -> bool:
        with self._mutex:
            resource = self._resources.get(key)
            return resource is None or not resource.blockers(owner, mode)

    def snapshot(self) -> list[LockInfo]:
        """Every lock held or waited for, for the dynamic management view."""
        with self._mutex:
            rows: list[LockInfo] = []
            for resource in self._resources.values():
                for holder, modes in resource.holders.items():
                    rows.extend(LockInfo(resource.key, holder.spid, mode, True) for mode in modes)
                rows.extend(
                    LockInfo(resource.key, waiter.owner.spid, waiter.mode, False)
                    for waiter in resource.queue
                )
            return rows

    def wait_of(self, owner: LockOwner) -> LockWait | None:
        """What ``owner`` waits for, if it waits."""
        with self._mutex:
            waiter = self._waiting.get(owner)
            if waiter is None:
                return None
            blocker = next((blocker.spid for blocker in self._waits_for(waiter)), 0)
            return LockWait(waiter.resource.key, waiter.mode, waiter.since, blocker)

    def blocker_of(self, owner: LockOwner) -> int:
        """The session that ``owner`` waits for; 0 when it does not wait."""
        wait = self.wait_of(owner)
        return wait.blocker if wait is not None else 0

    # under the mutex

    def _grant(self, resource: _Resource) -> None:
        while resource.queue:
            waiter = resource.queue[0]
            if resource.blockers(waiter.owner, waiter.mode):
                break
            resource.queue.popleft()
            resource.holders.setdefault(waiter.owner, []).append(waiter.mode)
            self._wake(waiter, _Outcome.GRANTED)
        if not resource.queue and not resource.holders:
            self._resources.pop(resource.key, None)

    def _wake(self, waiter: _Waiter, outcome: _Outcome) -> None:
        waiter.outcome = outcome
        self._waiting.pop(waiter.owner, None)
        waiter.woken.set()

    def _give_up(self, waiter: _Waiter, outcome: _Outcome) -> None:
        waiter.resource.queue.remove(waiter)
        self._wake(waiter, outcome)
        self._grant(waiter.resource)  # it may have stood before somebody who can go on

    def _waits_for(self, waiter: _Waiter) -> list[LockOwner]:
        owners = waiter.resource.blockers(waiter.owner, waiter.mode)
        for earlier in waiter.resource.queue:
            if earlier is waiter:
                break
            if not compatible(earlier.mode, waiter.mode):
                owners.append(earlier.owner)
        return owners

    def _break_cycle(self, newest: _Waiter) -> None:
        """Choose a victim if ``newest`` closed a cycle: the lowest DEADLOCK_PRIORITY, and
        among equals the one that came last (SQL Server takes the cheapest to roll back)."""
        while newest.outcome is _Outcome.WAITING:
            path: list[_Waiter] = []
            if not self._finds_cycle(newest, newest, path, set()):
                return
            victim = min(
                path, key=lambda waiter: (waiter.owner.deadlock_priority, waiter is not newest)
            )
            self._give_up(victim, _Outcome.DEADLOCK_VICTIM)

    def _finds_cycle(
        self, waiter: _Waiter, newest: _Waiter, path: list[_Waiter], seen: set[int]
    ) -> bool:
        """Whether ``waiter`` waits, through others, for ``newest``; ``path`` is how."""
        path.append(waiter)
        for owner in self._waits_for(waiter):
            if owner is newest.owner:
                return True
            following = self._waiting.get(owner)
            if following is not None and id(following) not in seen:
                seen.add(id(following))
                if self._finds_cycle(following, newest, path, seen):
                    return True
        path.pop()
        return False
