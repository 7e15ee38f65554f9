"""``python -m loadtests <what> …``: what a team runs before it trusts a backend under ASGI."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

#: What there is -> the module whose ``main(arguments)`` gives the exit status, and what it does.
PROGRAMS: Mapping[str, tuple[str, str]] = {
    "leaks": ("loadtests.leaks.cli", "looks for leaks from one context into another"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] and given[0] in PROGRAMS:
        # Only here: each of them needs packages that the others do not.
        program: Callable[[Sequence[str]], int] = import_module(PROGRAMS[given[0]][0]).main
        return program(given[1:])
    is_asking = given[:1] in (["-h"], ["--help"])
    out = sys.stdout if is_asking else sys.stderr
    print("usage: python -m loadtests <what> [--help] …", file=out)
    for name, (_module, does) in PROGRAMS.items():
        print(f"  {name:10} {does}", file=out)
    return 0 if is_asking else 2


if __name__ == "__main__":
    sys.exit(main())
