"""The report in a terminal: progress while it runs, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from mssql_async.contrib.leaks.findings import Detector, Finding

from ..outcome import Outcome, ScenarioResult
from .words import (
    cost,
    counted,
    duration,
    fit_to_show,
    not_looked_for,
    number,
    short_number,
    verdict,
)

#: Findings that are described in full; the other reports have more.
DESCRIBED = 5
_COUNT_WIDTH = 4
_LEAK = "bold bright_red"
_SOFT = "dim"


class LiveProgress:
    """Tells how a run goes on.

    One bar in a terminal; a line for each scenario that is over where the output is a file or a
    pipe; nothing at all if ``quiet``.
    """

    def __init__(self, console: Console | None = None, *, quiet: bool = False) -> None:
        self._console = console or Console()
        self._quiet = quiet
        self._task: TaskID | None = None
        self._progress: Progress | None = None
        if not quiet and self._console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[noticed]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def scenario_began(self, name: str, contexts: int) -> None:
        if self._progress is not None:
            self._forget_task()
            self._task = self._progress.add_task(escape(name), total=contexts, noticed="")

    def progressed(self, done: int, errors: int = 0, findings: int = 0) -> None:
        """All counted from the beginning of the scenario."""
        if self._progress is not None and self._task is not None:
            noticed = []
            if findings:
                noticed.append(f"[{_LEAK}]{counted(findings, 'finding')}[/]")
            if errors:
                noticed.append(f"[yellow]{counted(errors, 'error')}[/]")
            self._progress.update(self._task, completed=done, noticed=", ".join(noticed))

    def scenario_ended(self, result: ScenarioResult) -> None:
        self._forget_task()
        if not self._quiet:
            self._console.print(_line_of(result, self._console), soft_wrap=True, highlight=False)

    def _forget_task(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def print_verdict(outcome: Outcome, console: Console | None = None) -> None:
    """The verdict table, the first findings, the controls, and what repeats the run."""
    console = console or Console()
    outcome = fit_to_show(outcome)
    if outcome.scenarios:
        console.print()
        _print_scenarios(outcome, console)
        for sentence in not_looked_for(outcome):
            console.print(Text(sentence, style=_SOFT), highlight=False)
    _print_errors(outcome, console)
    _print_findings(outcome, console)
    if outcome.controls:
        console.print()
        _print_controls(outcome, console)
    console.print()
    _print_last_lines(outcome, console)


def _line_of(result: ScenarioResult, console: Console) -> Text:
    good, bad, none = ("✓", "✗", "○") if _is_unicode(console) else ("ok", "LEAK", "-")
    if result.skipped:
        return Text(f"{none} {result.name}: skipped, {result.skipped}", style=_SOFT)
    line = Text()
    line.append(bad if result.found else good, style=_LEAK if result.found else "cyan")
    line.append(f" {result.name}", style="bold")
    line.append(f": {counted(result.contexts, 'context')} in {duration(result.seconds)}")
    if result.found:
        found = ", ".join(f"{number(n)} {which.value}" for which, n in result.findings.items() if n)
        line.append(f", {found}", style=_LEAK)
    if result.failed:
        line.append(f", {counted(result.failed, 'error')}", style="yellow")
    return line


def _print_scenarios(outcome: Outcome, console: Console) -> None:
    """A column for each detector, only four wide; so their names stand on a stair above."""
    detectors = list(Detector)
    figures = (("contexts", 9), ("errors", 7), ("p50", 7), ("p99", 7))
    room = console.width - sum(width for _, width in figures) - len(detectors) * _COUNT_WIDTH
    longest = max(len(scenario.name) for scenario in outcome.scenarios)
    name_width = max(12, min(longest, room - 1))
    indent = name_width + sum(width for _, width in figures)
    corner, pipe, rule = ("┐", "│", "─") if _is_unicode(console) else (".", "|", "-")

    for place in range(len(detectors) - 1, -1, -1):
        detector = detectors[place]
        found = outcome.found_by(detector)
        line = Text(f"{detector.value} {corner}".rjust(indent + (place + 1) * _COUNT_WIDTH))
        if found:
            line.stylize(_LEAK)
        for later in detectors[place + 1 :]:
            line.append(pipe.rjust(_COUNT_WIDTH), style=_LEAK if outcome.found_by(later) else "")
        console.print(line, no_wrap=True, highlight=False)
    head = Text("scenario".ljust(name_width), style="bold")
    for title, width in figures:
        head.append(title.rjust(width))
    for detector in detectors:
        head.append(
            pipe.rjust(_COUNT_WIDTH), style=_LEAK if outcome.found_by(detector) else "not bold"
        )
    console.print(head, no_wrap=True, highlight=False)
    console.print(Text(rule * (indent + len(detectors) * _COUNT_WIDTH), style=_SOFT))

    for scenario in outcome.scenarios:
        console.print(
            _row(scenario, name_width, [width for _, width in figures], detectors, console),
            no_wrap=True,
            overflow="ellipsis",
            highlight=False,
        )


def _row(
    scenario: ScenarioResult,
    name_width: int,
    widths: Sequence[int],
    detectors: Sequence[Detector],
    console: Console,
) -> Text:
    dots, nothing = ("…", "·") if _is_unicode(console) else ("~", ".")
    name = scenario.name
    if len(name) > name_width:
        name = name[: name_width - 1] + dots
    if scenario.skipped:
        return Text(f"{name.ljust(name_width)}  skipped: {scenario.skipped}", style=_SOFT)
    line = Text(name.ljust(name_width), style="bold" if scenario.found else "")
    line.append(number(scenario.contexts).rjust(widths[0]), style="not bold")
    errors = short_number(scenario.failed) if scenario.failed else nothing
    line.append(errors.rjust(widths[1]), style="yellow" if scenario.failed else _SOFT)
    latencies = scenario.latencies
    for seconds, width in ((latencies.p50, widths[2]), (latencies.p99, widths[3])):
        line.append((duration(seconds).replace(" ", "") or nothing).rjust(width), style="not bold")
    for detector in detectors:
        count = scenario.findings.get(detector, 0)
        blank = "?" if detector in scenario.unseen else nothing
        text = short_number(count) if count else blank
        line.append(text.rjust(_COUNT_WIDTH), style=_LEAK if count else _SOFT)
    return line


def _print_errors(outcome: Outcome, console: Console) -> None:
    errors = [
        (count, scenario.name, text)
        for scenario in outcome.scenarios
        for text, count in scenario.errors.items()
    ]
    if not errors:
        return
    errors.sort(key=lambda each: -each[0])
    console.print()
    console.print(Text("Errors that no scenario allows for", style="bold"))
    for count, name, text in errors[:DESCRIBED]:
        shown = Text(f"{number(count)} x in {name}: {text}")
        console.print(Padding(shown, (0, 0, 0, 2), expand=False), highlight=False)
    if len(errors) > DESCRIBED:
        more = counted(len(errors) - DESCRIBED, "other kind", "other kinds")
        console.print(Text(f"  and {more}", style=_SOFT))


def _print_findings(outcome: Outcome, console: Console) -> None:
    chosen = _first_of_each(outcome.findings)[:DESCRIBED]
    if not chosen:
        return
    console.print()
    for place, finding in enumerate(chosen, start=1):
        first, *rest = finding.describe().splitlines()
        head = Text(f"{place}. ")
        head.append(first, style="bold")
        head.highlight_words([finding.detector.value], _LEAK)
        console.print(head, highlight=False)
        for line in rest:
            indent = len(line) - len(line.lstrip()) + 1
            console.print(
                Padding(Text(line.strip()), (0, 0, 0, indent), expand=False), highlight=False
            )
    left = outcome.found - len(chosen)
    if left > 0:
        kept = len(outcome.findings) - len(chosen)
        more = f"and {counted(left, 'other finding')}"
        if kept:
            more += f"; --html FILE and --json FILE tell of {number(kept)} of them"
        console.print(Text(more, style=_SOFT))


def _first_of_each(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each scenario and detector, then the others."""
    first: dict[tuple[str, Detector], int] = {}
    for place, finding in enumerate(findings):
        first.setdefault((finding.scenario, finding.detector), place)
    chosen = set(first.values())
    others = [finding for place, finding in enumerate(findings) if place not in chosen]
    return [*(findings[place] for place in first.values()), *others]


def _print_controls(outcome: Outcome, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", highlight=False)
    table.add_column("control", overflow="fold")
    table.add_column("has to be caught as", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("findings", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for control in outcome.controls:
        table.add_row(
            escape(control.name),
            control.detector.value,
            Text("caught", style="cyan") if control.caught else Text("SILENT", style=_LEAK),
            number(control.findings),
            duration(control.seconds),
        )
    console.print(table)


def _print_last_lines(outcome: Outcome, console: Console) -> None:
    if there := cost(outcome):
        console.print(Text(f"{there}.", style=_SOFT), highlight=False)
    line = Text(verdict(outcome), style="bold cyan" if outcome.is_clean else _LEAK)
    if outcome.found and outcome.silent:
        line.append(f"; {counted(len(outcome.silent), 'control')} not caught")
    if outcome.failed:
        line.append(f"; {counted(outcome.failed, 'error')}", style="yellow")
    if outcome.broken_off:
        line.append(f"; broken off: {outcome.broken_off.rstrip('.')}", style="yellow")
    line.append(f" (seed {outcome.seed})", style="default not bold")
    console.print(line, highlight=False)
    if outcome.command:
        again = Text("Again: ", style=_SOFT)
        again.append(outcome.command_line, style="default not dim")
        # One line however long it is, so that it can be copied.
        console.print(again, soft_wrap=True, highlight=False)


def _is_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
