"""The syntax trees of T-SQL: sqlglot's nodes where they say what T-SQL says, and the
nodes below where they do not.

Our dialect (:mod:`.dialect`) makes them. Unlike the trees of sqlglot's own T-SQL, which is
made to translate between dialects, they keep apart what SQL Server does: ISNULL and COALESCE,
GETDATE and SYSDATETIME, COUNT and COUNT_BIG.
"""

from __future__ import annotations

from sqlglot import exp


class Call(exp.Expression):
    """A function call, as written: ``this`` is the upper-case name.

    ``schema`` is set for ``dbo.f(x)``. ``distinct`` and ``star`` belong to aggregates,
    ``over`` is a :class:`Over`, ``within`` the ORDER BY of WITHIN GROUP, ``bare`` tells
    ``CURRENT_TIMESTAMP`` from a call with parentheses.
    """

    arg_types = {  # noqa: RUF012
        "this": True,
        "expressions": False,
        "schema": False,
        "distinct": False,
        "star": False,
        "over": False,
        "within": False,
        "bare": False,
    }


class Over(exp.Expression):
    """OVER (…). ``frame`` is ``(unit, start, end)``, its bounds as upper-case words with
    an expression or None: ``("ROWS", ("PRECEDING", None), ("CURRENT ROW", None))``."""

    arg_types = {"partition": False, "order": False, "frame": False}  # noqa: RUF012


class Convert(exp.Expression):
    """CAST, CONVERT, PARSE and their TRY_ forms. ``to`` is a SqlType, ``style`` an
    expression; ``attempt`` says TRY_."""

    arg_types = {"this": True, "to": True, "style": False, "attempt": False}  # noqa: RUF012


class Quantified(exp.Expression):
    """``x = ANY (SELECT …)``; ``operator`` is the comparison's class."""

    arg_types = {  # noqa: RUF012
        "this": True,
        "operator": True,
        "every": True,
        "query": True,
    }


class Assignment(exp.Expression):
    """``@x = value`` in a select list, ``column = value`` in SET."""

    arg_types = {"this": True, "expression": True}  # noqa: RUF012


class DefaultValue(exp.Expression):
    """The keyword DEFAULT as a value."""

    arg_types = {}  # noqa: RUF012


class Top(exp.Expression):
    arg_types = {"this": True, "percent": False, "ties": False}  # noqa: RUF012


class SelectQuery(exp.Expression):
    """One SELECT. ``source`` is a :class:`TableSource`, :class:`JoinSource`, … or None."""

    arg_types = {  # noqa: RUF012
        "expressions": True,
        "distinct": False,
        "top": False,
        "into": False,
        "source": False,
        "where": False,
        "group": False,
        "having": False,
        "order": False,
        "offset": False,
        "fetch": False,
        "ctes": False,
    }


class SetOperation(exp.Expression):
    """UNION, EXCEPT, INTERSECT; ``kind`` is one of these words or ``UNION ALL``."""

    arg_types = {  # noqa: RUF012
        "this": True,
        "expression": True,
        "kind": True,
        "order": False,
        "offset": False,
        "fetch": False,
        "ctes": False,
    }


class ValuesQuery(exp.Expression):
    """``VALUES (…), (…)``: ``expressions`` are lists of expressions (as exp.Tuple)."""

    arg_types = {"expressions": True}  # noqa: RUF012


class OrderItem(exp.Expression):
    arg_types = {"this": True, "descending": False}  # noqa: RUF012


class CommonTable(exp.Expression):
    """One ``name (columns) AS (query)`` of WITH; ``columns`` are strings."""

    arg_types = {"this": True, "columns": False, "query": True}  # noqa: RUF012


class TableSource(exp.Expression):
    """A named table. ``name`` is an ObjectName, ``hints`` are upper-case words."""

    arg_types = {"name": True, "alias": False, "hints": False}  # noqa: RUF012


class QuerySource(exp.Expression):
    """A derived table: ``(query) AS alias (columns)``."""

    arg_types = {"query": True, "alias": True, "columns": False}  # noqa: RUF012


class FunctionSource(exp.Expression):
    """A table-valued function: ``OPENJSON(x, path) WITH (…) AS alias``.

    ``columns`` are the column names of the alias, ``schema`` the WITH clause as tuples
    ``(name, SqlType, path or None, as_json)``.
    """

    arg_types = {"call": True, "alias": False, "columns": False, "schema": False}  # noqa: RUF012


class JoinSource(exp.Expression):
    """``kind`` is INNER, LEFT, RIGHT, FULL, CROSS, CROSS APPLY or OUTER APPLY."""

    arg_types = {"this": True, "expression": True, "kind": True, "on": False}  # noqa: RUF012


class Output(exp.Expression):
    """OUTPUT columns [INTO table (columns)]."""

    arg_types = {"expressions": True, "into": False, "columns": False}  # noqa: RUF012


class InsertStatement(exp.Expression):
    """``query`` is None for DEFAULT VALUES."""

    arg_types = {  # noqa: RUF012
        "target": True,
        "columns": False,
        "query": False,
        "output": False,
        "ctes": False,
        "hints": False,
        "top": False,
    }


class UpdateStatement(exp.Expression):
    arg_types = {  # noqa: RUF012
        "target": True,
        "assignments": True,
        "source": False,
        "where": False,
        "output": False,
        "top": False,
        "ctes": False,
        "hints": False,
    }


class DeleteStatement(exp.Expression):
    arg_types = {  # noqa: RUF012
        "target": True,
        "source": False,
        "where": False,
        "output": False,
        "top": False,
        "ctes": False,
        "hints": False,
    }


class MergeAction(exp.Expression):
    """A WHEN clause. ``kind`` is MATCHED, NOT MATCHED or NOT MATCHED BY SOURCE, ``verb``
    INSERT, UPDATE or DELETE; ``values`` is None for INSERT DEFAULT VALUES."""

    arg_types = {  # noqa: RUF012
        "kind": True,
        "verb": True,
        "condition": False,
        "columns": False,
        "values": False,
        "assignments": False,
    }


class MergeStatement(exp.Expression):
    arg_types = {  # noqa: RUF012
        "target": True,
        "alias": False,
        "source": True,
        "on": True,
        "actions": True,
        "output": False,
        "ctes": False,
        "top": False,
    }


PREDICATES: tuple[type[exp.Expr], ...] = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.EQ,
    exp.NEQ,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.In,
    exp.Between,
    exp.Like,
    exp.Is,
    exp.Exists,
    Quantified,
)
"""The nodes that are true, false or unknown: T-SQL keeps them apart from expressions."""
