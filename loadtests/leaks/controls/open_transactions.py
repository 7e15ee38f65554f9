"""A lease that ignores a transaction which its context left open.

Its connection goes back to the pool in the middle of it, and whoever gets it next is in it. The
application leaves one open in every request, and only reads.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.findings import Detector
from mssql_async.session.lease import LeasedConnection
from mssql_async.session.results import Hold

from ..scenarios.gather_in_a_view import GatherInAView
from ..story import Story
from . import Control

CONTROL = Control(Detector.TRANSACTION_BLEED, ["gather_in_a_view"], contexts=30)


def install() -> None:
    leave_nothing_open = LeasedConnection._leave_nothing_open  # noqa: SLF001

    def leave_the_transaction(self: LeasedConnection, hold: Hold) -> None:
        self._in_transaction = False
        leave_nothing_open(self, hold)

    LeasedConnection._leave_nothing_open = leave_the_transaction  # type: ignore[method-assign]  # noqa: SLF001
    GatherInAView.view = view  # type: ignore[method-assign]


async def view(self: GatherInAView, request: HttpRequest, story: Story) -> HttpResponseBase:
    await story.aprobe()
    await sync_to_async(begin_and_forget)(story)
    return HttpResponse("never mind")


def begin_and_forget(story: Story) -> None:
    transaction.set_autocommit(False, using=story.alias)
    story.begun()
    story.probe()
