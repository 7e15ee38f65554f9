"""The report for a browser: one file that needs nothing else, neither a server nor a network.

What is not a picture is written here, so that it is there without JavaScript; the pictures are
drawn by the scripts of ``page/`` from data that is embedded as JSON. The page's content security
policy allows that one script and that one style sheet by their hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

from mssql_async.contrib.leaks.findings import Detector, Finding, Party
from mssql_async.contrib.leaks.record import Use

from ..outcome import Bar, Lane, Outcome, ScenarioResult, Told
from .words import cost, counted, duration, fit_to_show, not_looked_for, number, verdict

_PAGE = Path(__file__).with_name("page")
#: In this order they make one script.
_SCRIPTS = ("shared", "stories", "lanes", "series", "latencies", "findings", "start")
_DETECTORS = list(Detector)
_USES = list(Use)
_CODE = re.compile(r"``(.+?)``")
_NO_BREAK = "\u2011"
"""A hyphen at which no line ends."""


def write_html(outcome: Outcome, path: Path | str) -> None:
    """Raises ``OSError``."""
    Path(path).write_text(_page(outcome), encoding="utf-8")


def _page(outcome: Outcome) -> str:
    outcome = fit_to_show(outcome)  # so that nothing below has to think of secrets
    script = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();\n'
    style = _asset("page.css")
    parts = {
        "policy": _policy(script, style),
        "style": style,
        "script": script,
        "data": _embedded(_packed(outcome)),
        "title": escape(f"{verdict(outcome)} – leak harness"),  # noqa: RUF001
        "header": _header(outcome),
        "contents": _contents(outcome),
        "verdict_table": _verdict_table(outcome),
        "errors": _errors(outcome),
        "controls": _controls(outcome),
        "detectors": _detector_list(),
    }
    # One pass over the template, so that a text that looks like a place of it stays a text.
    pieces = _asset("page.html").split("{{")
    page = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        page.append(parts[name] + rest)
    return "".join(page)


def _asset(name: str) -> str:
    return (_PAGE / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; "
        f"style-src 'sha256-{digest(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def _embedded(plain: Any) -> str:
    """JSON that cannot end the element it stands in, nor begin a comment or another one."""
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


# --- data of the pictures ----------------------------------------------------------------------


class _Texts:
    """Each text once: forty pictures repeat a few statements thousands of times."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


def _packed(outcome: Outcome) -> dict[str, Any]:
    """What the scripts read (see ``page/shared.js``); times are seconds since the run began."""
    texts, start = _Texts(), outcome.started_at

    def since(at: float | None) -> float | None:
        return None if at is None else round(at - start, 6)

    def bar(each: Bar) -> list[Any]:
        return [
            each.token,
            _USES.index(each.use),
            since(each.began_at),
            since(each.ended_at),
            texts.number(each.statement),
            texts.number(each.place),
            int(each.colliding),
        ]

    def lane(each: Lane) -> list[Any]:
        return [
            each.session.spid,
            texts.number(each.session.login_time),
            each.process,
            [bar(one) for one in each.bars],
        ]

    def told(each: Told) -> list[Any]:
        return [
            texts.number(each.what),
            texts.number(each.kind),
            since(each.began_at),
            since(each.ended_at),
            texts.number(each.outcome),
            texts.number(each.task),
            each.process,
        ]

    def scenario(each: ScenarioResult) -> dict[str, Any]:
        return {
            "name": each.name,
            "title": each.title,
            "skipped": each.skipped,
            "began": since(each.began_at) if each.began_at else None,
            "seconds": round(each.seconds, 6),
            "found": each.found,
            "latencies": each.latencies.to_dict(),
            "lanes": [lane(one) for one in each.lanes],
            "stories": {str(token): told(one) for token, one in each.stories.items()},
        }

    def party(each: Party | None) -> list[Any] | None:
        if each is None:
            return None
        return [
            each.token,
            texts.number(each.what),
            texts.number(each.statement),
            texts.number(each.place),
            since(each.at),
            since(each.acquired_at),
        ]

    def finding(each: Finding) -> list[Any]:
        return [
            _DETECTORS.index(each.detector),
            texts.number(each.message),
            texts.number(each.scenario),
            since(each.at),
            None if each.session is None else each.session.spid,
            party(each.culprit),
            party(each.victim),
        ]

    return {
        "seconds": round(outcome.ended_at - start, 6),
        "detectors": [detector.value for detector in _DETECTORS],
        "uses": [use.value for use in _USES],
        "scenarios": [scenario(each) for each in outcome.scenarios],
        "findings": [finding(each) for each in outcome.findings],
        "series": [
            [since(each.at), each.sessions, each.running, each.threads, each.waiting, each.in_use]
            for each in outcome.series
        ],
        "marks": [[since(each.at), each.what, since(each.ended_at)] for each in outcome.marks],
        "texts": texts.all(),
        "word": _word(outcome),
    }


def _word(outcome: Outcome) -> str:
    """What the server's sessions are called, or the process's connections where it numbers them."""
    lanes = (lane.session for each in outcome.scenarios for lane in each.lanes)
    found = (each.session for each in outcome.findings if each.session is not None)
    return next((session.word for session in chain(lanes, found)), "session")


# --- what is there without JavaScript ----------------------------------------------------------


def _header(outcome: Outcome) -> str:
    state = "clean" if outcome.is_clean else "leaks"
    found = [
        f"<li><b>{number(outcome.found_by(detector))}</b> {escape(detector.value)}</li>"
        for detector in _DETECTORS
        if outcome.found_by(detector)
    ]
    if outcome.failed:
        found.append(f'<li class="aside">{counted(outcome.failed, "error")} besides</li>')
    if outcome.broken_off:
        found.append(f'<li class="aside">broken off: {escape(outcome.broken_off)}</li>')
    if outcome.found and outcome.silent:
        silent = counted(len(outcome.silent), "control")
        found.append(f'<li class="aside"><a href="#controls">{silent} not caught</a></li>')
    age = "forever" if outcome.conn_max_age is None else f"{outcome.conn_max_age} s"
    facts = {
        "Backend": outcome.engine,
        "CONN_MAX_AGE": age,
        "Server": outcome.server,
        "Contexts": f"{number(outcome.contexts)}, {number(outcome.concurrency)} at a time",
        "Over": outcome.over
        + (f", {counted(outcome.processes, 'process', 'processes')}" if outcome.processes else ""),
        "Cost": cost(outcome),
        "Began": datetime.fromtimestamp(outcome.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "Took": duration(outcome.ended_at - outcome.started_at),
        "Seed": str(outcome.seed),
    }
    versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    if versions:
        facts["Versions"] = versions
    lines = [
        f'<h1 class="{state}"><span class="seal" aria-hidden="true"></span>'
        f"{escape(verdict(outcome))}</h1>"
    ]
    if found:
        lines.append(f'<ul class="found">{"".join(found)}</ul>')
    lines.append('<dl class="facts">')
    lines += [
        f"<div{' class=wide' if name in {'Server', 'Versions', 'Cost'} else ''}>"
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
        if value
    ]
    lines.append("</dl>")
    if outcome.command:
        lines.append(
            '<div class="again"><span>Again</span>'
            f'<code id="command">{escape(outcome.command_line)}</code>'
            '<button type="button" id="copy" hidden>Copy</button></div>'
        )
    return "\n".join(lines)


def _contents(outcome: Outcome) -> str:
    sections = [("verdict", "Verdict"), ("sessions", "Sessions"), ("time", "Over time")]
    sections += [("latency", "Latency"), ("findings", "Findings")]
    if outcome.controls:
        sections.append(("controls", "Controls"))
    return "\n".join(f'<a href="#{anchor}">{title}</a>' for anchor, title in sections)


def _verdict_table(outcome: Outcome) -> str:
    """Scenarios with findings first, since these are looked for; those that were skipped last."""
    heads = "".join(
        f'<th scope="col" class="count{" has" if outcome.found_by(detector) else ""}">'
        f"{escape(detector.value).replace('-', _NO_BREAK)}</th>"
        for detector in _DETECTORS
    )
    ordered = sorted(
        outcome.scenarios, key=lambda each: (bool(each.skipped), not each.found, not each.failed)
    )
    rows = "\n".join(_verdict_row(scenario) for scenario in ordered)
    totals = "".join(_count(outcome.found_by(detector)) for detector in _DETECTORS)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Verdict table">'
        '<table class="verdict"><thead><tr><th scope="col">Scenario</th>'
        f'{heads}<th scope="col">contexts</th><th scope="col">errors</th>'
        '<th scope="col">logins</th><th scope="col">statements</th>'
        '<th scope="col">p50</th><th scope="col">p99</th></tr></thead>'
        f"<tbody>\n{rows}\n</tbody>"
        f'<tfoot><tr><th scope="row">All</th>{totals}'
        f"<td>{number(outcome.contexts)}</td>{_errors_cell(outcome.failed)}"
        f"{_total(each.logins for each in outcome.scenarios)}"
        f"{_total(each.statements for each in outcome.scenarios)}"
        "<td></td><td></td></tr></tfoot></table></div>"
        + "".join(f'<p class="note">{escape(each)}</p>' for each in not_looked_for(outcome))
    )


def _verdict_row(scenario: ScenarioResult) -> str:
    name = f'<span class="name">{_name(scenario.name)}</span>'
    if any(lane.bars for lane in scenario.lanes):
        name = (
            f'<a class="name" href="#sessions" data-lanes="{escape(scenario.name)}">'
            f"{_name(scenario.name)}</a>"
        )
    head = f'<th scope="row">{name}<span class="title">{_title(scenario.title)}</span></th>'
    if scenario.skipped:
        return (
            f'<tr class="skipped">{head}<td class="why" colspan="{len(_DETECTORS) + 6}">'
            f"skipped: {escape(scenario.skipped)}</td></tr>"
        )
    counts = "".join(
        _count(
            scenario.findings.get(detector, 0),
            scenario.name,
            detector,
            scenario.unseen.get(detector, ""),
        )
        for detector in _DETECTORS
    )
    return (
        f"<tr>{head}{counts}<td>{number(scenario.contexts)}</td>{_errors_cell(scenario.failed)}"
        f"{_total([scenario.logins])}{_total([scenario.statements])}"
        f"<td>{duration(scenario.latencies.p50)}</td><td>{duration(scenario.latencies.p99)}</td></tr>"
    )


def _name(text: str) -> str:
    """Of a module; where there is no room, a line ends after an underscore."""
    return escape(text).replace("_", "_<wbr>")


def _title(text: str) -> str:
    """Of a docstring, where code stands between double backquotes."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _count(
    count: int, scenario: str = "", detector: Detector | None = None, unseen: str = ""
) -> str:
    if not count and unseen:
        why = escape(f"not looked for: {unseen}")
        return f'<td class="count none" title="{why}"><span aria-label="{why}">?</span></td>'
    if not count:
        return '<td class="count none"><span aria-label="none">·</span></td>'
    if detector is None:
        return f'<td class="count">{number(count)}</td>'
    return (
        f'<td class="count hit"><a href="#findings" data-scenario="{escape(scenario)}" '
        f'data-detector="{_DETECTORS.index(detector)}">{number(count)}</a></td>'
    )


def _errors_cell(count: int) -> str:
    if not count:
        return '<td class="none"><span aria-label="none">·</span></td>'
    return f'<td class="failed"><a href="#errors">{number(count)}</a></td>'


def _total(counts: Iterable[int | None]) -> str:
    known = [count for count in counts if count is not None]
    return f"<td>{number(sum(known))}</td>" if known else '<td class="none"></td>'


def _errors(outcome: Outcome) -> str:
    rows = sorted(
        (
            (count, scenario.name, text)
            for scenario in outcome.scenarios
            for text, count in scenario.errors.items()
        ),
        key=lambda row: -row[0],
    )
    if not rows:
        return ""
    body = "\n".join(
        f'<tr><th scope="row"><span class="name">{_name(name)}</span></th>'
        f'<td class="text">{escape(text)}</td><td>{number(count)}</td></tr>'
        for count, name, text in rows
    )
    return (
        '<div id="errors"><h3>Errors that no scenario allows for</h3>'
        '<p class="note">Not leaks, but they do not pass unseen.</p>'
        '<div class="scroll"><table class="plain"><thead><tr><th scope="col">scenario</th>'
        '<th scope="col" class="text">error</th><th scope="col">times</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def _controls(outcome: Outcome) -> str:
    if not outcome.controls:
        return ""
    rows = "\n".join(
        f"<tr{'' if control.caught else ' class=silent'}>"
        f'<th scope="row"><span class="name">{_name(control.name)}</span>'
        f'<span class="title">{_title(control.title)}</span></th>'
        f'<td class="text">{escape(control.detector.value)}</td>'
        f'<td class="text"><span class="stamp {"caught" if control.caught else "silent"}">'
        f"{'caught' if control.caught else 'not caught'}</span></td>"
        f"<td>{number(control.findings)}</td><td>{duration(control.seconds)}</td></tr>"
        for control in outcome.controls
    )
    return (
        '<section id="controls"><h2>Controls</h2>'
        '<p class="note">Backends and applications that are broken on purpose. A detector that '
        "stays silent on one of them says nothing about yours.</p>"
        '<div class="scroll"><table class="plain"><thead><tr><th scope="col">control</th>'
        '<th scope="col" class="text">has to be caught as</th>'
        '<th scope="col" class="text">verdict</th>'
        '<th scope="col">findings</th><th scope="col">time</th></tr></thead>'
        f"<tbody>\n{rows}\n</tbody></table></div></section>"
    )


_MEANINGS = {
    Detector.SHARED_SESSION: "used a server session while another was using it",
    Detector.RETAINED_LEASE: "ended and still holds a lease",
    Detector.ORPHAN_SESSION: "left a server session that no pool knows",
    Detector.STATE_BLEED: "saw or left settings, temporary tables or locks that are not "
    "the baseline",
    Detector.TRANSACTION_BLEED: "saw, committed or rolled back another's rows, or left a "
    "transaction open",
    Detector.RESULT_MIX_UP: "read a row, message or error that answers another's statement",
    Detector.GROWTH: "left threads, file descriptors, sessions or memory behind",
}


def _detector_list() -> str:
    return "".join(
        f"<div><dt>{escape(detector.value)}</dt><dd>{escape(meaning)}</dd></div>"
        for detector, meaning in _MEANINGS.items()
    )
