"""What went over the wire, counted. A message of the client is one round trip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Of one connection, or of a server since its start or last reset."""

    messages: dict[str, int] = field(default_factory=dict)
    """Client messages by name: ``batch``, ``rpc.sp_prepexec``, ``tran.begin``, … with
    ``+reset`` where the session was reset first."""
    bytes_received: int = 0
    bytes_sent: int = 0
    connections: int = 0
    """Accepted sockets, logged in or not."""
    logins: int = 0
    refused_logins: int = 0
    statements: int = 0
    """T-SQL statements that began, and the driver's requests to begin, commit and roll
    back; a batch may have many, IF, WHILE and BEGIN … END count by what they run."""

    @property
    def total_messages(self) -> int:
        """Round trips, the login's two included."""
        return sum(self.messages.values())

    def count_message(self, name: str) -> None:
        self.messages[name] = self.messages.get(name, 0) + 1

    def snapshot(self) -> Counters:
        """A copy that no longer changes; may be taken from any thread."""
        return Counters(
            dict(self.messages),
            self.bytes_received,
            self.bytes_sent,
            self.connections,
            self.logins,
            self.refused_logins,
            self.statements,
        )


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as seen from outside, at one moment."""

    spid: int
    state: str
    user: str
    database: str
    program_name: str
    host_process_id: int
    in_transaction: bool
    messages: Mapping[str, int]
    bytes_received: int = 0
    bytes_sent: int = 0
    statements: int = 0
    delay: float = 0.0
    """Seconds by which a fault delays its replies."""
