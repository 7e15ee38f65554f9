"""T-SQL's words, literals and operators as sqlglot's tokens.

Source: T-SQL reference, "Constants", "Database identifiers", "Comment", and "Reserved
keywords". sqlglot cuts the text; where T-SQL cuts otherwise (``0x1F``, ``.5``, ``$1.5``,
``1a``) the pieces are put together again, and what is left open is reported as SQL Server
does.
"""

from __future__ import annotations

import re
from typing import ClassVar

from sqlglot import tokens
from sqlglot.dialects.tsql import TSQL
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from ..errors import SqlError, error

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

#: What a reserved word is to the parser. COMMAND says no more than that it is reserved; a
#: word that is not reserved stays a VAR, so that it can be a name, and is known by its text.
_WORD_TYPES = {
    **{word: tokens.Tokenizer.KEYWORDS.get(word, TokenType.COMMAND) for word in RESERVED},
    "GROUP": TokenType.GROUP_BY,
    "OPTION": TokenType.OPTION,
    "ORDER": TokenType.ORDER_BY,
    "TOP": TokenType.TOP,
}
_OPERATORS = {
    "<>": TokenType.NEQ,
    "!=": TokenType.NEQ,
    "<=": TokenType.LTE,
    "!>": TokenType.LTE,
    ">=": TokenType.GTE,
    "!<": TokenType.GTE,
    "::": TokenType.DCOLON,
    **dict.fromkeys(("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^="), TokenType.COLON_EQ),
}
#: Tokens whose text is a value, not a word or an operator.
VALUES = frozenset(
    {
        TokenType.STRING,
        TokenType.NATIONAL_STRING,
        TokenType.IDENTIFIER,
        TokenType.NUMBER,
        TokenType.MONEY,
        TokenType.HEX_STRING,
        TokenType.PARAMETER,
        TokenType.SESSION_PARAMETER,
        TokenType.SENTINEL,
    }
)
STRINGS = frozenset({TokenType.STRING, TokenType.NATIONAL_STRING})
VARIABLES = frozenset({TokenType.PARAMETER, TokenType.SESSION_PARAMETER})
NAMES = frozenset({TokenType.VAR, TokenType.IDENTIFIER})

_WORD = re.compile(r"(?:[^\W\d]|[#@])[\w@#$]*|\$[A-Za-z]\w*")
_LITERAL = re.compile(
    r"""
      (?P<binary>0[xX][0-9a-fA-F]*)
    | (?P<money>[$£€¥]\s*[+-]?\s*(?:\d+\.?\d*|\.\d+)?)
    | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d*)?
    """,
    re.VERBOSE,
)
_BLANK = re.compile(r"\s+|--[^\n]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_OPENING = re.compile(r"[nN]?['\"\[]")


class Tokenizer(TSQL.Tokenizer):
    """sqlglot's tokenizer for T-SQL without the words and operators of other dialects."""

    QUOTES: ClassVar = ["'"]
    IDENTIFIERS: ClassVar = [("[", "]"), '"']
    HEX_STRINGS: ClassVar = []
    VAR_SINGLE_TOKENS: ClassVar = set()
    COMMANDS: ClassVar = set()
    COMMENTS_TERMINATE_AT_NEWLINE_ONLY = True
    KEYWORDS: ClassVar = {**_WORD_TYPES, **_OPERATORS}
    # Without @, # and $, which are letters of names here.
    SINGLE_TOKENS: ClassVar = {
        **{
            text: token_type
            for text, token_type in tokens.Tokenizer.SINGLE_TOKENS.items()
            if text not in "@#$"
        },
        "!": TokenType.EXCLAMATION,
        "\\": TokenType.UNKNOWN,
        "]": TokenType.UNKNOWN,
    }

    def tokenize(self, sql: str) -> list[Token]:
        """The tokens of a batch.

        :raises SqlError: 105 for an unclosed quotation mark, 113 for an unclosed comment,
            102 for a character T-SQL has no use for.
        """
        if sql.startswith("\ufeff"):
            sql = " " + sql[1:]
        try:
            found = super().tokenize(sql)
        except TokenError:
            raise _unclosed(sql, self.tokens[-1].end + 1 if self.tokens else 0) from None
        return _repaired(sql, found)


# sqlglot adds Jinja's comments to those of every dialect: {# … #}.
Tokenizer._COMMENTS = {"--": None, "/*": "*/"}  # noqa: SLF001


def _repaired(sql: str, found: list[Token]) -> list[Token]:
    """Cut literals as T-SQL does, tell variables from names, and count lines from each
    token's start."""
    commented = "--" in sql or "/*" in sql
    broken = "\n" in sql
    result: list[Token] = []
    line, counted, read = 1, 0, 0
    for token in found:
        start = token.start
        if token.end < read:
            continue
        if start < read:
            token = _remainder(sql, read, token.end)
            start = read
        if broken:
            line += sql.count("\n", counted, start)
            counted = start
        token.line = line
        if commented:
            token.comments = []
        kind = token.token_type
        if kind is TokenType.VAR:
            if not token.text.isidentifier():
                _name(token, sql)
        elif kind is TokenType.UNKNOWN:
            raise error(102, token.text, line=line)
        if (
            token.token_type is TokenType.NUMBER
            or token.token_type is TokenType.MONEY
            or (kind is TokenType.DOT and sql[start + 1 : start + 2].isdigit())
        ):
            end = token.end
            _literal(token, sql)
            read = token.end + 1
            if token.end < end:
                result.append(token)
                token = _remainder(sql, read, end)
                token.line = line
                read = end + 1
        result.append(token)
    return result


def _remainder(sql: str, start: int, end: int) -> Token:
    """What follows a literal without a space: ``0x1FROM``."""
    text = sql[start : end + 1]
    token_type = _WORD_TYPES.get(text.upper(), TokenType.VAR)
    return Token(token_type, text, start=start, end=end)


def _name(token: Token, sql: str) -> None:
    """Say what a word is that is more than letters, digits and underscores."""
    text = token.text
    if _WORD.fullmatch(text):
        if text[0] == "@":
            session = text.startswith("@@")
            token.token_type = TokenType.SESSION_PARAMETER if session else TokenType.PARAMETER
    elif text[0] in "$£€¥":
        token.token_type = TokenType.MONEY
    else:
        good = _WORD.match(text)
        raise error(102, text[good.end() if good else 0], line=token.line)


def _literal(token: Token, sql: str) -> None:
    """Let ``token`` be the whole number, sum of money or binary that starts where it does."""
    match = _LITERAL.match(sql, token.start)
    if match is None:
        raise error(102, token.text, line=token.line)
    token.text = match.group()
    token.end = match.end() - 1
    token.token_type = (
        TokenType.HEX_STRING
        if match.lastgroup == "binary"
        else TokenType.MONEY
        if match.lastgroup == "money"
        else TokenType.NUMBER
    )


def _unclosed(sql: str, position: int) -> SqlError:
    """The error for what is opened after ``position``, where the last token ends, and
    never closed."""
    while True:
        blank = _BLANK.match(sql, position)
        if blank:
            position = blank.end()
            continue
        line = 1 + sql.count("\n", 0, position)
        if not sql.startswith("/*", position):
            break
        end = _end_of_comment(sql, position)
        if end is None:
            return error(113, line=line)
        position = end
    opening = _OPENING.match(sql, position)
    return error(105, sql[opening.end() if opening else position :], line=line)


def _end_of_comment(sql: str, start: int) -> int | None:
    """Where the comment ends that starts at ``start``; comments nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return None
