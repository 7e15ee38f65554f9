"""CREATE, ALTER, DROP, TRUNCATE: definition statements as edits of the catalog.

Each module knows the statements about one kind of thing. All work alike: resolve the name
(:mod:`.place`), compute the changed tables, and have them carried out (:mod:`.change`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...tsql import statements as st
from ..execution import Execution
from ..frames import Frame
from ..steps import Step
from .assemblies import create_assembly, create_clr_function, drop_assembly
from .columns import add_to_table, alter_column, drop_from_table
from .databases import alter_database, create_database
from .drop import drop
from .indexes import create_index
from .schemas import create_schema
from .tableconstraints import toggle
from .tables import create_table, truncate
from .views import create_view

_DEFINITIONS: dict[type, Callable[[Execution, Any], Iterator[Step]]] = {
    st.CreateTable: create_table,
    st.AddColumns: add_to_table,
    st.AlterColumn: alter_column,
    st.DropFromTable: drop_from_table,
    st.ToggleConstraints: toggle,
    st.CreateIndex: create_index,
    st.Drop: drop,
    st.TruncateTable: truncate,
    st.CreateView: create_view,
    st.CreateSchema: create_schema,
    st.CreateAssembly: create_assembly,
    st.DropAssembly: drop_assembly,
    st.CreateClrFunction: create_clr_function,
    st.CreateDatabase: create_database,
    st.AlterDatabase: alter_database,
}
STATEMENTS = tuple(_DEFINITIONS)


def define(execution: Execution, frame: Frame, statement: st.Statement) -> Iterator[Step]:
    """Run one definition statement."""
    yield from _DEFINITIONS[type(statement)](execution, statement)
