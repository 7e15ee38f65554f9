"""SQL Server's errors: number, severity, state and text.

Texts and severities: SQL Server documentation, "Database engine events and
errors", and ``sys.messages``. Only messages this server can produce are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

#: number -> (severity, text). ``%1`` … are replaced by the arguments, in order.
MESSAGES: dict[int, tuple[int, str]] = {
    102: (15, "Incorrect syntax near '%1'."),
    105: (15, "Unclosed quotation mark after the character string '%1'."),
    109: (
        15,
        "There are more columns in the INSERT statement than values specified in the VALUES "
        "clause. The number of values in the VALUES clause must match the number of columns "
        "specified in the INSERT statement.",
    ),
    137: (15, 'Must declare the scalar variable "%1".'),
    156: (15, "Incorrect syntax near the keyword '%1'."),
    195: (15, "'%1' is not a recognized %2."),
    201: (16, "Procedure or function '%1' expects parameter '%2', which was not supplied."),
    207: (16, "Invalid column name '%1'."),
    208: (16, "Invalid object name '%1'."),
    209: (16, "Ambiguous column name '%1'."),
    213: (
        16,
        "Column name or number of supplied values does not match table definition.",
    ),
    220: (16, "Arithmetic overflow error for data type %1, value = %2."),
    232: (16, "Arithmetic overflow error for type %1, value = %2."),
    241: (16, "Conversion failed when converting date and/or time from character string."),
    242: (
        16,
        "The conversion of a %1 data type to a %2 data type resulted in an out-of-range value.",
    ),
    245: (16, "Conversion failed when converting the %1 value '%2' to data type %3."),
    266: (
        16,
        "Transaction count after EXECUTE indicates a mismatching number of BEGIN and COMMIT "
        "statements. Previous count = %1, current count = %2.",
    ),
    402: (16, "The data types %1 and %2 are incompatible in the %3 operator."),
    515: (
        16,
        "Cannot insert the value NULL into column '%1', table '%2'; column does not allow "
        "nulls. %3 fails.",
    ),
    517: (16, "Adding a value to a '%1' column caused an overflow."),
    529: (16, "Explicit conversion from data type %1 to %2 is not allowed."),
    544: (
        16,
        "Cannot insert explicit value for identity column in table '%1' when IDENTITY_INSERT "
        "is set to OFF.",
    ),
    545: (
        16,
        "Explicit value must be specified for identity column in table '%1' either when "
        "IDENTITY_INSERT is set to ON or when a replication user is inserting into a NOT FOR "
        "REPLICATION identity column.",
    ),
    547: (
        16,
        'The %1 statement conflicted with the %2 constraint "%3". The conflict occurred in '
        'database "%4", table "%5"%6.',
    ),
    627: (16, "Cannot use SAVE TRANSACTION within a distributed transaction."),
    911: (
        16,
        "Database '%1' does not exist. Make sure that the name is entered correctly.",
    ),
    1205: (
        13,
        "Transaction (Process ID %1) was deadlocked on %2 resources with another process and "
        "has been chosen as the deadlock victim. Rerun the transaction.",
    ),
    1222: (16, "Lock request time out period exceeded."),
    1505: (
        16,
        "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the "
        "object name '%1' and the index name '%2'. The duplicate key value is %3.",
    ),
    1750: (16, "Could not create constraint or index. See previous errors."),
    1801: (16, "Database '%1' already exists. Choose a different database name."),
    1913: (
        16,
        "The operation failed because an index or statistics with name '%1' already exists on "
        "%2 '%3'.",
    ),
    2601: (
        14,
        "Cannot insert duplicate key row in object '%1' with unique index '%2'. The duplicate "
        "key value is %3.",
    ),
    2627: (
        14,
        "Violation of %1 constraint '%2'. Cannot insert duplicate key in object '%3'. The "
        "duplicate key value is %4.",
    ),
    2628: (
        16,
        "String or binary data would be truncated in table '%1', column '%2'. Truncated value: "
        "'%3'.",
    ),
    2705: (
        16,
        "Column names in each table must be unique. Column name '%1' in table '%2' is specified "
        "more than once.",
    ),
    2714: (16, "There is already an object named '%1' in the database."),
    2715: (16, "Column, parameter, or variable #%1: Cannot find data type %2."),
    2812: (16, "Could not find stored procedure '%1'."),
    3621: (0, "The statement has been terminated."),
    3701: (
        11,
        "Cannot %1 the %2 '%3', because it does not exist or you do not have permission.",
    ),
    3702: (16, 'Cannot drop database "%1" because it is currently in use.'),
    3726: (16, "Could not drop object '%1' because it is referenced by a FOREIGN KEY constraint."),
    3728: (16, "'%1' is not a constraint."),
    3902: (16, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."),
    3903: (16, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."),
    3906: (
        16,
        'Failed to update database "%1" because the database is read-only.',
    ),
    3930: (
        16,
        "The current transaction cannot be committed and cannot support operations that write "
        "to the log file. Roll back the transaction.",
    ),
    4060: (11, 'Cannot open database "%1" requested by the login. The login failed.'),
    4902: (
        16,
        'Cannot find the object "%1" because it does not exist or you do not have permissions.',
    ),
    4924: (16, "ALTER TABLE %1 failed because column '%2' does not exist in table '%3'."),
    5074: (16, "The %1 '%2' is dependent on column '%3'."),
    4922: (16, "ALTER TABLE %1 %2 failed because one or more objects access this column."),
    5701: (0, "Changed database context to '%1'."),
    5703: (0, "Changed language setting to %1."),
    6401: (
        16,
        "Cannot roll back %1. No transaction or savepoint of that name was found.",
    ),
    628: (16, "Cannot issue SAVE TRANSACTION when there is no active transaction."),
    8114: (16, "Error converting data type %1 to %2."),
    8115: (16, "Arithmetic overflow error converting %1 to data type %2."),
    8134: (16, "Divide by zero error encountered."),
    8152: (16, "String or binary data would be truncated."),
    8144: (16, "Procedure or function %1 has too many arguments specified."),
    8169: (
        16,
        "Conversion failed when converting from a character string to uniqueidentifier.",
    ),
    8178: (
        16,
        "The parameterized query '%1' expects the parameter '%2', which was not supplied.",
    ),
    8179: (16, "Could not find prepared statement with handle %1."),
    18456: (14, "Login failed for user '%1'."),
    40515: (
        16,
        "Reference to database and/or server name in '%1' is not supported in this version of "
        "SQL Server.",
    ),
    50000: (16, "%1"),
}


@dataclass(slots=True)
class SqlError(Exception):
    """An error as SQL Server reports it: it becomes one ERROR token.

    ``number`` 50000 and up are user errors; ``line`` is the 1-based line in the
    batch. Raise through :func:`error` where the text is SQL Server's own.
    """

    number: int
    text: str
    severity: int = 16
    state: int = 1
    line: int = 1
    procedure: str = ""

    def __str__(self) -> str:
        return (
            f"Msg {self.number}, Level {self.severity}, State {self.state}, "
            f"Line {self.line}: {self.text}"
        )


def message_text(number: int, *arguments: object) -> str:
    """The text of message ``number`` with ``%1``, ``%2`` … filled in."""
    text = MESSAGES[number][1]
    for position, argument in reversed(list(enumerate(arguments, start=1))):
        text = text.replace(f"%{position}", str(argument))
    return text


def error(number: int, *arguments: object, state: int = 1, line: int = 1) -> SqlError:
    """A :class:`SqlError` with SQL Server's own text and severity for ``number``."""
    severity = MESSAGES[number][0]
    return SqlError(number, message_text(number, *arguments), severity, state, line)


class NotSupportedByStandIn(SqlError):
    """Valid T-SQL that this server does not implement: refused by name, never ignored.

    It carries number 40517 ("Keyword or statement option '%1' is not supported in
    this version of SQL Server."), which Azure SQL uses for statements it refuses.
    """

    def __init__(self, what: str, line: int = 1) -> None:
        super().__init__(
            40517,
            f"'{what}' is not supported by the mssql_async embedded server "
            "(a stand-in, not SQL Server).",
            severity=16,
            line=line,
        )
