"""SQL Server's errors: number, severity, state and text.

Texts and severities: SQL Server documentation, "Database engine events and
errors", and ``sys.messages``. Only messages this server can produce are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

#: number -> (severity, text). ``%1`` … are replaced by the arguments, in order.
MESSAGES: dict[int, tuple[int, str]] = {
    103: (15, "The identifier that starts with '%1' is too long. Maximum length is %2."),
    111: (15, "'%1' must be the first statement in a query batch."),
    321: (
        15,
        '"%1" is not a recognized table hints option. If it is intended as a parameter to a '
        "table-valued function or to the CHANGETABLE function, ensure that your database "
        "compatibility mode is set to 90.",
    ),
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
    134: (
        15,
        "The variable name '%1' has already been declared. Variable names must be unique "
        "within a query batch or stored procedure.",
    ),
    214: (16, "Procedure expects parameter '%1' of type '%2'."),
    217: (
        16,
        "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit %1).",
    ),
    596: (21, "Cannot continue the execution because the session is in the kill state."),
    924: (14, "Database '%1' is already open and can only have one user at a time."),
    1023: (15, "Invalid parameter %1 specified for %2."),
    1087: (15, 'Must declare the table variable "%1".'),
    1088: (
        16,
        'Cannot find the object "%1" because it does not exist or you do not have permissions.',
    ),
    1223: (
        16,
        "Cannot release the application lock (Database Principal: '%1', Resource: '%2') "
        "because it is not currently held.",
    ),
    1767: (16, "Foreign key '%1' references invalid table '%2'."),
    1769: (16, "Foreign key '%1' references invalid column '%2' in referencing table '%3'."),
    1770: (16, "Foreign key '%1' references invalid column '%2' in referenced table '%3'."),
    1776: (
        16,
        "There are no primary or candidate keys in the referenced table '%1' that match "
        "the referencing column list in the foreign key '%2'.",
    ),
    1778: (
        16,
        "Column '%1.%2' is not the same data type as referencing column '%3.%4' in "
        "foreign key '%5'.",
    ),
    1779: (16, "Table '%1' already has a primary key defined on it."),
    1781: (16, "Column already has a DEFAULT bound to it."),
    1785: (
        16,
        "Introducing FOREIGN KEY constraint '%1' on table '%2' may cause cycles or "
        "multiple cascade paths. Specify ON DELETE NO ACTION or ON UPDATE NO ACTION, or "
        "modify other FOREIGN KEY constraints.",
    ),
    1902: (
        16,
        "Cannot create more than one clustered index on %1 '%2'. Drop the existing "
        "clustered index '%3' before creating another.",
    ),
    1911: (16, "Column name '%1' does not exist in the target table or view."),
    1919: (
        16,
        "Column '%1' in table '%2' is of a type that is invalid for use as a key column "
        "in an index.",
    ),
    2501: (16, 'Cannot find a table or object with the name "%1". Check the system catalog.'),
    2528: (
        0,
        "DBCC execution completed. If DBCC printed error messages, contact your system "
        "administrator.",
    ),
    2732: (
        16,
        "Error number %1 is invalid. The number must be from %2 through %3 and it cannot be 50000.",
    ),
    2744: (
        16,
        "Multiple identity columns specified for table '%1'. Only one identity column per"
        " table is allowed.",
    ),
    2749: (
        16,
        "Identity column '%1' must be of data type int, bigint, smallint, tinyint, or "
        "decimal or numeric with a scale of 0, unencrypted, and constrained to be "
        "nonnullable.",
    ),
    2754: (
        16,
        "Error severity levels greater than %1 can only be specified by members of the "
        "sysadmin role, using the WITH LOG option.",
    ),
    2759: (16, "CREATE SCHEMA failed due to previous errors."),
    2760: (
        16,
        'The specified schema name "%1" either does not exist or you do not have '
        "permission to use it.",
    ),
    2786: (
        16,
        "The data type of substitution parameter %1 does not match the expected type of "
        "the format specification.",
    ),
    2787: (16, "Invalid format specification: '%1'."),
    3705: (16, "Cannot use DROP %1 with '%2' because '%2' is a %3. Use DROP %4."),
    3708: (16, "Cannot %1 the %2 '%3' because it is a system %2."),
    3723: (
        16,
        "An explicit DROP INDEX is not allowed on index '%1'. It is being used for %2 "
        "constraint enforcement.",
    ),
    3725: (
        16,
        "The constraint '%1' is being referenced by table '%2', foreign key constraint '%3'.",
    ),
    3727: (16, "Could not drop constraint. See previous errors."),
    3729: (16, "Cannot %1 '%2' because it is being referenced by object '%3'."),
    3931: (
        16,
        "The current transaction cannot be committed and cannot be rolled back to a "
        "savepoint. Roll back the entire transaction.",
    ),
    3952: (
        16,
        "Snapshot isolation transaction failed accessing database '%1' because snapshot "
        "isolation is not allowed in this database. Use ALTER DATABASE to allow snapshot "
        "isolation.",
    ),
    3960: (
        16,
        "Snapshot isolation transaction aborted due to update conflict. You cannot use "
        "snapshot isolation to access table '%1' directly or indirectly in database '%2' "
        "to update, delete, or insert the row that has been modified or deleted by "
        "another transaction. Retry the transaction or change the isolation level for the"
        " update/delete statement.",
    ),
    3998: (
        16,
        "Uncommittable transaction is detected at the end of the batch. The transaction "
        "is rolled back.",
    ),
    4712: (
        16,
        "Cannot truncate table '%1' because it is being referenced by a FOREIGN KEY constraint.",
    ),
    4901: (
        16,
        "ALTER TABLE only allows columns to be added that can contain nulls, or have a "
        "DEFAULT definition specified, or the column being added is an identity or "
        "timestamp column, or alternatively if none of the previous conditions are "
        "satisfied the table must be empty to allow addition of this column. Column '%1' "
        "cannot be added to non-empty table '%2' because it does not satisfy these "
        "conditions.",
    ),
    4917: (16, "Constraint '%1' does not exist."),
    4923: (
        16,
        "ALTER TABLE DROP COLUMN failed because '%1' is the only data column in table "
        "'%2'. A table must have at least one data column.",
    ),
    4928: (16, "Cannot alter column '%1' because it is '%2'."),
    5011: (
        14,
        "User does not have permission to alter database '%1', the database does not "
        "exist, or the database is not in a state that allows access checks.",
    ),
    5064: (
        16,
        "Changes to the state or options of database '%1' cannot be made at this time. "
        "The database is in single-user mode, and a user is currently connected to it.",
    ),
    5069: (16, "ALTER DATABASE statement failed."),
    6104: (16, "Cannot use KILL to kill your own process."),
    6106: (16, "Process ID %1 is not an active process ID."),
    7997: (16, "'%1' does not contain an identity column."),
    7998: (0, "Checking identity information: current identity value '%1'."),
    7999: (
        0,
        "Checking identity information: current identity value '%1', current column value '%2'.",
    ),
    8106: (16, "Table '%1' does not have the identity property. Cannot perform SET operation."),
    8107: (
        16,
        "IDENTITY_INSERT is already ON for table '%1'. Cannot perform SET operation for "
        "table '%2'.",
    ),
    8111: (16, "Cannot define PRIMARY KEY constraint on nullable column in table '%1'."),
    8145: (16, "%1 is not a parameter for procedure %2."),
    8146: (16, "Procedure %1 has no parameters and arguments were supplied."),
    8147: (16, "Could not create IDENTITY attribute on nullable column '%1', table '%2'."),
    10704: (
        15,
        "To rethrow an error, a THROW statement must be used inside a CATCH block. Insert"
        " the THROW statement inside a CATCH block, or add error parameters to the THROW "
        "statement.",
    ),
    11501: (16, "The batch could not be analyzed because of compile errors."),
    11508: (
        16,
        "The undeclared parameter '%1' is used more than once in the batch being analyzed.",
    ),
    15123: (16, "The configuration option '%1' does not exist, or it may be an advanced option."),
    15135: (
        16,
        "Object is invalid. Extended properties are not permitted on '%1', or the object "
        "does not exist.",
    ),
    15151: (16, "Cannot %1 the %2 '%3', because it does not exist or you do not have permission."),
    15217: (16, "Property cannot be updated or deleted. Property '%1' does not exist for '%2'."),
    15225: (
        11,
        "No item by the name of '%1' could be found in the current database '%2', given "
        "that @itemtype was input as '%3'.",
    ),
    15233: (16, "Property cannot be added. Property '%1' already exists for '%2'."),
    15248: (
        11,
        "Either the parameter @objname is ambiguous or the claimed @objtype (%1) is wrong.",
    ),
    15335: (
        11,
        "Error: The new name '%1' is already in use as a %2 name and would cause a "
        "duplicate that is not permitted.",
    ),
    15457: (
        0,
        "Configuration option '%1' changed from %2 to %3. Run the RECONFIGURE statement "
        "to install.",
    ),
    15477: (
        0,
        "Caution: Changing any part of an object name could break scripts and stored procedures.",
    ),
    15600: (15, "An invalid parameter or option was specified for procedure '%1'."),
    15626: (
        10,
        "You attempted to acquire a transactional application lock without an active transaction.",
    ),
    15664: (
        16,
        "Cannot set key '%1' in the session context. The key has been set as read_only "
        "for this session.",
    ),
    18054: (
        16,
        "Error %1, severity %2, state %3 was raised, but no message with that error "
        "number was found in sys.messages. If error is larger than 50000, make sure the "
        "user-defined message is added using sp_addmessage.",
    ),
    104: (
        15,
        "ORDER BY items must appear in the select list if the statement "
        "contains a UNION, INTERSECT or EXCEPT operator.",
    ),
    107: (
        15,
        "The column prefix '%1' does not match with a table name or alias name used in the query.",
    ),
    108: (
        15,
        "The ORDER BY position number %1 is out of range of the number of items "
        "in the select list.",
    ),
    110: (
        15,
        "There are fewer columns in the INSERT statement than values specified in the VALUES "
        "clause. The number of values in the VALUES clause must match the number of columns "
        "specified in the INSERT statement.",
    ),
    113: (
        15,
        "Missing end comment mark '*/'.",
    ),
    116: (
        16,
        "Only one expression can be specified in the select list when the subquery is not "
        "introduced with EXISTS.",
    ),
    120: (
        15,
        "The select list for the INSERT statement contains fewer items than the insert list. The "
        "number of SELECT values must match the number of INSERT columns.",
    ),
    121: (
        15,
        "The select list for the INSERT statement contains more items than the insert list. The "
        "number of SELECT values must match the number of INSERT columns.",
    ),
    128: (
        15,
        'The name "%1" is not permitted in this context. Valid expressions are constants, '
        "constant expressions, and (in some contexts) variables. Column names are not permitted.",
    ),
    130: (
        15,
        "Cannot perform an aggregate function on an expression containing an aggregate or a "
        "subquery.",
    ),
    139: (
        15,
        "Cannot assign a default value to a local variable.",
    ),
    141: (
        15,
        "A SELECT statement that assigns a value to a variable must not be combined with "
        "data-retrieval operations.",
    ),
    145: (
        15,
        "ORDER BY items must appear in the select list if SELECT DISTINCT is specified.",
    ),
    147: (
        15,
        "An aggregate may not appear in the WHERE clause unless it is in a subquery contained in a "
        "HAVING clause or a select list, and the column being aggregated is an outer reference.",
    ),
    148: (15, "Incorrect time syntax in time string '%1' used with WAITFOR."),
    168: (
        15,
        "The floating point value '%1' is out of the range of computer representation (%2 bytes).",
    ),
    155: (
        15,
        "'%1' is not a recognized %2 option.",
    ),
    174: (
        15,
        "The %1 function requires %2 argument(s).",
    ),
    189: (
        15,
        "The %1 function requires %2 to %3 arguments.",
    ),
    205: (
        16,
        "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal "
        "number of expressions in their target lists.",
    ),
    206: (
        16,
        "Operand type clash: %1 is incompatible with %2",
    ),
    257: (
        16,
        "Implicit conversion from data type %1 to %2 is not allowed. Use the CONVERT function to "
        "run this query.",
    ),
    264: (
        16,
        "The column name '%1' is specified more than once in the SET clause or column list of an "
        "INSERT. A column cannot be assigned more than one value in the same clause.",
    ),
    271: (
        16,
        'The column "%1" cannot be modified because it is either a computed column or is the '
        "result of a UNION operator.",
    ),
    281: (
        16,
        "%1 is not a valid style number when converting from %2 to a character string.",
    ),
    403: (
        16,
        "Invalid operator for data type. Operator equals %1, type equals %2.",
    ),
    447: (16, "Expression type %1 is invalid for COLLATE clause."),
    448: (
        16,
        "Invalid collation '%1'.",
    ),
    468: (
        16,
        'Cannot resolve the collation conflict between "%1" and "%2" in the %3 operation.',
    ),
    506: (
        16,
        'The invalid escape character "%1" was specified in a %2 predicate.',
    ),
    512: (
        16,
        "Subquery returned more than 1 value. This is not permitted when the subquery follows =, "
        "!=, <, <= , >, >= or when the subquery is used as an expression.",
    ),
    535: (
        16,
        "The %1 function resulted in an overflow. The number of dateparts separating two "
        "date/time instances is too large. Try to use %1 with a less precise datepart.",
    ),
    537: (
        16,
        "Invalid length parameter passed to the LEFT or SUBSTRING function.",
    ),
    1011: (
        16,
        "The correlation name '%1' is specified multiple times in a FROM clause.",
    ),
    1013: (
        16,
        'The objects "%1" and "%2" in the FROM clause have the same exposed names. Use '
        "correlation names to distinguish them.",
    ),
    1033: (
        15,
        "The ORDER BY clause is invalid in views, inline functions, derived "
        "tables, subqueries, and "
        "common table expressions, unless TOP, OFFSET or FOR XML is also specified.",
    ),
    1038: (
        15,
        "An object or column name is missing or empty. For SELECT INTO statements, verify each "
        "column has a name. For other statements, look for empty alias names.",
    ),
    1060: (
        15,
        "The number of rows provided for a TOP or FETCH clauses row count parameter must be an "
        "integer.",
    ),
    3623: (
        16,
        "An invalid floating point operation occurred.",
    ),
    4104: (
        16,
        'The multi-part identifier "%1" could not be bound.',
    ),
    4108: (
        15,
        "Windowed functions can only appear in the SELECT or ORDER BY clauses.",
    ),
    4121: (
        16,
        'Cannot find either column "%1" or the user-defined function or aggregate "%2", or the '
        "name is ambiguous.",
    ),
    4145: (
        15,
        "An expression of non-boolean type specified in a context where a condition is expected, "
        "near '%1'.",
    ),
    8101: (
        16,
        "An explicit value for the identity column in table '%1' can only be specified when a "
        "column list is used and IDENTITY_INSERT is ON.",
    ),
    8102: (
        16,
        "Cannot update identity column '%1'.",
    ),
    8116: (
        16,
        "Argument data type %1 is invalid for argument %2 of %3 function.",
    ),
    8117: (
        16,
        "Operand data type %1 is invalid for %2 operator.",
    ),
    8120: (
        16,
        "Column '%1' is invalid in the select list because it is not contained in either an "
        "aggregate function or the GROUP BY clause.",
    ),
    8133: (
        16,
        "At least one of the result expressions in a CASE specification must be "
        "an expression other "
        "than the NULL constant.",
    ),
    8155: (
        16,
        "No column name was specified for column %1 of '%2'.",
    ),
    8156: (
        16,
        "The column '%1' was specified multiple times for '%2'.",
    ),
    8158: (
        15,
        "'%1' has more columns than were specified in the column list.",
    ),
    8159: (
        15,
        "'%1' has fewer columns than were specified in the column list.",
    ),
    8672: (
        16,
        "The MERGE statement attempted to UPDATE or DELETE the same row more than once. This "
        "happens when a target row matches more than one source row. A MERGE statement cannot "
        "UPDATE/DELETE the same row of the target table multiple times. Refine the ON clause to "
        "ensure a target row matches at most one source row, or use the GROUP BY clause to group "
        "the source rows.",
    ),
    8180: (
        16,
        "Statement(s) could not be prepared.",
    ),
    9810: (
        16,
        "The datepart %1 is not supported by date function %2 for data type %3.",
    ),
    13607: (
        16,
        "JSON path is not properly formatted. Unexpected character '%1' is found at position %2.",
    ),
    13608: (
        16,
        "Property cannot be found on the specified JSON path.",
    ),
    13609: (
        16,
        "JSON text is not properly formatted. Unexpected character '%1' is found at position %2.",
    ),
    10713: (15, "A MERGE statement must be terminated by a semi-colon (;)."),
    295: (16, "Conversion failed when converting character string to smalldatetime data type."),
    4112: (15, "The function '%1' must have an OVER clause with ORDER BY."),
    4113: (
        16,
        "The function '%1' is not a valid windowing function, and cannot be used with "
        "the OVER clause.",
    ),
    4127: (
        16,
        "At least one of the arguments to COALESCE must be an expression that is not the "
        "NULL constant.",
    ),
    10753: (15, "The function '%1' must have an OVER clause."),
    10759: (15, "Use of DISTINCT is not allowed with the OVER clause."),
    10760: (
        16,
        "Scale argument is not valid. Valid expressions for data type %1 scale argument "
        "are integer constants and integer constant expressions.",
    ),
    536: (16, "Invalid length parameter passed to the RIGHT function."),
    6522: (
        16,
        "A .NET Framework error occurred during execution of user-defined routine or "
        'aggregate "%1": %2',
    ),
    9828: (
        16,
        "The second and third arguments of the TRANSLATE built-in function must contain "
        "an equal number of characters.",
    ),
    13623: (16, "Scalar value cannot be found in the specified JSON path."),
    13624: (16, "Object or array cannot be found in the specified JSON path."),
    13625: (16, "String value in the specified JSON path would be truncated."),
    289: (
        16,
        "Cannot construct data type %1, some of the arguments have values which are not valid.",
    ),
    9812: (16, "The timezone provided to builtin function %1 is invalid."),
    9820: (16, "The time zone parameter '%1' provided to AT TIME ZONE clause is invalid."),
    1014: (15, "A TOP or FETCH clause contains an invalid value."),
    10742: (15, "The offset specified in a OFFSET clause may not be negative."),
    10743: (15, "The number of rows provided for a FETCH clause must be greater then zero."),
    4199: (16, "Argument value 0 is invalid for argument 3 of generate_series function."),
    144: (
        15,
        "Cannot use an aggregate or a subquery in an expression used for the group by list of a "
        "GROUP BY clause.",
    ),
    164: (
        15,
        "Each GROUP BY expression must contain at least one column that is not an outer reference.",
    ),
    240: (
        16,
        'Types don\'t match between the anchor and the recursive part in column "%1" of '
        'recursive query "%2".',
    ),
    246: (16, 'No anchor member was specified for recursive query "%1".'),
    310: (
        15,
        "The value %1 specified for the MAXRECURSION option exceeds the allowed maximum of %2.",
    ),
    530: (
        16,
        "The statement terminated. The maximum recursion %1 has been exhausted before statement "
        "completion.",
    ),
    252: (
        16,
        "Recursive common table expression '%1' does not contain a top-level UNION ALL operator.",
    ),
    259: (16, "Ad hoc updates to system catalogs are not allowed."),
    263: (16, "Must specify table to select from."),
    273: (
        16,
        "Cannot insert an explicit value into a timestamp column. Use INSERT with a "
        "column list to exclude the timestamp column, or insert a DEFAULT into the timestamp "
        "column.",
    ),
    313: (
        16,
        "An insufficient number of arguments were supplied for the procedure or function %1.",
    ),
    339: (16, "DEFAULT or NULL are not allowed as explicit identity values."),
    4406: (
        16,
        "Update or insert of view or function '%1' failed because it contains a derived or "
        "constant field.",
    ),
    4429: (
        16,
        "View or function '%1' contains a self-reference. Views or functions cannot "
        "reference themselves directly or indirectly.",
    ),
    10709: (
        16,
        "The number of columns for each row in a table value constructor must be the same.",
    ),
    10741: (15, "A TOP can not be used in the same query or sub-query as a OFFSET."),
    # Databases that are served elsewhere, sessions that are over, transactions that client and
    # server do not agree about.
    976: (
        14,
        "The target database, '%1', is participating in an availability group and is currently "
        "not accessible for queries. Either data movement is suspended or the availability "
        "replica is not enabled for read access. To allow read-only access to this and other "
        "databases in the availability group, enable read access to one or more secondary "
        "availability replicas in the group.  For more information, see the ALTER AVAILABILITY "
        "GROUP statement in SQL Server Books Online.",
    ),
    978: (
        14,
        "The target database ('%1') is in an availability group and is currently accessible for "
        "connections when the application intent is set to read only. For more information about "
        "application intent, see SQL Server Books Online.",
    ),
    983: (
        14,
        "Unable to access availability database '%1' because the database replica is not in the "
        "PRIMARY or SECONDARY role. Connections to an availability database is permitted only "
        "when the database replica is in the PRIMARY or SECONDARY role. Try the operation again "
        "later.",
    ),
    988: (
        14,
        "Unable to access database '%1' because it lacks a quorum of nodes for high availability. "
        "Try the operation again later.",
    ),
    3971: (16, "The server failed to resume the transaction. Desc:%1."),
    3989: (
        16,
        "New request is not allowed to start because it should come with valid transaction "
        "descriptor.",
    ),
    # Its severity is not documented; the text is from dotnet/SqlClient#2792.
    37396: (
        16,
        "Query cannot be executed, access token is expired. Please login with a new access token "
        "and execute query again.",
    ),
    40549: (
        16,
        "Session is terminated because you have a long-running transaction. Try shortening your "
        "transaction.",
    ),
    40550: (
        16,
        "The session has been terminated because it has acquired too many locks. Try reading or "
        "modifying fewer rows in a single transaction.",
    ),
    40551: (
        16,
        "The session has been terminated because of excessive TEMPDB usage. Try modifying your "
        "query to reduce the temporary table space usage.",
    ),
    40552: (
        16,
        "The session has been terminated because of excessive transaction log space usage. Try "
        "modifying fewer rows in a single transaction.",
    ),
    40553: (
        16,
        "The session has been terminated because of excessive memory usage. Try modifying your "
        "query to process fewer rows.",
    ),
    # Azure SQL's refusals: documentation, "Troubleshooting connectivity issues and other
    # errors". 6005 is listed with severity 10, but refuses logins as an error of class 14.
    6005: (14, "SHUTDOWN is in progress."),
    10928: (
        20,
        "Resource ID: %1. The %2 limit for the database is %3 and has been reached. See '%4' for "
        "assistance.",
    ),
    10929: (
        20,
        "Resource ID: %1. The %2 minimum guarantee is %3, maximum limit is %4 and the current "
        "usage for the database is %5. However, the server is currently too busy to support "
        "requests greater than %6 for this database. See %7 for assistance. Otherwise, please "
        "try again later.",
    ),
    40143: (
        17,
        "The service has encountered an error processing your request. Please try again.",
    ),
    40540: (
        17,
        "The service has encountered an error processing your request. Please try again.",
    ),
    40197: (
        17,
        "The service has encountered an error processing your request. Please try again. Error "
        "code %1.",
    ),
    40501: (
        20,
        "The service is currently busy. Retry the request after 10 seconds. Incident ID: %1. "
        "Code: %2.",
    ),
    40613: (
        17,
        "Database '%1' on server '%2' is not currently available. Please retry the connection "
        "later. If the problem persists, contact customer support, and provide them the session "
        "tracing ID of '%3'.",
    ),
    49918: (16, "Cannot process request. Not enough resources to process request."),
    49919: (
        16,
        "Cannot process create or update request. Too many create or update operations in "
        'progress for subscription "%1".',
    ),
    49920: (
        16,
        'Cannot process request. Too many operations in progress for subscription "%1".',
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


_STATES = {220: 2, 8114: 5, 8115: 2}
"""States that SQL Server's own examples show, of errors that have several; the others are 1."""


def error(number: int, *arguments: object, state: int | None = None, line: int = 1) -> SqlError:
    """A :class:`SqlError` with SQL Server's own text and severity for ``number``."""
    severity = MESSAGES[number][0]
    if state is None:
        state = _STATES.get(number, 1)
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
