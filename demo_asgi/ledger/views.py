"""The demo's views: each as coroutine and as plain function, side by side.

Both give JSON, and a page to those who prefer HTML. The coroutines use the asynchronous
ORM for everything but transactions, which run as one synchronous function.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core.exceptions import BadRequest
from django.db import DatabaseError, connection
from django.db.models import Q, QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST, require_safe

from demo_asgi.ledger import report
from demo_asgi.ledger.feed import transfer_events
from demo_asgi.ledger.models import Account, Transfer
from demo_asgi.ledger.transfers import (
    BadOrder,
    Order,
    Outcome,
    Refused,
    make_transfer,
    was_deadlock_victim,
)
from demo_asgi.pool_state import pool_state

PAGE_SIZE = 20
RECENT = 20
FURTHEST_PAGE = 10**6


# -- Accounts --------------------------------------------------------------------------


@require_safe
async def accounts_async(request: HttpRequest) -> HttpResponse:
    """A page of accounts: two queries."""
    number = _natural(request, "page", 1, most=FURTHEST_PAGE)
    total = await Account.objects.acount()
    rows = [row async for row in _account_page(number)]
    return _respond(request, "ledger/accounts.html", _accounts(rows, number, total))


@require_safe
def accounts_sync(request: HttpRequest) -> HttpResponse:
    """:func:`accounts_async`, synchronously."""
    number = _natural(request, "page", 1, most=FURTHEST_PAGE)
    total = Account.objects.count()
    rows = list(_account_page(number))
    return _respond(request, "ledger/accounts.html", _accounts(rows, number, total))


@require_safe
async def account_async(request: HttpRequest, pk: int) -> HttpResponse:
    """An account and its latest transfers: two queries."""
    try:
        account = await Account.objects.aget(pk=pk)
    except (Account.DoesNotExist, OverflowError):
        return _no_account(request, pk)
    transfers = [transfer async for transfer in _recent_transfers(pk)]
    return _respond(request, "ledger/account.html", _account(account, transfers))


@require_safe
def account_sync(request: HttpRequest, pk: int) -> HttpResponse:
    """:func:`account_async`, synchronously."""
    try:
        account = Account.objects.get(pk=pk)
    except (Account.DoesNotExist, OverflowError):
        return _no_account(request, pk)
    transfers = list(_recent_transfers(pk))
    return _respond(request, "ledger/account.html", _account(account, transfers))


# -- Transfers -------------------------------------------------------------------------


def csrf_protect_forms(view: Callable[..., Any]) -> Callable[..., Any]:
    """Ask a form for its CSRF token, and JSON for none.

    No browser sends ``application/json`` to another origin without asking that origin
    first (a CORS preflight, which nobody answers here), so that JSON needs no token.
    """
    protected = csrf_protect(view)

    def choose(request: HttpRequest) -> Callable[..., Any]:
        return view if request.content_type == "application/json" else protected

    async def wrapper_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return await choose(request)(request, *args, **kwargs)

    def wrapper_sync(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return choose(request)(request, *args, **kwargs)

    return csrf_exempt(wrapper_async if iscoroutinefunction(view) else wrapper_sync)


@require_POST
@csrf_protect_forms
async def transfer_async(request: HttpRequest) -> HttpResponse:
    """Move money: one transaction, run as one synchronous function."""
    try:
        outcome = await sync_to_async(make_transfer)(_order(request))
    except (Refused, DatabaseError) as error:
        return _refusal(request, error)
    return _transferred(request, outcome)


@require_POST
@csrf_protect_forms
def transfer_sync(request: HttpRequest) -> HttpResponse:
    """:func:`transfer_async`, synchronously."""
    try:
        outcome = make_transfer(_order(request))
    except (Refused, DatabaseError) as error:
        return _refusal(request, error)
    return _transferred(request, outcome)


@require_GET
@never_cache
async def feed(request: HttpRequest) -> HttpResponseBase:
    """New transfers as they are committed, as server-sent events.

    ``?after=<id>`` starts there (as does ``Last-Event-ID``, which browsers send when they
    reconnect), ``?limit=<n>`` ends after so many, ``?once=1`` after the first look.
    """
    after: int | None = None
    if "after" in request.GET:
        after = _natural(request, "after", 0, least=0)
    elif (last := request.headers.get("Last-Event-ID", "")).isascii() and last.isdigit():
        after = min(int(last), 2**63 - 1)
    limit = _natural(request, "limit", 1) if "limit" in request.GET else None
    events = transfer_events(after, limit, once=request.GET.get("once") == "1")
    response = StreamingHttpResponse(events, content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"
    return response


# -- Report ----------------------------------------------------------------------------


@require_safe
@never_cache
async def report_async(request: HttpRequest) -> HttpResponse:
    """Three aggregations, and the conservation check in a transaction."""
    data = {
        "totals": [row async for row in report.totals_per_currency()],
        "top_accounts": [row async for row in report.top_accounts()],
        "transfers_per_day": [row async for row in report.transfers_per_day()],
        "conservation": await sync_to_async(report.conservation)(),
    }
    return _respond(request, "ledger/report.html", data)


@require_safe
@never_cache
def report_sync(request: HttpRequest) -> HttpResponse:
    """:func:`report_async`, synchronously."""
    data = {
        "totals": list(report.totals_per_currency()),
        "top_accounts": list(report.top_accounts()),
        "transfers_per_day": list(report.transfers_per_day()),
        "conservation": report.conservation(),
    }
    return _respond(request, "ledger/report.html", data)


# -- The demo itself -------------------------------------------------------------------


@require_safe
async def index(request: HttpRequest) -> HttpResponse:
    """What there is to see, live."""
    accounts = [
        row
        async for row in Account.objects.order_by("currency", "name").values(
            "id", "name", "currency"
        )[:200]
    ]
    latest = [pk async for pk in Transfer.objects.order_by("-id").values_list("id", flat=True)[:8]]
    data = {
        "accounts": accounts,
        "embedded": settings.DEMO_EMBEDDED_SERVER,
        "feed_after": latest[-1] - 1 if latest else 0,
    }
    return render(request, "ledger/index.html", data)


@require_safe
@never_cache
async def pool(request: HttpRequest) -> HttpResponse:
    """The state of the connection pools; asks the database nothing."""
    return _respond(request, "ledger/pool.html", {"pools": pool_state()})


@require_safe
@never_cache
async def health(request: HttpRequest) -> HttpResponse:
    """Whether the database answers."""

    def ask() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchall()

    try:
        await sync_to_async(ask)()
    except DatabaseError:
        return JsonResponse({"status": "unavailable"}, status=503)
    return JsonResponse({"status": "ok"})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler400``."""
    message = str(exception) if isinstance(exception, BadRequest) else "bad request"
    return _respond(request, "ledger/message.html", {"error": message}, status=400)


# -- What the pairs share --------------------------------------------------------------


def _account_page(number: int) -> QuerySet[Account, Any]:
    start = (number - 1) * PAGE_SIZE
    return Account.objects.order_by("name", "id").values(
        "id", "name", "owner", "currency", "balance", "opened"
    )[start : start + PAGE_SIZE]


def _accounts(rows: list[dict[str, Any]], number: int, total: int) -> dict[str, Any]:
    pages = max(1, -(-total // PAGE_SIZE))
    return {"accounts": rows, "page": number, "pages": pages, "total": total}


def _recent_transfers(pk: int) -> QuerySet[Transfer]:
    return (
        Transfer.objects.filter(Q(from_account=pk) | Q(to_account=pk))
        .select_related("from_account", "to_account")
        .order_by("-id")[:RECENT]
    )


def _account(account: Account, transfers: list[Transfer]) -> dict[str, Any]:
    return {
        "account": _account_summary(account)
        | {
            "owner": account.owner,
            "opening_balance": account.opening_balance,
            "opened": account.opened,
        },
        "transfers": [
            _transfer_summary(transfer)
            | {"direction": "out" if transfer.from_account_id == account.pk else "in"}
            for transfer in transfers
        ],
    }


def _account_summary(account: Account) -> dict[str, Any]:
    return {
        "id": account.pk,
        "name": account.name,
        "currency": account.currency,
        "balance": account.balance,
    }


def _transfer_summary(transfer: Transfer) -> dict[str, Any]:
    return {
        "id": transfer.pk,
        "reference": transfer.reference,
        "amount": transfer.amount,
        "memo": transfer.memo,
        "created": transfer.created,
        "from": {"id": transfer.from_account_id, "name": transfer.from_account.name},
        "to": {"id": transfer.to_account_id, "name": transfer.to_account.name},
    }


def _order(request: HttpRequest) -> Order:
    if request.content_type != "application/json":
        return Order.parse(request.POST.dict())
    try:
        # Money is decimal: 0.1 must not pass through a binary float.
        data = json.loads(request.body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadOrder("the body is not JSON") from None
    if not isinstance(data, dict):
        raise BadOrder("the body must be a JSON object")
    return Order.parse(data)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _transferred(request: HttpRequest, outcome: Outcome) -> HttpResponse:
    data = {
        "transfer": _transfer_summary(outcome.transfer),
        "from_account": _account_summary(outcome.from_account),
        "to_account": _account_summary(outcome.to_account),
        "repeated": outcome.repeated,
    }
    if _prefers_html(request):
        return redirect("account", pk=outcome.from_account.pk)
    return JsonResponse(data, status=200 if outcome.repeated else 201)


def _refusal(request: HttpRequest, error: Refused | DatabaseError) -> HttpResponse:
    if isinstance(error, Refused):
        data = {"error": error.message, "fields": error.fields, "retry": False}
        return _respond(request, "ledger/message.html", data, status=error.status)
    if not was_deadlock_victim(error):
        raise error
    data = {"error": "the server broke a deadlock at our cost; nothing was moved", "retry": True}
    response = _respond(request, "ledger/message.html", data, status=503)
    response["Retry-After"] = "1"
    return response


def _no_account(request: HttpRequest, pk: int) -> HttpResponse:
    data = {"error": f"there is no account {pk}"}
    return _respond(request, "ledger/message.html", data, status=404)


def _natural(
    request: HttpRequest, name: str, default: int, *, least: int = 1, most: int = 2**63 - 1
) -> int:
    text = request.GET.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) <= most):
        raise BadRequest(f"{name} must be a whole number of at least {least}")
    return int(text)


def _prefers_html(request: HttpRequest) -> bool:
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def _respond(
    request: HttpRequest, template: str, data: dict[str, Any], status: int = 200
) -> HttpResponse:
    response = (
        render(request, template, data, status=status)
        if _prefers_html(request)
        else JsonResponse(data, status=status)
    )
    patch_vary_headers(response, ["Accept"])
    return response
