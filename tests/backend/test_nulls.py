"""Nulls of models: no question to the server for their types, and nothing else changed."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import django
import pyodbc
import pytest
from django.db import IntegrityError, connection, models
from django.db.models import F, Subquery, Value
from django.db.models.functions import Coalesce
from django.db.models.sql import InsertQuery
from django.test.utils import CaptureQueriesContext

from mssql_async.base import DatabaseWrapper
from mssql_async.devserver import DevServer
from mssql_async.session.nulls import TypedNull
from tests.shop.models import Author, Everything

from .default_alias import default_database, make_tables
from .test_connections import messages_of

ONE_STATEMENT = {"rpc.sp_prepexec": 1}
DESCRIBE = "rpc.sp_describe_undeclared_parameters"


class EmptyForNone(models.CharField):  # type: ignore[type-arg]
    """Saves None as an empty text."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return "" if value is None else super().get_db_prep_save(value, connection)


class ComputedForNone(models.CharField):  # type: ignore[type-arg]
    """Saves None as what the server computes."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return Value("computed") if value is None else super().get_db_prep_save(value, connection)


class Wrapped(models.CharField):  # type: ignore[type-arg]
    """Gives its parameter to a function, as geographic and encrypted fields do."""

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> str:
        return "COALESCE(CAST(%s AS nvarchar(9)), 'wrapped')"

    def get_placeholder_sql(self, value: Any, compiler: Any, connection: Any) -> tuple[str, Any]:
        return self.get_placeholder(value, compiler, connection), (value,)


class OfAnUnknownType(models.TextField):  # type: ignore[type-arg]
    def db_type(self, connection: Any) -> str:
        return "sysname"


class Keyed(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        app_label = "nulls"


class Odd(models.Model):
    keyed = models.ForeignKey(Keyed, models.CASCADE, null=True)
    empty = EmptyForNone(max_length=9, null=True)
    computed = ComputedForNone(max_length=9, null=True)
    wrapped = Wrapped(max_length=9, null=True)
    unknown = OfAnUnknownType(null=True)
    defaulted = models.IntegerField(null=True, db_default=5)

    class Meta:
        app_label = "nulls"


class Grouped(models.Model):
    """The dialect's cursor looks for GROUP BY in the text, and rewrites what has it."""

    strange = models.IntegerField(null=True, db_column="GROUP BY")
    plain = models.CharField(max_length=9, null=True)

    class Meta:
        app_label = "nulls"


@pytest.fixture
def default(server: DevServer) -> Iterator[DatabaseWrapper]:
    with default_database(server, OPTIONS={"pool": {"health_check_window": 600}}) as wrapper:
        make_tables(wrapper, Author, Everything, Keyed, Odd, Grouped)
        wrapper.close()
        yield wrapper


def nullable_fields() -> list[str]:
    return [field.attname for field in Everything._meta.fields if field.null]


def stored_nulls(**filters: Any) -> list[list[Any]]:
    names = nullable_fields()
    return [list(row) for row in Everything.objects.filter(**filters).values_list(*names)]


ALL_NULL = [None] * len(nullable_fields())
FULL = {
    "big": 1,
    "binary": b"x",
    "boolean": True,
    "char": "x" * 40,
    "data": {"a": 1},
    "text": "x" * 5000,
    "key": uuid.UUID(int=5),
}


class TestRoundTrips:
    def test_a_row_of_nulls_is_one_message(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        work = lambda: Everything.objects.create(key=None)  # noqa: E731
        assert messages_of(server, work) == ONE_STATEMENT
        assert stored_nulls() == [ALL_NULL]

    def test_the_dialects_own_compiler_would_ask(
        self, server: DevServer, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(default.ops, "compiler_module", "mssql.compiler")
        monkeypatch.setattr(default.ops, "_cache", None)  # Django's, of that module
        messages = messages_of(server, lambda: Everything.objects.create(key=None))
        assert messages == {**ONE_STATEMENT, DESCRIBE: 1}

    def test_rows_in_bulk_are_one_statement_for_each_batch(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        rows = [Everything(key=None, big=number if number % 2 else None) for number in range(60)]
        messages = messages_of(server, lambda: Everything.objects.bulk_create(rows, batch_size=30))
        assert messages["rpc.sp_prepexec"] == 2
        assert DESCRIBE not in messages
        assert Everything.objects.filter(big=None).count() == 30

    def test_a_saved_row_is_one_message(self, server: DevServer, default: DatabaseWrapper) -> None:
        row = Everything.objects.create(**FULL)
        for name in nullable_fields():
            setattr(row, name, None)
        assert messages_of(server, row.save) == ONE_STATEMENT
        assert stored_nulls() == [ALL_NULL]

    def test_an_update_is_one_message(self, server: DevServer, default: DatabaseWrapper) -> None:
        Everything.objects.create(**FULL)
        nulls = dict.fromkeys(nullable_fields())
        work = lambda: Everything.objects.filter(big=1).update(**nulls)  # noqa: E731
        assert messages_of(server, work) == ONE_STATEMENT
        assert stored_nulls() == [ALL_NULL]

    def test_so_it_is_on_a_wrapper_that_has_no_connection_yet(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        """The statement is compiled before the connection is taken."""
        row = Everything.objects.create(**FULL)
        with default_database(server, OPTIONS={"pool": {"health_check_window": 600}}) as fresh:
            assert fresh.connection is None
            work = lambda: Everything.objects.filter(pk=row.pk).update(char=None)  # noqa: E731
            assert messages_of(server, work) == ONE_STATEMENT

    def test_before_the_first_connection_of_all_the_driver_asks(
        self, server: DevServer, default: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        row = Everything.objects.create(**FULL)
        monkeypatch.setattr("mssql_async.base._microsofts_drivers", {})
        with default_database(server):
            Everything.objects.filter(pk=row.pk).update(char=None)
            assert Everything.objects.get(char=None) == row

    def test_rows_that_come_back_from_a_bulk_insert_are_one_statement(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        with default_database(server, OPTIONS={"return_rows_bulk_insert": True}):
            rows = [Author(name=f"n{number}", email=None, born=None) for number in range(3)]
            messages = messages_of(server, lambda: Author.objects.bulk_create(rows))
        assert messages["rpc.sp_prepexec"] == 1
        assert DESCRIBE not in messages
        assert all(row.pk for row in rows)


class TestValues:
    def test_nulls_and_values_take_turns_in_one_statement(self, default: DatabaseWrapper) -> None:
        given: list[dict[str, Any]] = [{"key": None}, FULL, {"key": None}, FULL, {"key": None}]
        saved = [Everything.objects.create(**values) for values in given]
        for row, values in zip(saved, given, strict=True):
            loaded = Everything.objects.get(pk=row.pk)
            wanted = dict.fromkeys(nullable_fields()) | values
            assert {name: getattr(loaded, name) for name in nullable_fields()} == wanted

    def test_null_of_a_json_field_is_no_json(self, default: DatabaseWrapper) -> None:
        row = Everything.objects.create(data=None)
        assert Everything.objects.filter(data__isnull=True).get() == row
        Everything.objects.update(data={"a": None})
        assert not Everything.objects.filter(data__isnull=True).exists()
        Everything.objects.update(data=None)
        assert Everything.objects.filter(data__isnull=True).get() == row

    def test_expressions_go_as_ever(self, default: DatabaseWrapper) -> None:
        Everything.objects.create(integer=5, small=None, key=None)
        Everything.objects.update(big=F("integer") + 1, small=Coalesce(F("small"), Value(3)))
        assert Everything.objects.values_list("big", "small").get() == (6, 3)
        Everything.objects.update(big=F("char"), small=Value(None))
        assert Everything.objects.values_list("big", "small").get() == (None, None)

    def test_a_null_key_of_another_table(self, default: DatabaseWrapper) -> None:
        other = Keyed.objects.create()
        row = Odd.objects.create(keyed=None)
        Odd.objects.filter(pk=row.pk).update(keyed=other)
        assert Odd.objects.get(keyed=other) == row
        Odd.objects.filter(pk=row.pk).update(keyed=None)
        assert Odd.objects.get(keyed=None) == row


class TestFieldsOfOtherMakers:
    @pytest.mark.parametrize("way", ["create", "bulk_create", "update", "save"])
    def test_what_a_field_makes_of_none_is_stored(self, default: DatabaseWrapper, way: str) -> None:
        if way == "bulk_create":
            Odd.objects.bulk_create([Odd(), Odd()])
        else:
            row = Odd.objects.create(empty="x", computed="x", wrapped="x", unknown="x")
            nulls = dict.fromkeys(["empty", "computed", "wrapped", "unknown"])
            if way == "create":
                row.delete()
                Odd.objects.create()
            elif way == "update":
                Odd.objects.update(**nulls)
            else:
                for name in nulls:
                    setattr(row, name, None)
                row.save()
        for row in Odd.objects.all():
            assert (row.empty, row.computed, row.unknown) == ("", "computed", None)
            # Until Django 6.0 an UPDATE wrote NULL instead of asking for a placeholder.
            assert row.wrapped == (None if way in _UPDATES_BEFORE_6_1 else "wrapped")
            assert row.defaulted == 5

    def test_the_driver_asks_for_a_type_that_is_not_known(
        self, server: DevServer, default: DatabaseWrapper
    ) -> None:
        assert messages_of(server, Odd.objects.create)[DESCRIBE] == 1


_UPDATES_BEFORE_6_1 = {"update", "save"} if django.VERSION < (6, 1) else set()


class TestSurroundings:
    def test_queries_are_shown_with_null(self, default: DatabaseWrapper) -> None:
        with CaptureQueriesContext(connection) as shown:
            Author.objects.create(name="n", email=None)
            Author.objects.bulk_create([Author(name="m", email=None)])
        assert ["NULL, NULL)" in query["sql"] for query in shown if "INSERT" in query["sql"]] == [
            True,
            True,
        ]
        assert not [query["sql"] for query in shown if "TypedNull" in query["sql"]]

    def test_wrappers_and_logs_see_none(
        self, server: DevServer, default: DatabaseWrapper, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[Any] = []

        def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            seen.append(json.loads(json.dumps(params)))
            return execute(sql, params, many, context)

        caplog.set_level(logging.DEBUG, "django.db.backends")
        row = Author.objects.create(name="first", email="f@example.org")
        work: list[Callable[[], Any]] = [
            lambda: Author.objects.create(name="n", email=None),
            lambda: Author.objects.bulk_create([Author(name="m", email=None)]),
            lambda: Author.objects.filter(pk=row.pk).update(email=None),
        ]
        caplog.clear()
        with CaptureQueriesContext(connection), connection.execute_wrapper(wrap):
            for one in work:
                sent = messages_of(server, one)
                for around in ("tran.begin", "tran.commit"):  # of bulk_create, before Django 6
                    sent.pop(around, None)
                assert sent == ONE_STATEMENT
        records = [vars(record) for record in caplog.records]
        logged = [each["params"] for each in records if "params" in each]  # BEGIN has none
        assert [len(params) for params in seen] == [len(params) for params in logged]
        assert [None in params for params in seen][:2] == [True, True]
        shown = [value for params in logged for value in params]
        assert {type(value) for value in shown} <= {str, int, type(None)}
        assert Author.objects.filter(email=None).count() == 3

    @pytest.mark.parametrize("rebuild", [lambda p: type(p)(x for x in p), list, tuple])
    def test_a_wrapper_may_rebuild_the_parameters(
        self, default: DatabaseWrapper, rebuild: Callable[[Any], Any]
    ) -> None:
        def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            return execute(sql, rebuild(params), many, context)

        with connection.execute_wrapper(wrap):
            Author.objects.create(name="n", email=None)
        assert Author.objects.filter(email=None).count() == 1

    def test_a_wrapper_may_change_the_parameters(self, default: DatabaseWrapper) -> None:
        def wrap(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            name, _email, *others = params
            return execute(sql, [name, "filled in", *others], many, context)

        with connection.execute_wrapper(wrap):
            author = Author.objects.create(name="n", email=None)
        assert Author.objects.get(pk=author.pk).email == "filled in"

    def test_an_error_says_what_it_said(self, default: DatabaseWrapper) -> None:
        with pytest.raises(IntegrityError, match="Cannot insert the value NULL into column 'name'"):
            Author.objects.create(name=None)
        with pytest.raises(IntegrityError, match="Cannot insert the value NULL into column 'name'"):
            Author.objects.bulk_create([Author(name=None), Author(name="x")])

    def test_a_statement_that_groups_is_rewritten_by_the_dialect(
        self, default: DatabaseWrapper
    ) -> None:
        row = Grouped.objects.create(strange=None, plain="x")
        Grouped.objects.bulk_create([Grouped(strange=2, plain=None)])
        assert Grouped.objects.get(strange=None) == row
        Grouped.objects.filter(strange=2).update(strange=None)
        assert Grouped.objects.filter(strange=None).count() == 2

    def test_a_compiled_insert_of_a_group_has_no_null_of_a_type(
        self, default: DatabaseWrapper
    ) -> None:
        counted = Author.objects.values("name").annotate(n=models.Count("id")).values("name")[:1]
        default.ensure_connection()
        for name, typed in [("x", True), (Subquery(counted), False)]:
            query = InsertQuery(Author)
            fields = [field for field in Author._meta.concrete_fields if not field.primary_key]
            query.insert_values(fields, [Author(name=name, email=None)])
            [(_sql, params)] = query.get_compiler(connection=default).as_sql()
            assert None in params
            assert bool(getattr(params, "nulls", {})) is typed

    def test_other_drivers_get_none(self, default: DatabaseWrapper) -> None:
        default.ensure_connection()
        default._is_microsoft_driver = False
        query = InsertQuery(Author)
        query.insert_values([Author._meta.get_field("email")], [Author(email=None)])
        [(_sql, params)] = query.get_compiler(connection=default).as_sql()
        assert tuple(params) == (None,)

    def test_executemany_of_a_cursor_takes_them_as_none(self, default: DatabaseWrapper) -> None:
        null = TypedNull(pyodbc.SQL_WVARCHAR, 100)
        with default.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO [shop_author] ([name], [email]) VALUES (%s, %s)",
                [("a", null), ("b", "b@example.org")],
            )
        assert list(Author.objects.order_by("name").values_list("name", "email")) == [
            ("a", None),
            ("b", "b@example.org"),
        ]
