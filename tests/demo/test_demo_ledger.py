"""What the demo's addresses answer, one request at a time."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.demo.conftest import ON_REAL_SERVER

TWINS = ["", "/sync"]

twins = pytest.mark.parametrize("twin", TWINS, ids=["async", "sync"])


async def _accounts(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Two accounts of one currency and one of another, the richest ones first."""
    top: list[dict[str, Any]] = []
    for page in (1, 2):
        top += (await client.get("/accounts/", params={"page": page})).json()["accounts"]
    top.sort(key=lambda account: Decimal(account["balance"]), reverse=True)
    first = top[0]
    same = next(a for a in top[1:] if a["currency"] == first["currency"])
    other = next(a for a in top if a["currency"] != first["currency"])
    return [first, same, other]


def _order(source: dict[str, Any], target: dict[str, Any], **changes: Any) -> dict[str, Any]:
    order = {"from_account": source["id"], "to_account": target["id"], "amount": "0.0100"}
    return order | changes


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/accounts/",
        "/accounts/?page=2",
        "/sync/accounts/",
        "/report/",
        "/sync/report/",
        "/pool/",
    ],
)
async def test_browsers_get_pages(client: httpx.AsyncClient, address: str) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    response = await client.get(address, headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<h1>" in response.text


async def test_every_address_has_a_synchronous_twin_with_the_same_answer(
    client: httpx.AsyncClient,
) -> None:
    [account, *_] = await _accounts(client)
    for address in ("/accounts/", "/accounts/?page=2", f"/accounts/{account['id']}/", "/report/"):
        answers = [await client.get(twin + address) for twin in TWINS]
        assert [answer.status_code for answer in answers] == [200, 200], address
        assert answers[0].json() == answers[1].json(), address


async def test_the_database_is_reported_healthy(client: httpx.AsyncClient) -> None:
    response = await client.get("/health/")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_the_pool_shows_its_numbers_and_no_error_text(client: httpx.AsyncClient) -> None:
    await client.get("/health/")
    [pool] = (await client.get("/pool/")).json()["pools"]
    assert pool["max_size"] >= pool["in_use"] + pool["idle"]
    assert pool["acquired"] > 0
    assert "last_connect_error" not in pool


async def test_the_seed_conserves_the_money(client: httpx.AsyncClient) -> None:
    report = (await client.get("/report/")).json()
    assert report["conservation"]["conserved"] is True
    assert report["conservation"]["wrong_accounts"] == []
    assert report["transfers_per_day"]
    totals = sum(Decimal(row["balance"]) for row in report["totals"])
    assert totals == Decimal(report["conservation"]["opened_with"])


@twins
async def test_a_transfer_moves_exactly_its_amount(client: httpx.AsyncClient, twin: str) -> None:
    source, target, _ = await _accounts(client)
    order = _order(source, target, amount=0.1, memo=f"test {uuid.uuid4()}")
    response = await client.post(f"{twin}/transfers/", json=order)
    assert response.status_code == 201, response.text
    answer = response.json()
    assert Decimal(answer["transfer"]["amount"]) == Decimal("0.1")
    after = Decimal(source["balance"]) - Decimal("0.1")
    assert Decimal(answer["from_account"]["balance"]) == after
    detail = (await client.get(f"{twin}/accounts/{target['id']}/")).json()
    assert Decimal(detail["account"]["balance"]) == Decimal(target["balance"]) + Decimal("0.1")
    assert detail["transfers"][0]["memo"] == order["memo"]
    assert detail["transfers"][0]["direction"] == "in"


@twins
async def test_a_repeated_reference_moves_the_money_once(
    client: httpx.AsyncClient, twin: str
) -> None:
    source, target, _ = await _accounts(client)
    order = _order(source, target, reference=str(uuid.uuid4()))
    first = await client.post(f"{twin}/transfers/", json=order)
    again = await client.post(f"{twin}/transfers/", json=order)
    assert (first.status_code, again.status_code) == (201, 200), again.text
    assert again.json()["repeated"] is True
    assert again.json()["transfer"]["id"] == first.json()["transfer"]["id"]
    assert again.json()["from_account"] == first.json()["from_account"]
    other = await client.post(f"{twin}/transfers/", json=order | {"amount": "0.02"})
    assert other.status_code == 409


@twins
async def test_a_reference_used_between_other_accounts_is_refused(
    client: httpx.AsyncClient, twin: str
) -> None:
    source, target, _ = await _accounts(client)
    order = _order(source, target, reference=str(uuid.uuid4()))
    assert (await client.post(f"{twin}/transfers/", json=order)).status_code == 201
    backwards = _order(target, source, reference=order["reference"])
    response = await client.post(f"{twin}/transfers/", json=backwards)
    assert response.status_code == 409
    assert "reference" in response.json()["error"]


@twins
async def test_insufficient_funds_are_a_conflict_and_move_nothing(
    client: httpx.AsyncClient, twin: str
) -> None:
    source, target, _ = await _accounts(client)
    amount = str(Decimal(source["balance"]) + Decimal("0.0001"))
    response = await client.post(f"{twin}/transfers/", json=_order(source, target, amount=amount))
    assert response.status_code == 409
    assert source["name"] in response.json()["error"]
    unchanged = (await client.get(f"/accounts/{source['id']}/")).json()["account"]
    assert unchanged["balance"] == source["balance"]


@twins
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": "a lot"}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": "0.00001"}, "amount"),
        ({"amount": "1e400"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": ["1"]}, "amount"),
        ({"from_account": "first"}, "from_account"),
        ({"from_account": 0}, "from_account"),
        ({"to_account": 2**63}, "to_account"),
        ({"to_account": 2**63 - 1}, "to_account"),
        ({"memo": "x" * 141}, "memo"),
        ({"memo": 1}, "memo"),
        ({"reference": "not a uuid"}, "reference"),
    ],
    ids=str,
)
async def test_bad_orders_name_the_field(
    client: httpx.AsyncClient, twin: str, change: dict[str, Any], field: str
) -> None:
    source, target, _ = await _accounts(client)
    response = await client.post(f"{twin}/transfers/", json=_order(source, target, **change))
    assert response.status_code == 400, response.text
    assert field in response.json()["fields"]
    assert field in response.json()["error"]


@twins
async def test_orders_across_currencies_or_within_an_account_are_bad(
    client: httpx.AsyncClient, twin: str
) -> None:
    source, _, foreign = await _accounts(client)
    for target, word in ((foreign, foreign["currency"]), (source, "differ")):
        response = await client.post(f"{twin}/transfers/", json=_order(source, target))
        assert response.status_code == 400
        assert word in response.json()["error"]


@twins
@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"amount": NaN}', "\ud83d".encode("utf-8", "surrogatepass")]
)
async def test_what_is_not_a_json_object_is_bad(
    client: httpx.AsyncClient, twin: str, body: str | bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post(f"{twin}/transfers/", content=body, headers=headers)
    assert response.status_code == 400
    assert "JSON" in response.json()["error"]


@twins
async def test_forms_need_a_token_and_then_work(client: httpx.AsyncClient, twin: str) -> None:
    source, target, _ = await _accounts(client)
    order = _order(source, target)
    refused = await client.post(f"{twin}/transfers/", data=order)
    assert refused.status_code == 403
    page = (await client.get("/", headers={"Accept": "text/html"})).text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    accepted = await client.post(
        f"{twin}/transfers/", data=order | {"csrfmiddlewaretoken": token[1]}
    )
    assert accepted.status_code == 201


@pytest.mark.parametrize("page", ["0", "-1", "x", "1.5", "9" * 30, "²"])
async def test_bad_page_numbers_are_named(client: httpx.AsyncClient, page: str) -> None:
    response = await client.get("/accounts/", params={"page": page})
    assert response.status_code == 400
    assert "page" in response.json()["error"]


@twins
async def test_unknown_accounts_are_not_found(client: httpx.AsyncClient, twin: str) -> None:
    for pk in (2**31 - 1, 2**63 - 1, 2**63, 10**40):
        assert (await client.get(f"{twin}/accounts/{pk}/")).status_code == 404


async def test_the_feed_starts_after_an_id_and_ends_at_the_limit(
    client: httpx.AsyncClient,
) -> None:
    source, target, _ = await _accounts(client)
    ids = [
        (await client.post("/transfers/", json=_order(source, target))).json()["transfer"]["id"]
        for _ in range(3)
    ]
    feed = await client.get("/feed/", params={"after": ids[0], "limit": 2})
    assert feed.headers["content-type"] == "text/event-stream"
    assert re.findall(r"^id: (\d+)$", feed.text, re.MULTILINE) == [str(pk) for pk in ids[1:]]
    resumed = await client.get("/feed/?once=1", headers={"Last-Event-ID": str(ids[1])})
    assert re.findall(r"^id: (\d+)$", resumed.text, re.MULTILINE) == [str(ids[2])]
    quiet = await client.get("/feed/?once=1")
    assert "event:" not in quiet.text


@pytest.mark.skipif(ON_REAL_SERVER, reason="only the embedded server has a known superuser")
async def test_the_admin_shows_the_money_and_lets_nobody_change_it(
    client: httpx.AsyncClient,
) -> None:
    await _log_in(client)
    [account, *_] = await _accounts(client)
    for address in (
        "/admin/",
        "/admin/ledger/account/?q=Ada",
        "/admin/ledger/account/?currency__exact=EUR",
        "/admin/ledger/transfer/?q=Rent",
        "/admin/auth/user/",
        f"/admin/ledger/account/{account['id']}/change/",
    ):
        response = await client.get(address)
        assert response.status_code == 200, address
    transfers = await client.get("/admin/ledger/transfer/")
    assert "Add transfer" not in transfers.text

    change = f"/admin/ledger/account/{account['id']}/change/"
    form = {
        "name": account["name"],
        "owner": f"{account['owner']} II",
        "opened": account["opened"],
        "balance": "1000000",
        "opening_balance": "1000000",
        "currency": "XXX",
        "csrfmiddlewaretoken": client.cookies["csrftoken"],
    }
    saved = await client.post(change, data=form)
    assert saved.status_code == 302, saved.text
    detail = (await client.get(f"/accounts/{account['id']}/")).json()["account"]
    assert detail["owner"] == form["owner"]
    assert (detail["balance"], detail["currency"]) == (account["balance"], account["currency"])
    deletion = await client.get(change.replace("change", "delete"))
    assert deletion.status_code == 403


async def test_the_admin_has_its_style(client: httpx.AsyncClient) -> None:
    response = await client.get("/static/admin/css/base.css")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/css")


async def _log_in(client: httpx.AsyncClient) -> None:
    await client.get("/admin/login/")
    response = await client.post(
        "/admin/login/?next=/admin/",
        data={
            "username": "demo",
            "password": "demo",
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        },
    )
    assert response.status_code == 302, response.text
