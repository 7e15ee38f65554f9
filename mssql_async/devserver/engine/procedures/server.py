"""Procedures about the session and the server.

Source: SQL Server documentation, "sp_set_session_context", "sp_who", "sp_configure",
"RECONFIGURE", "DBCC CHECKIDENT".
"""

from __future__ import annotations

from collections.abc import Iterator

from ... import sqltypes
from ...errors import SqlError, error, message_text
from ...results import Message, ResultColumn
from ...schema import Identity, ObjectName, Table
from ...sqltypes import StorageValue
from ...tsql.parser import parse_object_name
from .. import clock
from ..catalog import fold
from ..commands import command_name
from ..definitions.place import Place, sqlite_name
from ..instance import SessionStatus, VisibleSession
from ..steps import Step
from ..storage import quote
from .call import Argument, Call, sysname, text, whole

# --- configuration ---------------------------------------------------------------------------


def sp_configure(call: Call) -> Iterator[Step]:
    bound = call.bind("@configname", "@configvalue")
    configuration = call.session.engine.configuration
    name = text(bound.get("@configname"))
    if "@configvalue" in bound and name is not None:
        setting = configuration.find(name)
        value = whole(bound["@configvalue"])
        if not setting.lowest <= value <= setting.highest:
            raise SqlError(
                15129, f"'{value}' is not a valid value for configuration option '{setting.name}'."
            )
        changed = message_text(15457, setting.name, setting.value, value)
        setting.value = value
        yield Message(15457, changed, 0, 1)
        return
    chosen = configuration.settings() if name is None else [configuration.find(name)]
    columns = (
        ResultColumn("name", sqltypes.nvarchar(35)),
        *(
            ResultColumn(n, sqltypes.INT)
            for n in ("minimum", "maximum", "config_value", "run_value")
        ),
    )
    yield from call.result(
        columns, [(s.name, s.lowest, s.highest, s.value, s.value_in_use) for s in chosen]
    )


def sp_reconfigure(call: Call) -> Iterator[Step]:
    """RECONFIGURE arrives here (see the parser)."""
    call.session.engine.configuration.reconfigure()
    return
    yield


# --- sessions ---------------------------------------------------------------------------------


def sp_set_session_context(call: Call) -> Iterator[Step]:
    bound = call.bind("@key", "@value", "@read_only")
    key = fold(call.need(bound, "@key").text)
    value = call.need(bound, "@value").value
    context = call.session.context
    if key in context and context[key][1]:
        raise error(15664, bound["@key"].text)
    context[key] = (value, bool(whole(bound.get("@read_only"))))
    return
    yield


def sp_who(call: Call) -> Iterator[Step]:
    columns = (
        *(ResultColumn(name, sqltypes.SMALLINT) for name in ("spid", "ecid")),
        ResultColumn("status", sqltypes.nchar(30)),
        sysname("loginame"),
        ResultColumn("hostname", sqltypes.nchar(128)),
        ResultColumn("blk", sqltypes.char(5)),
        sysname("dbname"),
        ResultColumn("cmd", sqltypes.nchar(26)),
        ResultColumn("request_id", sqltypes.INT),
    )
    rows: list[tuple[StorageValue, ...]] = [
        (
            *(session.spid, 0, _status(call, session).ljust(30), session.login.user),
            session.login.host_name.ljust(128)[:128],
            str(call.session.engine.locks.blocker_of(session)).ljust(5),
            session.database,
            _command(session)[:26].ljust(26),
            0,
        )
        for session in _chosen(call)
    ]
    yield from call.result(columns, rows)


def sp_who2(call: Call) -> Iterator[Step]:
    """Undocumented; its columns as SQL Server 2022 sends them."""
    columns = (
        ResultColumn("SPID", sqltypes.char(5)),
        ResultColumn("Status", sqltypes.nvarchar(30)),
        sysname("Login"),
        sysname("HostName"),
        ResultColumn("BlkBy", sqltypes.char(5)),
        sysname("DBName"),
        ResultColumn("Command", sqltypes.nvarchar(30)),
        ResultColumn("CPUTime", sqltypes.varchar(30)),
        ResultColumn("DiskIO", sqltypes.varchar(30)),
        ResultColumn("LastBatch", sqltypes.varchar(20)),
        sysname("ProgramName"),
        ResultColumn("SPID", sqltypes.char(5)),
        ResultColumn("REQUESTID", sqltypes.char(5)),
    )
    rows: list[tuple[StorageValue, ...]] = []
    for session in _chosen(call):
        spid = str(session.spid).ljust(5)
        blocker = call.session.engine.locks.blocker_of(session)
        last = clock.at(session.last_request_start)
        rows.append(
            (
                *(spid, _status(call, session), session.login.user),
                session.login.host_name or "  .",
                (str(blocker) if blocker else "  .").ljust(5),
                *(session.database, _command(session), "0", "0"),
                f"{last[5:7]}/{last[8:10]} {last[11:19]}",
                *(session.login.program_name, spid, "0".ljust(5)),
            )
        )
    yield from call.result(columns, rows)


def _chosen(call: Call) -> list[VisibleSession]:
    """``@loginame``: a login, a session, or ACTIVE: those that run something.

    :raises SqlError: 15007 for an unknown login.
    """
    engine = call.session.engine
    wanted = text(call.bind("@loginame").get("@loginame"))
    sessions = engine.sessions()
    if wanted is None:
        return sessions
    if wanted.isdigit():
        return [session for session in sessions if session.spid == int(wanted)]
    if fold(wanted) == "active":
        return [s for s in sessions if s.status is SessionStatus.RUNNING]
    if fold(wanted) not in map(fold, engine.config.logins):
        raise SqlError(15007, f"'{wanted}' is not a valid login or you do not have permission.", 16)
    return [session for session in sessions if fold(session.login.user) == fold(wanted)]


def _status(call: Call, session: VisibleSession) -> str:
    waits = session.wait is not None or call.session.engine.locks.is_waiting(session)
    return "suspended" if waits else session.status.value


def _command(session: VisibleSession) -> str:
    if session.status is SessionStatus.SLEEPING:
        return "AWAITING COMMAND"
    return command_name(session.statement)


# --- DBCC USEROPTIONS --------------------------------------------------------------------------


def dbcc_useroptions(call: Call) -> Iterator[Step]:
    """The SET options of the session that are on. Source: "DBCC USEROPTIONS"."""
    options = call.session.options
    switches = (
        ("arithabort", options.arithmetic_abort),
        ("arithignore", options.arithmetic_ignore),
        ("nocount", options.no_count),
        ("xact_abort", options.xact_abort),
        ("implicit_transactions", options.implicit_transactions),
        ("cursor_close_on_commit", options.cursor_close_on_commit),
        *((name, True) for name in ("quoted_identifier", "ansi_null_dflt_on", "ansi_warnings")),
        *((name, True) for name in ("ansi_padding", "ansi_nulls", "concat_null_yields_null")),
    )
    level = options.isolation.name.lower().replace("_", " ")
    rows: list[tuple[StorageValue, ...]] = [
        ("textsize", str(options.text_size)),
        ("language", options.language),
        ("dateformat", options.date_format),
        ("datefirst", str(options.date_first)),
        ("lock_timeout", str(options.lock_timeout)),
        *((name, "SET") for name, on in switches if on),
        ("isolation level", level + (" snapshot" if level == "read committed" else "")),
    ]
    columns = (
        ResultColumn("Set Option", sqltypes.nvarchar(128)),
        ResultColumn("Value", sqltypes.nvarchar(128)),
    )
    yield from call.result(columns, rows)
    yield Message(2528, message_text(2528), 0, 1)


# --- DBCC CHECKIDENT ---------------------------------------------------------------------------


def dbcc_checkident(call: Call) -> Iterator[Step]:
    """``DBCC CHECKIDENT ('table' [, NORESEED | RESEED [, value]])``."""
    arguments = call.arguments
    if not arguments:
        raise error(201, "DBCC CHECKIDENT", "table_name")
    session = call.session
    name = _name(arguments[0])
    place = Place(session, name)
    table = place.table
    if table is None:
        raise error(2501, arguments[0].text, state=45)
    column = table.identity_column
    if column is None or column.identity is None:
        raise error(7997, table.name)
    counters = session.temporary_identities if place.database is None else place.database.identities
    current = counters.last_value(table.object_id)
    action = arguments[1].text.upper() if len(arguments) > 1 else "RESEED"
    if place.database is not None:
        yield from call.execution.lock(place.database)
    if len(arguments) > 2:
        value = whole(arguments[2])
        state = counters.state(table.object_id)
        if session.transaction.is_open:
            session.transaction.on_undo(lambda: counters.restore(table.object_id, state))
        counters.reseed(table.object_id, column.identity, value)
        shown = "NULL" if current is None else str(current)
        yield Message(7998, message_text(7998, shown), 0, 1)
    else:
        yield from _check(call, place, table, column.name, column.identity, current, action)
    yield Message(2528, message_text(2528), 0, 1)


def _check(
    call: Call,
    place: Place,
    table: Table,
    column: str,
    identity: Identity,
    current: int | None,
    action: str,
) -> Iterator[Step]:
    aggregate = "max" if identity.increment > 0 else "min"
    (edge,) = call.session.connection.execute(
        f"SELECT {aggregate}({quote(column)}) FROM {sqlite_name(place, table)}"
    ).fetchone()
    shown = ["NULL" if value is None else str(value) for value in (current, edge)]
    if action == "RESEED" and edge is not None and place.database is not None:
        place.database.identities.note(table.object_id, identity, int(edge))
    yield Message(7999, message_text(7999, *shown), 0, 1)


def _name(argument: Argument) -> ObjectName:
    try:
        return parse_object_name(argument.text)
    except SqlError:
        raise error(2501, argument.text, state=45) from None
