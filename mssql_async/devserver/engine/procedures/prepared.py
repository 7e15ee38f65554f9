"""sp_executesql and prepared statements.

Source: SQL Server documentation, "sp_executesql", "sp_prepare", "sp_prepexec",
"sp_prepexecrpc", "sp_execute", "sp_unprepare". Handles die with their session and with its
reset (8179); ``docs/devserver.md`` says what of that is our reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ... import sqltypes
from ...errors import NotSupportedByStandIn, error
from ...results import Message
from ...sqltypes import UNICODE_KINDS, StorageValue
from ...tsql import parser
from ..frames import Frame, plan_type, signature_of
from ..outcomes import LOWEST_CAUGHT
from ..preparedstatements import Prepared, PreparedCall, PreparedStatement
from ..sessionstate import SessionState
from ..steps import Step
from .call import Argument, Call


def prepare(session: SessionState, declarations: str, text: str) -> PreparedStatement:
    """Parse declarations and statements, or find them parsed."""
    key = (declarations, text)
    found = session.engine.prepared.get(key)
    if found is not None:
        return found
    parameters = parser.parse_parameter_declarations(declarations)
    names = tuple(parameter.name.casefold() for parameter in parameters)
    types = {
        name: plan_type(parameter.type) for name, parameter in zip(names, parameters, strict=True)
    }
    prepared = PreparedStatement(
        text=text,
        parameters=parameters,
        names=names,
        types=types,
        declared={n: p.type for n, p in zip(names, parameters, strict=True)},
        signature=signature_of(types),
        statements=session.engine.parse(text),
    )
    session.engine.prepared.put(key, prepared)
    return prepared


def run_prepared(call: Call, prepared: PreparedStatement, given: list[Argument]) -> Iterator[Step]:
    """Run a prepared statement in a scope of its own, with these arguments."""
    session = call.session
    frame = call.frame
    inner = Frame(parent=frame, level=frame.level + 1)
    if inner.level > 1:
        inner = frame.nested()
    values: dict[str, StorageValue] = {}
    by_name: dict[str, Argument] = {}
    for position, argument in enumerate(given):
        name = argument.name.casefold()
        if not name or name not in prepared.declared:
            if name:
                raise error(8145, argument.name, "")
            if position >= len(prepared.names):
                raise error(8144, "sp_executesql", state=2)
            name = prepared.names[position]
        by_name[name] = argument
    convert = call.caller.expressions.convert
    for name, parameter in zip(prepared.names, prepared.parameters, strict=True):
        found = by_name.get(name)
        if found is None or found.default:
            if parameter.default is None:
                raise error(8178, _declared_text(prepared), parameter.name)
            values[name] = call.caller.expressions.evaluate(
                inner, parameter.default, parameter.type
            )
        else:
            value = found.value
            if value is not None and found.type != parameter.type:
                value = convert(value, found.type, parameter.type)
            values[name] = value
    inner.values = values
    inner.types = dict(prepared.types)
    inner.declared = dict(prepared.declared)
    inner.signature = prepared.signature
    session.frame = inner
    failed = False
    for step in call.caller.scope(inner, prepared.statements):
        failed = failed or (type(step) is Message and step.severity >= LOWEST_CAUGHT)
        yield step
    session.frame = frame
    for name, parameter in zip(prepared.names, prepared.parameters, strict=True):
        found = by_name.get(name)
        if found is not None and found.output and parameter.output:
            found.value = convert(inner.values[name], parameter.type, found.type)
    # RETURN's value, else the number of the last statement's error.
    call.status = inner.return_status or (session.last_error if failed else 0)


def _declared_text(prepared: PreparedStatement) -> str:
    declarations = ",".join(f"{p.name} {p.type}" for p in prepared.parameters)
    return f"({declarations}){prepared.text}"


def sp_executesql(call: Call) -> Iterator[Step]:
    arguments = call.arguments
    if not arguments:
        raise error(201, "sp_executesql", "@statement", state=4)
    if arguments[0].value is not None and arguments[0].type.kind not in UNICODE_KINDS:
        raise error(214, "@statement", "ntext/nchar/nvarchar", state=2)
    declarations = arguments[1].text if len(arguments) > 1 else ""
    prepared = prepare(call.session, declarations, arguments[0].text)
    yield from run_prepared(call, prepared, arguments[2:])


def sp_prepare(call: Call) -> Iterator[Step]:
    """``@handle OUTPUT, @params, @stmt [, @options]``."""
    session = call.session
    arguments = call.arguments
    if len(arguments) < 3:
        raise error(201, "sp_prepare", "@stmt", state=4)
    prepared = prepare(session, arguments[1].text, arguments[2].text)
    _set_handle(session, arguments[0], prepared)
    return
    yield


def sp_prepexec(call: Call) -> Iterator[Step]:
    """``@handle OUTPUT, @params, @stmt, values …``; a handle passed in is let go."""
    session = call.session
    arguments = call.arguments
    if len(arguments) < 3:
        raise error(201, "sp_prepexec", "@stmt", state=4)
    _let_go(session, arguments[0])
    prepared = prepare(session, arguments[1].text, arguments[2].text)
    _set_handle(session, arguments[0], prepared)
    yield from run_prepared(call, prepared, arguments[3:])


def sp_prepexecrpc(call: Call) -> Iterator[Step]:
    """``@handle OUTPUT, @RPCCall, values …``: what ODBC makes of ``{call procedure(?, …)}``.

    "ODBC canonical syntax", says the documentation; Microsoft's driver sends the bare name.
    """
    session = call.session
    arguments = call.arguments
    if len(arguments) < 2:
        raise error(201, "sp_prepexecrpc", "@RPCCall", state=4)
    _let_go(session, arguments[0])
    written = _CANONICAL_CALL.fullmatch(arguments[1].text)
    if written is None:
        raise NotSupportedByStandIn(f"sp_prepexecrpc {arguments[1].text}")
    prepared = PreparedCall(written["procedure"])
    _set_handle(session, arguments[0], prepared)
    yield from _run_call(call, prepared, arguments[2:])


# A call whose arguments are all markers.
_CANONICAL_CALL = re.compile(
    r"\s*(?:\{\s*(?:\?\s*=\s*)?call\s+)?(?P<procedure>[^\s(){}?]+)\s*(?:\([\s?,]*\))?\s*\}?\s*",
    re.IGNORECASE,
)


def _run_call(call: Call, prepared: PreparedCall, given: list[Argument]) -> Iterator[Step]:
    """Call the procedure; what it returns comes back in ``given``."""
    inner = Call(call.caller, call.frame, prepared.procedure, given)
    yield from call.caller.run(inner)
    call.status = inner.status


def _let_go(session: SessionState, handle: Argument) -> None:
    """Forget the handle that a driver hands back with its next statement.

    :raises SqlError: 8179 for one that does not exist (any more).
    """
    if handle.value is not None:
        _find(session, handle.value, state=2)
        del session.prepared[int(handle.value)]


def _find(session: SessionState, handle: StorageValue, *, state: int) -> Prepared:
    found = session.prepared.get(handle) if isinstance(handle, int) else None
    if found is None:
        raise error(8179, handle if handle is not None else 0, state=state)
    return found


def _set_handle(session: SessionState, argument: Argument, prepared: Prepared) -> None:
    handle = session.new_handle()
    session.prepared[handle] = prepared
    argument.value = handle
    argument.type = sqltypes.INT


def sp_execute(call: Call) -> Iterator[Step]:
    arguments = call.arguments
    prepared = _find(call.session, arguments[0].value if arguments else None, state=2)
    if isinstance(prepared, PreparedCall):
        yield from _run_call(call, prepared, arguments[1:])
    else:
        yield from run_prepared(call, prepared, arguments[1:])


def sp_unprepare(call: Call) -> Iterator[Step]:
    handle = call.arguments[0].value if call.arguments else None
    _find(call.session, handle, state=3)
    del call.session.prepared[int(handle or 0)]
    return
    yield
