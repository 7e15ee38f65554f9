"""One client connection: its states, its requests, its end (MS-TDS 3.3.5).

Everything here runs on the event loop, except :meth:`Run.advance` where it may wait:
that goes to a worker thread while the loop goes on listening to the client, because
an attention or a hang-up must reach the running request at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hmac
import logging
import os
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from ..accesstokens import NAMELESS, AccessTokens
from ..config import PRODUCT_VERSION
from ..errors import NotSupportedByStandIn, SqlError, error, message_text
from ..faults import Drop, Faults, Verdict
from ..protocols import CutOff, Engine, LoginRequest, Run, Session, WouldWait
from ..results import Environment, EnvironmentChange, Event, Message
from .collations import DEFAULT_COLLATION_BYTES
from .counters import Counters, SessionInfo
from .encoding import Dialect
from .gate import OutputGate
from .login7 import Feature, Login, parse_login7
from .packets import (
    DEFAULT_PACKET_SIZE,
    MAX_MESSAGE_SIZE,
    TLS_HANDSHAKE,
    ClientMessage,
    MessageReader,
    PacketType,
    PacketWriter,
    ProtocolError,
    Status,
)
from .prelogin import (
    Encryption,
    Prelogin,
    answer_encryption,
    build_prelogin,
    parse_prelogin,
)
from .replies import Reply
from .requests import (
    BatchRequest,
    CallRequest,
    Request,
    TransactionManagerRequest,
    message_name,
    parse_request,
)
from .tls import ServerTls, TlsStream
from .tokens import FATAL_SEVERITY, DoneStatus, LayoutCache, Token, TokenWriter
from .types import TdsVersion

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOGIN_TIMEOUT = 60.0
"""Seconds a client has for its next login message, before it is hung up on."""
MAX_QUEUED_MESSAGES = 32
"""Requests a client may send ahead while one is running."""

_FAREWELL_TIMEOUT = 5.0
"""Seconds a client has to read the last reply of a connection that is closed."""
_NO_LINGERING = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"""SO_LINGER of no seconds: to close the socket resets the connection."""
_counting = threading.Lock()
"""Statements of many sessions begin on many threads at once."""
_INLINE_STEPS = 8
"""Steps of a request after which the loop looks after its other connections."""
_RESET_BITS = int(Status.RESET_CONNECTION | Status.RESET_CONNECTION_SKIP_TRANSACTION)
_REQUEST_TYPES = frozenset(
    {
        PacketType.SQL_BATCH,
        PacketType.RPC,
        PacketType.TRANSACTION_MANAGER,
        PacketType.BULK_LOAD,
    }
)


class State(enum.Enum):
    PRELOGIN = "prelogin"
    LOGIN = "login"
    READY = "ready"
    RUNNING = "running"
    ATTENTION = "attention"
    """A request was told to stop and has not stopped yet."""
    CLOSED = "closed"


class _HungUp(Exception):
    """The client is gone; nothing can be told to it any more."""


@dataclass(slots=True)
class ConnectionSettings:
    """What a server shares with all its connections. ``totals`` is replaced when the
    server's counters are reset, so look it up every time."""

    engine: Engine
    workers: Executor
    totals: Counters
    layouts: LayoutCache
    faults: Faults
    server_name: str = ""
    product_version: str = PRODUCT_VERSION
    login_timeout: float = LOGIN_TIMEOUT
    tls: ServerTls | None = None
    access_tokens: AccessTokens = field(default_factory=AccessTokens)
    on_login: Callable[[], None] = lambda: None


class TdsConnection:
    """A client's connection. :meth:`serve` runs it to its end and never raises."""

    def __init__(
        self,
        settings: ConnectionSettings,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.state = State.PRELOGIN
        self.counters = Counters(connections=1)
        self._settings = settings
        self._messages = MessageReader(reader)
        self._reader = reader
        self._stream = writer
        self._tls: TlsStream | None = None
        self._loop = asyncio.get_running_loop()
        self._gate = OutputGate(writer.transport, self._loop)
        self._packets = PacketWriter(self._gate, self._count_sent)
        self._tokens = self._new_tokens(Dialect())
        self._peer = _address(writer)
        self._login = LoginRequest()
        self._session: Session | None = None
        self._transaction = b""
        self._ahead: asyncio.Task[ClientMessage | None] | None = None
        self._queued: deque[ClientMessage] = deque()
        self._working = False
        self._hung_up = False
        self._close_after_reply = False
        self._thread = threading.get_ident()
        settings.totals.connections += 1
        settings.faults.session_opened(self)

    def __repr__(self) -> str:
        return f"<TdsConnection {self._peer} spid={self.spid} {self.state.name}>"

    @property
    def spid(self) -> int | None:
        """``None`` unless logged in."""
        return self._session.spid if self._session is not None else None

    @property
    def session_info(self) -> SessionInfo | None:
        """``None`` unless logged in. May be asked from any thread."""
        session = self._session
        if session is None:
            return None
        return SessionInfo(
            session.spid,
            "frozen" if self._gate.frozen else self.state.value,
            self._login.user,
            session.database,
            self._login.program_name,
            self._login.host_process_id,
            bool(self._transaction),
            dict(self.counters.messages),
            self.counters.bytes_received,
            self.counters.bytes_sent,
            self.counters.statements,
            self._gate.delay,
        )

    def abort(self) -> None:
        """Hang up now, whatever is going on; the session is closed as for a client that
        did. Call it on the event loop."""
        self._interrupt()
        self._hung_up = True
        transport = self._stream.transport
        connected = transport.get_extra_info("socket")
        if connected is not None:
            # A forked child of the server's process may hold the socket open too: only a
            # shutdown tells the client, and tells it at once.
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        self._gate.close()
        _abort(transport)

    # --- faults: see ..faults.FaultTarget --------------------------------------------

    @property
    def is_leaving(self) -> bool:
        return self._hung_up or self._close_after_reply

    def drop(self, how: Drop, announce: Callable[[], None]) -> None:
        if how is Drop.MID_REPLY:
            self._gate.cut_next(announce, self._tear_down)
            return
        announce()
        if how is Drop.RST:
            self._tear_down()
        else:
            self._finish()

    def disarm(self) -> None:
        self._gate.cut_none()

    def freeze(self) -> None:
        self._gate.freeze()
        self._transport.pause_reading()

    def thaw(self) -> None:
        self._transport.resume_reading()
        self._gate.thaw()

    def set_delay(self, seconds: float, on_delay: Callable[[], None]) -> None:
        self._gate.set_delay(seconds, on_delay)

    def close_after_reply(self) -> None:
        self._close_after_reply = True
        if self.state is State.READY:
            self._finish()

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self._stream.transport
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a socket has both ways
        return transport

    def _finish(self) -> None:
        """Hang up with FIN, after the packets that are on their way."""
        if not self._gate.frozen:
            self._gate.flush()
        transport = self._stream.transport
        if transport.get_write_buffer_size():
            self._interrupt()
            self._hung_up = True
            transport.close()
            self._loop.call_later(_FAREWELL_TIMEOUT, self.abort)
        else:
            self.abort()

    def _tear_down(self) -> None:
        """Hang up with RST."""
        self._interrupt()
        self._hung_up = True
        self._gate.close()
        reset_connection(self._stream.transport)

    def _before_statement(self, text: str) -> SqlError | None:
        """What the engine asks before each statement, on the thread that runs it."""
        self.counters.statements += 1
        with _counting:
            self._settings.totals.statements += 1
        verdict = self._settings.faults.before_statement(self, text)
        if isinstance(verdict, Verdict):
            raise CutOff
        return verdict

    def _abort_from_anywhere(self) -> None:
        """What the engine calls when it kills the session, on the loop or on a worker."""
        if threading.get_ident() == self._thread:
            self.abort()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and so is this
                self._loop.call_soon_threadsafe(self.abort)

    async def serve(self) -> None:
        try:
            if await self._log_in():
                while (message := await self._next_message()) is not None:
                    if self._gate.frozen:
                        await self._gate.opened()
                    if self._hung_up:
                        raise _HungUp
                    await self._handle(message)
                    if self._packets.congested:
                        await self._give_way()
        except ProtocolError as failure:
            logger.warning("%r: connection closed, protocol error: %s", self, failure)
        except (_HungUp, OSError) as failure:
            logger.debug("%r: connection lost: %r", self, failure)
        except Exception:
            logger.exception("%r: connection closed, internal error", self)
        finally:
            await self._close()

    # --- login ---------------------------------------------------------------------

    async def _log_in(self) -> bool:
        """PRELOGIN and LOGIN7; says whether there is a session."""
        strict = await self._begin_strict_tls()
        message = await self._login_message(PacketType.PRELOGIN)
        if message is None:
            return False
        prelogin = parse_prelogin(message.body)
        nonce = os.urandom(len(prelogin.nonce))
        encryption = answer_encryption(
            prelogin.encryption, self._encryption(prelogin, strict=strict)
        )
        self._packets.buffer += build_prelogin(
            prelogin, self._settings.product_version, encryption, nonce
        )
        self._end_message()
        self.state = State.LOGIN
        if not strict and Encryption.NOT_SUPPORTED not in (prelogin.encryption, encryption):
            await self._begin_wrapped_tls(login_only=encryption is Encryption.OFF)
        message = await self._login_message(PacketType.LOGIN7)
        if message is None:
            return False
        if self._tls is None and encryption is not Encryption.NOT_SUPPORTED:
            raise ProtocolError("encryption is required, and the client logged in without it")
        if self._tls is None and prelogin.demands_encryption:
            raise ProtocolError("the client demanded encryption and logged in without it")
        if not strict and encryption is Encryption.OFF:
            self._end_tls()
        login = parse_login7(message.body, self._peer)
        self._login = replace(login.request, encrypted=self._tls is not None)
        self._tokens = self._new_tokens(Dialect(login.version or TdsVersion.V7_2, login.utf8))
        try:
            self._check_federation(login, prelogin, nonce)
            session = await self._open_session(login)
        except SqlError as refusal:
            self._settings.totals.refused_logins += 1
            self.counters.refused_logins += 1
            logger.info("%r: login refused: %s", self, _printable(str(refusal)))
            self._send_failure(refusal)
            return False
        self._session = session
        self._settings.totals.logins += 1
        self.counters.logins += 1
        self.state = State.READY
        session.when_killed(self._abort_from_anywhere)
        session.before_statements(self._before_statement)
        self._settings.faults.session_opened(self)
        self._settings.on_login()
        self._welcome(login, prelogin, session)
        return True

    def _encryption(self, prelogin: Prelogin, *, strict: bool) -> Encryption:
        """What the server is set to for this client, in the words of PRELOGIN."""
        tls = self._settings.tls
        if tls is None:
            return Encryption.NOT_SUPPORTED
        if strict:
            # The option means nothing any more, and must not frighten anybody.
            return Encryption.OFF
        # Where only the login is encrypted, Microsoft's clients encrypt its first packet
        # only: the end of a long access token would travel in clear.
        token = prelogin.federated_authentication and prelogin.encryption is Encryption.OFF
        if tls.required or token:
            return Encryption.ON
        if prelogin.encryption is Encryption.OFF and not tls.encrypt_logins:
            # As a server without a certificate: everything stays readable to tools that
            # count messages between client and server.
            return Encryption.NOT_SUPPORTED
        return Encryption.OFF

    async def _begin_strict_tls(self) -> bool:
        """TDS 8.0: TLS before anything else; says whether the client wants that."""
        async with asyncio.timeout(self._settings.login_timeout):
            if not await self._messages.starts_with_tls():
                return False
            if self._settings.tls is None:
                raise ProtocolError("the client began with TLS, and the server has none")
            tls = self._new_tls(self._settings.tls.strict, head=TLS_HANDSHAKE)
            await tls.shake_hands()
        self._begin_tls(tls)
        return True

    async def _begin_wrapped_tls(self, *, login_only: bool) -> None:
        """TDS 7.x: the handshake inside PRELOGIN packets."""
        assert self._settings.tls is not None  # noqa: S101  it would not have been offered
        tls = self._new_tls(self._settings.tls.wrapped)
        async with asyncio.timeout(self._settings.login_timeout):
            await tls.shake_hands_in_packets(self._messages)
        if login_only:
            tls.may_end()
        self._begin_tls(tls)

    def _new_tls(self, context: ssl.SSLContext, head: bytes = b"") -> TlsStream:
        return TlsStream(context, self._reader, self._gate, head)

    def _begin_tls(self, tls: TlsStream) -> None:
        self._tls = self._messages.stream = self._packets.stream = tls

    def _end_tls(self) -> None:
        """Only the login was to be encrypted: everything that follows is in clear."""
        if self._tls is not None and not self._tls.exhausted:
            raise ProtocolError("the client sent more than its login before the answer")
        self._tls = None
        self._messages.stream = self._reader
        self._packets.stream = self._gate

    async def _login_message(self, expected: PacketType) -> ClientMessage | None:
        async with asyncio.timeout(self._settings.login_timeout):
            message = await self._messages.read()
        if message is None:
            return None
        self._count(message)
        if message.type is not expected:
            raise ProtocolError(f"{message.type.name} where {expected.name} was due")
        return message

    def _check_federation(self, login: Login, prelogin: Prelogin, nonce: bytes) -> None:
        """Put the principal of an access token into the request (3.3.5.5).

        The client echoes what PRELOGIN's answer said, so that nobody in between can change
        it.

        :raises SqlError: the token or the echo is wrong.
        """
        token = login.request.access_token
        if token is None:
            return
        echoed = login.federation_echo == prelogin.federated_authentication
        if not echoed or not hmac.compare_digest(login.federation_nonce, nonce):
            raise error(18456, NAMELESS, state=1)
        principal = self._settings.access_tokens.principal(token)
        self._login = replace(self._login, user=principal)

    async def _open_session(self, login: Login) -> Session:
        """
        :raises SqlError: the login is refused.
        """
        if login.version is None:
            raise SqlError(
                17832,
                f"The login packet used to open the connection asks for TDS version "
                f"{login.tds_version:#010x}; TDS 7.2 is the oldest that is served.",
                severity=FATAL_SEVERITY,
            )
        if login.integrated_security:
            raise SqlError(
                18452,
                "Login failed. The login is from an untrusted domain and cannot be used with "
                "Integrated authentication.",
                severity=14,
            )
        if login.unsupported_federation:
            raise NotSupportedByStandIn("federated authentication without a token")
        if login.changes_password:
            raise NotSupportedByStandIn("change of password at login")
        if login.attaches_database:
            raise NotSupportedByStandIn("AttachDBFilename")
        refusal = self._settings.faults.refuse(self._login)
        if refusal is not None:
            raise refusal
        try:
            return await self._loop.run_in_executor(
                self._settings.workers, self._settings.engine.login, self._login
            )
        except SqlError:
            raise
        except Exception:
            logger.exception("%r: login failed, internal error", self)
            raise error(18456, login.request.user, state=1) from None

    def _welcome(self, login: Login, prelogin: Prelogin, session: Session) -> None:
        """The login reply, in SQL Server's order."""
        tokens = self._tokens
        self._packets.spid = session.spid
        tokens.environment(EnvironmentChange(Environment.DATABASE, session.database, "master"))
        tokens.message(Message(5701, message_text(5701, session.database), state=2))
        tokens.collation(DEFAULT_COLLATION_BYTES)
        tokens.environment(EnvironmentChange(Environment.LANGUAGE, session.language, ""))
        tokens.message(Message(5703, message_text(5703, session.language)))
        tokens.login_acknowledged(self._settings.product_version)
        tokens.packet_size(login.packet_size, DEFAULT_PACKET_SIZE)
        features: list[tuple[int, bytes]] = []
        if login.request.access_token is not None:
            features.append((Feature.FEDERATED_AUTHENTICATION, prelogin.nonce))
        if login.utf8:
            features.append((Feature.UTF8_SUPPORT, b"\x01"))
        if features:
            tokens.features_acknowledged(features)
        tokens.done(Token.DONE)
        self._end_message()
        self._packets.packet_size = login.packet_size
        self._messages.packet_size = max(login.packet_size, DEFAULT_PACKET_SIZE)
        self._messages.max_message_size = MAX_MESSAGE_SIZE

    # --- requests ------------------------------------------------------------------

    async def _handle(self, message: ClientMessage) -> None:
        if message.type is PacketType.ATTENTION:
            # The request it was meant for has ended, or there was none: only acknowledge.
            self._begin_reply().acknowledge_attention()
            self._end_message()
            return
        if message.type not in _REQUEST_TYPES:
            raise ProtocolError(f"{message.type.name} after the login")
        if message.ignored:
            self._tokens.done(Token.DONE, DoneStatus.ERROR)
            self._end_message()
            return
        self.state = State.RUNNING
        reply = self._begin_reply()
        if message.status & _RESET_BITS:
            self._reset(message.status, reply)
        try:
            if message.type is PacketType.BULK_LOAD:
                raise NotSupportedByStandIn("BulkLoad")
            request = parse_request(message)
            if not message.status & _RESET_BITS:
                self._check_transaction(request)
        except ProtocolError as failure:
            self._tokens.message(
                Message(
                    4002,
                    "The incoming tabular data stream (TDS) protocol stream is incorrect: "
                    f"{failure}.",
                    severity=FATAL_SEVERITY,
                )
            )
            self._tokens.done(Token.DONE, DoneStatus.ERROR)
            self._end_message()
            raise
        except SqlError as refusal:
            self._send_failure(refusal)
        else:
            await self._answer(request, reply)
        if self._hung_up or self._close_after_reply:
            raise _HungUp

    def _reset(self, status: int, reply: Reply) -> None:
        """Do what the header asks before the request; its acknowledgement leads the reply."""
        session = self._logged_in
        database = session.database
        keep = bool(status & Status.RESET_CONNECTION_SKIP_TRANSACTION)
        session.reset(keep_transaction=keep)
        if not keep:
            self._transaction = reply.transaction = b""
        if session.database != database:
            self._tokens.environment(
                EnvironmentChange(Environment.DATABASE, session.database, database)
            )
        reply.reset_acknowledged()

    def _check_transaction(self, request: Request) -> None:
        """A request must come with the transaction the client was told of (2.2.5.3.2)."""
        if request.transaction != self._transaction:
            raise error(3989)

    async def _answer(self, request: Request, reply: Reply) -> None:
        session = self._logged_in
        if isinstance(request, CallRequest):
            reply.begin_procedure()
            last = len(request.calls) - 1
            for position, call in enumerate(request.calls):
                run = partial(session.call, call.procedure, call.parameters)
                if not await self._execute(run, reply):
                    break
                reply.end_procedure(more=position < last)
        else:
            if isinstance(request, BatchRequest):
                run = partial(session.batch, request.sql)
            else:
                assert isinstance(request, TransactionManagerRequest)  # noqa: S101
                run = partial(session.transact, request.request)
            if await self._execute(run, reply):
                reply.end_batch()
        if self._hung_up:
            return
        interrupted = self.state is State.ATTENTION
        if interrupted:
            reply.end_interrupted()
        self._transaction = reply.transaction
        self._close_after_reply |= reply.fatal
        self._end_message()
        if interrupted:
            # A message of its own, as SQL Server sends it and some clients require.
            reply.acknowledge_attention()
            self._end_message()

    async def _execute(self, start: Callable[[], Run], reply: Reply) -> bool:
        """Run one request to its end; ``False`` when the client did not let it.

        What the engine or an encoder could not cope with becomes an error of the
        request, not of the connection.
        """
        run: Run | None = None
        try:
            run = start()
            return await self._advance(run, reply)
        except (ConnectionError, _HungUp):
            self._hung_up = True
            return False
        except SqlError as failure:
            reply.add([_message_of(failure)])
            return True
        except Exception as failure:
            logger.exception("%r: internal error while running a request", self)
            reply.add([_internal_error(failure)])
            return True
        finally:
            if run is not None:
                run.close()

    async def _advance(self, run: Run, reply: Reply) -> bool:
        steps = 0
        while True:
            events: Sequence[Event] | None
            try:
                events = run.advance(may_wait=False)
            except WouldWait:
                events = await self._in_worker(partial(run.advance, may_wait=True))
            if self.state is not State.RUNNING or self._hung_up:
                reply.add_after_interruption(events or ())
                return False
            if events is None:
                return True
            reply.add(events)
            steps += 1
            if self._packets.send_full_packets() or steps % _INLINE_STEPS == 0:
                await self._give_way()
                if self.state is not State.RUNNING or self._hung_up:
                    return False

    async def _give_way(self) -> None:
        """Let the loop serve others, a slow client read, and an attention be seen."""
        self._listen()
        if self._packets.congested:
            drained = asyncio.ensure_future(self._drain())
            await self._while_listening(drained)
        else:
            await asyncio.sleep(0)
            self._hear()
        if self._stream.transport.is_closing():
            raise _HungUp

    async def _drain(self) -> None:
        await self._gate.room()
        await self._stream.drain()

    # --- listening while a request runs ----------------------------------------------

    async def _in_worker(self, work: Callable[[], T]) -> T:
        """Do what may block on a worker thread, and listen to the client meanwhile."""
        future = self._loop.run_in_executor(self._settings.workers, work)
        self._working = True
        try:
            return await self._while_listening(future)
        except asyncio.CancelledError:
            # The engine is never called by two threads at once: wait for this one.
            self._interrupt()
            await asyncio.wait({future})
            raise
        finally:
            self._working = False

    async def _while_listening(self, work: asyncio.Future[T]) -> T:
        while not work.done():
            self._listen()
            heard = self._ahead
            if heard is None:
                await asyncio.wait({work})
            else:
                either: set[asyncio.Future[Any]] = {work, heard}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                self._hear()
        return work.result()

    def _listen(self) -> None:
        """Have the next message read while something else goes on.

        A client that sends far ahead is not read any further: TCP slows it down.
        """
        if self._ahead is None and not self._hung_up and len(self._queued) < MAX_QUEUED_MESSAGES:
            self._ahead = asyncio.ensure_future(self._messages.read())

    def _hear(self) -> None:
        """Take in what was read ahead: an attention stops the running request."""
        ahead = self._ahead
        if ahead is None or not ahead.done():
            return
        self._ahead = None
        try:
            message = ahead.result()
        except ProtocolError as failure:
            logger.warning("%r: protocol error while a request runs: %s", self, failure)
            message = None
        except OSError as failure:
            logger.debug("%r: connection lost while a request runs: %r", self, failure)
            message = None
        if message is None:
            self.abort()
        elif message.type is PacketType.ATTENTION and self.state is State.RUNNING:
            self._count(message)
            self.state = State.ATTENTION
            self._interrupt()
        else:
            self._queued.append(message)

    def _interrupt(self) -> None:
        # Between two steps there is nothing to interrupt: the run is simply not advanced.
        if self._working and self._session is not None:
            self._session.interrupt()

    async def _next_message(self) -> ClientMessage | None:
        if self._queued:
            message = self._queued.popleft()
        else:
            ahead, self._ahead = self._ahead, None
            received = await (ahead if ahead is not None else self._messages.read())
            if received is None:
                return None
            message = received
        self._count(message)
        return message

    # --- small things --------------------------------------------------------------

    @property
    def _logged_in(self) -> Session:
        assert self._session is not None  # noqa: S101  only called after the login
        return self._session

    def _new_tokens(self, dialect: Dialect) -> TokenWriter:
        settings = self._settings
        return TokenWriter(self._packets.buffer, dialect, settings.layouts, settings.server_name)

    def _begin_reply(self) -> Reply:
        return Reply(self._tokens, self._transaction)

    def _send_failure(self, failure: SqlError) -> None:
        self._tokens.message(_message_of(failure))
        self._tokens.done(Token.DONE, DoneStatus.ERROR)
        self._end_message()

    def _end_message(self) -> None:
        """Send the rest of the reply; whoever sees it also sees the state it leaves."""
        if self.state in (State.RUNNING, State.ATTENTION):
            self.state = State.READY
        self._packets.end_message()

    def _count(self, message: ClientMessage) -> None:
        name = message_name(message)
        for counters in (self.counters, self._settings.totals):
            counters.count_message(name)
            counters.bytes_received += message.size

    def _count_sent(self, size: int) -> None:
        self.counters.bytes_sent += size
        self._settings.totals.bytes_sent += size

    # --- the end -------------------------------------------------------------------

    async def _close(self) -> None:
        """Release everything; whatever fails here must not keep the rest from it."""
        self.state = State.CLOSED
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.wait({ahead})
            if not ahead.cancelled():
                ahead.exception()
        session = self._session
        if session is not None:
            await self._close_session(session)
            self._session = None
        if not self._hung_up and not self._reader.at_eof():
            await self._gate.emptied()
        transport = self._stream.transport
        with contextlib.suppress(OSError, TimeoutError):
            if self._tls is not None:
                self._tls.say_goodbye()
            # What a delay still holds back must not follow the end.
            self._gate.close()
            if transport.can_write_eof():
                transport.write_eof()
            self._stream.close()
            async with asyncio.timeout(_FAREWELL_TIMEOUT):
                await self._stream.wait_closed()
        _abort(transport)

    async def _close_session(self, session: Session) -> None:
        try:
            await self._loop.run_in_executor(self._settings.workers, session.close)
        except RuntimeError:
            # At interpreter shutdown there are no worker threads any more.
            session.close()
        except Exception:
            logger.exception("%r: internal error while closing the session", self)


def reset_connection(transport: asyncio.WriteTransport) -> None:
    """Close a connection with RST. (It stays open where a forked child holds it too.)"""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    _abort(transport)


def _abort(transport: asyncio.WriteTransport) -> None:
    """Close without waiting for what is still to be written.

    asyncio 3.13 fails to abort a transport that has closed by itself after its last byte.
    """
    if transport.get_write_buffer_size() or not transport.is_closing():
        transport.abort()


def _message_of(failure: SqlError) -> Message:
    return Message(
        failure.number,
        failure.text,
        failure.severity,
        failure.state,
        failure.line,
        failure.procedure,
    )


def _internal_error(failure: Exception) -> Message:
    return Message(
        50000,
        f"Internal error of the mssql_async embedded server: {type(failure).__name__}: {failure}",
        severity=16,
    )


def _printable(text: str) -> str:
    """On one line of a log, whatever a client put into it."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _address(writer: asyncio.StreamWriter) -> str:
    peer = writer.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
