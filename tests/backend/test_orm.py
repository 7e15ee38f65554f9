"""Django's ORM through the backend, on whichever server the suite runs."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models import Avg, Case, Count, Exists, F, Max, OuterRef, Q, Sum, Value, When, Window
from django.db.models.functions import Concat, Length, Lower, RowNumber, TruncMonth, Upper
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.shop.models import Author, Book, Everything, Tag

pytestmark = pytest.mark.django_db

UTC = dt.UTC


@pytest.fixture
def author() -> Author:
    return Author.objects.create(name="Ursula K. Le Guin", born=dt.date(1929, 10, 21))


@pytest.fixture
def books(author: Author) -> list[Book]:
    start = dt.datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    return [
        Book.objects.create(
            title=title,
            author=author,
            price=Decimal(price),
            pages=pages,
            created=start + dt.timedelta(days=20 * number),
        )
        for number, (title, price, pages) in enumerate(
            [
                ("Rocannon's World", "9.50", 136),
                ("The Dispossessed", "14.25", 341),
                ("Żółć", "3", 1),
            ]
        )
    ]


class TestFields:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("big", 2**63 - 1),
            ("big", -(2**63)),
            ("binary", bytes(range(256)) * 40),
            ("binary", b""),
            ("short_binary", b"\x00\xff"),
            ("boolean", True),
            ("boolean", False),
            ("char", "żółć, 'quoted' [x] %s ?"),
            ("char", ""),
            ("char", "\N{GRINNING FACE}"),
            ("date", dt.date(1, 1, 1)),
            ("date", dt.date(9999, 12, 31)),
            ("moment", dt.datetime(2026, 11, 23, 12, 34, 56, 123456, tzinfo=UTC)),
            ("moment", dt.datetime(1970, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5.5)))),
            ("amount", Decimal("1234567890123456789012345678.0123456789")),
            ("amount", Decimal("-0.0000000001")),
            ("duration", dt.timedelta(days=-3, microseconds=1)),
            ("ratio", 0.1),
            ("ratio", -1.5e300),
            ("integer", -(2**31)),
            ("address", "2001:db8::1"),
            ("data", {"a": [1, 2.5, None, True, "żółć"]}),
            ("small", -32768),
            ("slug", "a-slug"),
            ("text", "x" * 100_000),
            ("text", "two\r\nlines"),
            ("time", dt.time(23, 59, 59, 999999)),
            ("key", uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
        ],
    )
    def test_a_value_comes_back_as_it_was_and_is_found_by_it(self, field: str, value: Any) -> None:
        saved = Everything.objects.create(**{field: value})
        loaded = Everything.objects.get(pk=saved.pk)
        assert getattr(loaded, field) == value
        if field not in {"data", "text", "binary"}:
            assert Everything.objects.filter(**{field: value}).get() == saved

    def test_every_field_may_be_null(self) -> None:
        saved = Everything.objects.create(key=None)
        loaded = Everything.objects.get(pk=saved.pk)
        names = [field.name for field in Everything._meta.fields if field.name != "id"]
        assert [getattr(loaded, name) for name in names] == [None] * len(names)

    def test_text_too_long_for_its_column_is_refused(self) -> None:
        with pytest.raises(DatabaseError, match="would be truncated"), transaction.atomic():
            Everything.objects.create(char="x" * 41)


class TestQueries:
    def test_get_filter_exclude_and_order(self, books: list[Book]) -> None:
        assert Book.objects.get(title="the dispossessed") == books[1]  # case does not count
        assert list(Book.objects.filter(price__gt=5).order_by("-price")) == [books[1], books[0]]
        assert list(Book.objects.exclude(title__startswith="The").order_by("pages")) == [
            books[2],
            books[0],
        ]
        assert not Book.objects.filter(title__contains="100%").exists()

    def test_pages_of_a_list(self, books: list[Book]) -> None:
        assert list(Book.objects.order_by("pages")[1:2]) == [books[0]]
        assert Book.objects.order_by("pages").last() == books[1]

    def test_aggregates(self, author: Author, books: list[Book]) -> None:
        totals = Book.objects.aggregate(
            sum=Sum("price"),
            pages=Avg("pages"),
            most=Max("price"),
            n=Count("author", distinct=True),
        )
        assert totals["sum"] == Decimal("26.75")
        assert totals["pages"] == pytest.approx(478 / 3)
        assert totals["most"] == Decimal("14.25")
        assert totals["n"] == 1
        counted = Author.objects.annotate(n=Count("books")).filter(n__gt=2)
        assert [(a.name, a.n) for a in counted] == [(author.name, 3)]

    def test_expressions_and_functions(self, books: list[Book]) -> None:
        row = (
            Book.objects.annotate(
                shout=Upper("title"),
                size=Case(When(pages__gt=100, then=Value("thick")), default=Value("thin")),
                label=Concat("title", Value(" by "), Lower("author__name")),
                length=Length("title"),
                twice=F("price") * 2,
            )
            .values("shout", "size", "label", "length", "twice")
            .get(pk=books[1].pk)
        )
        assert row == {
            "shout": "THE DISPOSSESSED",
            "size": "thick",
            "label": "The Dispossessed by ursula k. le guin",
            "length": 16,
            "twice": Decimal("28.50"),
        }

    def test_subqueries_and_exists(self, author: Author, books: list[Book]) -> None:
        dear = Book.objects.filter(author=OuterRef("pk"), price__gt=10)
        assert list(Author.objects.filter(Exists(dear))) == [author]
        assert not Author.objects.filter(~Exists(dear)).exists()
        assert (
            Book.objects.filter(author__in=Author.objects.filter(name__contains="Le")).count() == 3
        )

    def test_windows_and_dates_in_the_current_time_zone(self, books: list[Book]) -> None:
        numbered = Book.objects.annotate(n=Window(RowNumber(), order_by=F("price").desc()))
        assert {book.title: book.n for book in numbered}["The Dispossessed"] == 1
        months = Book.objects.annotate(m=TruncMonth("created")).values_list("m", flat=True)
        # 23:30 UTC on 31 January is still January in Chicago.
        assert sorted({month.month for month in months}) == [1, 2, 3]
        assert [d.year for d in Book.objects.dates("created", "year")] == [2026]

    def test_many_to_many_and_prefetch(self, books: list[Book]) -> None:
        tags = [Tag.objects.create(name=name) for name in ("sf", "classic")]
        books[0].tags.add(*tags)
        books[1].tags.set([tags[0]])
        with CaptureQueriesContext(connection) as queries:
            loaded = Book.objects.prefetch_related("tags").select_related("author").order_by("pk")
            names = [sorted(tag.name for tag in book.tags.all()) for book in loaded]
        assert names == [["classic", "sf"], ["sf"], []]
        assert len(queries) == 2
        assert tags[1].books.get() == books[0]

    def test_a_thousand_rows_in_bulk(self, author: Author) -> None:
        Book.objects.bulk_create(
            Book(title=f"Volume {n}", author=author, price=n, pages=n) for n in range(1000)
        )
        assert Book.objects.aggregate(n=Count("pk"), s=Sum("pages")) == {"n": 1000, "s": 499_500}
        assert sum(book.pages for book in Book.objects.iterator(chunk_size=100)) == 499_500

    def test_updates_and_deletes_say_how_many(self, books: list[Book]) -> None:
        assert Book.objects.filter(pages__lt=200).update(price=F("price") + 1) == 2
        assert Book.objects.get(pk=books[2].pk).price == Decimal("4.00")
        assert Author.objects.all().delete()[1] == {"shop.Book": 3, "shop.Author": 1}

    def test_get_or_create_and_update_or_create(self, author: Author) -> None:
        assert Author.objects.get_or_create(name=author.name) == (author, False)
        changed, created = Author.objects.update_or_create(
            name=author.name, defaults={"email": "ursula@example.com"}
        )
        assert (changed.email, created) == ("ursula@example.com", False)

    def test_raw_sql_with_parameters(self, books: list[Book]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT title FROM shop_book WHERE pages > %s AND title <> %s", [100, "x"]
            )
            assert {row[0] for row in cursor.fetchall()} == {"Rocannon's World", "The Dispossessed"}

    def test_combined_conditions_and_sets(self, books: list[Book]) -> None:
        q = Q(pages__gte=300) | Q(price__lt=5)
        assert Book.objects.filter(q & ~Q(title="Żółć")).get() == books[1]
        union = Book.objects.filter(pages=1).union(Book.objects.filter(pages=136))
        assert {book.pk for book in union} == {books[0].pk, books[2].pk}


class TestConstraints:
    def test_a_duplicate_is_an_integrity_error_with_the_servers_number(
        self, author: Author
    ) -> None:
        with pytest.raises(IntegrityError, match=r"\((2627|2601)\)"), transaction.atomic():
            Author.objects.create(name=author.name.upper())

    def test_a_check_is_enforced(self, author: Author) -> None:
        with pytest.raises(IntegrityError, match="price_not_negative"), transaction.atomic():
            Book.objects.create(title="x", author=author, price=-1)

    def test_a_dangling_reference_is_refused(self) -> None:
        with pytest.raises(IntegrityError, match="547"), transaction.atomic():
            Book.objects.create(title="x", author_id=987654, price=1)

    def test_a_missing_value_is_refused(self, author: Author) -> None:
        with pytest.raises(IntegrityError, match="515"), transaction.atomic():
            Author.objects.filter(pk=author.pk).update(name=None)


class TestTransactions:
    def test_an_exception_rolls_back_the_block_and_a_savepoint_only_itself(self) -> None:
        with transaction.atomic():
            Tag.objects.create(name="kept")
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                Tag.objects.create(name="lost")
                raise ZeroDivisionError
            Tag.objects.create(name="kept too")
        assert set(Tag.objects.values_list("name", flat=True)) == {"kept", "kept too"}

    def test_the_transaction_goes_on_after_a_failed_statement_in_a_savepoint(
        self, author: Author
    ) -> None:
        with transaction.atomic():
            with pytest.raises(IntegrityError), transaction.atomic():
                Author.objects.create(name=author.name)
            Author.objects.create(name="Somebody else")
        assert Author.objects.count() == 2

    @pytest.mark.django_db(transaction=True)
    def test_uncommitted_rows_are_seen_by_nobody_else(self) -> None:
        seen: list[int] = []

        def look() -> None:
            seen.append(Tag.objects.count())
            connections.close_all()

        def look_from_another_thread() -> None:
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

        with transaction.atomic():
            Tag.objects.create(name="uncommitted")
            look_from_another_thread()
        look_from_another_thread()
        assert seen == [0, 1]

    @pytest.mark.django_db(transaction=True)
    def test_on_commit_runs_after_the_commit_and_not_after_a_rollback(self) -> None:
        ran: list[str] = []
        with transaction.atomic():
            transaction.on_commit(lambda: ran.append("committed"))
            assert not ran
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            transaction.on_commit(lambda: ran.append("rolled back"))
            raise ZeroDivisionError
        assert ran == ["committed"]

    @pytest.mark.django_db(transaction=True)
    def test_rows_locked_for_update_are_changed_one_after_the_other(self, author: Author) -> None:
        book = Book.objects.create(title="Counter", author=author, price=0)

        def add_one() -> None:
            for _ in range(10):
                with transaction.atomic():
                    locked = Book.objects.select_for_update().get(pk=book.pk)
                    locked.pages += 1
                    locked.save()
            connections.close_all()

        threads = [threading.Thread(target=add_one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        book.refresh_from_db()
        assert book.pages == 40


class TestAsync:
    @pytest.mark.django_db(transaction=True)
    async def test_the_async_orm(self) -> None:
        author = await Author.objects.acreate(name="Stanisław Lem")
        await Book.objects.acreate(title="Solaris", author=author, price=Decimal("7.00"))
        assert (await Book.objects.aget(title="Solaris")).price == 7
        assert [book.title async for book in Book.objects.filter(author=author)] == ["Solaris"]
        assert await Book.objects.acount() == 1
        assert await Author.objects.filter(name__contains="Lem").aexists()
        await Book.objects.all().adelete()
        assert not await Book.objects.aexists()


class TestAdmin:
    def test_the_admin_lists_searches_filters_and_saves(self, books: list[Book]) -> None:
        get_user_model().objects.create_superuser("root", "root@example.com", "secret")
        client = Client()
        assert client.login(username="root", password="secret")
        for address in (
            "/admin/",
            "/admin/shop/book/",
            "/admin/shop/book/?q=dispossessed",
            f"/admin/shop/book/?author__id__exact={books[0].author_id}",
            "/admin/shop/book/?created__year=2026&created__month=2",
            f"/admin/shop/book/{books[0].pk}/change/",
        ):
            assert client.get(address).status_code == 200, address
        response = client.post("/admin/shop/tag/add/", {"name": "from the admin"})
        assert response.status_code == 302
        assert Tag.objects.get().name == "from the admin"
