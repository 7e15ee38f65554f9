"""The examples of docs/transactions.md do what the text says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tests.context.project import Project
from tests.shop import models
from tests.shop.models import Author, Book

from .support import request

DOCUMENT = Path(__file__).parents[2] / "docs" / "transactions.md"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "shop", models)
    monkeypatch.setitem(sys.modules, "shop.models", models)
    found: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        exec(code, found)  # noqa: S102 - our own
    return found


async def titles() -> list[str]:
    return [book.title async for book in Book.objects.order_by("title")]


async def test_blocks(project: Project, examples: dict[str, Any]) -> None:
    async with request():
        author = await Author.objects.acreate(name="Ann")
        await examples["publish"](author, "One")
        await examples["rename"](author.pk, "Eve")
        assert await titles() == ["Eve's book"]
        assert await examples["try_to_publish"](author) == "committed"


async def test_functions_of_on_commit(project: Project, examples: dict[str, Any]) -> None:
    async with request():
        author = await Author.objects.acreate(name="Ann")
        await examples["publish_and_tell"](author, "One")
    assert examples["told"] == ["One"]


async def test_trying_again(project: Project, examples: dict[str, Any]) -> None:
    async with request():
        author = await Author.objects.acreate(name="Ann")
        book = await author.books.acreate(title="One", price=1)
        with project.server.faults.deadlock("%UPDATE%shop_book%"):
            await examples["raise_price"](book.pk)
        await book.arefresh_from_db()
        assert book.price == 2
        with project.server.faults.deadlock("%UPDATE%shop_book%"):
            await sync_to_async(examples["lower_price"])(book.pk)
        await book.arefresh_from_db()
        assert book.price == 1


def test_reading_an_errors_number(examples: dict[str, Any]) -> None:
    assert examples["is_deadlock"](ValueError("1205")) is False
