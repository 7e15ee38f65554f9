"""Procedures of the schema ``devserver``: faults on order, and what the server counted.

They are the T-SQL side of :mod:`mssql_async.devserver.faults`, for clients in other
processes. SQL Server has nothing of the kind; whoever may log in may call them.
Times are in seconds; sessions are chosen by ``@spid``, ``@program``, ``@process_id`` and
``@database``, all of which have to fit. The session that calls is never chosen unless
``@spid`` names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ... import sqltypes
from ...errors import SqlError, error
from ...faults import Drop, Fault, Faults, Kind, Sessions
from ...results import ResultColumn
from ...sqltypes import StorageValue
from ...stage import ServerControl
from .. import clock
from ..steps import Step
from .call import Argument, Call, Procedure, text, whole

SCHEMA = "devserver"

_SESSIONS = ("@spid", "@program", "@process_id", "@database")
_FAULT_COLUMNS = (
    ResultColumn("id", sqltypes.INT, nullable=False),
    ResultColumn("kind", sqltypes.nvarchar(30), nullable=False),
    ResultColumn("state", sqltypes.nvarchar(10), nullable=False),
    ResultColumn("fired", sqltypes.INT, nullable=False),
    ResultColumn("target", sqltypes.nvarchar(400), nullable=False),
)
_EVENT_COLUMNS = (
    ResultColumn("at", sqltypes.datetime2(3), nullable=False),
    ResultColumn("fault", sqltypes.INT, nullable=False),
    ResultColumn("kind", sqltypes.nvarchar(30), nullable=False),
    ResultColumn("spid", sqltypes.INT),
    ResultColumn("program", sqltypes.nvarchar(128), nullable=False),
    ResultColumn("what", sqltypes.nvarchar(400), nullable=False),
)
_COUNTER_COLUMNS = (
    ResultColumn("spid", sqltypes.INT),
    ResultColumn("counter", sqltypes.nvarchar(128), nullable=False),
    ResultColumn("value", sqltypes.BIGINT, nullable=False),
)


def is_fault_procedure(name: object) -> bool:
    """Whether a procedure's name, in whatever form, has the schema ``devserver``."""
    parts = str(name).replace("[", "").replace("]", "").lower().split(".")
    return len(parts) > 1 and parts[-2].strip() == SCHEMA


def drop_sessions(call: Call) -> Iterator[Step]:
    """``@how`` is ``fin`` (the default), ``rst`` or ``mid_reply``."""
    bound = call.bind(*_SESSIONS, "@how")
    fault = _faults(call).drop(
        _how(call, bound), _sessions(bound), wait=False, sparing=_sparing(call, bound)
    )
    yield from _listing(call, [fault])


def drop_at(call: Call) -> Iterator[Step]:
    """``@pattern``, ``@how`` (``rst``), ``@nth`` (1), ``@times`` (1; 0: without end)."""
    bound = call.bind("@pattern", "@how", "@nth", "@times", *_SESSIONS)
    fault = _faults(call).drop_at(
        call.need(bound, "@pattern").text,
        _how(call, bound, Drop.RST),
        nth=whole(bound.get("@nth"), 1),
        times=whole(bound.get("@times"), 1) or None,
        sessions=_sessions(bound),
    )
    yield from _listing(call, [fault])


def freeze(call: Call) -> Iterator[Step]:
    bound = call.bind(*_SESSIONS)
    fault = _faults(call).freeze(_sessions(bound), sparing=_sparing(call, bound))
    yield from _listing(call, [fault])


def thaw(call: Call) -> Iterator[Step]:
    bound = call.bind(*_SESSIONS)
    faults = _faults(call)
    faults.thaw(_sessions(bound))
    yield from _listing(call, [each for each in faults.faults if each.kind is Kind.FREEZE])


def delay(call: Call) -> Iterator[Step]:
    """``@seconds`` is needed. It concerns the calling session too."""
    bound = call.bind("@seconds", *_SESSIONS)
    call.need(bound, "@seconds")
    fault = _faults(call).delay(_seconds(bound, 0.0) or 0.0, _sessions(bound))
    yield from _listing(call, [fault])


def refuse_logins(call: Call) -> Iterator[Step]:
    """``@error`` (40613), ``@seconds``, ``@times``, ``@login``, ``@database``, ``@text``."""
    bound = call.bind("@error", "@seconds", "@times", "@login", "@database", "@text")
    fault = _faults(call).refuse_logins(
        whole(bound.get("@error"), 40613),
        for_seconds=_seconds(bound, None),
        times=whole(bound.get("@times")) or None,
        user=text(bound.get("@login")),
        database=text(bound.get("@database")),
        text=text(bound.get("@text")),
    )
    yield from _listing(call, [fault])


def fail_over(call: Call) -> Iterator[Step]:
    """``@seconds`` down (0), ``@read_only`` (0), ``@error`` meanwhile (40613; 0: connections
    are reset). The caller gets its answer and is dropped then."""
    bound = call.bind("@seconds", "@read_only", "@error")
    fault = _faults(call).fail_over(
        _seconds(bound, 0.0),
        read_only=bool(whole(bound.get("@read_only"))),
        answer=whole(bound.get("@error"), 40613) or None,
        wait=False,
        sparing=call.session.spid,
    )
    yield from _listing(call, [fault])


def deadlock(call: Call) -> Iterator[Step]:
    """``@pattern`` (``%``), ``@nth`` (1), ``@times`` (1; 0: without end)."""
    bound = call.bind("@pattern", "@nth", "@times", *_SESSIONS)
    fault = _faults(call).deadlock(
        text(bound.get("@pattern"), "%") or "%",
        nth=whole(bound.get("@nth"), 1),
        times=whole(bound.get("@times"), 1) or None,
        sessions=_sessions(bound),
    )
    yield from _listing(call, [fault])


def fail_statement(call: Call) -> Iterator[Step]:
    """``@pattern``, ``@error``, ``@text``, ``@nth`` (1), ``@times`` (1; 0: without end)."""
    bound = call.bind("@pattern", "@error", "@text", "@nth", "@times", *_SESSIONS)
    fault = _faults(call).fail_statement(
        call.need(bound, "@pattern").text,
        whole(call.need(bound, "@error")),
        text=text(bound.get("@text")),
        nth=whole(bound.get("@nth"), 1),
        times=whole(bound.get("@times"), 1) or None,
        sessions=_sessions(bound),
    )
    yield from _listing(call, [fault])


def chaos(call: Call) -> Iterator[Step]:
    """``@seed``, ``@every`` (10 statements), ``@times`` (0: without end), ``@how`` (``fin``
    or ``rst``, as the seed says). Never drops the calling session."""
    bound = call.bind("@seed", "@every", "@times", "@how", *_SESSIONS)
    how = (_how(call, bound),) if "@how" in bound else (Drop.FIN, Drop.RST)
    caller = _sparing(call, bound)
    chosen = _sessions(bound)
    fault = _faults(call).chaos(
        whole(call.need(bound, "@seed")),
        every=whole(bound.get("@every"), 10),
        times=whole(bound.get("@times")) or None,
        how=how,
        sessions=chosen if caller is None else chosen & ~Sessions.spid(caller),
    )
    yield from _listing(call, [fault])


def faults(call: Call) -> Iterator[Step]:
    """All faults that were ordered."""
    call.bind()
    yield from _listing(call, _faults(call).faults)


def cancel_fault(call: Call) -> Iterator[Step]:
    """``@id``; without it, all of them."""
    bound = call.bind("@id")
    every = _faults(call)
    if "@id" not in bound:
        every.cancel()
        yield from _listing(call, every.faults)
        return
    fault = every.find(whole(bound["@id"]))
    if fault is None:
        raise SqlError(50000, f"There is no fault {bound['@id'].text}.")
    fault.cancel()
    yield from _listing(call, [fault])


def history(call: Call) -> Iterator[Step]:
    """What the faults did, oldest first."""
    call.bind()
    rows: list[tuple[StorageValue, ...]] = [
        (
            *(clock.at(each.at), each.fault, each.kind.value),
            *(each.spid, each.program_name[:128], each.what[:400]),
        )
        for each in _faults(call).history
    ]
    yield from call.result(_EVENT_COLUMNS, rows)


def counters(call: Call) -> Iterator[Step]:
    """What was counted: in total (``spid`` is NULL), then for each session."""
    call.bind()
    server = _server(call)
    total = server.counters
    rows = _counter_rows(
        None,
        {
            "connections": total.connections,
            "logins": total.logins,
            "refused_logins": total.refused_logins,
            "statements": total.statements,
            "bytes_received": total.bytes_received,
            "bytes_sent": total.bytes_sent,
        },
        total.messages,
    )
    for info in server.sessions():
        own = {
            "statements": info.statements,
            "bytes_received": info.bytes_received,
            "bytes_sent": info.bytes_sent,
        }
        rows += _counter_rows(info.spid, own, info.messages)
    yield from call.result(_COUNTER_COLUMNS, rows)


def reset_counters(call: Call) -> Iterator[Step]:
    """Start counting anew in total; sessions go on counting."""
    call.bind()
    _server(call).reset_counters()
    return
    yield


def _telling(procedure: Procedure) -> Procedure:
    """What the Python API raises for wrong arguments, as an error of T-SQL."""

    def run(call: Call) -> Iterator[Step]:
        try:
            yield from procedure(call)
        except ValueError as refusal:
            raise SqlError(50000, str(refusal)) from None

    return run


PROCEDURES: dict[str, Procedure] = {
    procedure.__name__: _telling(procedure)
    for procedure in (
        drop_sessions,
        drop_at,
        freeze,
        thaw,
        delay,
        refuse_logins,
        fail_over,
        deadlock,
        fail_statement,
        chaos,
        faults,
        cancel_fault,
        history,
        counters,
        reset_counters,
    )
}


def _counter_rows(
    spid: int | None, values: Mapping[str, int], messages: Mapping[str, int]
) -> list[tuple[StorageValue, ...]]:
    rows: list[tuple[StorageValue, ...]] = [(spid, name, value) for name, value in values.items()]
    rows.append((spid, "messages", sum(messages.values())))
    rows += [(spid, f"messages.{name}", count) for name, count in sorted(messages.items())]
    return rows


def _server(call: Call) -> ServerControl:
    server = call.session.engine.server
    if server is None:
        raise error(2812, call.name, state=62)  # an engine without a wire has no faults
    return server


def _faults(call: Call) -> Faults:
    return _server(call).faults


def _listing(call: Call, chosen: Sequence[Fault]) -> Iterator[Step]:
    rows: list[tuple[StorageValue, ...]] = [
        (each.id, each.kind.value, each.state.name, each.fired, each.target[:400])
        for each in chosen
    ]
    yield from call.result(_FAULT_COLUMNS, rows)


def _sessions(bound: Mapping[str, Argument]) -> Sessions:
    chosen: Sessions | None = None
    for each in (
        Sessions.spid(whole(bound["@spid"])) if "@spid" in bound else None,
        Sessions.program(bound["@program"].text) if "@program" in bound else None,
        Sessions.process(whole(bound["@process_id"])) if "@process_id" in bound else None,
        Sessions.database(bound["@database"].text) if "@database" in bound else None,
    ):
        if each is not None:
            chosen = each if chosen is None else chosen & each
    return chosen or Sessions.all()


def _sparing(call: Call, bound: Mapping[str, Argument]) -> int | None:
    return None if "@spid" in bound else call.session.spid


def _how(call: Call, bound: Mapping[str, Argument], default: Drop = Drop.FIN) -> Drop:
    given = text(bound.get("@how"))
    if given is None:
        return default
    try:
        return Drop(given.strip().lower())
    except ValueError:
        allowed = ", ".join(how.value for how in Drop)
        raise SqlError(
            50000, f"@how of {call.name} is '{given}'; it must be one of {allowed}."
        ) from None


def _seconds(bound: Mapping[str, Argument], default: float | None) -> float | None:
    argument = bound.get("@seconds")
    if argument is None or argument.value is None:
        return default
    try:
        return float(argument.text)
    except ValueError:
        raise error(8114, "nvarchar", "float") from None
