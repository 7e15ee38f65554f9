"""The errors with which servers refuse: texts with plausible values filled in."""

from __future__ import annotations

import uuid

from ..errors import MESSAGES, SqlError, error

_MORE = "http://go.microsoft.com/fwlink/?LinkId=267637"


def refusal(
    number: int,
    *,
    user: str,
    database: str,
    server: str,
    incident: int,
    text: str | None = None,
    spid: int = 0,
) -> SqlError:
    """Error ``number`` as a server would say it to this client; ``incident`` tells one
    refusal's tracing numbers from another's. ``text`` replaces SQL Server's own.

    :raises ValueError: an unknown number without a text.
    """
    if text is not None:
        severity = MESSAGES[number][0] if number in MESSAGES else 16
        return SqlError(number, text, severity)
    if number not in MESSAGES:
        raise ValueError(
            f"The text of error {number} is not known here: give one with text=… (@text = N'…')."
        )
    tracing = str(uuid.UUID(int=incident)).upper()
    arguments: dict[int, tuple[object, ...]] = {
        976: (database,),
        978: (database,),
        983: (database,),
        988: (database,),
        1205: (spid, "lock"),
        3906: (database,),
        3971: (f"{spid:x}00000001",),
        4060: (database,),
        10928: (1, "request", 90, _MORE),
        10929: (1, "request", 0, 90, 12, 12, _MORE),
        18456: (user,),
        40197: (40143,),
        40501: (tracing, 131075),
        40613: (database, server, tracing),
        49919: (tracing,),
        49920: (tracing,),
    }
    return error(number, *arguments.get(number, ()), state=51 if number == 1205 else 1)
