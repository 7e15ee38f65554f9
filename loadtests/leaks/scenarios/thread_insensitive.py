"""Synchronous calls of a view in threads of asyncio's, which belong to no request.

``sync_to_async(thread_sensitive=False)`` and ``asyncio.to_thread`` run in a thread that serves
another request right afterwards. A backend that keeps a connection for each thread leaves it there
when the request has ended, with whatever state the request gave it.
"""

from __future__ import annotations

import asyncio

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate

from ..scenario import Reply, Scenario, Visit
from ..story import Story


class Refused(Exception):
    """What the application does not want."""


class ThreadInsensitive(Scenario):
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
    """Whoever manages threads has to close their connections, as Django documents it: the thread
    itself goes on."""
    try:
        story.change("lock timeout", "SET LOCK_TIMEOUT 4321", 4321)
        story.probe()
    finally:
        connections[story.alias].close()
