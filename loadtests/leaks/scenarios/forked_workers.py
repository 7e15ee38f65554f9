"""A process forks after it has used the database; parent and child go on at the same time.

The child begins with no connections and never touches those of its parent, as gunicorn's workers
with ``--preload``. A backend that goes on with what it finds has two processes on one session, each
reading the other's answers.
"""

from __future__ import annotations

import json
import os
import signal
import warnings
from contextlib import suppress

from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import Fate, Kind, Record, from_plain, to_plain

from ..recorder import RECORDER
from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

PATIENCE = 10
"""Seconds after which the child is ended: a copy of a process with threads may hang."""


class Refused(Exception):
    """What the application does not want."""


class ForkedWorkers(Scenario):
    # The harness itself asks the server all the time: its own process is not to be copied.
    needs = (Need.PROCESSES, Need.FORK)
    share = 0.05
    most_at_once = 1

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        story.probe()
        worker = Worker(story)
        with story.cursor_unit() as cursor:
            # Its session is this request's until the second row is read.
            cursor.execute("SELECT 1 UNION ALL SELECT 2")
            cursor.fetchone()
            worker.begin()
            done = worker.end()
            cursor.fetchall()
        with story.transaction():
            story.write()
            story.probe()
        story.look()
        return HttpResponse("side by side", status=200 if done else 500)

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get()


class Worker:
    """A child that works once it is told to, and then hands over what it has seen."""

    def __init__(self, story: Story) -> None:
        begun, self._begin = os.pipe()
        self._ended, end = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # this process has threads
            self._pid = os.fork()
        if self._pid == 0:
            try:
                signal.alarm(PATIENCE)
                os.read(begun, 1)
                with suppress(Error):
                    work(story)
                seen = json.dumps(to_plain(RECORDER.drain()))
                with os.fdopen(end, "w") as out:
                    out.write(seen)
            finally:
                os._exit(0)
        os.close(begun)
        os.close(end)

    def begin(self) -> None:
        os.write(self._begin, b"!")
        os.close(self._begin)

    def end(self) -> bool:
        """Whether it has come to its end."""
        with os.fdopen(self._ended) as answer:
            seen = answer.read()
        os.waitpid(self._pid, 0)
        if not seen:
            return False
        record = from_plain(Record, json.loads(seen))
        for story in record.stories:
            RECORDER.ended(story)
        RECORDER.units += record.units
        RECORDER.sights += record.sights
        RECORDER.answers += record.answers
        RECORDER.written += record.written
        RECORDER.seen += record.seen
        return True


def work(story: Story) -> None:
    """In the child."""
    with story.child(Kind.THREAD, "forked") as child:
        child.probe()
        try:
            with child.transaction():
                child.write(Fate.ROLLED_BACK)
                child.probe()
                raise Refused
        except Refused:
            child.look()
