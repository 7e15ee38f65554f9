"""The access tokens a server lets in, in the place of Microsoft Entra ID."""

from __future__ import annotations

import datetime
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .config import DEVELOPMENT_USER
from .errors import SqlError, error

NAMELESS = "<token-identified principal>"
"""What SQL Server calls the user in the errors of a login by token."""
_EXPIRED_STATE = 233


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True)
class _Accepted:
    user: str
    expires_at: datetime.datetime | None


class AccessTokens:
    """Tokens with their principals and expiries. Every method may be called from any thread.

    Only digests are kept: a token is a password, and shows in no ``repr`` and no dump.
    A token counts at login alone: as with SQL Server, the session outlives it.
    """

    def __init__(
        self,
        accepted: Mapping[str, datetime.datetime | None] | None = None,
        *,
        user: str = DEVELOPMENT_USER,
        clock: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        """``accepted`` maps tokens of ``user`` to their expiry, ``None`` for never;
        ``clock`` gives the time that expiries are compared with."""
        self._user = user
        self._clock = clock
        self._accepted: dict[bytes, _Accepted] = {}
        self._mutex = threading.Lock()
        for token, expires_at in (accepted or {}).items():
            self.accept(token, expires_at=expires_at)

    def __repr__(self) -> str:
        return f"<AccessTokens accepted={len(self._accepted)}>"

    def accept(
        self,
        token: str,
        *,
        user: str | None = None,
        expires_at: datetime.datetime | None = None,
    ) -> None:
        """Let ``token`` in as ``user`` until ``expires_at``. Repeating it changes both.

        :raises ValueError: the token is empty, or the expiry has no time zone.
        """
        if not token:
            raise ValueError("an access token cannot be empty")
        if expires_at is not None and expires_at.utcoffset() is None:
            raise ValueError("expires_at needs a time zone")
        with self._mutex:
            self._accepted[_digest(token)] = _Accepted(user or self._user, expires_at)

    def revoke(self, token: str) -> None:
        """Let ``token`` in no longer, whether it was let in or not."""
        with self._mutex:
            self._accepted.pop(_digest(token), None)

    def principal(self, token: str) -> str:
        """The user that ``token`` stands for.

        :raises SqlError: 18456; with state 233 for an expired token, as Azure SQL says it.
        """
        with self._mutex:
            accepted = self._accepted.get(_digest(token))
        if accepted is None:
            raise error(18456, NAMELESS, state=1)
        if accepted.expires_at is not None and accepted.expires_at <= self._clock():
            raise SqlError(
                18456,
                f"Login failed for user '{NAMELESS}'. Token is expired.",
                severity=14,
                state=_EXPIRED_STATE,
            )
        return accepted.user


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-16-le", "surrogatepass")).digest()
