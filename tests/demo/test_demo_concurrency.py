"""Many hands at the demo at once: the money is conserved, and nobody holds a connection."""

from __future__ import annotations

import asyncio
import json
import random
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import httpx

ACCOUNTS = 4
TRANSFERS = 200
WORKERS = 16
REPORTS = 4
FEEDS = 3
ATTEMPTS = 20


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def _collect(lines: AsyncIterator[str], memo: str, count: int) -> list[int]:
    """Ids of the first ``count`` transfers with that memo, in the order of the feed."""
    found: list[int] = []
    async for transfer in _events(lines):
        if transfer["memo"] == memo:
            found.append(transfer["id"])
        if len(found) == count:
            break
    return found


async def _open_feed(stack: AsyncExitStack, client: httpx.AsyncClient) -> AsyncIterator[str]:
    """A feed that has answered: what is committed from now on will be in it."""
    response = await stack.enter_async_context(client.stream("GET", "/feed/"))
    lines = response.aiter_lines()
    assert (await anext(lines)).startswith("retry:")
    return lines


async def _rich_accounts(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """A few accounts of one currency, so that the transfers get in each other's way."""
    accounts: list[dict[str, Any]] = []
    first = (await client.get("/accounts/")).json()
    accounts += first["accounts"]
    for page in range(2, first["pages"] + 1):
        accounts += (await client.get("/accounts/", params={"page": page})).json()["accounts"]
    accounts.sort(key=lambda account: Decimal(account["balance"]), reverse=True)
    currency = accounts[0]["currency"]
    return [account for account in accounts if account["currency"] == currency][:ACCOUNTS]


async def _transfer(client: httpx.AsyncClient, twin: str, order: dict[str, Any]) -> int:
    """Make a transfer, again where the server asks for it; the number of attempts."""
    for attempt in range(1, ATTEMPTS + 1):
        response = await client.post(f"{twin}/transfers/", json=order)
        if response.status_code != 503:
            assert response.status_code == 201, response.text
            return attempt
        assert response.json()["retry"] is True
    raise AssertionError(f"deadlocked {ATTEMPTS} times")


async def test_two_hundred_transfers_from_sixteen_hands_conserve_the_money(
    client: httpx.AsyncClient,
) -> None:
    accounts = await _rich_accounts(client)
    before = (await client.get("/report/")).json()["conservation"]
    memo = f"test {uuid.uuid4()}"
    dice = random.Random(memo)
    orders = []
    expected = {account["id"]: Decimal(account["balance"]) for account in accounts}
    for _ in range(TRANSFERS):
        source, target = dice.sample(accounts, 2)
        amount = Decimal(dice.randrange(1, 5000)) / 10_000
        expected[source["id"]] -= amount
        expected[target["id"]] += amount
        orders.append(
            {
                "from_account": source["id"],
                "to_account": target["id"],
                "amount": str(amount),
                "memo": memo,
                "reference": str(uuid.uuid4()),
            }
        )
    work = iter(enumerate(orders))

    async def hand() -> None:
        for number, order in work:
            await _transfer(client, "/sync" if number % 2 else "", order)

    async def reader(number: int) -> None:
        for turn in range(REPORTS):
            twin = "/sync" if (number + turn) % 2 else ""
            report = (await client.get(f"{twin}/report/")).json()
            assert report["conservation"]["conserved"] is True, report["conservation"]
            page = await client.get(f"{twin}/accounts/{accounts[turn % ACCOUNTS]['id']}/")
            assert page.status_code == 200

    async with AsyncExitStack() as stack, asyncio.timeout(240):
        feeds = [await _open_feed(stack, client) for _ in range(FEEDS)]
        collectors = [asyncio.create_task(_collect(feed, memo, TRANSFERS)) for feed in feeds]
        await asyncio.gather(
            *(hand() for _ in range(WORKERS)), *(reader(number) for number in range(2))
        )
        seen = [await collector for collector in collectors]

    for ids in seen:
        assert len(set(ids)) == TRANSFERS, "each transfer is in each feed exactly once"
    for account in accounts:
        detail = (await client.get(f"/accounts/{account['id']}/")).json()["account"]
        assert Decimal(detail["balance"]) == expected[account["id"]], account["name"]
    after = (await client.get("/report/")).json()["conservation"]
    assert after["conserved"] is True
    assert Decimal(after["balance"]) == Decimal(before["balance"])
    assert after["transfers"] == before["transfers"] + TRANSFERS


async def test_more_streams_than_connections_leave_room_for_everybody(
    client: httpx.AsyncClient,
) -> None:
    await client.get("/health/")
    [pool] = (await client.get("/pool/")).json()["pools"]
    async with AsyncExitStack() as stack, asyncio.timeout(120):
        for _ in range(pool["max_size"] + 5):
            await _open_feed(stack, client)
        responses = await asyncio.gather(
            *(client.get(f"{twin}/accounts/") for twin in ("", "/sync") for _ in range(10))
        )
        assert {response.status_code for response in responses} == {200}


async def test_clients_that_go_away_leave_no_connection_in_use(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(120):
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await _open_feed(stack, client)
        reports = [asyncio.create_task(client.get("/report/")) for _ in range(10)]
        await asyncio.wait(reports, return_when=asyncio.FIRST_COMPLETED)
        for report in reports:
            report.cancel()
        await asyncio.gather(*reports, return_exceptions=True)
        while True:
            # The server notices in its own time; only the end state counts.
            [pool] = (await client.get("/pool/")).json()["pools"]
            if pool["in_use"] == 0:
                break
    report = (await client.get("/report/")).json()
    assert report["conservation"]["conserved"] is True


async def test_the_index_page_names_addresses_that_exist(client: httpx.AsyncClient) -> None:
    page = (await client.get("/", headers={"Accept": "text/html"})).text
    addresses = set(re.findall(r'href="(/[^"]*)"', page)) - {"/feed/"}
    assert {"/accounts/", "/sync/accounts/", "/report/", "/pool/", "/admin/"} <= addresses
    for address in addresses:
        response = await client.get(address.replace("&amp;", "&"), follow_redirects=True)
        assert response.status_code == 200, address
