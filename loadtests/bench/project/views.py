"""What is measured. Each view is written as its backend's users would write it, and that is the
same code except where a transaction spans asynchronous code: Django has nothing for that."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from .models import BULK, Item
from .sync_views import read_and_write, read_and_write_in_savepoint


async def no_query(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


async def one_query(request: HttpRequest, pk: int) -> HttpResponse:
    item = await Item.objects.aget(pk=pk)
    return HttpResponse(item.name)


async def three_queries(request: HttpRequest, pk: int) -> HttpResponse:
    item = await Item.objects.aget(pk=pk)
    has_children = await Item.objects.filter(parent=item).aexists()
    of_the_same_amount = await Item.objects.filter(amount=item.amount).acount()
    return HttpResponse(f"{item.name} {has_children} {of_the_same_amount}")


async def create(request: HttpRequest) -> HttpResponse:
    item = await Item.objects.acreate(name="made by a request", amount=1)
    return HttpResponse(str(item.pk))


async def bulk(request: HttpRequest) -> HttpResponse:
    await Item.objects.abulk_create(Item(name=f"{n} of {BULK}", amount=n) for n in range(BULK))
    return HttpResponse("ok")


async def prefetch(request: HttpRequest) -> HttpResponse:
    items = Item.objects.filter(pk__lte=10).prefetch_related("children")
    names = [child.name async for item in items for child in item.children.all()]
    return HttpResponse(", ".join(names))


if settings.SERVED_BY_OURS:
    from mssql_async.transaction import async_atomic

    async def atomic(request: HttpRequest, pk: int) -> HttpResponse:
        async with async_atomic():
            item = await Item.objects.aget(pk=pk)
            item.amount += 1
            await item.asave()
        return HttpResponse("ok")

    async def savepoint(request: HttpRequest, pk: int) -> HttpResponse:
        async with async_atomic():
            item = await Item.objects.aget(pk=pk)
            async with async_atomic():
                item.amount += 1
                await item.asave()
        return HttpResponse("ok")

else:

    async def atomic(request: HttpRequest, pk: int) -> HttpResponse:
        await sync_to_async(read_and_write)(pk)
        return HttpResponse("ok")

    async def savepoint(request: HttpRequest, pk: int) -> HttpResponse:
        await sync_to_async(read_and_write_in_savepoint)(pk)
        return HttpResponse("ok")
