"""Starlette with SQLAlchemy's ORM, its async engine and aioodbc.

What only reads uses an engine in autocommit, as SQLAlchemy advises for that: the other sends a
rollback when a connection goes back to the pool. An engine each, as changing a connection's
mode would be a round trip of its own, on the event loop even.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime

from sqlalchemy import URL, ForeignKey, String, func, select
from sqlalchemy.dialects.mssql import DATETIMEOFFSET
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from . import POOL_SIZE, database

# Without it aioodbc shares asyncio's own threads, of which there are four more than processors.
_threads = ThreadPoolExecutor(POOL_SIZE)


def _engine(**options: str) -> AsyncEngine:
    return create_async_engine(
        URL.create("mssql+aioodbc", query={"odbc_connect": database.connection_string()}),
        pool_size=POOL_SIZE,
        max_overflow=0,
        connect_args={"executor": _threads},
        **options,
    )


engine = _engine()
reading_engine = _engine(isolation_level="AUTOCOMMIT")
Session = async_sessionmaker(engine, expire_on_commit=False)
ReadingSession = async_sessionmaker(reading_engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "bench_item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    amount: Mapped[int]
    made_at: Mapped[datetime] = mapped_column(DATETIMEOFFSET)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("bench_item.id"))


async def no_query(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def one_query(request: Request) -> PlainTextResponse:
    async with ReadingSession() as session:
        item = await session.get_one(Item, request.path_params["pk"])
    return PlainTextResponse(item.name)


async def three_queries(request: Request) -> PlainTextResponse:
    async with ReadingSession() as session:
        item = await session.get_one(Item, request.path_params["pk"])
        child = select(Item.id).where(Item.parent_id == item.id).limit(1)
        has_children = await session.scalar(child) is not None
        of_the_same_amount = await _count(session, item.amount)
    return PlainTextResponse(f"{item.name} {has_children} {of_the_same_amount}")


async def _count(session: AsyncSession, amount: int) -> int:
    counted = select(func.count()).select_from(Item).where(Item.amount == amount)
    return await session.scalar(counted) or 0


async def atomic(request: Request) -> PlainTextResponse:
    async with Session.begin() as session:
        item = await session.get_one(Item, request.path_params["pk"])
        item.amount += 1
    return PlainTextResponse("ok")


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    yield
    await engine.dispose()
    await reading_engine.dispose()


application = Starlette(
    routes=[
        Route("/no-query", no_query),
        Route("/one-query/{pk:int}", one_query),
        Route("/three-queries/{pk:int}", three_queries),
        Route("/atomic/{pk:int}", atomic),
    ],
    lifespan=lifespan,
)
