"""Views whose work is done in threads of asyncio's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


async def answer(
    request: HttpRequest, story: Story, dirty: Callable[[Story], None]
) -> HttpResponseBase:
    """What the view does: the same work in both ways at once."""
    work = {"read": read, "undo": undo, "dirty": dirty}[request.GET["work"]]
    await story.aprobe()
    await asyncio.gather(
        sync_to_async(work, thread_sensitive=False)(story),
        asyncio.to_thread(work, story),
    )
    return HttpResponse("done elsewhere")


async def ask(visit: Visit) -> Reply:
    return await visit.get(work=visit.rand.choice(["read", "undo", "dirty"]))


def dirty(story: Story) -> None:
    """The next one in this thread finds a lock timeout that it did not choose."""
    story.change("lock timeout", "SET LOCK_TIMEOUT 4321", 4321)
    story.probe()


def read(story: Story) -> None:
    story.probe()
    story.look()


def undo(story: Story) -> None:
    try:
        with story.transaction():
            story.write(Fate.ROLLED_BACK)
            raise Refused
    except Refused:
        pass
