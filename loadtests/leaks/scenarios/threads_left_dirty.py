"""Calls in threads of asyncio's change their session and do not take it back.

The thread serves another request right afterwards, perhaps while the first one goes on, and a
backend that takes the thread for the owner of the session gives that request what is left there.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class ThreadsLeftDirty(Scenario):
    async def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        work = {"read": read, "undo": undo, "dirty": dirty}[request.GET["work"]]
        await story.aprobe()
        await asyncio.gather(
            sync_to_async(work, thread_sensitive=False)(story),
            asyncio.to_thread(work, story),
        )
        return HttpResponse("done elsewhere")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(work=visit.rand.choice(["read", "undo", "dirty"]))


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


def dirty(story: Story) -> None:
    """The next one in this thread finds a lock timeout that it did not choose."""
    story.change("lock timeout", "SET LOCK_TIMEOUT 4321", 4321)
    story.probe()
