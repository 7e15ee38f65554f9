"""From the engine's events to a reply: which DONE ends what (MS-TDS 2.2.7.6 to 2.2.7.8).

A statement of a batch ends in DONE, one inside a procedure in DONEINPROC, and the
procedure in DONEPROC; all but the last of a reply say that more follows. The last
one is only known when the run is over, so a DONE is held back until then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..results import (
    Columns,
    Command,
    Done,
    Environment,
    EnvironmentChange,
    Event,
    Message,
    ReturnStatus,
    Rows,
)
from .tokens import FATAL_SEVERITY, DoneStatus, Token, TokenWriter

_TRANSACTION_ENDS = (Environment.COMMIT_TRANSACTION, Environment.ROLLBACK_TRANSACTION)
_ERROR_SEVERITY = 11
_CONVERTED_SEVERITY = 10
"""Sent as 0: "For compatibility reasons, the Database Engine converts severity 10 to severity 0
before returning the error information to the calling application" ("Error severities")."""
# Plain integers: combining enum flags costs more than the rest of a DONE.
_FINAL, _MORE = int(DoneStatus.FINAL), int(DoneStatus.MORE)
_ERROR, _IN_TRANSACTION = int(DoneStatus.ERROR), int(DoneStatus.IN_TRANSACTION)
_ATTENTION = int(DoneStatus.ATTENTION)


class Reply:
    """One reply while it is written.

    ``transaction`` is the session's transaction descriptor as the client has been told
    it, ``b""`` outside a transaction; the connection carries it from reply to reply.
    """

    def __init__(self, tokens: TokenWriter, transaction: bytes) -> None:
        self.transaction = transaction
        self.fatal = False
        self._tokens = tokens
        self._done_token = Token.DONE
        self._held: Done | None = None
        self._failed = False

    def begin_procedure(self) -> None:
        self._done_token = Token.DONE_IN_PROCEDURE

    def add(self, events: Iterable[Event]) -> None:
        """Write some events of the running request."""
        tokens = self._tokens
        for event in events:
            if self._held is not None:
                self._release(_MORE)
            if isinstance(event, Rows):
                tokens.rows(event.rows)
            elif isinstance(event, Columns):
                tokens.columns(event)
            elif isinstance(event, Done):
                self._held = event
            elif isinstance(event, Message):
                self._message(event)
            elif isinstance(event, EnvironmentChange):
                self._environment(event)
            elif isinstance(event, ReturnStatus):
                tokens.return_status(event.value)
            else:
                tokens.return_value(event)

    def add_after_interruption(self, events: Iterable[Event]) -> None:
        """Of a request that was cancelled only what it did to the session still counts."""
        for event in events:
            if isinstance(event, EnvironmentChange):
                if self._held is not None:
                    self._release(_MORE)
                self._environment(event)

    def end_batch(self) -> None:
        """The request's last statement has ended: the final DONE."""
        if self._held is None:
            self._held = Done()
        self._release(_FINAL)

    def end_procedure(self, *, more: bool) -> None:
        """A procedure has ended: DONEPROC, the final one unless ``more`` calls follow."""
        if self._held is not None:
            self._release(_MORE)
        status = self._status(failed=False)
        if more:
            status |= _MORE
        self._tokens.done(Token.DONE_PROCEDURE, status, Command.EXECUTE)

    def end_interrupted(self) -> None:
        """The request was cut short: a failed DONE ends its reply, and the attention's
        acknowledgement follows as another.

        MS-TDS (4.19.2) leaves the first one to the server; without it Microsoft's driver
        takes a cancelled statement for one that succeeded.
        """
        if self._held is not None:
            self._release(_MORE)
        self._tokens.done(Token.DONE, self._status(failed=True))

    def acknowledge_attention(self) -> None:
        """DONE with the attention bit, the only token of its reply (2.2.1.7)."""
        self._tokens.done(Token.DONE, self._status(failed=False) | _ATTENTION)

    def reset_acknowledged(self) -> None:
        self._tokens.reset_acknowledged()

    def _message(self, message: Message) -> None:
        if message.severity >= _ERROR_SEVERITY:
            self._failed = True
        if message.severity >= FATAL_SEVERITY:
            self.fatal = True
        if message.severity == _CONVERTED_SEVERITY:
            message = replace(message, severity=0)
        self._tokens.message(message)

    def _environment(self, change: EnvironmentChange) -> None:
        if change.kind is Environment.BEGIN_TRANSACTION and isinstance(change.new, bytes):
            self.transaction = change.new
        elif change.kind in _TRANSACTION_ENDS:
            self.transaction = b""
        self._tokens.environment(change)

    def _release(self, status: int) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        self._tokens.done(
            self._done_token, status | self._status(failed=held.failed), held.command, held.count
        )

    def _status(self, *, failed: bool) -> int:
        """The bits that every DONE has: an error since the last one, an open transaction."""
        status = _FINAL
        if failed or self._failed:
            status |= _ERROR
            self._failed = False
        if self.transaction:
            status |= _IN_TRANSACTION
        return status
