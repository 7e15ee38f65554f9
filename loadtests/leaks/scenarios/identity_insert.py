"""A request allows itself to choose primary keys, and does not take that back.

Of all requests only it may. A backend that gives the session on as it is would let the next one
insert rows with keys of its own choice, or refuse it the same for another table.
"""

from __future__ import annotations

from dataclasses import replace

from django.db import Error, connections
from django.db.transaction import atomic
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from mssql_async.contrib.leaks.record import State

from ..recorder import RECORDER
from ..scenario import Need, Reply, Scenario, Visit
from ..story import Story

INSERT = "INSERT INTO leaks_note (id, token, row, fate) VALUES (%s, %s, %s, 'rolled back')"
FIRST = 1_000_000_000_000
"""Far beyond any key that the server chooses."""


class Refused(Exception):
    """What the application does not want."""


class IdentityInsert(Scenario):
    needs = (Need.SQL_SERVER,)

    def view(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        with connections[story.alias].cursor() as cursor:
            cursor.execute("SET IDENTITY_INSERT leaks_note ON")
        if not may_choose_keys(story):
            return HttpResponse("was not allowed to", status=500)
        return HttpResponse("allowed")

    def view_plain(self, request: HttpRequest, story: Story) -> HttpResponseBase:
        """Asks as somebody who has forgotten to allow it: that has to be an error (544)."""
        if may_choose_keys(story):
            note_that_it_was_on(story)
        return HttpResponse("not allowed")

    async def visit(self, visit: Visit) -> Reply | None:
        return await visit.get(visit.rand.choice(["", "plain"]))


def may_choose_keys(story: Story) -> bool:
    try:
        with atomic(using=story.alias), connections[story.alias].cursor() as cursor:
            cursor.execute(INSERT, [FIRST + story.token, story.token, f"chosen {story.token}"])
            raise Refused
    except Refused:
        return True
    except Error as error:
        if "IDENTITY_INSERT" not in str(error):
            raise
        return False


def note_that_it_was_on(story: Story) -> None:
    """No statement shows it: the probe's sight is completed by hand."""
    sight = story.probe()
    settings = (*sight.state.settings, ("identity insert", "on"))
    RECORDER.sights.append(replace(sight, state=State(settings, sight.state.transactions)))
