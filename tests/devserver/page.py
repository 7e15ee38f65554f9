"""The parts of ``docs/devserver.md`` that are made from facts, not written.

    python -m tests.devserver.page           # write them
    python -m tests.devserver.page --check   # 1 where the page says something else

What is supported comes from the server's own registries, what is refused from
:mod:`.refusals`. ``test_page.py`` holds that the page has them.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mssql_async.devserver.engine.procedures import PROCEDURES
from mssql_async.devserver.engine.systemviews import VIEWS
from mssql_async.devserver.tsql.calls_parser import CallParser
from mssql_async.devserver.tsql.functions import FUNCTIONS
from mssql_async.devserver.tsql.functions import REFUSED as REFUSED_FUNCTIONS
from mssql_async.devserver.tsql.functions_session import GLOBAL_VARIABLES
from mssql_async.devserver.tsql.sources import ROWSETS
from tests.devserver.refusals import AREAS, WIRE

PAGE = Path(__file__).parents[2] / "docs" / "devserver.md"
WIDTH = 120


class NoSuchPart(Exception):
    """The page has no place for a part, or no end of it."""


def supported() -> str:
    """Functions, procedures and views, as the server knows them."""
    calls = {name for name in CallParser.FUNCTION_PARSERS if not name.endswith("PARSE")}
    functions = calls | {name.replace("DBO.", "dbo.") for name in FUNCTIONS}
    procedures = {name for name in PROCEDURES if not name.startswith("dbcc_")}
    commands = {name.removeprefix("dbcc_") for name in PROCEDURES if name.startswith("dbcc_")}
    views = {definition.view.name for definition in VIEWS.values()}
    lines = [
        _listed(f"Functions ({len(functions)})", functions),
        _listed("Table-valued functions", map(_rowset, ROWSETS)),
        _listed("Global variables", (name.upper() for name in GLOBAL_VARIABLES)),
        _listed("Procedures", procedures),
        _listed("DBCC", (name.upper() for name in commands)),
        _listed(f"Views ({len(views)})", views),
    ]
    return "\n".join(lines)


def refused() -> str:
    """What error 40517 names."""
    lines = []
    for area, refusals in AREAS.items():
        names = set(refusals)
        if area == "Functions":
            names |= REFUSED_FUNCTIONS
        lines.append(_listed(area, names))
    lines.append(_listed("Wire", WIRE))
    return "\n".join(lines)


PARTS: Mapping[str, Callable[[], str]] = {"supported": supported, "refused": refused}


def _rowset(name: str) -> str:
    return f"sys.{name.lower()}" if name.startswith("DM_") else name


def _listed(title: str, names: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(names, key=str.casefold))
    return textwrap.fill(
        f"- **{title}.** {listed}.",
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def made(page: str) -> str:
    """The page with its parts as the facts are now.

    :raises NoSuchPart: it has no place for one.
    """
    for name, part in PARTS.items():
        place = re.compile(rf"(<!-- facts: {name}\b[^\n]*-->\n).*?(\n<!-- end of facts -->)", re.S)
        text = part()
        page, found = place.subn(lambda m, text=text: m[1] + text + m[2], page)
        if found != 1:
            raise NoSuchPart(name)
    return page


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    new = made(page)
    if "--check" in arguments:
        return int(page != new)
    PAGE.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
