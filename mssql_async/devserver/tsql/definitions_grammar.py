"""The grammar of CREATE, ALTER and DROP.

Source: T-SQL reference, "CREATE TABLE", "ALTER TABLE", "CREATE INDEX", "DROP …",
"CREATE VIEW", "CREATE SCHEMA", "CREATE DATABASE", "ALTER DATABASE SET options".
"""

from __future__ import annotations

from dataclasses import replace

from ..schema import IndexColumn, IndexKind, ObjectName, ReferentialAction
from ..sqltypes import SqlType
from . import statements as st
from .statements_parser import StatementParser

_DROPPABLE = {
    "TABLE": st.ObjectKind.TABLE,
    "VIEW": st.ObjectKind.VIEW,
    "INDEX": st.ObjectKind.INDEX,
    "SCHEMA": st.ObjectKind.SCHEMA,
    "DATABASE": st.ObjectKind.DATABASE,
    "PROCEDURE": st.ObjectKind.PROCEDURE,
    "PROC": st.ObjectKind.PROCEDURE,
    "FUNCTION": st.ObjectKind.FUNCTION,
}

#: Options of tables and indexes that change what statements do.
_MEANING_OPTIONS = frozenset(
    {"IGNORE_DUP_KEY", "SYSTEM_VERSIONING", "LEDGER", "MEMORY_OPTIMIZED", "DATA_DELETION"}
)


class DefinitionGrammar(StatementParser):
    # --- CREATE ---------------------------------------------------------------------------

    def create(self, line: int) -> st.Statement:
        self.expect("CREATE")
        replacing = self.accept("OR", "ALTER")
        if self.accept("TABLE"):
            return self._create_table(line)
        if self.word in ("UNIQUE", "CLUSTERED", "NONCLUSTERED", "INDEX"):
            return self._create_index(line)
        if self.accept("VIEW"):
            return self._create_view(line, replacing)
        if self.accept("SCHEMA"):
            name = self.name()
            if self.accept("AUTHORIZATION"):
                self.name()
            return st.CreateSchema(name=name, line=line)
        if self.accept("DATABASE"):
            return self._create_database(line)
        if self.accept("ASSEMBLY"):
            return self._create_assembly(line)
        if self.accept("FUNCTION"):
            return self._create_clr_function(line)
        return self.unsupported(f"CREATE {self.next_text}")

    def _create_assembly(self, line: int) -> st.CreateAssembly:
        name = self.name()
        self.expect("FROM")
        self.advance()
        if self.accept("WITH", "PERMISSION_SET"):
            self.expect("=")
            self.advance()
        return st.CreateAssembly(name=name, line=line)

    def _create_clr_function(self, line: int) -> st.CreateClrFunction:
        """Only functions of an assembly; those written in T-SQL are refused."""
        name = self.object_name()
        self._options()
        self.expect("RETURNS")
        if self.at("TABLE") or self.at_variable():
            self.unsupported("CREATE FUNCTION")
        self.data_type()
        self.accept("AS")
        if not self.accept("EXTERNAL"):
            self.unsupported("CREATE FUNCTION")
        self.expect("NAME")
        return st.CreateClrFunction(name=name, assembly=self.object_name().database, line=line)

    def _create_table(self, line: int) -> st.CreateTable:
        name = self.object_name()
        if self.accept("AS"):
            self.unsupported("CREATE TABLE … AS")
        columns, constraints = self.table_elements()
        while self.word in ("ON", "TEXTIMAGE_ON", "WITH", "FILESTREAM_ON"):
            if self.advance_word() == "WITH":
                self._options()
            else:
                self._filegroup()
        return st.CreateTable(name=name, columns=columns, constraints=constraints, line=line)

    def _filegroup(self) -> None:
        """Where data lies on disk means nothing here."""
        self.advance()
        if self.at("("):
            self._options()

    def table_elements(
        self,
    ) -> tuple[tuple[st.ColumnDefinition, ...], tuple[st.ConstraintDefinition, ...]]:
        self.expect("(")
        columns: list[st.ColumnDefinition] = []
        constraints: list[st.ConstraintDefinition] = []
        while True:
            self._table_element(columns, constraints)
            if not self.accept(","):
                break
            if self.at(")"):
                break
        self.expect(")")
        return tuple(columns), tuple(constraints)

    def _table_element(
        self, columns: list[st.ColumnDefinition], constraints: list[st.ConstraintDefinition]
    ) -> None:
        if self.at("INDEX"):
            self.unsupported("INDEX in CREATE TABLE")
        if self.at("PERIOD"):
            self.unsupported("temporal tables")
        if self._at_constraint():
            constraints.append(self._table_constraint())
        else:
            columns.append(self.column_definition())

    def _at_constraint(self) -> bool:
        return self.at_any("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "DEFAULT")

    def column_definition(self) -> st.ColumnDefinition:
        name = self.name()
        if self.accept("AS"):
            return self._computed_column(name)
        if not (self.at_name() or self.at_word()):
            self.fail()
        column = st.ColumnDefinition(name=name, type=self.data_type())
        return self._column_options(column)

    def _computed_column(self, name: str) -> st.ColumnDefinition:
        start = self.token.start
        self.scalar()
        column = st.ColumnDefinition(name=name, type=None, computed=self.source(start))
        if self.accept("PERSISTED"):
            column = replace(column, persisted=True)
        return self._column_options(column)

    def _column_options(self, column: st.ColumnDefinition) -> st.ColumnDefinition:
        """What may follow a column's type, in any order."""
        constraints: list[st.ConstraintDefinition] = []
        while True:
            if self.accept("COLLATE"):
                column = replace(column, type=self._collated(column.type))
            elif self.accept("NULL"):
                column = replace(column, nullable=True)
            elif self.accept("NOT", "NULL"):
                column = replace(column, nullable=False)
            elif self.accept("NOT", "FOR", "REPLICATION") or self.accept("ROWGUIDCOL"):
                pass
            elif self.at("GENERATED", "ALWAYS"):
                self.unsupported("temporal tables")
            elif self.accept("SPARSE") or self.at("MASKED") or self.at("ENCRYPTED"):
                self.unsupported("SPARSE, MASKED and ENCRYPTED columns")
            elif self.accept("IDENTITY"):
                seed, increment = 1, 1
                if self.accept("("):
                    seed = self.integer()
                    self.expect(",")
                    increment = self.integer()
                    self.expect(")")
                column = replace(column, identity=(seed, increment))
            elif self._at_constraint():
                constraint = self._column_constraint(column.name)
                if isinstance(constraint, st.DefaultDefinition):
                    column = replace(column, default=constraint)
                else:
                    constraints.append(constraint)
            elif self.at("REFERENCES"):
                constraints.append(self._foreign_key("", (column.name,)))
            else:
                return replace(column, constraints=tuple(constraints))

    def _collated(self, column_type: SqlType | None) -> SqlType | None:
        name = self.name()
        if column_type is None or name.upper() == "DATABASE_DEFAULT":
            return column_type
        return column_type.with_collation(name)

    def _constraint_name(self) -> str:
        return self.name() if self.accept("CONSTRAINT") else ""

    def _column_constraint(self, column: str) -> st.ConstraintDefinition:
        name = self._constraint_name()
        if self.at("DEFAULT"):
            default = self._default(name)
            return replace(default, with_values=self.accept("WITH", "VALUES"))
        if self.at("REFERENCES"):
            return self._foreign_key(name, (column,))
        if self.at("FOREIGN", "KEY"):
            self.expect("FOREIGN", "KEY")
            return self._foreign_key(name, (column,))
        if self.at("CHECK"):
            return replace(self._check(name), column=column)
        return self._key(name, column)

    def _table_constraint(self) -> st.ConstraintDefinition:
        name = self._constraint_name()
        if self.at("DEFAULT"):
            default = self._default(name)
            self.expect("FOR")
            default = replace(default, column=self.name())
            self.accept("WITH", "VALUES")
            return default
        if self.accept("FOREIGN", "KEY"):
            return self._foreign_key(name, self.names())
        if self.at("CHECK"):
            return self._check(name)
        return self._key(name, "")

    def _default(self, name: str) -> st.DefaultDefinition:
        self.expect("DEFAULT")
        start = self.token.start
        self.scalar()
        return st.DefaultDefinition(expression=self.source(start), name=name)

    def _check(self, name: str) -> st.CheckDefinition:
        self.expect("CHECK")
        self.accept("NOT", "FOR", "REPLICATION")
        self.expect("(")
        start = self.token.start
        self.condition()
        text = self.source(start)
        self.expect(")")
        return st.CheckDefinition(expression=text, name=name)

    def _key(self, name: str, column: str) -> st.KeyDefinition:
        if self.accept("PRIMARY", "KEY"):
            kind = IndexKind.PRIMARY_KEY
        else:
            self.expect("UNIQUE")
            kind = IndexKind.UNIQUE_CONSTRAINT
        clustered = self._clustered()
        listed = not column or self.at("(")
        columns = self._index_columns() if listed else (IndexColumn(column),)
        if self.accept("WITH"):
            self._options()
        if self.at("ON") and not column:
            self.advance()
            self._filegroup()
        return st.KeyDefinition(kind=kind, columns=columns, name=name, clustered=clustered)

    def _clustered(self) -> bool | None:
        if self.accept("CLUSTERED"):
            return True
        return False if self.accept("NONCLUSTERED") else None

    def _index_columns(self) -> tuple[IndexColumn, ...]:
        self.expect("(")
        columns = self.separated(self._index_column)
        self.expect(")")
        return tuple(columns)

    def _index_column(self) -> IndexColumn:
        name = self.name()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        return IndexColumn(name, descending)

    def _foreign_key(self, name: str, columns: tuple[str, ...]) -> st.ForeignKeyDefinition:
        self.expect("REFERENCES")
        referenced = self.object_name()
        referenced_columns = self.names() if self.at("(") else ()
        actions = {"DELETE": ReferentialAction.NO_ACTION, "UPDATE": ReferentialAction.NO_ACTION}
        while self.at("ON") and self.word_after() in actions:
            self.expect("ON")
            event = self.advance_word()
            actions[event] = self._referential_action()
        self.accept("NOT", "FOR", "REPLICATION")
        return st.ForeignKeyDefinition(
            columns=columns,
            referenced=referenced,
            referenced_columns=referenced_columns,
            name=name,
            on_delete=actions["DELETE"],
            on_update=actions["UPDATE"],
        )

    def _referential_action(self) -> ReferentialAction:
        if self.accept("NO", "ACTION"):
            return ReferentialAction.NO_ACTION
        if self.accept("CASCADE"):
            return ReferentialAction.CASCADE
        self.expect("SET")
        if self.accept("NULL"):
            return ReferentialAction.SET_NULL
        self.expect("DEFAULT")
        return ReferentialAction.SET_DEFAULT

    def _options(self) -> None:
        """``(PAD_INDEX = ON, …)``: how rows are stored changes no result. What does is refused."""
        self.expect("(")
        depth = 1
        while depth:
            if self.at_end:
                self.fail()
            upper = self.advance_word()
            if upper in _MEANING_OPTIONS and self.at("=", "ON"):
                self.unsupported(f"WITH ({upper} = ON)")
            depth += (upper == "(") - (upper == ")")

    def _create_index(self, line: int) -> st.CreateIndex:
        unique = self.accept("UNIQUE")
        clustered = self._clustered()
        if self.at("COLUMNSTORE"):
            self.unsupported("COLUMNSTORE indexes")
        self.expect("INDEX")
        name = self.name()
        self.expect("ON")
        table = self.object_name()
        columns = self._index_columns()
        include: tuple[str, ...] = ()
        condition = None
        if self.accept("INCLUDE"):
            include = self.names()
        if self.accept("WHERE"):
            start = self.token.start
            self.condition()
            condition = self.source(start)
        if self.accept("WITH"):
            self._options()
        if self.accept("ON"):
            self._filegroup()
        return st.CreateIndex(
            name=name,
            table=table,
            columns=columns,
            unique=unique,
            clustered=bool(clustered),
            include=include,
            filter=condition,
            line=line,
        )

    def _create_view(self, line: int, replacing: bool) -> st.CreateView:
        name = self.object_name()
        columns = self.names() if self.at("(") else ()
        if self.accept("WITH"):
            self.separated(self.name)
        self.expect("AS")
        start = self.token.start
        self.query()
        text = self.source(start)
        self.accept("WITH", "CHECK", "OPTION")
        return st.CreateView(
            name=name, columns=columns, definition=text, replace=replacing, line=line
        )

    def _create_database(self, line: int) -> st.CreateDatabase:
        name = self.name()
        collation = None
        while not self.at_end and not self.at(";"):
            if self.accept("COLLATE"):
                collation = self.name()
            elif self.word in ("ON", "LOG", "WITH", "CONTAINMENT"):
                self.unsupported(f"CREATE DATABASE … {self.word}")
            else:
                break
        return st.CreateDatabase(name=name, collation=collation, line=line)

    # --- ALTER ----------------------------------------------------------------------------

    def alter(self, line: int) -> st.Statement:
        self.expect("ALTER")
        if self.accept("DATABASE"):
            return self._alter_database(line)
        if self.accept("VIEW"):
            return self._create_view(line, True)
        if not self.accept("TABLE"):
            self.unsupported(f"ALTER {self.next_text}")
        table = self.object_name()
        if self.accept("ALTER", "COLUMN"):
            name = self.name()
            if self.at_any("ADD", "DROP"):
                self.unsupported(f"ALTER COLUMN … {self.word}")
            column = st.ColumnDefinition(name=name, type=self.data_type())
            return st.AlterColumn(table=table, column=self._column_options(column), line=line)
        if self.accept("DROP"):
            return self._drop_from_table(table, line)
        validate = None
        if self.accept("WITH", "CHECK"):
            validate = True
        elif self.accept("WITH", "NOCHECK"):
            validate = False
        if self.accept("ADD"):
            columns: list[st.ColumnDefinition] = []
            constraints: list[st.ConstraintDefinition] = []
            self._table_element(columns, constraints)
            while self.accept(","):
                self._table_element(columns, constraints)
            return st.AddColumns(
                table=table,
                columns=tuple(columns),
                constraints=tuple(constraints),
                check=validate is not False,
                line=line,
            )
        if self.at_any("CHECK", "NOCHECK"):
            enable = self.advance_word() == "CHECK"
            self.expect("CONSTRAINT")
            names = () if self.accept("ALL") else tuple(self.separated(self.name))
            return st.ToggleConstraints(
                table=table, enable=enable, validate=bool(validate), names=names, line=line
            )
        if self.at_word():
            self.unsupported(f"ALTER TABLE … {self.word}")
        return self.fail()

    def _drop_from_table(self, table: ObjectName, line: int) -> st.DropFromTable:
        columns: list[str] = []
        constraints: list[str] = []
        if_exists = False
        target = constraints
        while True:
            if self.accept("COLUMN"):
                target = columns
            elif self.accept("CONSTRAINT"):
                target = constraints
            if self.accept("IF", "EXISTS"):
                if_exists = True
            target.append(self.name())
            if not self.accept(","):
                break
        if self.accept("WITH"):
            self._options()
        return st.DropFromTable(
            table=table,
            columns=tuple(columns),
            constraints=tuple(constraints),
            if_exists=if_exists,
            line=line,
        )

    def _alter_database(self, line: int) -> st.AlterDatabase:
        name = "" if self.accept("CURRENT") else self.name()
        options: list[str] = []
        self.expect("SET") if self.at("SET") else self.unsupported("ALTER DATABASE without SET")
        while not self.at_end and not self.at(";"):
            options.append(self.next_text)
            self.advance()
        return st.AlterDatabase(name=name, options=tuple(options), line=line)

    # --- DROP -----------------------------------------------------------------------------

    def drop(self, line: int) -> st.Statement:
        self.expect("DROP")
        if self.accept("ASSEMBLY"):
            missing_is_fine = self.accept("IF", "EXISTS")
            return st.DropAssembly(name=self.name(), if_exists=missing_is_fine, line=line)
        kind = _DROPPABLE.get(self.word)
        if kind is None:
            self.unsupported(f"DROP {self.next_text}")
        self.advance()
        if_exists = self.accept("IF", "EXISTS")
        if kind is st.ObjectKind.INDEX:
            return self._drop_index(line, if_exists)
        names = tuple(self.separated(self.object_name))
        return st.Drop(kind=kind, names=names, if_exists=if_exists, line=line)

    def _drop_index(self, line: int, if_exists: bool) -> st.Drop:
        name = self.object_name()
        table = None
        if self.accept("ON"):
            table = self.object_name()
        elif name.schema:
            # The old form: DROP INDEX table.index
            table = ObjectName(name.schema, name.database)
            name = ObjectName(name.name)
        if self.at(","):
            self.unsupported("DROP INDEX of several indexes")
        if self.accept("WITH"):
            self._options()
        return st.Drop(
            kind=st.ObjectKind.INDEX, names=(name,), table=table, if_exists=if_exists, line=line
        )
