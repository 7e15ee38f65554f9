"""What the pool asks of a driver, and what it tells it.

The one for SQL Server is in :mod:`.odbc_connector`; nothing here needs a driver installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .secrets import SecretBytes, SecretText

if TYPE_CHECKING:
    from .tokens import TokenProvider


class Replay(NamedTuple):
    """One statement of a profile."""

    sql: str
    parameters: tuple[Any, ...] = ()


Profile = tuple[Replay, ...]
"""What a context set in its session when it began (the ``connection_created`` receivers), on
top of the baseline, in this order. Two sessions with equal profiles are interchangeable."""

NO_PROFILE: Profile = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """What a connector opened."""

    raw: Any
    """The driver's connection object."""

    expires_at: float | None = None
    """Reading of :func:`time.monotonic` from which it may be lent to nobody, because its
    access token comes too near to its end; ``None``: no such limit."""

    credential: int = 0
    """Which of the connector's credentials it was opened with (:attr:`Connector.credential`)."""

    cancels_wait: bool = False
    """Whether the driver may have a cancel wait for the end of its statement, and bears another
    one meanwhile."""


class Connector(Protocol):
    """What the pool asks of a driver. ``raw`` is the driver's connection object."""

    @property
    def credential(self) -> int:
        """The number of the current credential: it rises when an access token really
        changed, and connections opened with an older one are replaced at their next touch."""

    def open(self, deadline: float) -> Opened:
        """Open a connection in autocommit mode, its session at the baseline: one attempt,
        which ends by ``deadline``, a reading of :func:`time.monotonic`."""

    def is_transient(self, error: BaseException) -> bool:
        """Whether another attempt may succeed where this one failed."""

    def explain(self, error: BaseException, attempts: int) -> BaseException:
        """A new exception for one caller, whose text says what to do about it."""

    def reset(self, raw: Any, profile: Profile) -> None:
        """Bring the session back to the baseline, and on to ``profile``, and prove the
        connection, in one round trip where the profile has no parameters. Raises where it
        cannot: then the connection is closed."""

    def prove(self, raw: Any) -> None:
        """One round trip, which leaves the session as it is. Raises where it fails."""

    def peer_hung_up(self, raw: Any) -> bool:
        """Whether the driver knows, without sending a message, that the peer is gone."""

    def close(self, raw: Any) -> None:
        """Close for good. Never raises."""


@dataclass(frozen=True, slots=True)
class ConnectParameters:
    """Everything that decides which connections are interchangeable: a pool's identity.

    ``connection_string`` and ``access_token`` are secrets and appear in no ``repr``, not even in
    their own; ``target`` is what errors and logs call the server. Times are in seconds; 0 leaves
    them to the driver. ``setup`` is the batch that takes a fresh or reset session to the baseline.
    """

    connection_string: str = field(repr=False)
    target: str
    database: str = ""
    address: tuple[str, int] | None = None
    """Host and TCP port, where both are known: asked once before the first login, because
    the driver takes its whole time-out (15 s) to say that nobody listens there."""
    setup: str = ""
    access_token: bytes | None = field(default=None, repr=False)
    """A token for the driver (SQL_COPT_SS_ACCESS_TOKEN), whose expiry nobody knows."""
    token_provider: TokenProvider | None = field(default=None, repr=False)
    """What gives access tokens, with their expiry."""
    connection_timeout: int = 0
    query_timeout: int = 0
    transient_errors: frozenset[int] = frozenset()
    """Numbers of the server's errors that are worth another attempt."""
    definite_at_first: frozenset[int] = frozenset()
    """Those of them that are not until a first connection has succeeded: before it, a
    database that cannot be opened is a wrong name, not one that is failing over."""
    setencoding: tuple[tuple[tuple[str, Any], ...], ...] = ()
    setdecoding: tuple[tuple[tuple[str, Any], ...], ...] = ()
    unicode_results: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "connection_string", SecretText(self.connection_string))
        if self.access_token is not None:
            object.__setattr__(self, "access_token", SecretBytes(self.access_token))
