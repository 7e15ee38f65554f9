"""The statements, by the type of their syntax tree: who runs what.

Source: SQL Server documentation, "Transact-SQL reference".
"""

from __future__ import annotations

from collections.abc import Iterator

from ...tsql import statements as st
from .. import definitions
from ..frames import Frame
from ..interpreter import Handler, Interpreter
from ..steps import Step
from . import control, execute, messages, server, settings, transactions, variables


def _select(interpreter: Interpreter, frame: Frame, statement: st.Query) -> Iterator[Step]:
    return interpreter.reads.select(frame, statement)


def _modify(interpreter: Interpreter, frame: Frame, statement: st.Statement) -> Iterator[Step]:
    return interpreter.modifications.modify(frame, statement)


def _define(interpreter: Interpreter, frame: Frame, statement: st.Statement) -> Iterator[Step]:
    return definitions.define(interpreter.execution, frame, statement)


HANDLERS: dict[type, Handler] = {
    st.Query: _select,
    st.Insert: _modify,
    st.Update: _modify,
    st.Delete: _modify,
    st.Merge: _modify,
    st.InsertExec: execute.insert_exec,
    st.BeginTransaction: transactions.begin_transaction,
    st.CommitTransaction: transactions.commit_transaction,
    st.RollbackTransaction: transactions.rollback_transaction,
    st.SaveTransaction: transactions.save_transaction,
    st.Use: settings.use,
    st.SetOption: settings.set_option,
    st.SetIsolation: settings.isolation,
    st.SetIdentityInsert: settings.identity_insert,
    st.Declare: variables.declare,
    st.DeclareTable: variables.declare_table,
    st.SetVariable: variables.set_variable,
    st.If: control.if_,
    st.While: control.while_,
    st.Block: control.block,
    st.Break: control.break_,
    st.Continue: control.continue_,
    st.Return: control.return_,
    st.TryCatch: control.try_catch,
    st.Print: messages.print_,
    st.RaiseError: messages.raise_error,
    st.Throw: messages.throw,
    st.WaitFor: server.wait_for,
    st.Kill: server.kill,
    st.Execute: execute.execute,
    st.ExecuteString: execute.execute_string,
    **dict.fromkeys(definitions.STATEMENTS, _define),
}
