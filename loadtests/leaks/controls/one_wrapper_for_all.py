"""An application that puts one wrapper into a module global and hands it to everybody.

``inc_thread_sharing()`` switches off the check that would refuse it, and a lock around each
statement makes it look safe: the statements of one request run in the transaction of another.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.findings import Detector

from ..scenarios.gather_in_a_view import GatherInAView
from ..story import Story
from . import Control

CONTROL = Control(Detector.SHARED_SESSION, ["gather_in_a_view"], contexts=30)

_lock = threading.RLock()
_everybodys: list[Any] = []


def install() -> None:
    GatherInAView.view = view  # type: ignore[method-assign]


async def view(self: GatherInAView, request: HttpRequest, story: Story) -> HttpResponseBase:
    await sync_to_async(work, thread_sensitive=False)(story)
    return HttpResponse("done with what is everybody's")


def work(story: Story) -> None:
    own = connections[story.alias]
    connections[story.alias] = everybodys(story.alias)
    try:
        with ExitStack() as transaction:
            with _lock:
                transaction.enter_context(story.transaction())
                story.probe()
            time.sleep(0.005)  # for others to come
            with _lock:
                story.probe()
                transaction.close()
    finally:
        connections[story.alias] = own


def everybodys(alias: str) -> Any:
    with _lock:
        if not _everybodys:
            wrapper = connections.create_connection(alias)
            wrapper.inc_thread_sharing()
            _everybodys.append(wrapper)
    return _everybodys[0]
