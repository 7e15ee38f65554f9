"""The queries of the report, written once and awaited or not by the views."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from demo_asgi.ledger.models import Account, Transfer

DAYS = 14


def totals_per_currency() -> QuerySet[Account, Any]:
    return (
        Account.objects.values("currency")
        .annotate(accounts=Count("id"), balance=Sum("balance"))
        .order_by("currency")
    )


def top_accounts(count: int = 5) -> QuerySet[Account, Any]:
    return Account.objects.order_by("-balance", "id").values(
        "id", "name", "owner", "currency", "balance"
    )[:count]


def transfers_per_day() -> QuerySet[Transfer, Any]:
    since = timezone.now() - datetime.timedelta(days=DAYS)
    return (
        Transfer.objects.filter(created__gte=since)
        .annotate(day=TruncDate("created"))
        .values("day")
        .annotate(transfers=Count("id"), amount=Sum("amount"))
        .order_by("day")
    )


@transaction.atomic
def conservation() -> dict[str, Any]:
    """Whether the money that was there at the start is there now, account by account.

    Reading every account under the lock that transfers take, in the same order, is what
    makes the sums belong to one moment: under SQL Server's READ COMMITTED a plain sum may
    count an amount before it leaves one account and again after it has reached another.
    """
    accounts = list(
        Account.objects.select_for_update().order_by("pk").only("pk", "opening_balance", "balance")
    )
    paid_in = _sums("to_account")
    paid_out = _sums("from_account")
    nothing = Decimal(0)
    wrong = [
        account.pk
        for account in accounts
        if account.balance
        != account.opening_balance
        + paid_in.get(account.pk, nothing)
        - paid_out.get(account.pk, nothing)
    ]
    opened_with = sum((account.opening_balance for account in accounts), nothing)
    balance = sum((account.balance for account in accounts), nothing)
    return {
        "opened_with": opened_with,
        "balance": balance,
        "transfers": Transfer.objects.count(),
        "accounts": len(accounts),
        "wrong_accounts": wrong,
        "conserved": balance == opened_with and not wrong,
    }


def _sums(side: str) -> dict[int, Decimal]:
    return dict(Transfer.objects.order_by(side).values_list(side).annotate(amount=Sum("amount")))
