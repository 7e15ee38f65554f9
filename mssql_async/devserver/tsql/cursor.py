"""The words of a batch being read, and the names every part of the grammar needs.

sqlglot's parser keeps the position; what is added here are T-SQL's names and SQL Server's
errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from sqlglot.errors import ErrorLevel
from sqlglot.parser import SENTINEL_NONE
from sqlglot.parsers.tsql import TSQLParser
from sqlglot.tokenizer_core import Token, TokenType

from ..errors import NotSupportedByStandIn, SqlError, error
from ..schema import ObjectName
from .tokenizer import NAMES, RESERVED, STRINGS, VALUES, VARIABLES

T = TypeVar("T")


class Cursor(TSQLParser):
    """A cursor over the tokens of one batch.

    The productions refuse on the spot what they cannot read, so that sqlglot's check of
    every finished node (its error level) has nothing left to find and is switched off.
    """

    def read(self, sql: str) -> None:
        """Stand before the first token of ``sql``."""
        self.begin(self.dialect.tokenize(sql), sql)

    def begin(self, tokens: list[Token], sql: str) -> None:
        self.reset()
        self.error_level = ErrorLevel.IGNORE
        self.sql = sql
        # One chunk: sqlglot would cut the batch at its semicolons, but MERGE must see its own.
        self._chunks = [tokens]
        self._advance_chunk()

    # --- looking and moving ---------------------------------------------------------------

    @property
    def token(self) -> Token:
        """The next token; a false one at the end."""
        return self._curr

    def advance(self) -> Token:
        """Step over the next token, which is returned."""
        token = self._curr
        if token:
            self._advance()
        return token

    def peek(self, distance: int = 1) -> Token:
        index = self._index + distance
        return self._tokens[index] if index < self._tokens_size else SENTINEL_NONE

    @property
    def word(self) -> str:
        """The next word or operator in upper case, "" for any value: nothing quoted looks
        like a keyword."""
        return word_of(self._curr)

    def advance_word(self) -> str:
        """Step over the next token and return it as :attr:`word`."""
        word = self.word
        self.advance()
        return word

    @property
    def next_text(self) -> str:
        """The next token in upper case, or the value it is; "" at the end."""
        return self.word or (self._curr.text if self._curr else "")

    def word_after(self, distance: int = 1) -> str:
        return word_of(self.peek(distance))

    @property
    def mark(self) -> int:
        return self._index

    def return_to(self, mark: int) -> None:
        self._retreat(mark)

    @property
    def at_end(self) -> bool:
        return not self._curr

    def at(self, *words: str) -> bool:
        """Whether the next tokens are these keywords or operators, in order."""
        if word_of(self._curr) != words[0]:
            return False
        return all(self.word_after(i) == word for i, word in enumerate(words[1:], start=1))

    def at_any(self, *words: str) -> bool:
        return self.word in words

    def at_word(self) -> bool:
        """Whether a word comes next, reserved or not."""
        word = self.word
        return bool(word) and (word[0].isalpha() or word[0] in "_#$")

    def at_operator(self) -> bool:
        return bool(self.word) and not self.at_word()

    def accept(self, *words: str) -> bool:
        """Step over these keywords or operators if all of them come next, in order."""
        if not self.at(*words):
            return False
        self._advance(len(words))
        return True

    def expect(self, *words: str) -> None:
        for word in words:
            if word_of(self._curr) != word:
                self.fail()
            self._advance()

    def expect_token(self, token_type: TokenType) -> None:
        if not self._match(token_type):
            self.fail()

    def source(self, start: int) -> str:
        """The text from offset ``start`` to the end of the last token read."""
        return self.sql[start : self._prev.end + 1] if self._prev else ""

    @property
    def last(self) -> Token:
        """The token read last."""
        return self._prev or self._curr

    # --- errors ---------------------------------------------------------------------------

    def fail(self, token: Token | None = None) -> NoReturn:
        """Incorrect syntax near this token, or the next one."""
        # At the end, SQL Server names the last thing it could still read.
        raise self.syntax_error(token or self._curr or self._prev)

    def raise_error(self, message: str, token: Token = SENTINEL_NONE) -> NoReturn:
        """What sqlglot's own productions call; ``message`` is its wording, not SQL Server's."""
        self.fail(token)

    def syntax_error(self, token: Token) -> SqlError:
        if not token:
            return error(102, "", line=1)
        number = 156 if word_of(token) in RESERVED else 102
        return error(number, token.text, line=token.line)

    def unsupported(self, what: str) -> NoReturn:
        raise NotSupportedByStandIn(what, (self._curr or self._prev).line)

    # --- small parts of the grammar -------------------------------------------------------

    def at_name(self) -> bool:
        return self._curr.token_type in NAMES

    def name(self) -> str:
        """An identifier, quoted or not reserved."""
        token = self._curr
        if token.token_type not in NAMES:
            self.fail()
        self._advance()
        return token.text

    def object_name(self) -> ObjectName:
        """``name``, ``schema.name``, ``database.schema.name``, ``database..name``."""
        parts = [self.advance().text if self.at_variable() else self.name()]
        while self._match(TokenType.DOT):
            parts.append("" if self._curr.token_type is TokenType.DOT else self.name())
        if len(parts) > 3:
            self.unsupported("a four-part name (linked servers)")
        parts = [""] * (3 - len(parts)) + parts
        return ObjectName(parts[2], parts[1], parts[0])

    def at_variable(self) -> bool:
        return self._curr.token_type in VARIABLES

    def names(self) -> tuple[str, ...]:
        """``(a, b, c)``."""
        return tuple(self._parse_wrapped_csv(self.name))

    def separated(self, one: Callable[[], T]) -> list[T]:
        """One or more of something, between commas."""
        return self._parse_csv(one)

    def integer(self) -> int:
        """An integer literal with an optional sign."""
        sign = -1 if self._match(TokenType.DASH) else 1
        if self._curr.token_type is not TokenType.NUMBER or not self._curr.text.isdigit():
            self.fail()
        return sign * int(self.advance().text)

    def string(self) -> str:
        if self._curr.token_type not in STRINGS:
            self.fail()
        return self.advance().text


def word_of(token: Token) -> str:
    return "" if token.token_type in VALUES else token.text.upper()
