"""Charts on a :class:`~.svg.Drawing`: panels of lines, bars with words, and what is around them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .svg import LARGE, MARGIN, SMALL, TITLE, WIDTH, Drawing, width_of, wrapped

LINE = 16
"""Height of a line of text."""
PADDING = 12
"""Beside what a panel's lines begin and end with."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to places. A logarithmic one takes positive values only."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if self.logarithmic:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(values: Sequence[float], ticks: int = 5) -> Axis:
    """From 0 to a round number above all of them."""
    top = max(values, default=0) or 1
    rough = top / ticks
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(
        each * magnitude for each in (1, 2, 2.5, 5, 10) if each * magnitude >= rough * 0.999
    )
    number = math.ceil(top / step - 1e-9)
    return Axis(0, number * step, tuple(n * step for n in range(number + 1)))


def logarithmic(values: Sequence[float], *, steps: Sequence[int] = (1,)) -> Axis:
    """Powers of ten (times ``steps``) around all of them; the positive ones count."""
    positive = [each for each in values if each > 0] or [1.0]
    lowest = math.floor(math.log10(min(positive)) + 1e-9)
    highest = math.ceil(math.log10(max(positive)) - 1e-9)
    highest = max(highest, lowest + 1)
    ticks = [
        step * 10.0**power
        for power in range(lowest, highest + 1)
        for step in steps
        if step * 10.0**power <= 10.0**highest * 1.001
    ]
    return Axis(10.0**lowest, 10.0**highest, tuple(ticks), logarithmic=True)


def places(values: Sequence[float]) -> Axis:
    """Ticks at those values only, which are positive, by their logarithms."""
    ordered = sorted(set(values))
    return Axis(ordered[0], max(ordered[-1], ordered[0] * 2), tuple(ordered), logarithmic=True)


@dataclass(frozen=True, slots=True)
class Series:
    """``points`` are in the order of x; one without y is drawn as a cross at the top: there was
    no answer. ``stopped``: it went no further than its last point."""

    name: str
    colour: int
    points: Sequence[tuple[float, float | None]]
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines over two axes."""

    title: str
    series: Sequence[Series]
    x: Axis
    y: Axis
    x_title: str = ""
    unit: str = ""
    apart: float = 0
    """How far series are moved from one another, so that equal ones are seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    colour: int
    value: float
    words: str
    """What stands behind it."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars from left to right, under a title."""

    title: str
    bars: Sequence[Bar]
    note: str = ""


@dataclass(slots=True)
class Chart:
    """A picture from top to bottom: question, legend, content, small print."""

    question: str
    answer_with: str
    """What is drawn, in a sentence."""
    drawing: Drawing = field(init=False)
    y: float = field(init=False, default=MARGIN)

    def __post_init__(self) -> None:
        self.drawing = Drawing(self.question, self.answer_with)
        self.y += TITLE
        self.drawing.text(MARGIN, self.y, self.question, "b", TITLE)
        for words in wrapped(self.answer_with, WIDTH - 2 * MARGIN):
            self.y += LINE + 2
            self.drawing.text(MARGIN, self.y, words, "dim")
        self.y += 14

    def legend(self, names: Sequence[tuple[str, int]]) -> None:
        """Names and their series' numbers, this project's first and in bold."""
        x: float = MARGIN
        self.y += 12
        for name, colour in names:
            wide = 30 + width_of(name, bold=colour == 0) + 18
            if x > MARGIN and x + wide > WIDTH - MARGIN:
                x = MARGIN
                self.y += LINE + 3
            self.drawing.line(x, self.y - 4, x + 24, self.y - 4, _line_classes(colour))
            self.drawing.mark(x + 12, self.y - 4, colour)
            self.drawing.text(x + 30, self.y, name, "b" if colour == 0 else "")
            x += wide
        self.y += 12

    def row(self, panels: Sequence[Panel], height: float = 190, *, side: float = 50) -> None:
        """Panels beside one another. ``side``: room for the numbers at the left of each."""
        gap = 18
        wide = (WIDTH - 2 * MARGIN - gap * (len(panels) - 1)) / len(panels)
        top = self.y + LINE
        for n, panel in enumerate(panels):
            left = MARGIN + n * (wide + gap)
            self.drawing.text(left, top, panel.title, "b", LARGE)
            if panel.unit:
                self.drawing.text(left + wide, top, panel.unit, "dim r", SMALL)
            self._panel(panel, left + side, top + 14, wide - side - 6, height)
        self.y = top + 14 + height + 22 + (LINE if any(each.x_title for each in panels) else 0)
        self.y += 6

    def _panel(self, panel: Panel, x: float, y: float, wide: float, high: float) -> None:
        drawing = self.drawing

        def across(value: float) -> float:
            # Marks at the ends stay away from the numbers of the other axis.
            return x + PADDING + panel.x.share(value) * (wide - 2 * PADDING)

        headroom = max(len(panel.series) - 1, 0) * panel.apart

        def up(value: float) -> float:
            return y + high - min(panel.y.share(value), 1) * (high - headroom)

        for tick in panel.y.ticks:
            drawing.line(x, up(tick), x + wide, up(tick), "grid")
            drawing.text(x - 6, up(tick) + 4, number(tick), "dim r", SMALL)
        drawing.line(x, y + high, x + wide, y + high, "axis")
        for tick in panel.x.ticks:
            drawing.line(across(tick), y + high, across(tick), y + high + 4, "axis")
            drawing.text(across(tick), y + high + 17, number(tick), "dim m", SMALL)
        if panel.x_title:
            drawing.text(x + wide / 2, y + high + 33, panel.x_title, "dim m", SMALL)
        crosses: Counter[float] = Counter()  # below one another
        # This project's last, on top.
        for n, series in enumerate(sorted(panel.series, key=lambda each: each.colour == 0)):
            moved = (len(panel.series) - 1 - n) * panel.apart
            known = [(across(a), up(b) - moved) for a, b in series.points if b is not None]
            if len(known) > 1:
                drawing.path(known, _line_classes(series.colour), told=series.name)
            for a, b in known:
                drawing.mark(a, b, series.colour)
            for a, b in series.points:
                if b is None:
                    drawing.cross(across(a), y + 2 + 13 * crosses[a], series.colour)
                    crosses[a] += 1
            if series.stopped and known:
                drawing.cross(*known[-1], series.colour, size=7)

    def bars(self, group: Bars) -> None:
        drawing = self.drawing
        names = max(width_of(bar.name, bold=bar.colour == 0) for bar in group.bars) + 14
        words = max(width_of(bar.words, bold=bar.colour == 0) for bar in group.bars) + 12
        room = WIDTH - 2 * MARGIN - names - words
        longest = max(bar.value for bar in group.bars) or 1
        self.y += LINE
        drawing.text(MARGIN, self.y, group.title, "b", LARGE)
        self.y += 8
        for bar in group.bars:
            self.y += 21
            bold = "b" if bar.colour == 0 else ""
            drawing.text(MARGIN + names - 10, self.y, bar.name, f"r {bold}".strip())
            long = max(bar.value / longest * room, 1.5)
            drawing.rectangle(MARGIN + names, self.y - 11, long, 14, f"f{bar.colour}", 2)
            drawing.text(MARGIN + names + long + 7, self.y, bar.words, bold)
        for each in wrapped(group.note, WIDTH - 2 * MARGIN, SMALL):
            self.y += 17
            drawing.text(MARGIN, self.y, each, "dim", SMALL)
        self.y += 18

    def table(
        self,
        columns: Sequence[tuple[str, int]],
        rows: Sequence[tuple[str, Sequence[tuple[float, str] | None]]],
    ) -> None:
        """Numbers with a bar under each, so that a row is read as a chart. A cell is a value
        and what stands there; ``None``: nothing."""
        drawing = self.drawing
        first = max(width_of(name) for name, _ in rows) + 16
        wide = (WIDTH - 2 * MARGIN - first) / len(columns)
        heads = [wrapped(name, wide - 12, SMALL) for name, _ in columns]
        top = self.y + 14
        self.y = top + 14 * max(map(len, heads))
        for n, head in enumerate(heads):
            bold = "b" if columns[n][1] == 0 else "dim"
            for k, words in enumerate(head):
                below = 14 * (max(map(len, heads)) - len(head) + k)
                drawing.text(MARGIN + first + n * wide, top + below, words, bold, SMALL)
        longest = max(cell[0] for _, cells in rows for cell in cells if cell) or 1
        for number_, (name, cells) in enumerate(rows):
            if number_ % 2 == 0:
                drawing.rectangle(MARGIN - 8, self.y - 4, WIDTH - 2 * MARGIN + 16, 36, "band", 4)
            drawing.text(MARGIN, self.y + 18, name)
            for n, cell in enumerate(cells):
                if cell is None:
                    continue
                colour = columns[n][1]
                x = MARGIN + first + n * wide
                drawing.text(x, self.y + 14, cell[1], "b" if colour == 0 else "")
                long = cell[0] / longest * (wide - 14)
                if long:
                    drawing.rectangle(x, self.y + 19, max(long, 2), 5, f"f{colour}", 1.5)
            self.y += 36
        self.y += 8

    def finished(self, small_print: str, notes: Sequence[str] = ()) -> str:
        """The picture, with the date, the versions and the command below."""
        for note in notes:
            for words in wrapped(note, WIDTH - 2 * MARGIN, SMALL):
                self.y += 15
                self.drawing.text(MARGIN, self.y, words, "", SMALL)
        self.y += 12 if notes else 2
        self.drawing.line(MARGIN, self.y, WIDTH - MARGIN, self.y, "grid")
        for words in wrapped(small_print, WIDTH - 2 * MARGIN, SMALL):
            self.y += 15
            self.drawing.text(MARGIN, self.y, words, "dim", SMALL)
        return self.drawing.finished(self.y + MARGIN - 8)


def _line_classes(colour: int) -> str:
    """Every other one has gaps, through which one that it runs over is seen."""
    return f"line s{colour}" + (" own" if colour == 0 else " gaps" if colour % 2 == 0 else "")


def number(value: float) -> str:
    """As short as it can be: ``1,000``, ``0.5``."""
    return f"{value:,.0f}" if value >= 1 and value == int(value) else f"{value:g}"
