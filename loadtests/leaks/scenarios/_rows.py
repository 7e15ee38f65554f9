"""Responses that are made of the rows of a cursor while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

from asgiref.sync import sync_to_async

from ..story import Story

_DIGITS = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS"
ROWS = (
    f"SELECT CONCAT(%s, REPLICATE(' ', 200), tens.n, ones.n) "
    f"FROM {_DIGITS} tens(n) CROSS JOIN {_DIGITS} ones(n)"
)
"""A hundred rows that repeat the parameter; more than the server sends before somebody reads."""
AT_ONCE = 25
"""Rows that are sent together."""


def lines(story: Story) -> Iterator[bytes]:
    """The way of synchronous views. A row of somebody else ends it."""
    word = f"row of {story.token}"
    with story.cursor_unit() as cursor:
        cursor.execute(ROWS, [word])
        while rows := cursor.fetchmany(AT_ONCE):
            yield joined(rows, word)


async def lines_awaited(story: Story) -> AsyncIterator[bytes]:
    """The way of asynchronous views, with any backend."""
    word = f"row of {story.token}"
    opened = ExitStack()
    try:
        cursor = await sync_to_async(opened.enter_context)(story.cursor_unit())
        await sync_to_async(cursor.execute)(ROWS, [word])
        while rows := await sync_to_async(cursor.fetchmany)(AT_ONCE):
            yield joined(rows, word)
    finally:
        await sync_to_async(opened.close)()


def joined(rows: list[tuple[str]], word: str) -> bytes:
    found = [row[0] for row in rows]
    strange = [text for text in found if not text.startswith(f"{word} ")]
    if strange:
        raise AssertionError(f"{strange[0]!r} is not the answer to {word!r}")
    return "\n".join(found).encode()
