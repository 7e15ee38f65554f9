"""Running a transaction again that lost a conflict with another one."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import random as random_module
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction

from .context.enclosing import in_transaction, in_transaction_here
from .context.traces import Trace, traced
from .errors import error_number
from .pool.odbc import CONFLICTS, LOST_CONFLICTS
from .session.single import is_single, only_reads

F = TypeVar("F", bound=Callable[..., Any])

#: From here on errors are the user's own: a trigger that raises one keeps what fired it.
_USERS_ERRORS = 50000


class Attempt(Trace):
    """What one run of the function has left behind already."""

    def __init__(self) -> None:
        self.leftover: str | None = None

    def committed(self, alias: str) -> None:
        self.leftover = f"a transaction on {alias!r} was committed"

    def may_have_committed(self, alias: str) -> None:
        self.leftover = f"a transaction on {alias!r} may have been committed"

    def executed_alone(self, alias: str, sql: str) -> None:
        if not only_reads(sql):
            self.leftover = f"a statement was executed on {alias!r} outside of a transaction"

    def failed_alone(
        self, alias: str, sql: str, error: BaseException, *, many: bool = False
    ) -> None:
        if not (only_reads(sql) or (not many and is_single(sql) and _was_undone(error))):
            self.leftover = (
                f"what failed on {alias!r} outside of a transaction may have left something"
            )


def _was_undone(error: BaseException) -> bool:
    """Whether the server has undone the one statement that it says has failed. Of a link that
    broke, or a statement that was cancelled, nobody knows."""
    number = error_number(error)
    return number is not None and number < _USERS_ERRORS


@dataclass(frozen=True, slots=True)
class Policy:
    """When a function is run again, and after how long."""

    attempts: int
    conflicts: frozenset[int]
    using: str | None
    backoff: float
    max_backoff: float
    random: Callable[[], float]

    def delay(self, error: Exception, number: int, attempt: Attempt) -> float | None:
        """Seconds until the next attempt after ``number`` of them; ``None``: there is none."""
        if error_number(error) not in self.conflicts:
            return None
        if attempt.leftover is not None:
            error.add_note(f"mssql_async: not run again, because {attempt.leftover}.")
            return None
        if number >= self.attempts:
            error.add_note(f"mssql_async: attempt {number} of {self.attempts} lost its conflict.")
            return None
        # At least half: two that lost to each other are not to meet again at once.
        return self._bound(number) * (1 + self.random()) / 2

    def _bound(self, number: int) -> float:
        # A factor beyond 2**30 only overflows.
        return min(self.max_backoff, self.backoff * 2.0 ** min(number - 1, 30))


@overload
def retry(function: F) -> F: ...


@overload
def retry(
    *,
    attempts: int = 3,
    on_lock_timeout: bool = False,
    using: str | None = None,
    backoff: float = 0.05,
    max_backoff: float = 2.0,
    sleep: Callable[[float], Any] | None = None,
    random: Callable[[], float] = random_module.random,
) -> Callable[[F], F]: ...


def retry(
    function: Any = None,
    *,
    attempts: int = 3,
    on_lock_timeout: bool = False,
    using: str | None = None,
    backoff: float = 0.05,
    max_backoff: float = 2.0,
    sleep: Callable[[float], Any] | None = None,
    random: Callable[[], float] = random_module.random,
) -> Any:
    """Run the decorated function again where its transaction lost a conflict.

    The function is run again as a whole, with the same arguments, whatever else it does. It is
    run again only if it has left nothing at the server: not after it has committed a
    transaction, nor after a statement other than SELECT outside of one, unless that was a single
    one which failed. Inside of a transaction it is just called: the server has rolled back more
    than it could repeat.

    :param attempts: how often it is run at most.
    :param on_lock_timeout: whether error 1222, ``LOCK_TIMEOUT``, counts as a conflict.
    :param using: the database whose transactions count as being inside of one; by default any.
    :param backoff: seconds before the second attempt, at most and at least half of it; twice as
        long before each further one.
    :param max_backoff: seconds that it never exceeds.
    :param sleep: waits so many seconds; by default ``time.sleep`` or ``asyncio.sleep``.
    :param random: a number from 0 to 1.
    """
    if attempts < 1 or backoff < 0 or max_backoff < 0:
        raise ValueError("retry() needs one attempt or more, and no negative time.")
    policy = Policy(
        attempts,
        CONFLICTS if on_lock_timeout else LOST_CONFLICTS,
        using, backoff, max_backoff, random,
    )  # fmt: skip

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator: it cannot be run again.")
        if iscoroutinefunction(function):
            return _retried_async(function, policy, sleep or asyncio.sleep)
        return _retried(function, policy, sleep or time.sleep)

    return decorate if function is None else decorate(function)


def _retried(
    function: Callable[..., Any], policy: Policy, sleep: Callable[[float], Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if in_transaction_here(policy.using):
            return function(*args, **kwargs)
        for number in itertools.count(1):
            attempt = Attempt()
            try:
                with traced(attempt):
                    return function(*args, **kwargs)
            except Exception as error:
                delay = policy.delay(error, number, attempt)
                if delay is None:
                    raise
            sleep(delay)
        raise AssertionError("unreachable")

    return run


def _retried_async(
    function: Callable[..., Any], policy: Policy, sleep: Callable[[float], Any]
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        if await in_transaction(policy.using):
            return await function(*args, **kwargs)
        for number in itertools.count(1):
            attempt = Attempt()
            try:
                with traced(attempt):
                    return await function(*args, **kwargs)
            except Exception as error:
                delay = policy.delay(error, number, attempt)
                if delay is None:
                    raise
            waited = sleep(delay)
            if inspect.isawaitable(waited):
                await waited
        raise AssertionError("unreachable")

    return run
