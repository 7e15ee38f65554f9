"""The same work in synchronous views: what is measured under WSGI, and what projects that have
such views get under ASGI. The same code for every backend."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from .models import BULK, Item


def no_query(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def one_query(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(Item.objects.get(pk=pk).name)


def three_queries(request: HttpRequest, pk: int) -> HttpResponse:
    item = Item.objects.get(pk=pk)
    has_children = Item.objects.filter(parent=item).exists()
    of_the_same_amount = Item.objects.filter(amount=item.amount).count()
    return HttpResponse(f"{item.name} {has_children} {of_the_same_amount}")


def create(request: HttpRequest) -> HttpResponse:
    item = Item.objects.create(name="made by a request", amount=1)
    return HttpResponse(str(item.pk))


def bulk(request: HttpRequest) -> HttpResponse:
    Item.objects.bulk_create(Item(name=f"{n} of {BULK}", amount=n) for n in range(BULK))
    return HttpResponse("ok")


def prefetch(request: HttpRequest) -> HttpResponse:
    items = Item.objects.filter(pk__lte=10).prefetch_related("children")
    return HttpResponse(", ".join(child.name for item in items for child in item.children.all()))


def read_and_write(pk: int) -> None:
    with transaction.atomic():
        item = Item.objects.get(pk=pk)
        item.amount += 1
        item.save()


def read_and_write_in_savepoint(pk: int) -> None:
    with transaction.atomic():
        item = Item.objects.get(pk=pk)
        with transaction.atomic():
            item.amount += 1
            item.save()


def atomic(request: HttpRequest, pk: int) -> HttpResponse:
    read_and_write(pk)
    return HttpResponse("ok")


def savepoint(request: HttpRequest, pk: int) -> HttpResponse:
    read_and_write_in_savepoint(pk)
    return HttpResponse("ok")
