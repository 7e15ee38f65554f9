"""Batches into statements.

Statements need no separator in T-SQL: each production stops where its grammar ends, and
the next statement begins there. Source: T-SQL reference, "Control-of-flow language",
"SET statements", "EXECUTE", "DECLARE @local_variable", "Transactions".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from ..errors import error
from ..protocols import Isolation
from ..schema import ObjectName
from ..sqltypes import SqlType
from . import nodes
from . import statements as st
from .definitions_grammar import DefinitionGrammar
from .dialect import DIALECT
from .statements import Statement
from .tokenizer import RESERVED, STRINGS, VARIABLES

_ISOLATION = {
    ("READ", "UNCOMMITTED"): Isolation.READ_UNCOMMITTED,
    ("READ", "COMMITTED"): Isolation.READ_COMMITTED,
    ("REPEATABLE", "READ"): Isolation.REPEATABLE_READ,
    ("SERIALIZABLE",): Isolation.SERIALIZABLE,
    ("SNAPSHOT",): Isolation.SNAPSHOT,
}
_COMPOUND: dict[str, type[exp.Expression]] = {
    "+=": exp.Add,
    "-=": exp.Sub,
    "*=": exp.Mul,
    "/=": exp.Div,
    "%=": exp.Mod,
    "&=": exp.BitwiseAnd,
    "|=": exp.BitwiseOr,
    "^=": exp.BitwiseXor,
}
_UNSUPPORTED_WORDS = """
    BACKUP RESTORE BULK CHECKPOINT CLOSE CURSOR DEALLOCATE DENY DUMP FETCH GOTO GRANT LOAD
    OPEN READTEXT REVERT REVOKE SETUSER SHUTDOWN UPDATETEXT WRITETEXT ENABLE DISABLE
"""
#: Statements that are refused by their first word.
UNSUPPORTED = frozenset(_UNSUPPORTED_WORDS.split())

_LONGEST_TRANSACTION_NAME = 32
_HEADS_OF_BATCHES = ("VIEW", "SCHEMA")
"""What must "start the batch" ("Batches": CREATE SCHEMA, CREATE VIEW, …)."""


class BatchParser(DefinitionGrammar):
    def batch(self) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        while True:
            while self.accept(";"):
                pass
            if self.at_end:
                return tuple(statements)
            # A procedure's name alone may stand for EXEC at the head of a batch.
            statements.extend(self._statements(head=not statements))

    # --- statements -------------------------------------------------------------------------

    def _statements(self, *, head: bool = False) -> list[Statement]:
        """The next statement; several where one text stands for several."""
        token = self.token
        upper = self.word
        line = token.line
        found: list[Statement]
        if upper == "SET":
            found = self._set(line)
        elif upper == "DECLARE":
            found = self._declare(line)
        else:
            found = [self._statement(upper, line, head)]
        text = self.source(token.start)
        return [replace(statement, text=text) for statement in found]

    def _statement(self, upper: str, line: int, head: bool) -> Statement:
        simple: dict[str, Callable[[int], Statement]] = {
            "SELECT": self._query_statement,
            "(": self._query_statement,
            "WITH": self._with_statement,
            "INSERT": self._insert_statement,
            "UPDATE": self._modification_statement,
            "DELETE": self._modification_statement,
            "MERGE": self._modification_statement,
            "TRUNCATE": self._truncate,
            "CREATE": self.create,
            "ALTER": self.alter,
            "DROP": self.drop,
            "BEGIN": self._begin,
            "COMMIT": self._commit,
            "ROLLBACK": self._rollback,
            "SAVE": self._save,
            "IF": self._if,
            "WHILE": self._while,
            "RETURN": self._return,
            "PRINT": self._print,
            "RAISERROR": self._raiserror,
            "THROW": self._throw,
            "WAITFOR": self._waitfor,
            "KILL": self._kill,
            "USE": self._use,
            "EXEC": self._execute,
            "EXECUTE": self._execute,
            "DBCC": self._dbcc,
        }
        if upper == "CREATE" and not head and self.word_after() in _HEADS_OF_BATCHES:
            raise error(111, f"CREATE {self.word_after()}", line=line)
        if upper in simple:
            return simple[upper](line)
        if upper == "BREAK":
            self.advance()
            return st.Break(line=line)
        if upper == "CONTINUE":
            self.advance()
            return st.Continue(line=line)
        if upper == "RECONFIGURE":
            self.advance()
            self.accept("WITH", "OVERRIDE")
            return st.Execute(procedure=ObjectName("sp_reconfigure"), line=line)
        if upper in UNSUPPORTED and not (head and upper not in RESERVED and self._bare_call()):
            self.unsupported(upper)
        if head and self.at_name():
            return self._call_statement(line, "")
        return self.fail()

    def _bare_call(self) -> bool:
        kind = self.peek().token_type
        return kind in STRINGS or kind in VARIABLES

    def _query_statement(self, line: int) -> Statement:
        return st.Query(tree=self.query(), line=line)

    def _with_statement(self, line: int) -> Statement:
        """WITH belongs to a query or to a modification."""
        return _statement_of(self.with_statement(), line)

    def _insert_statement(self, line: int) -> Statement:
        tree = self.modification()
        if self.at_any("EXEC", "EXECUTE"):
            target = tree.args["target"]
            columns = tree.args.get("columns") or ()
            if tree.args.get("output") is not None:
                self.unsupported("OUTPUT in INSERT … EXEC")
            call = self._execute(self.token.line)
            return st.InsertExec(target=target, columns=columns, call=call, line=line)
        return st.Insert(tree=tree, line=line)

    def _modification_statement(self, line: int) -> Statement:
        return _statement_of(self.modification(), line)

    def _truncate(self, line: int) -> Statement:
        self.expect("TRUNCATE", "TABLE")
        return st.TruncateTable(table=self.object_name(), line=line)

    # --- SET and DECLARE ----------------------------------------------------------------------

    def _set(self, line: int) -> list[Statement]:
        self.expect("SET")
        if self.at_variable():
            return [self._set_variable(line)]
        if self.accept("TRANSACTION"):
            self.expect("ISOLATION", "LEVEL")
            for words, level in _ISOLATION.items():
                if self.accept(*words):
                    return [st.SetIsolation(level=level, line=line)]
            self.fail()
        if self.accept("IDENTITY_INSERT"):
            table = self.object_name()
            return [st.SetIdentityInsert(table=table, on=self._on_off(), line=line)]
        names = self.separated(self._option_name)
        if names == ["STATISTICS"]:
            names = [f"STATISTICS {self.advance_word()}"]
        self.accept("=")
        value = self._option_value()
        return [st.SetOption(name=name, value=value, line=line) for name in names]

    def _option_name(self) -> str:
        if not self.at_word():
            self.fail()
        return self.advance_word()

    def _option_value(self) -> str:
        if self.at("-"):
            return str(self.integer())
        if self.at_operator() or self.at_end:
            self.fail()
        word, token = self.word, self.advance()
        return word if word in ("ON", "OFF") else token.text

    def _on_off(self) -> bool:
        if self.accept("ON"):
            return True
        self.expect("OFF")
        return False

    def _set_variable(self, line: int) -> Statement:
        name = self.advance().text
        operator = self.advance_word()
        if operator == "=":
            if self.at("CURSOR"):
                self.unsupported("CURSOR")
            value = self.scalar()
        elif operator in _COMPOUND:
            value = _COMPOUND[operator](
                this=exp.Parameter(this=name), expression=exp.Paren(this=self.scalar())
            )
        else:
            self.fail(self.last)
        return st.SetVariable(name=name, value=value, line=line)

    def _declare(self, line: int) -> list[Statement]:
        self.expect("DECLARE")
        if not self.at_variable():
            if self.at_name() and self.word_after() in ("CURSOR", "INSENSITIVE", "SCROLL"):
                self.unsupported("CURSOR")
            self.fail()
        if self.word_after() == "TABLE" or (
            self.word_after() == "AS" and self.word_after(2) == "TABLE"
        ):
            name = self.advance().text
            self.accept("AS")
            self.expect("TABLE")
            columns, constraints = self.table_elements()
            return [st.DeclareTable(name=name, columns=columns, constraints=constraints, line=line)]
        return [st.Declare(variables=tuple(self.separated(self._declared)), line=line)]

    def _declared(self) -> tuple[str, SqlType, exp.Expression | None]:
        if not self.at_variable():
            self.fail()
        name = self.advance().text
        self.accept("AS")
        if self.at("CURSOR"):
            self.unsupported("CURSOR")
        to = self.data_type()
        return name, to, self.scalar() if self.accept("=") else None

    # --- control of flow ------------------------------------------------------------------------

    def _body(self) -> tuple[Statement, ...]:
        """The one statement (or BEGIN … END) that IF, ELSE and WHILE govern."""
        if self.at_end:
            self.fail()
        statements = self._statements()
        if len(statements) == 1 and isinstance(statements[0], st.Block):
            return statements[0].body
        return tuple(statements)

    def _if(self, line: int) -> Statement:
        self.expect("IF")
        condition = self.condition()
        then = self._body()
        mark = self.mark
        while self.accept(";"):
            pass
        if self.accept("ELSE"):
            return st.If(condition=condition, then=then, otherwise=self._body(), line=line)
        self.return_to(mark)
        return st.If(condition=condition, then=then, line=line)

    def _while(self, line: int) -> Statement:
        self.expect("WHILE")
        condition = self.condition()
        return st.While(condition=condition, body=self._body(), line=line)

    def _until(self, *words: str) -> tuple[Statement, ...]:
        """Statements up to these words, which are stepped over."""
        statements: list[Statement] = []
        while True:
            while self.accept(";"):
                pass
            if self.accept(*words):
                return tuple(statements)
            if self.at_end:
                self.fail()
            statements.extend(self._statements())

    def _begin(self, line: int) -> Statement:
        self.expect("BEGIN")
        if self.at_any("TRAN", "TRANSACTION"):
            self.advance()
            name = self._transaction_name()
            if self.accept("WITH", "MARK"):
                self.unsupported("BEGIN TRANSACTION … WITH MARK")
            return st.BeginTransaction(name=name, line=line)
        if self.at("DISTRIBUTED"):
            self.unsupported("BEGIN DISTRIBUTED TRANSACTION")
        if self.accept("TRY"):
            body = self._until("END", "TRY")
            while self.accept(";"):
                pass
            self.expect("BEGIN", "CATCH")
            handler = self._until("END", "CATCH")
            return st.TryCatch(body=body, handler=handler, line=line)
        body = self._until("END")
        if not body:
            self.fail(self.last)
        return st.Block(body=body, line=line)

    def _transaction_name(self) -> str:
        """Source: "BEGIN TRANSACTION" and "SAVE TRANSACTION": limited to 32 characters."""
        if self.at_variable():
            self.unsupported("a transaction named by a variable")
        if not self.at_name():
            return ""
        name = self.advance().text
        if len(name) > _LONGEST_TRANSACTION_NAME:
            shown = name[:_LONGEST_TRANSACTION_NAME]
            line = self.last.line
            raise error(103, shown, _LONGEST_TRANSACTION_NAME, state=4, line=line)
        return name

    def _commit(self, line: int) -> Statement:
        self.expect("COMMIT")
        if self.accept("WORK"):
            return st.CommitTransaction(line=line)
        name = ""
        if self.at_any("TRAN", "TRANSACTION"):
            self.advance()
            name = self._transaction_name()
        if self.at("WITH", "("):
            self.advance()
            self._options()
        return st.CommitTransaction(name=name, line=line)

    def _rollback(self, line: int) -> Statement:
        self.expect("ROLLBACK")
        if self.accept("WORK"):
            return st.RollbackTransaction(line=line)
        name = ""
        if self.at_any("TRAN", "TRANSACTION"):
            self.advance()
            name = self._transaction_name()
        return st.RollbackTransaction(name=name, line=line)

    def _save(self, line: int) -> Statement:
        self.expect("SAVE")
        if not self.at_any("TRAN", "TRANSACTION"):
            self.fail()
        self.advance()
        name = self._transaction_name()
        if not name:
            self.fail()
        return st.SaveTransaction(name=name, line=line)

    def _return(self, line: int) -> Statement:
        self.expect("RETURN")
        ends = self.at_end or self.at_any(";", "END", "ELSE") or self._at_statement()
        return st.Return(value=None if ends else self.scalar(), line=line)

    def _at_statement(self) -> bool:
        upper = self.word
        return upper in RESERVED and upper not in ("NULL", "CASE", "CONVERT", "COALESCE", "NULLIF")

    def _print(self, line: int) -> Statement:
        self.expect("PRINT")
        return st.Print(value=self.scalar(), line=line)

    def _raiserror(self, line: int) -> Statement:
        self.expect("RAISERROR", "(")
        values = self.separated(self.scalar)
        self.expect(")")
        if len(values) < 3:
            self.fail(self.last)
        if self.accept("WITH"):
            options = [self.name().upper()]
            while self.accept(","):
                options.append(self.name().upper())
            if "LOG" in options:
                self.unsupported("RAISERROR … WITH LOG")
        return st.RaiseError(
            message=values[0],
            severity=values[1],
            state=values[2],
            arguments=tuple(values[3:]),
            line=line,
        )

    def _throw(self, line: int) -> Statement:
        self.advance()
        if self.at_end or self.at_any(";", "END") or self._at_statement():
            return st.Throw(line=line)
        number = self.scalar()
        self.expect(",")
        message = self.scalar()
        self.expect(",")
        return st.Throw(number=number, message=message, state=self.scalar(), line=line)

    def _waitfor(self, line: int) -> Statement:
        self.expect("WAITFOR")
        if self.accept("DELAY"):
            return st.WaitFor(value=self.scalar(), line=line)
        if self.accept("TIME"):
            return st.WaitFor(value=self.scalar(), until=True, line=line)
        return self.unsupported("WAITFOR (statement)")

    def _kill(self, line: int) -> Statement:
        self.expect("KILL")
        if self.token.token_type is not TokenType.NUMBER:
            self.unsupported("KILL of anything but a session")
        return st.Kill(session_id=self.integer(), line=line)

    def _use(self, line: int) -> Statement:
        self.expect("USE")
        return st.Use(database=self.name(), line=line)

    # --- calls ------------------------------------------------------------------------------------

    def _execute(self, line: int) -> st.Execute | st.ExecuteString:
        self.advance()
        if self.accept("("):
            value = self.scalar()
            self.expect(")")
            if self.at_any("AT", "AS"):
                self.unsupported(f"EXECUTE … {self.word}")
            return st.ExecuteString(sql=value, line=line)
        if self.at("AS"):
            self.unsupported("EXECUTE AS")
        result = ""
        if self.at_variable() and self.word_after() == "=":
            result = self.advance().text
            self.expect("=")
        if self.at_variable():
            self.unsupported("EXECUTE of a procedure named by a variable")
        return self._call_statement(line, result)

    def _call_statement(self, line: int, result: str) -> st.Execute:
        procedure = self.object_name()
        arguments: tuple[st.Argument, ...] = ()
        if self._at_argument():
            arguments = tuple(self.separated(self._procedure_argument))
        if self.accept("WITH", "RECOMPILE"):
            pass
        return st.Execute(procedure=procedure, arguments=arguments, result=result, line=line)

    def _at_argument(self) -> bool:
        if self.at_end or self.at_operator():
            return self.at("-")
        upper = self.word
        return upper not in RESERVED or upper in ("NULL", "DEFAULT", "ON", "OFF")

    def _procedure_argument(self) -> st.Argument:
        name = ""
        if self.at_variable() and self.word_after() == "=":
            name = self.advance().text
            self.expect("=")
        value = self._argument_value()
        output = self.word in ("OUTPUT", "OUT")
        if output:
            self.advance()
        return st.Argument(value=value, name=name, output=output)

    def _argument_value(self) -> exp.Expression | None:
        """A constant, a variable, or a bare word, which is a string."""
        if self.accept("DEFAULT"):
            return None
        if self.at_name() or self.at_any("ON", "OFF"):
            return exp.Literal(this=self.advance().text, is_string=True)
        return self.operand()

    def _dbcc(self, line: int) -> Statement:
        """DBCC command ('a', b) becomes a call of ``dbcc_command`` with these arguments."""
        self.expect("DBCC")
        command = self.name()
        arguments: list[st.Argument] = []
        if self.accept("("):
            if not self.at(")"):
                arguments = self.separated(self._procedure_argument)
            self.expect(")")
        if self.accept("WITH"):
            self.separated(self.name)
        return st.Execute(
            procedure=ObjectName(f"dbcc_{command.lower()}"), arguments=tuple(arguments), line=line
        )


_STATEMENTS: dict[type[exp.Expression], Callable[..., Statement]] = {
    nodes.InsertStatement: st.Insert,
    nodes.UpdateStatement: st.Update,
    nodes.DeleteStatement: st.Delete,
    nodes.MergeStatement: st.Merge,
}


def _statement_of(tree: exp.Expression, line: int) -> Statement:
    return _STATEMENTS.get(type(tree), st.Query)(tree=tree, line=line)


def _reading(sql: str) -> BatchParser:
    """A parser standing before the first token of ``sql``."""
    parser = BatchParser(dialect=DIALECT)
    parser.read(sql)
    return parser


def parse_batch(sql: str) -> tuple[Statement, ...]:
    """The statements of a batch.

    :raises SqlError: 102, 105, 156 … with the line, for what is not T-SQL.
    :raises NotSupportedByStandIn: for T-SQL this server does not implement.
    """
    return _reading(sql).batch()


def parse_expression(text: str) -> exp.Expression:
    """One expression or condition, e.g. a default or a CHECK as the catalog keeps it."""
    parser = _reading(text)
    tree = parser.any_expression()
    if not parser.at_end:
        parser.fail()
    return tree


def parse_query(text: str) -> exp.Expression:
    """One query, e.g. a view's definition."""
    parser = _reading(text)
    tree = parser.query()
    parser.accept(";")
    if not parser.at_end:
        parser.fail()
    return tree


def parse_type(text: str) -> SqlType:
    """A data type as T-SQL writes it: ``nvarchar(max)``, ``numeric(8, 2)``."""
    parser = _reading(text)
    found = parser.data_type()
    if parser.accept("COLLATE"):
        found = found.with_collation(parser.name())
    if not parser.at_end:
        parser.fail()
    return found


def parse_object_name(text: str) -> ObjectName:
    """``dbo.t``, ``[a b]``, ``tempdb..#t`` as an argument of OBJECT_ID or sp_rename."""
    parser = _reading(text)
    name = parser.object_name()
    if not parser.at_end:
        parser.fail()
    return name


def parse_parameter_declarations(text: str) -> tuple[st.ParameterDeclaration, ...]:
    """The declarations of sp_executesql and sp_prepexec: ``@P1 int,@P2 nvarchar(6) output``."""
    parser = _reading(text)
    if parser.at_end:
        return ()
    declarations = []
    while True:
        token = parser.token
        if not parser.at_variable():
            parser.fail()
        parser.advance()
        parser.accept("AS")
        to = parser.data_type()
        default = parser.scalar() if parser.accept("=") else None
        output = parser.at_any("OUTPUT", "OUT")
        if output:
            parser.advance()
        declarations.append(
            st.ParameterDeclaration(name=token.text, type=to, output=output, default=default)
        )
        if not parser.accept(","):
            break
    if not parser.at_end:
        parser.fail()
    seen: set[str] = set()
    for declaration in declarations:
        folded = declaration.name.casefold()
        if folded in seen:
            raise error(134, declaration.name)
        seen.add(folded)
    return tuple(declarations)
