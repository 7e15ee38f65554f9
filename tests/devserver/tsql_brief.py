"""Trees on one line, for people and for comparing."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

_UNLABELLED = ("this", "expression", "expressions")


def brief(value: Any) -> str:
    """``Add(a, Mul(b, 2))``: arguments in the order they were set, empty ones left out."""
    if isinstance(value, exp.Column):
        return ".".join(brief(part) for part in value.parts)
    if isinstance(value, exp.Identifier):
        return f"[{value.this}]" if value.args["quoted"] else f"unquoted {value.this}"
    if isinstance(value, exp.Literal):
        text = f"'{value.this}'" if value.is_string else value.this
        return f"${text}" if value.args.get("money") else text
    if isinstance(value, exp.Parameter | exp.SessionParameter):
        return str(value.this)
    if isinstance(value, exp.Expression):
        arguments = [
            brief(argument) if name in _UNLABELLED else f"{name}={brief(argument)}"
            for name, argument in value.args.items()
            if argument not in (None, False, "", [], ())
        ]
        notes = [f"comments={value.comments}"] if value.comments else []
        return f"{type(value).__name__}({', '.join(arguments + notes)})"
    if isinstance(value, list):
        return f"[{', '.join(brief(item) for item in value)}]"
    if isinstance(value, tuple):
        return f"({', '.join(brief(item) for item in value)})"
    return value.__name__ if isinstance(value, type) else str(value)
