"""T-SQL's lexical rules.

Source: T-SQL reference, "Constants", "Database identifiers", "Comment", and "Reserved
keywords". sqlglot's tokenizer is not used: it reads ``0x``, ``.5``, ``$1.5`` and ``!<``
as something else, and its errors do not say what SQL Server's do.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from ..errors import error


class TokenKind(enum.Enum):
    WORD = "word"
    QUOTED = "quoted identifier"
    STRING = "string"
    NATIONAL = "national string"
    NUMBER = "number"
    MONEY = "money"
    BINARY = "binary"
    VARIABLE = "variable"
    OPERATOR = "operator"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` is the value (unquoted, unescaped), ``upper`` its upper case for words
    and operators and empty for everything else, so that nothing quoted looks like a
    keyword. ``start`` and ``end`` are offsets into the batch."""

    kind: TokenKind
    text: str
    upper: str
    start: int
    end: int
    line: int


_RESERVED_WORDS = """
    ADD ALL ALTER AND ANY AS ASC AUTHORIZATION BACKUP BEGIN BETWEEN BREAK BROWSE BULK BY CASCADE
    CASE CHECK CHECKPOINT CLOSE CLUSTERED COALESCE COLLATE COLUMN COMMIT COMPUTE CONSTRAINT
    CONTAINS CONTAINSTABLE CONTINUE CONVERT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME
    CURRENT_TIMESTAMP CURRENT_USER CURSOR DATABASE DBCC DEALLOCATE DECLARE DEFAULT DELETE DENY
    DESC DISK DISTINCT DISTRIBUTED DOUBLE DROP DUMP ELSE END ERRLVL ESCAPE EXCEPT EXEC EXECUTE
    EXISTS EXIT EXTERNAL FETCH FILE FILLFACTOR FOR FOREIGN FREETEXT FREETEXTTABLE FROM FULL
    FUNCTION GOTO GRANT GROUP HAVING HOLDLOCK IDENTITY IDENTITY_INSERT IDENTITYCOL IF IN INDEX
    INNER INSERT INTERSECT INTO IS JOIN KEY KILL LEFT LIKE LINENO LOAD MERGE NATIONAL NOCHECK
    NONCLUSTERED NOT NULL NULLIF OF OFF OFFSETS ON OPEN OPENDATASOURCE OPENQUERY OPENROWSET
    OPENXML OPTION OR ORDER OUTER OVER PERCENT PIVOT PLAN PRECISION PRIMARY PRINT PROC PROCEDURE
    PUBLIC RAISERROR READ READTEXT RECONFIGURE REFERENCES REPLICATION RESTORE RESTRICT RETURN
    REVERT REVOKE RIGHT ROLLBACK ROWCOUNT ROWGUIDCOL RULE SAVE SCHEMA SECURITYAUDIT SELECT
    SESSION_USER SET SETUSER SHUTDOWN SOME STATISTICS SYSTEM_USER TABLE TABLESAMPLE TEXTSIZE
    THEN TO TOP TRAN TRANSACTION TRIGGER TRUNCATE TRY_CONVERT TSEQUAL UNION UNIQUE UNPIVOT
    UPDATE UPDATETEXT USE USER VALUES VARYING VIEW WAITFOR WHEN WHERE WHILE WITH WRITETEXT
"""
#: Reserved keywords: never a name unless quoted.
RESERVED = frozenset(_RESERVED_WORDS.split())

_PATTERN = re.compile(
    r"""
      (?P<space>[\s\u00a0\ufeff]+ | --[^\n]*)
    | (?P<comment>/\*)
    | (?P<national>[nN]')
    | (?P<string>')
    | (?P<bracket>\[)
    | (?P<quoted>")
    | (?P<variable>@[\w@#$]*)
    | (?P<binary>0[xX][0-9a-fA-F]*)
    | (?P<money>[$£€¥]\s*[+-]?\s*(?:\d+\.?\d*|\.\d+)?)
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d*)?)
    | (?P<word>[^\W\d][\w@#$]*|\#[\w@#$]*)
    | (?P<operator><>|<=|>=|!=|!<|!>|\+=|-=|\*=|/=|%=|&=|\|=|\^=|::|[-+*/%&|^~=<>(),.;:{}?!])
    """,
    re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_KINDS = {
    "variable": TokenKind.VARIABLE,
    "binary": TokenKind.BINARY,
    "money": TokenKind.MONEY,
    "number": TokenKind.NUMBER,
}


def tokenize(sql: str) -> list[Token]:
    """The tokens of a batch, ended by one of kind END.

    :raises SqlError: 105 for an unclosed quotation mark, 113 for an unclosed comment,
        102 for a character T-SQL has no use for.
    """
    tokens: list[Token] = []
    position, line, length = 0, 1, len(sql)
    while position < length:
        match = _PATTERN.match(sql, position)
        if match is None:
            raise error(102, sql[position], line=line)
        group = match.lastgroup or ""
        start, end = position, match.end()
        if group == "comment":
            end = _end_of_comment(sql, start, line)
        elif group == "word" or group == "operator":
            text = match.group()
            kind = TokenKind.WORD if group == "word" else TokenKind.OPERATOR
            tokens.append(Token(kind, text, text.upper(), start, end, line))
        elif group in _KINDS:
            tokens.append(Token(_KINDS[group], match.group(), "", start, end, line))
        elif group != "space":
            quote = "]" if group == "bracket" else '"' if group == "quoted" else "'"
            text, close = _quoted(sql, end, quote, line)
            kind = (
                TokenKind.STRING
                if group == "string"
                else TokenKind.NATIONAL
                if group == "national"
                else TokenKind.QUOTED
            )
            end = close
            tokens.append(Token(kind, text, "", start, end, line))
        line += sql.count("\n", start, end)
        position = end
    tokens.append(Token(TokenKind.END, "", "", length, length, line))
    return tokens


def _quoted(sql: str, start: int, quote: str, line: int) -> tuple[str, int]:
    """The text up to the closing ``quote`` (doubled ones are one), and where it ends."""
    position = start
    while True:
        close = sql.find(quote, position)
        if close < 0:
            raise error(105, sql[start:], line=line)
        if sql.startswith(quote, close + 1):
            position = close + 2
            continue
        text = sql[start:close]
        return (text.replace(quote * 2, quote) if position != start else text), close + 1


def _end_of_comment(sql: str, start: int, line: int) -> int:
    """Where the comment ends that starts at ``start``; comments nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise error(113, line=line)
