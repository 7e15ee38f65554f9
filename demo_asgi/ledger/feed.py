"""New transfers as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Max, Q

from demo_asgi import shutdown
from demo_asgi.ledger.cursor import FeedCursor
from demo_asgi.ledger.models import Transfer

POLL_SECONDS = 0.5
POLLS_PER_HEARTBEAT = 30
BATCH = 500
WINDOW = 100

COLUMNS = (
    "id",
    "amount",
    "memo",
    "created",
    "reference",
    "from_account_id",
    "from_account__name",
    "from_account__currency",
    "to_account_id",
    "to_account__name",
)


async def transfer_events(
    after: int | None, limit: int | None = None, *, once: bool = False
) -> AsyncIterator[bytes]:
    """Server-sent events for the transfers after id ``after``, or from now on.

    Ends after ``limit`` transfers, with ``once`` after the first poll, and when the
    server stops. A client that goes away ends it by cancellation.
    """
    cursor = await _open_cursor(after)
    yield b"retry: 2000\n\n"
    sent = polls = 0
    while not shutdown.requested.is_set():
        # A stream lives for hours and uses the database for milliseconds of them: in between
        # it holds neither a connection nor a thread.
        rows = await _poll(cursor)
        for row in rows if limit is None else rows[: limit - sent]:
            yield _event(row)
            sent += 1
        if once or (limit is not None and sent >= limit):
            return
        polls += 1
        if polls % POLLS_PER_HEARTBEAT == 0:
            # A comment: a proxy or a peer that went away silently is noticed by it.
            yield b": still here\n\n"
        if len(rows) < BATCH:
            await asyncio.sleep(POLL_SECONDS)


async def _open_cursor(after: int | None) -> FeedCursor:
    if after is None:
        newest = await Transfer.objects.aaggregate(newest=Max("id"))
        after = newest["newest"] or 0
    window = Transfer.objects.filter(id__gt=after - WINDOW, id__lte=after)
    recent = {pk async for pk in window.values_list("id", flat=True)}
    return FeedCursor(after, recent, WINDOW)


async def _poll(cursor: FeedCursor) -> list[dict[str, Any]]:
    wanted = Q(id__gt=cursor.position)
    if gaps := cursor.gaps:
        wanted |= Q(id__in=gaps)
    found = Transfer.objects.filter(wanted).order_by("id").values(*COLUMNS)[:BATCH]
    rows = [row async for row in found]
    cursor.advance(row["id"] for row in rows)
    return rows


def _event(row: dict[str, Any]) -> bytes:
    data = {
        "id": row["id"],
        "amount": row["amount"],
        "currency": row["from_account__currency"],
        "memo": row["memo"],
        "created": row["created"],
        "reference": row["reference"],
        "from": {"id": row["from_account_id"], "name": row["from_account__name"]},
        "to": {"id": row["to_account_id"], "name": row["to_account__name"]},
    }
    text = json.dumps(data, cls=DjangoJSONEncoder)
    return f"id: {row['id']}\nevent: transfer\ndata: {text}\n\n".encode()
