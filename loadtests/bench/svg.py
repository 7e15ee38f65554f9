"""A little of SVG: shapes and text with classes, on a card that is readable in light and in dark.

A picture needs no script and no font file, and follows the reader's colour scheme also where a
page shows it as an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

WIDTH = 880
MARGIN = 24
SMALL, NORMAL, LARGE, TITLE = 11, 12, 13, 18
"""Sizes of text, in units of the picture."""

#: Colours of series, in light and in dark. The first is this project's, and darker or brighter
#: than the rest; the others differ in lightness too, for those who see few colours.
SERIES = (
    ("#0550ae", "#58a6ff"),
    ("#d4572a", "#ff9466"),
    ("#a3711a", "#e3b341"),
    ("#7f4fc9", "#bc8cff"),
    ("#b95fd0", "#e0a3f5"),
    ("#1a7f4b", "#56d364"),
    ("#c2387a", "#ff7eb6"),
    ("#6e7781", "#a0a8b1"),
    ("#1b7c83", "#76e3ea"),
)

_LIGHT = {"card": "#ffffff", "edge": "#d0d7de", "ink": "#1f2328", "dim": "#59636e",
          "grid": "#e4e8ec", "band": "#f6f8fa"}  # fmt: skip
_DARK = {"card": "#0d1117", "edge": "#3d444d", "ink": "#f0f6fc", "dim": "#9198a1",
         "grid": "#262c36", "band": "#151b23"}  # fmt: skip


def _colours(plain: dict[str, str], series: Iterable[str]) -> str:
    rules = [
        f".card{{fill:{plain['card']};stroke:{plain['edge']}}}",
        f"text,.ink{{fill:{plain['ink']}}}.dim{{fill:{plain['dim']}}}",
        f".grid{{stroke:{plain['grid']}}}.axis{{stroke:{plain['dim']}}}",
        f".band{{fill:{plain['band']}}}.ring{{stroke:{plain['card']}}}",
    ]
    rules += [f".f{n}{{fill:{c}}}.s{n}{{stroke:{c}}}" for n, c in enumerate(series)]
    return "".join(rules)


_STYLE = (
    'text{font-family:-apple-system,BlinkMacSystemFont,"Segoe UI","Noto Sans",Helvetica,Arial,'
    f"sans-serif;font-size:{NORMAL}px}}"
    ".b{font-weight:600}.r{text-anchor:end}.m{text-anchor:middle}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".own{stroke-width:3}.gaps{stroke-dasharray:7 6}"
    + _colours(_LIGHT, [light for light, _ in SERIES])
    + "@media(prefers-color-scheme:dark){"
    + _colours(_DARK, [dark for _, dark in SERIES])
    + "}"
)


class Drawing:
    """What is drawn later lies on top. ``classes`` are those of the style, such as ``"dim r"``."""

    def __init__(self, title: str, description: str) -> None:
        """Both are read to those who do not see the picture; neither is drawn."""
        self._title = title
        self._description = description
        self._elements: list[str] = []

    def text(
        self, x: float, y: float, content: str, classes: str = "", size: float | None = None
    ) -> None:
        """``y`` is the line that letters stand on."""
        style = "" if size is None else f' style="font-size:{size:g}px"'
        self._add(f'<text x="{x:.1f}" y="{y:.1f}"{_class(classes)}{style}>{escape(content)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, classes: str) -> None:
        self._add(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{_class(classes)}/>'
        )

    def rectangle(
        self, x: float, y: float, width: float, height: float, classes: str, radius: float = 0
    ) -> None:
        round_ = f' rx="{radius:g}"' if radius else ""
        self._add(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f"{round_}{_class(classes)}/>"
        )

    def path(self, points: Sequence[tuple[float, float]], classes: str, *, told: str = "") -> None:
        """``told`` is shown where a page has the picture inline and the mouse is on the path."""
        steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        inner = f"<title>{escape(told)}</title>" if told else ""
        self._add(f'<polyline points="{steps}"{_class(classes)}>{inner}</polyline>')

    def mark(self, x: float, y: float, series: int, *, size: float = 4) -> None:
        """A point of a series: its shape differs from its neighbours' too."""
        shape = series % 4
        if shape == 0:
            self._add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" class="f{series} ring"/>')
            return
        outline = {
            1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
            2: ((0, -1.3), (1.2, 0.9), (-1.2, 0.9)),
            3: ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
        }[shape]
        points = " ".join(
            f"{x + dx * size * 0.9:.1f},{y + dy * size * 0.9:.1f}" for dx, dy in outline
        )
        self._add(f'<polygon points="{points}" class="f{series} ring"/>')

    def cross(self, x: float, y: float, series: int, *, size: float = 5) -> None:
        """Where a series ends for want of an answer."""
        for sign in (1, -1):
            self.line(x - size, y - sign * size, x + size, y + sign * size, f"line s{series}")

    def finished(self, height: float) -> str:
        """The file's text."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
                f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
                f"aria-label={quoteattr(self._title)}>",
                f"<title>{escape(self._title)}</title>",
                f"<desc>{escape(self._description)}</desc>",
                f"<style>{_STYLE}</style>",
                f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8" '
                'class="card"/>',
                *self._elements,
                "</svg>",
                "",
            ]
        )

    def _add(self, element: str) -> None:
        self._elements.append(element)


def _class(classes: str) -> str:
    return f' class="{classes}"' if classes else ""


_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!() -"), frozenset("mwMW%")


def width_of(text: str, size: float = NORMAL, *, bold: bool = False) -> float:
    """As wide as the widest of the common fonts without serifs (DejaVu) draws it, about."""
    widths = (
        0.36 if each in _NARROW else 0.95 if each in _WIDE
        else 0.67 if each.isupper() or each.isdigit() else 0.61
        for each in text
    )  # fmt: skip
    return sum(widths) * size * (1.1 if bold else 1)


def wrapped(text: str, width: float, size: float = NORMAL) -> list[str]:
    """In lines of at most about that width, where words allow it."""
    lines: list[str] = []
    for word in text.split():
        if lines and width_of(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
