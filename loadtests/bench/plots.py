"""The pictures of a run: each answers a question, from the JSON that the benchmarks write.

Nothing is measured here, so a picture can be drawn again from an older run. A part that was left
out of it has no picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .charts import (
    Axis,
    Bar,
    Bars,
    Chart,
    Panel,
    Series,
    linear,
    logarithmic,
    number,
    places,
)

Json = Mapping[str, Any]
"""A part's result, or a row of it."""
SHOWN_STALE = (1, 2, 4, 10, 20)
"""Numbers of stale connections that are shown, in the table too; JSON has all of them."""

#: What a candidate's name begins with -> its colour, the same in all pictures. First match.
_COLOURS = (
    ("mssql_async", 0),
    ("mssql, CONN_MAX_AGE 0, unixODBC", 8),
    ("mssql, CONN_MAX_AGE 0", 1),
    ("mssql, CONN_MAX_AGE 600", 2),
    ("WSGI, 16", 3),
    ("WSGI, 64", 4),
    ("Starlette, SQLAlchemy", 5),
    ("Starlette, fastmssql", 6),
    ("bare", 7),
    ("psycopg_pool", 3),
    ("SQLAlchemy", 5),
    ("aioodbc", 1),
)
_SPARE = 8


def _colour(name: str) -> int:
    return next((colour for start, colour in _COLOURS if name.startswith(start)), _SPARE)


def _ours_first(names: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(names), key=lambda name: _colour(name) != 0)


def small_print(part: Json) -> str:
    """Date, versions and command of a part."""
    machine = part["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    server = ""
    if "embedded" in part:
        server = " Embedded server." if part["embedded"] else " Server of the environment."
    if "uvicorn" in part:
        server += f" Uvicorn with {part['uvicorn']}."
    revision = f" ({machine['revision']})" if machine["revision"] else ""
    return (
        f"{machine['date'][:10]}: {machine['command']}{revision}. {machine['python']}, {versions}. "
        f"{machine['cores']} cores, {machine['processor']}.{server}"
    )


# --- requests ------------------------------------------------------------------------------


def throughput(part: Json) -> str | None:
    """Requests a second by clients, small multiples by kind of request and by delay."""
    return _by_clients(
        part,
        ("1 query", "atomic: read, write"),
        _PER_SECOND,
        "How many requests a second?",
        "By clients at a time, with the database so many milliseconds away, each way. Both scales "
        "are logarithmic, bars are not. Higher is better. Client, site and database server share "
        "the machine.",
    )


def latency(part: Json) -> str | None:
    """The 99th percentile of latencies, in the same small multiples."""
    return _by_clients(
        part,
        ("1 query", "atomic: read, write"),
        _P99,
        "How long does the slowest hundredth of requests wait?",
        "99th percentile in milliseconds, on a logarithmic scale (bars are not), by clients at a "
        "time. Lower is better. Medians are in the table.",
    )


@dataclass(frozen=True, slots=True)
class _Figure:
    key: str
    words: Callable[[Json], str]
    """What stands behind a bar."""


_PER_SECOND = _Figure("per_second", lambda row: f"{row['per_second']:,.0f}")
_P99 = _Figure("p99", lambda row: f"{row['p99']:,.0f} ms, median {row['p50']:,.0f} ms")


def _by_clients(
    part: Json, works: Sequence[str], figure: _Figure, question: str, drawn: str
) -> str | None:
    asked = [each for each in part.get("throughput", ()) if each["work"] in works]
    found = [each for each in asked if each[figure.key] is not None]
    if not found:
        return None
    chart = Chart(question, drawn)
    names = _ours_first(each["candidate"] for each in found)
    chart.legend([(name, _colour(name)) for name in names])
    for work in works:
        rows = [each for each in found if each["work"] == work]
        by_delay = {
            delay: [each for each in rows if each["delay_ms"] == delay]
            for delay in sorted({each["delay_ms"] for each in rows})
        }
        several = {d: cell for d, cell in by_delay.items() if len(_clients(cell)) > 1}
        if several:
            x = places([each["clients"] for each in rows])
            y = logarithmic([each[figure.key] for cell in several.values() for each in cell])
            chart.row([_lines(cell, figure, names, x, y) for cell in several.values()])
        for delay, cell in by_delay.items():
            if delay not in several:
                chart.bars(_bars(cell, figure, names))
    too_few = len(asked) - len(found)
    missing = [f"Not drawn: {too_few} that have too few samples for it."] if too_few else []
    return chart.finished(small_print(part), [*missing, *_failed(asked), *_left_out(part)])


def _clients(rows: Sequence[Json]) -> set[int]:
    return {each["clients"] for each in rows}


def _title(row: Json) -> str:
    return f"{row['work']}, {number(row['delay_ms'])} ms away"


def _lines(rows: Sequence[Json], figure: _Figure, names: Sequence[str], x: Axis, y: Axis) -> Panel:
    lines = [
        Series(
            name,
            _colour(name),
            sorted(
                (each["clients"], each[figure.key]) for each in rows if each["candidate"] == name
            ),
        )
        for name in names
    ]
    return Panel(_title(rows[0]), lines, x, y, x_title="clients")


def _bars(rows: Sequence[Json], figure: _Figure, names: Sequence[str]) -> Bars:
    """Of one number of clients: as lines they would be points on top of one another."""
    [clients] = _clients(rows)
    of = {each["candidate"]: each for each in rows}
    return Bars(
        f"{_title(rows[0])}, {clients} client" + ("" if clients == 1 else "s"),
        [
            Bar(name, _colour(name), of[name][figure.key], figure.words(of[name]))
            for name in names
            if name in of
        ],
    )


def _failed(rows: Sequence[Json]) -> Iterator[str]:
    """A note for each candidate that has failed requests."""
    failed: Counter[str] = Counter()
    for each in rows:
        failed[each["candidate"]] += each["failed"]
    for name, count in failed.items():
        if count:
            yield f"{name}: {count:,} requests failed."


_MOST_NOTES = 4


def _left_out(part: Json) -> list[str]:
    """A note for each that took no part, as far as there is room."""
    found = [f"Left out: {each}." for each in part.get("left_out", ())]
    if len(found) > _MOST_NOTES:
        more = len(found) - _MOST_NOTES
        found[_MOST_NOTES:] = [f"Left out: {more} more, which the table names."]
    return found


def messages(part: Json) -> str | None:
    """A table of counted messages with bars."""
    counts = part.get("counts", ())
    if not counts:
        return None
    names = _ours_first(each["candidate"] for each in counts)
    # Candidates that cost the same everywhere share a column.
    cost = {
        name: tuple(
            (each["work"], each["messages"], each["logins"])
            for each in counts
            if each["candidate"] == name
        )
        for name in names
    }
    columns: dict[tuple[Any, ...], list[str]] = {}
    for name in names:
        columns.setdefault(cost[name], []).append(name)
    same = _same_when_synchronous(counts)
    works = [each for each in dict.fromkeys(each["work"] for each in counts) if each not in same]
    rows = []
    for work in works:
        cells: list[tuple[float, str] | None] = []
        for costs in columns:
            cell = next(((m, logins) for w, m, logins in costs if w == work), None)
            cells.append(None if cell is None else (cell[0], _with_logins(*cell)))
        rows.append((work, cells))
    chart = Chart(
        "How many round trips does a request cost?",
        "Messages to the server for one request, counted there, logins included; they do not "
        "depend on the machine." + (" Synchronous views cost the same." if same else ""),
    )
    chart.table([(_shared(names), _colour(names[0])) for names in columns.values()], rows)
    return chart.finished(small_print(part), _left_out(part))


_SYNCHRONOUS = ", sync view"
"""What the name of such a kind of request ends with."""


def _same_when_synchronous(counts: Sequence[Json]) -> set[str]:
    """Kinds of request that need no row, if none of the synchronous ones does: every candidate
    pays for them what it pays in an asynchronous view."""
    cost = {
        (each["candidate"], each["work"]): (each["messages"], each["logins"]) for each in counts
    }
    synchronous = {key: value for key, value in cost.items() if key[1].endswith(_SYNCHRONOUS)}
    if any(
        cost.get((name, work.removesuffix(_SYNCHRONOUS))) != value
        for (name, work), value in synchronous.items()
    ):
        return set()
    return {work for _, work in synchronous}


_THREADS = re.compile(r"^WSGI, \d+ threads: ")


def _shared(names: Sequence[str]) -> str:
    """``mssql, CONN_MAX_AGE 0 and 600`` for two that differ in their last word only; WSGI without
    its threads, of which one serves at a time here."""
    first, *others = dict.fromkeys(_THREADS.sub("WSGI, ", name) for name in names)
    start = first.rpartition(" ")[0] + " "
    return "; ".join([first, *others]).replace(f"; {start}", " and ")


def _with_logins(count: float, logins: float) -> str:
    if not logins:
        return _brief(count)
    return f"{_brief(count)}, {_brief(logins)} login" + ("" if logins == 1 else "s")


def _brief(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


# --- the pool ------------------------------------------------------------------------------


def recovery(part: Json) -> str | None:
    """How soon the first caller after a failover is served, and how many are not."""
    found = [
        each
        for each in part.get("recovery", ())
        if not each["announced"] and each["stale"] in SHOWN_STALE
    ]
    if not found:
        return None
    names = _ours_first(each["name"] for each in found)
    chart = Chart(
        "How fast is a pool back after a failover?",
        "n idle connections are stale, the server is back, n callers come one after the other. "
        "A cross: nobody was served. The driver did not know that the server had hung up. Equal "
        "lines are drawn beside one another.",
    )
    chart.legend([(name, _colour(name)) for name in names])
    x = places([each["stale"] for each in found])
    first = [
        Series(
            name,
            _colour(name),
            [
                (each["stale"], _milliseconds(each["first_served_after"]))
                for each in found
                if each["name"] == name
            ],
        )
        for name in names
    ]
    unserved = [
        Series(
            name,
            _colour(name),
            [
                (each["stale"], each["errors"] + each["not_asked"])
                for each in found
                if each["name"] == name
            ],
        )
        for name in names
    ]
    chart.row(
        [
            Panel(
                "Until the first caller is served",
                first,
                x,
                logarithmic([b for each in first for _, b in each.points if b is not None]),
                x_title="stale connections",
                unit="ms, logarithmic",
                apart=3,
            ),
            Panel(
                "Callers that got an error, or gave up",
                unserved,
                x,
                linear([b for each in unserved for _, b in each.points if b is not None]),
                x_title="stale connections",
                unit="callers",
                apart=3,
            ),
        ],
        height=210,
    )
    return chart.finished(small_print(part), _left_out(part))


def pool(part: Json) -> str | None:
    """Bars: what a pool costs, how long callers wait, and in which order they are served."""
    if not (part.get("uncontended") or part.get("contended") or part.get("order")):
        return None
    contest = part["sizes"]["contest"]
    chart = Chart(
        "What does a pool cost, and is it fair?",
        "All pools lend the same stub connections: no database takes part. Less is better.",
    )
    groups = (
        Bars(
            "One acquire and release, nobody else there",
            [
                _bar(each, each["median"], f"{each['median']:.2f} µs")
                for each in part.get("uncontended", ())
            ],
        ),
        Bars(
            f"{contest['contenders']} contenders for {contest['connections']} connections: the "
            "longest wait",
            [
                _bar(
                    each,
                    each["longest"],
                    f"{each['longest']:.1f} ms, {each['longest_to_median']:.1f} times the median",
                )
                for each in part.get("contended", ())
            ],
        ),
        Bars(
            f"{contest['contenders']} wait in a known order for one connection: how often that "
            "was broken",
            [
                _bar(
                    each,
                    each["out_of_order"] + each["overtaken_by_newcomers"],
                    f"{each['out_of_order']} out of order, overtaken "
                    f"{each['overtaken_by_newcomers']} times",
                )
                for each in part.get("order", ())
            ],
        ),
    )
    for group in groups:
        if group.bars:
            chart.bars(group)
    return chart.finished(small_print(part), _left_out(part))


def _bar(row: Json, value: float, words: str) -> Bar:
    return Bar(row["name"], _colour(row["name"]), value, words)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


# --- scale ---------------------------------------------------------------------------------


def scale(part: Json) -> str | None:
    """Threads, sessions, memory and latency by open contexts."""
    found = part.get("scale", ())
    if not found:
        return None
    names = _ours_first(each["name"] for each in found)
    chart = Chart(
        "What do open requests cost?",
        f"Open event streams that each query every {number(part['plan']['period'])} s, and "
        "requests with one query made beside them. Logarithmic scales; lower is better.",
    )
    chart.legend([(name, _colour(name)) for name in names])
    x = logarithmic([each["opened"] for each in found])

    def panel(title: str, figure: str, unit: str) -> Panel:
        lines = [
            Series(
                name,
                _colour(name),
                [
                    (each["opened"], each[figure])
                    for each in found
                    if each["name"] == name and each[figure] is not None
                ],
                stopped=any(
                    each["stopped"] and each[figure] is not None
                    for each in found
                    if each["name"] == name
                ),
            )
            for name in names
        ]
        values = [b for each in lines for _, b in each.points if b is not None]
        steps = (1,) if max(values, default=1) > 20 * min(values, default=1) else (1, 2, 5)
        return Panel(title, lines, x, logarithmic(values, steps=steps), "open contexts", unit)

    chart.row([panel("Threads", "threads", ""), panel("Server sessions", "connections", "")])
    chart.row(
        [
            panel("Memory of the process", "resident", "MiB"),
            panel("99th percentile of a request", "p99", "ms"),
        ]
    )
    notes = dict.fromkeys(
        f"Cross: {each['name']} stopped at {each['opened']:,} contexts; {each['stopped']}."
        for each in found
        if each["stopped"]
    )
    over = dict.fromkeys(
        f"{each['name']} with {each['opened']:,} contexts ran in memory, without HTTP."
        for each in found
        if each["over"] == "memory"
    )
    return chart.finished(small_print(part), [*notes, *over])


# --- parallel ------------------------------------------------------------------------------


def parallel(part: Json) -> str | None:
    """Bars: statements side by side, a hang-up, a check."""
    if not (part.get("beside") or part.get("hang_ups") or part.get("checks")):
        return None
    chart = Chart(
        "Side by side, given up, checked: what does it take?",
        "Times are medians; messages are round trips to the server, counted there.",
    )
    if part.get("beside"):
        chart.bars(
            Bars(
                "One request with 8 statements of 100 ms",
                [
                    Bar(
                        each["name"],
                        _colour(each["name"]),
                        each["median"],
                        f"{each['median']:,.0f} ms{_messages(each['messages'])}"
                        + (
                            f", leaves {each['left']} sessions"
                            if "thread_s" in each["name"]
                            else ""
                        ),
                    )
                    for each in part["beside"]
                ],
                "thread_sensitive=False uses asyncio's threads, as many as processors and 4 more; "
                "their connections are nobody's when the request ends, and stay open.",
            )
        )
    if part.get("hang_ups"):
        statement = part["hang_ups"][0]["statement"]
        chart.bars(
            Bars(
                f"The client hangs up in a statement of {statement / 1000:g} s: until the server "
                "runs it no longer",
                [
                    Bar(
                        each["name"],
                        _colour(each["name"]),
                        each["server"],
                        f"{each['server']:,.0f} ms{_messages(each['messages'])}",
                    )
                    for each in part["hang_ups"]
                ],
            )
        )
    for pause in dict.fromkeys(each["pause"] for each in part.get("checks", ())):
        after = f"{pause:g} s after the one before" if pause else "right after the one before"
        chart.bars(
            Bars(
                f"One query on one thread, {after}",
                [
                    Bar(
                        each["name"],
                        _colour(each["name"]),
                        each["median"],
                        f"{each['median']:.2f} ms{_messages(each['messages'], each['logins'])}",
                    )
                    for each in part["checks"]
                    if each["pause"] == pause
                ],
            )
        )
    return chart.finished(small_print(part))


def _messages(count: float | None, logins: float | None = None) -> str:
    if count is None:
        return ""
    text = f", {_brief(count)} message" + ("" if count == 1 else "s")
    return text + (" with a login" if logins else "")


# --- all -----------------------------------------------------------------------------------

#: File name -> the part of a run that it shows, and how it is drawn.
PICTURES: Mapping[str, tuple[str, Callable[[Json], str | None]]] = {
    "throughput.svg": ("requests", throughput),
    "latency.svg": ("requests", latency),
    "messages.svg": ("requests", messages),
    "scale.svg": ("scale", scale),
    "parallel.svg": ("parallel", parallel),
    "pool.svg": ("pool", pool),
    "recovery.svg": ("pool", recovery),
}


def drawn(results: Json) -> dict[str, str]:
    """File name -> picture, of all parts that the run has."""
    found = {}
    for name, (part, draw) in PICTURES.items():
        picture = draw(results[part]) if results.get(part) else None
        if picture is not None:
            found[name] = picture
    return found


def write(results: Json, folder: Path) -> list[Path]:
    """Into the folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in drawn(results).items():
        (folder / name).write_text(picture, encoding="utf-8")
        written.append(folder / name)
    return written
