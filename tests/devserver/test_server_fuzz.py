"""Ten thousand broken clients: none crashes the server, and none leaves anything behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import ssl
import struct
import threading
from pathlib import Path

import pytest

from mssql_async.devserver.server import DevServer
from mssql_async.devserver.tds.packets import PacketType
from mssql_async.devserver.tds.prelogin import Encryption

from .conversations import PRELOGIN, REQUESTS, Conversation, conversations, mutated
from .fake_engine import PATIENCE
from .raw_client import RawClient, login7, packet
from .serving import everything_logged
from .test_server import threads_of_servers
from .tls_client import TlsClient, trusting

SEED = 20261123
IN_CLEAR, ENCRYPTED = 9_700, 300
AT_ONCE = 32
DESCRIPTORS = Path("/proc/self/fd")


def open_descriptors() -> int:
    gc.collect()
    return len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.exists() else 0


@pytest.fixture
def server(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> DevServer:  # type: ignore[misc]
    threads, descriptors = threads_of_servers(), open_descriptors()
    with caplog.at_level(logging.INFO), DevServer(encrypt_logins=True) as running:
        yield running
        assert answers(running)
        running.kill()
        assert running.sessions() == []
        assert tasks_of(running) == 0
    assert threads_of_servers() == threads
    assert open_descriptors() == descriptors
    for record in everything_logged(caplog):
        assert record.name.startswith("mssql_async."), record.getMessage()
        assert record.levelno <= logging.WARNING, record.getMessage()
        assert "\n" not in record.getMessage()
        assert record.exc_info is None
    assert capfd.readouterr() == ("", "")


def answers(server: DevServer) -> bool:
    with RawClient(server.port) as client:
        return client.batch("SELECT 1")[1] == ("row", (1,))


def tasks_of(server: DevServer) -> int:
    """Tasks on the server's loop, but for its own and the one that counts."""

    async def count() -> int:
        return len(asyncio.all_tasks()) - 2

    return asyncio.run_coroutine_threadsafe(count(), server._loop).result(PATIENCE)


async def converse(server: DevServer, conversation: Conversation) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        if conversation.logged_in:
            for kind, body in ((PacketType.PRELOGIN, PRELOGIN), (PacketType.LOGIN7, login7())):
                writer.write(packet(kind, body))
                header = await reader.readexactly(8)
                await reader.readexactly(struct.unpack_from(">H", header, 2)[0] - 8)
        writer.write(conversation.sent)
        if conversation.hurry:
            writer.transport.abort()
            return
        # The server sees the end of a client that says no more, and hangs up itself.
        writer.write_eof()
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


async def all_of(server: DevServer, made: list[Conversation]) -> None:
    waiting = iter(made)

    async def client() -> None:
        for conversation in waiting:
            async with asyncio.timeout(PATIENCE):
                await converse(server, conversation)

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())


def test_ten_thousand_broken_conversations_leave_nothing_behind(server: DevServer) -> None:
    asyncio.run(all_of(server, conversations(SEED, IN_CLEAR)))
    context, chance = trusting(server), random.Random(SEED)
    for _ in range(ENCRYPTED):
        converse_encrypted(server, context, chance)


def converse_encrypted(server: DevServer, context: ssl.SSLContext, chance: random.Random) -> None:
    """Break the handshake, the records, or the packets inside them."""
    with TlsClient(server.port, context) as client:
        client.prelogin(chance.choice((Encryption.ON, Encryption.OFF)))
        try:
            client.shake_hands_in_packets(chance.choice((3, 100, 4088)))
            sent = packet(PacketType.LOGIN7, login7()) + chance.choice(REQUESTS)
            if chance.random() < 0.5:
                client.send_tls(mutated(chance, sent))
            else:
                client.tls.write(sent)
                client.socket.sendall(mutated(chance, client.take_encrypted()))
            client.socket.shutdown(1)
            assert client.hung_up()
        except ConnectionError:
            pass


def test_the_conversations_are_the_same_every_time() -> None:
    assert conversations(SEED, 50) == conversations(SEED, 50)
    assert len({each.sent for each in conversations(SEED, 500)}) > 450


def test_two_hundred_sessions_work_at_once(server: DevServer) -> None:
    """Each in a transaction of its own, half of them waiting for the others' row."""
    together = threading.Barrier(201)
    problems: list[BaseException] = []

    def session(number: int) -> None:
        try:
            with RawClient(server.port) as client:
                together.wait(PATIENCE)
                for _ in range(5):
                    insert = f"INSERT INTO dbo.visits VALUES ({number}); SELECT @@SPID"
                    assert client.batch(insert)[-1][0] == "done"
                together.wait(PATIENCE)
                together.wait(PATIENCE)
        except BaseException as failure:
            problems.append(failure)
            together.abort()

    with RawClient(server.port) as owner:
        owner.batch("CREATE TABLE dbo.visits (id int IDENTITY PRIMARY KEY, session int)")
    threads = [threading.Thread(target=session, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    try:
        together.wait(PATIENCE)
        together.wait(PATIENCE)
        assert len(server.sessions()) == 200
        assert len({session.spid for session in server.sessions()}) == 200
        together.wait(PATIENCE)
    except threading.BrokenBarrierError:
        pass
    for thread in threads:
        thread.join(PATIENCE)
    assert problems == []
    assert server.wait_for_sessions(0)
    with RawClient(server.port) as owner:
        counted = owner.batch("SELECT COUNT(*), COUNT(DISTINCT session) FROM dbo.visits")
        assert counted[1] == ("row", (1000, 200))
