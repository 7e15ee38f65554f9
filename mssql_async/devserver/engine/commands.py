"""What a running statement is called in sys.dm_exec_requests and sp_who.

Source: SQL Server documentation, "sys.dm_exec_requests" (``command``).
"""

from __future__ import annotations

from ..tsql import statements as st

_NAMES: dict[type, str] = {
    st.Query: "SELECT",
    st.Insert: "INSERT",
    st.InsertExec: "INSERT",
    st.Update: "UPDATE",
    st.Delete: "DELETE",
    st.Merge: "MERGE",
    st.BeginTransaction: "BEGIN TRANSACTION",
    st.CommitTransaction: "COMMIT TRANSACTION",
    st.RollbackTransaction: "ROLLBACK TRANSACTION",
    st.SaveTransaction: "SAVE TRANSACTION",
    st.Use: "USE DATABASE",
    st.SetOption: "SET OPTION ON",
    st.SetIsolation: "SET TRANSACTION ISOLATION LEVEL",
    st.SetIdentityInsert: "SET ON/OFF",
    st.WaitFor: "WAITFOR",
    st.Kill: "KILL",
    st.Execute: "EXECUTE",
    st.ExecuteString: "EXECUTE",
    st.CreateTable: "CREATE TABLE",
    st.AddColumns: "ALTER TABLE",
    st.AlterColumn: "ALTER TABLE",
    st.DropFromTable: "ALTER TABLE",
    st.ToggleConstraints: "ALTER TABLE",
    st.CreateIndex: "CREATE INDEX",
    st.CreateView: "CREATE VIEW",
    st.CreateSchema: "CREATE SCHEMA",
    st.CreateDatabase: "CREATE DATABASE",
    st.AlterDatabase: "ALTER DATABASE",
    st.Drop: "DROP",
    st.TruncateTable: "TRUNCATE TABLE",
}


def command_name(statement: type | None) -> str:
    return _NAMES.get(statement, "SELECT") if statement is not None else "SELECT"
