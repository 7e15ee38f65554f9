"""Fill an empty ledger."""

from __future__ import annotations

import datetime
import random
import uuid
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from demo_asgi.ledger.models import Account, Currency, Transfer, today

OWNERS = [
    "Ada Lovelace", "Alan Turing", "Barbara Liskov", "Donald Knuth", "Edsger Dijkstra",
    "Frances Allen", "Grace Hopper", "John Backus", "Karen Sparck Jones", "Leslie Lamport",
    "Margaret Hamilton", "Tony Hoare",
]  # fmt: skip
PURPOSES = ["Household", "Savings"]
MEMOS = ["Rent", "Groceries", "Concert tickets", "Books", "Train", "Bicycle", "Garden", "Coffee"]
DEMO_USER = "demo"
DEMO_PASSWORD = "demo"
DAYS = 14
TRANSFERS = 120


class Command(BaseCommand):
    help = "Open the demo's accounts and make a fortnight of transfers, unless there are any."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            seeded = not Account.objects.exists()
            if seeded:
                seed_ledger()
        if options["verbosity"]:
            self.stdout.write("Seeded the ledger." if seeded else "The ledger has accounts.")
        if settings.DEMO_EMBEDDED_SERVER:
            create_demo_superuser()
        elif options["verbosity"] and not get_user_model().objects.exists():
            # A known password on a server that may be anybody's would be a way in.
            self.stdout.write(
                "No user was created. For the admin: python -m demo_asgi manage createsuperuser"
            )


def seed_ledger() -> None:
    """The same accounts and transfers every time; only the dates follow the calendar."""
    dice = random.Random("mssql_async")
    accounts = [
        Account(
            name=f"{owner.split()[-1]} {purpose}",
            owner=owner,
            currency=list(Currency)[number % len(Currency)],
            opening_balance=Decimal(dice.randrange(50_000, 1_000_000)) / 100,
            opened=today() - datetime.timedelta(days=dice.randrange(30, 1500)),
        )
        for number, owner in enumerate(OWNERS)
        for purpose in PURPOSES
    ]
    for account in accounts:
        account.balance = account.opening_balance
    Account.objects.bulk_create(accounts)
    # Not every database tells bulk_create the new ids.
    accounts = list(Account.objects.order_by("name"))

    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    moments = sorted(
        midnight - datetime.timedelta(minutes=dice.randrange((DAYS - 1) * 24 * 60))
        for _ in range(TRANSFERS)
    )
    transfers = []
    for moment in moments:
        source = dice.choice(accounts)
        target = dice.choice(
            [other for other in accounts if other.currency == source.currency and other != source]
        )
        amount = min(Decimal(dice.randrange(500, 25_000)) / 100, source.balance)
        if not amount:
            continue
        source.balance -= amount
        target.balance += amount
        transfers.append(
            Transfer(
                from_account=source,
                to_account=target,
                amount=amount,
                memo=dice.choice(MEMOS),
                created=moment,
                reference=uuid.UUID(int=dice.getrandbits(128), version=4),
            )
        )
    Transfer.objects.bulk_create(transfers)
    Account.objects.bulk_update(accounts, ["balance"])


def create_demo_superuser() -> None:
    """``demo`` with the password ``demo``, in a database that ends with the demo."""
    users = get_user_model().objects
    if not users.filter(username=DEMO_USER).exists():
        users.create_superuser(DEMO_USER, password=DEMO_PASSWORD)
