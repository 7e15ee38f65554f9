"""What the ledger keeps."""

from __future__ import annotations

import datetime
import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


def today() -> datetime.date:
    """The date in the current time zone."""
    return timezone.now().date()


class Currency(models.TextChoices):
    CHF = "CHF", "Swiss franc"
    EUR = "EUR", "Euro"
    USD = "USD", "US dollar"


class Account(models.Model):
    """An account. Only transfers change :attr:`balance`."""

    name = models.CharField(max_length=80, unique=True)
    owner = models.CharField(max_length=120, db_index=True)
    currency = models.CharField(max_length=3, choices=Currency.choices)
    opening_balance = models.DecimalField(
        max_digits=19,
        decimal_places=4,
        default=0,
        help_text="All opening balances together are the money there is.",
    )
    balance = models.DecimalField(max_digits=19, decimal_places=4, default=0)
    opened = models.DateField(default=today)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(balance__gte=0), name="ledger_account_balance_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(opening_balance__gte=0), name="ledger_account_opening_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Transfer(models.Model):
    """An amount moved from one account to another, once and for all.

    A caller that sends its own :attr:`reference` may repeat a request whose answer it
    lost: the same reference moves the money once.
    """

    from_account = models.ForeignKey(Account, models.PROTECT, related_name="outgoing")
    to_account = models.ForeignKey(Account, models.PROTECT, related_name="incoming")
    amount = models.DecimalField(max_digits=19, decimal_places=4)
    memo = models.CharField(max_length=140, blank=True)
    created = models.DateTimeField(default=timezone.now, db_index=True)
    reference = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="ledger_transfer_amount_positive"
            ),
            models.CheckConstraint(
                condition=~Q(from_account=F("to_account")), name="ledger_transfer_two_accounts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount} on {self.created:%Y-%m-%d}"
