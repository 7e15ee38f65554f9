"""Table-valued functions about what sessions were asked. Each answers with its rows as JSON.

Source: SQL Server documentation, "sys.dm_exec_sql_text", "sys.dm_exec_input_buffer".
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ...sqltypes import StorageValue
from ..sessionstate import SessionState
from ..submitted import sql_handle, with_declarations
from .registry import Arguments, argument, function, whole


@function("dm_exec_sql_text")
def _sql_text(session: SessionState, arguments: Arguments) -> StorageValue:
    handle = argument(arguments, 0)
    for text in _known_texts(session):
        if sql_handle(text) == handle:
            return json.dumps([[None, None, None, 0, text]])
    return "[]"


def _known_texts(session: SessionState) -> Iterator[str]:
    """What the sessions were asked last, then what the caches of batches still hold."""
    engine = session.engine
    for other in engine.sessions():
        yield other.submitted.text(other.prepared)
    yield from engine.parsed.remembered()
    for declarations, text in engine.prepared.remembered():
        yield with_declarations(declarations, text)


@function("dm_exec_input_buffer")
def _input_buffer(session: SessionState, arguments: Arguments) -> StorageValue:
    number, request = whole(argument(arguments, 0)), whole(argument(arguments, 1))
    asked = session.engine.session_by_id(number) if number is not None else None
    if asked is None or request not in (None, 0):
        return "[]"
    submitted = asked.submitted
    text = submitted.text(asked.prepared) or None
    return json.dumps([[submitted.event_type, len(submitted.parameters), text]])
