"""System procedures, by name. What is not here is error 2812, as in SQL Server."""

from __future__ import annotations

from ...errors import NotSupportedByStandIn
from . import applocks, describe, faults, odbccatalog, prepared, properties, rename, server
from .call import Argument, Call, Procedure
from .faults import is_fault_procedure

PROCEDURES: dict[str, Procedure] = {
    procedure.__name__: procedure
    for procedure in (
        prepared.sp_executesql,
        prepared.sp_prepare,
        prepared.sp_prepexec,
        prepared.sp_prepexecrpc,
        prepared.sp_execute,
        prepared.sp_unprepare,
        describe.sp_describe_undeclared_parameters,
        describe.sp_describe_first_result_set,
        odbccatalog.sp_datatype_info,
        odbccatalog.sp_tables,
        odbccatalog.sp_columns,
        odbccatalog.sp_columns_100,
        odbccatalog.sp_pkeys,
        odbccatalog.sp_fkeys,
        odbccatalog.sp_statistics,
        odbccatalog.sp_special_columns,
        odbccatalog.sp_stored_procedures,
        odbccatalog.sp_databases,
        properties.sp_addextendedproperty,
        properties.sp_updateextendedproperty,
        properties.sp_dropextendedproperty,
        rename.sp_rename,
        rename.sp_renamedb,
        applocks.sp_getapplock,
        applocks.sp_releaseapplock,
        server.sp_configure,
        server.sp_reconfigure,
        server.sp_set_session_context,
        server.sp_who,
        server.sp_who2,
        server.dbcc_checkident,
        server.dbcc_useroptions,
    )
}
PROCEDURES["sp_datatype_info_100"] = odbccatalog.sp_datatype_info
PROCEDURES["sp_datatype_info_90"] = odbccatalog.sp_datatype_info
PROCEDURES["sp_columns_90"] = odbccatalog.sp_columns_100
PROCEDURES["sp_statistics_100"] = odbccatalog.sp_statistics
PROCEDURES["sp_special_columns_100"] = odbccatalog.sp_special_columns

_resolved: dict[str, Procedure | None] = {}
_MOST_REMEMBERED = 1000


def find_procedure(name: str) -> Procedure | None:
    """A procedure by the name a client used: ``sp_executesql``, ``[sys].[sp_tables]``,
    ``master..sp_who``.

    :raises NotSupportedByStandIn: for a DBCC command that is not implemented.
    """
    if name in _resolved:
        return _resolved[name]
    last = name.replace("]", "").replace("[", "").split(".")[-1].strip().split(";")[0].lower()
    if last.startswith("dbcc_") and last not in PROCEDURES:
        raise NotSupportedByStandIn(f"DBCC {last.removeprefix('dbcc_').upper()}")
    found = PROCEDURES.get(last)
    if faults.is_fault_procedure(name):
        found = faults.PROCEDURES.get(last)
    if len(_resolved) < _MOST_REMEMBERED:
        _resolved[name] = found
    return found


__all__ = ["Argument", "Call", "Procedure", "find_procedure", "is_fault_procedure"]
