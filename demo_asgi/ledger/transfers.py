"""Moving money: the one place that changes balances."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction

from demo_asgi.ledger.models import Account, Transfer

LARGEST_ID = 2**63 - 1
SMALLEST_AMOUNT = Decimal("0.0001")
TOO_LARGE_AMOUNT = Decimal(10) ** 15


class Refused(Exception):
    """A transfer that was not made. ``status`` is the HTTP status that says why."""

    status = 400

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = dict(fields or {})


class BadOrder(Refused):
    """The order makes no sense, whatever the balances are."""


class InsufficientFunds(Refused):
    """The order is fine, the account is not."""

    status = 409


class ReferenceTaken(Refused):
    """Another transfer has that reference."""

    status = 409


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller wants moved, checked as far as possible without the database."""

    from_account: int
    to_account: int
    amount: Decimal
    memo: str = ""
    reference: uuid.UUID | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Order:
        """Read an order from a form or from JSON.

        :raises BadOrder: naming every field that is wrong, not only the first.
        """
        problems: dict[str, str] = {}

        def take(name: str, read: Any) -> Any:
            try:
                return read(data.get(name))
            except ValueError as error:
                problems[name] = str(error)
                return None

        values = {
            "from_account": take("from_account", _account_id),
            "to_account": take("to_account", _account_id),
            "amount": take("amount", _amount),
            "memo": take("memo", _memo),
            "reference": take("reference", _reference),
        }
        if not problems and values["from_account"] == values["to_account"]:
            problems["to_account"] = "must differ from from_account"
        if problems:
            raise BadOrder(
                "; ".join(f"{name} {problem}" for name, problem in problems.items()), problems
            )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A transfer that is in the books, and the balances right after it."""

    transfer: Transfer
    from_account: Account
    to_account: Account
    repeated: bool = False
    """The reference was in the books already: nothing was moved this time."""


@transaction.atomic
def make_transfer(order: Order) -> Outcome:
    """Move the money.

    :raises Refused: nothing was moved, and why.
    """
    # Every transfer locks its accounts in the order of their ids: two that want the
    # same pair the other way round wait for each other in turn, never in a circle.
    accounts = {
        account.pk: account
        for account in Account.objects.select_for_update()
        .filter(pk__in=[order.from_account, order.to_account])
        .order_by("pk")
    }
    for field, pk in (("from_account", order.from_account), ("to_account", order.to_account)):
        if pk not in accounts:
            raise BadOrder(f"{field}: there is no account {pk}", {field: f"no account {pk}"})
    source, target = accounts[order.from_account], accounts[order.to_account]

    if order.reference is not None:
        known = Transfer.objects.filter(reference=order.reference).first()
        if known is not None:
            return _repeat(order, known, source, target)
    if source.currency != target.currency:
        raise BadOrder(
            f"{source} is kept in {source.currency}, {target} in {target.currency}",
            {"to_account": f"is kept in {target.currency}"},
        )
    if source.balance < order.amount:
        raise InsufficientFunds(
            f"{source} has {source.balance} {source.currency}, {order.amount} were to be moved",
            {"amount": "exceeds the balance"},
        )

    source.balance -= order.amount
    target.balance += order.amount
    for account in accounts.values():
        account.save(update_fields=["balance"])
    try:
        transfer = Transfer.objects.create(
            from_account=source,
            to_account=target,
            amount=order.amount,
            memo=order.memo,
            **({} if order.reference is None else {"reference": order.reference}),
        )
    except IntegrityError as error:
        # Between other accounts, hence past our locks, somebody used the reference first.
        raise ReferenceTaken(f"{order.reference} is the reference of another transfer") from error
    return Outcome(transfer, source, target)


def was_deadlock_victim(error: DatabaseError) -> bool:
    """SQL Server chose this transaction to break a deadlock (error 1205): try it again."""
    return "(1205)" in str(error)


def _repeat(order: Order, known: Transfer, source: Account, target: Account) -> Outcome:
    if (known.from_account_id, known.to_account_id, known.amount) != (
        order.from_account,
        order.to_account,
        order.amount,
    ):
        raise ReferenceTaken(f"{order.reference} is the reference of another transfer")
    known.from_account, known.to_account = source, target
    return Outcome(known, source, target, repeated=True)


def _account_id(value: Any) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST_ID:
        raise ValueError("must be the id of an account")
    return value


def _amount(value: Any) -> Decimal:
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        raise ValueError("must be a number")
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError("must be a number") from None
    if not amount.is_finite() or not SMALLEST_AMOUNT <= amount < TOO_LARGE_AMOUNT:
        raise ValueError(f"must be at least {SMALLEST_AMOUNT} and less than {TOO_LARGE_AMOUNT:,}")
    rounded = amount.quantize(SMALLEST_AMOUNT)
    if rounded != amount:
        raise ValueError("must have at most 4 decimals")
    return rounded


def _memo(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 140 or "\0" in value:
        raise ValueError("must be a text of at most 140 characters")
    return value.strip()


def _reference(value: Any) -> uuid.UUID | None:
    if value is None or value == "":
        return None
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise ValueError("must be a UUID") from None
