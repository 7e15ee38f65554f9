"""The pictures: well-formed, complete, inside their card, and true to the figures."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtests.bench import plots
from loadtests.bench.charts import Bar, Bars, Chart, Panel, Series, linear, logarithmic, places
from loadtests.bench.requests import Sizes
from loadtests.bench.svg import SERIES, WIDTH, Drawing, width_of, wrapped

from .a_run import ANSWERING, OURS, PERSISTENT, STOCK, a_run

SVG = "{http://www.w3.org/2000/svg}"
SIZE = re.compile(r"font-size:([\d.]+)px")


class Picture:
    """What is in one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = ElementTree.fromstring(text)  # noqa: S314  our own

    def all(self, name: str) -> list[ElementTree.Element]:
        return list(self.root.iter(SVG + name))

    def words(self) -> list[str]:
        return [each.text or "" for each in self.all("text")]

    def classes(self) -> set[str]:
        return {name for each in self.root.iter() for name in each.get("class", "").split()}

    def without_a_rule(self) -> set[str]:
        """Classes that the style does not know."""
        (style,) = self.all("style")
        return self.classes() - set(re.findall(r"\.([a-z]+\d?)(?=[,.{])", style.text or ""))

    def lines(self) -> dict[str, list[list[tuple[float, float]]]]:
        """Series -> its lines, one for each panel that it is in, as points."""
        found: dict[str, list[list[tuple[float, float]]]] = {}
        for each in self.all("polyline"):
            title = each.find(SVG + "title")
            assert title is not None
            points = [tuple(map(float, pair.split(","))) for pair in each.get("points", "").split()]
            found.setdefault(title.text or "", []).append([(x, y) for x, y in points])
        return found

    def outside(self) -> list[str]:
        """Words and shapes that reach over the card's edge."""
        high = float(self.root.get("height", 0))
        found = []
        for each in self.all("text"):
            style = SIZE.search(each.get("style", ""))
            size = float(style.group(1)) if style else 12
            x, y = float(each.get("x", 0)), float(each.get("y", 0))
            names = each.get("class", "").split()
            wide = width_of(each.text or "", size, bold="b" in names)
            left = x - wide if "r" in names else x - wide / 2 if "m" in names else x
            if left < 0 or left + wide > WIDTH or not 0 < y < high:
                found.append(each.text or "")
        for each in self.all("rect"):
            right = float(each.get("x", 0)) + float(each.get("width", 0))
            low = float(each.get("y", 0)) + float(each.get("height", 0))
            if right > WIDTH or low > high:
                found.append(f"rect {each.attrib}")
        for series in self.lines().values():
            found += [
                f"point {x},{y}"
                for points in series
                for x, y in points
                if not (0 < x < WIDTH and 0 < y < high)
            ]
        return found


@pytest.fixture(scope="module")
def pictures() -> dict[str, Picture]:
    return {name: Picture(text) for name, text in plots.drawn(a_run()).items()}


ALL = [
    "throughput.svg", "latency.svg", "messages.svg", "scale.svg", "parallel.svg", "pool.svg",
    "recovery.svg",
]  # fmt: skip


def test_a_whole_run_has_every_picture(pictures: dict[str, Picture]) -> None:
    assert sorted(pictures) == sorted(ALL) == sorted(plots.PICTURES)


@pytest.mark.parametrize("name", ALL)
def test_every_picture_tells_its_date_versions_command_and_machine(
    pictures: dict[str, Picture], name: str
) -> None:
    words = " ".join(pictures[name].words())
    for told in (
        "2026-11-24", "python -m loadtests.bench.", "mssql_async 0.1.0", "CPython 3.13.0",
        "0123abc", "2 cores", "A <processor> & more",
    ):  # fmt: skip
        assert told in words


@pytest.mark.parametrize("name", ALL)
def test_nothing_reaches_over_the_edge(pictures: dict[str, Picture], name: str) -> None:
    assert pictures[name].outside() == []


def test_what_reaches_over_the_edge_would_be_seen() -> None:
    drawing = Drawing("a title", "a description")
    drawing.text(WIDTH - 30, 20, "far too long for that")
    drawing.text(10, 400, "below")
    drawing.rectangle(WIDTH - 10, 10, 20, 5, "band")
    drawing.path([(-5, 3), (5, 3)], "line s0", told="left")
    assert len(Picture(drawing.finished(100)).outside()) == 4


@pytest.mark.parametrize("name", ALL)
def test_every_class_has_its_rule(pictures: dict[str, Picture], name: str) -> None:
    assert pictures[name].without_a_rule() == set()


def test_a_class_without_a_rule_would_be_seen() -> None:
    drawing = Drawing("a title", "a description")
    drawing.text(10, 20, "words", "blod")
    assert Picture(drawing.finished(100)).without_a_rule() == {"blod"}


@pytest.mark.parametrize("name", ALL)
def test_pictures_say_for_those_who_do_not_see_what_they_show(
    pictures: dict[str, Picture], name: str
) -> None:
    root = pictures[name].root
    assert root.get("role") == "img"
    assert root.get("aria-label") == pictures[name].words()[0]
    assert pictures[name].all("desc")[0].text


@pytest.mark.parametrize("name", ALL)
def test_colours_follow_the_readers_scheme_and_nothing_is_loaded(
    pictures: dict[str, Picture], name: str
) -> None:
    text = pictures[name].text
    assert "prefers-color-scheme:dark" in text
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in text
    assert len(text) < 60_000


# --- true to the figures -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["throughput.svg", "latency.svg"])
def test_every_candidate_has_a_line_in_every_panel(pictures: dict[str, Picture], name: str) -> None:
    lines = pictures[name].lines()
    assert set(lines) == set(ANSWERING)
    for candidate in ANSWERING:
        # One query with three delays, a transaction without one.
        assert [len(points) for points in lines[candidate]] == [len(Sizes().clients)] * 4
        # In the legend, and before its bar where there is one client only.
        assert pictures[name].words().count(candidate) == 3
    titles = [each for each in pictures[name].words() if each.endswith("1 client")]
    assert titles == [
        "atomic: read, write, 1 ms away, 1 client", "atomic: read, write, 5 ms away, 1 client",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["throughput.svg", "latency.svg"])
def test_marks_stay_away_from_the_numbers_of_the_axis(
    pictures: dict[str, Picture], name: str
) -> None:
    picture = pictures[name]
    marks = [x for lines in picture.lines().values() for points in lines for x, _ in points]
    axes = [float(each.get("x1", 0)) for each in picture.all("line") if each.get("class") == "axis"]
    assert min(marks) >= min(axes) + 12


@pytest.mark.parametrize("name", ["throughput.svg", "latency.svg", "messages.svg"])
def test_who_was_left_out_is_told(name: str) -> None:
    run = a_run()
    run["requests"]["left_out"] = ["Starlette, fastmssql: did not start"]
    words = " ".join(Picture(plots.drawn(run)[name]).words())
    assert "Left out: Starlette, fastmssql: did not start." in words
    run["requests"]["left_out"] = [f"number {n}: 1 failed" for n in range(9)]
    words = " ".join(Picture(plots.drawn(run)[name]).words())
    assert "number 3: 1 failed" in words
    assert "number 4" not in words
    assert "Left out: 5 more, which the table names." in words


def test_failed_requests_are_told(pictures: dict[str, Picture]) -> None:
    assert "failed" not in " ".join(pictures["throughput.svg"].words())
    run = a_run()
    of_stock = [each for each in run["requests"]["throughput"] if each["candidate"] == STOCK]
    for each in of_stock:
        each["failed"] = 200 if each["work"] == "1 query" else 0
    for name in ("throughput.svg", "latency.svg"):
        assert f"{STOCK}: 2,400 requests failed." in Picture(plots.drawn(run)[name]).words()


def test_a_percentile_that_there_is_not_is_not_drawn() -> None:
    run = a_run()
    for each in run["requests"]["throughput"]:
        if each["candidate"] == STOCK and each["delay_ms"]:
            each["p99"] = None
    picture = Picture(plots.drawn(run)["latency.svg"])
    assert [len(points) for points in picture.lines()[STOCK]] == [4, 4]
    assert picture.words().count(STOCK) == 1
    assert "Not drawn: 10 that have too few samples for it." in picture.words()


def test_who_serves_more_is_drawn_higher_and_left_is_fewer_clients(
    pictures: dict[str, Picture],
) -> None:
    lines = pictures["throughput.svg"].lines()
    for ours, stock in zip(lines[OURS], lines[STOCK], strict=True):
        assert [x for x, _ in ours] == sorted(x for x, _ in ours)
        assert all(y < other for (_, y), (_, other) in zip(ours, stock, strict=True))


def test_this_project_is_drawn_last_so_that_nothing_hides_it(pictures: dict[str, Picture]) -> None:
    assert list(pictures["throughput.svg"].lines())[-1] == OURS


def test_messages_are_told_by_number_and_equal_columns_are_one(
    pictures: dict[str, Picture],
) -> None:
    words = pictures["messages.svg"].words()
    assert "10, 1 login" in words
    together = " ".join(words)
    assert "mssql, CONN_MAX_AGE 0 and 600" in together
    assert "WSGI, mssql, CONN_MAX_AGE 600" in together
    assert "threads" not in together
    assert together.count("3 queries") == 1


def test_synchronous_views_have_rows_where_they_cost_something_else() -> None:
    run = a_run()
    counts = run["requests"]["counts"]
    counts += [{**each, "work": f"{each['work']}, sync view"} for each in counts]
    words = " ".join(Picture(plots.drawn(run)["messages.svg"]).words())
    assert "Synchronous views cost the same." in words
    assert "1 query, sync view" not in words
    counts[-1]["messages"] += 1
    words = " ".join(Picture(plots.drawn(run)["messages.svg"]).words())
    assert "cost the same" not in words
    assert "1 query, sync view" in words


def test_where_a_candidate_was_stopped_is_told(pictures: dict[str, Picture]) -> None:
    picture = pictures["scale.svg"]
    words = " ".join(picture.words())
    for name in (STOCK, PERSISTENT):
        assert f"{name} stopped at 4,900 contexts; the server has files for 4,900" in words
    assert f"{OURS} stopped" not in words
    assert "ran in memory" in words
    lines = picture.lines()
    assert [len(points) for points in lines[OURS]] == [4, 4, 4, 4]
    assert [len(points) for points in lines[PERSISTENT]] == [4, 4, 4, 3]  # one was not measured


def test_nobody_served_is_a_cross_and_no_point(pictures: dict[str, Picture]) -> None:
    picture = pictures["recovery.svg"]
    lines = picture.lines()
    assert len(lines["psycopg_pool"][0]) == 3
    assert len(lines["aioodbc"]) == 1  # its callers with errors; it served nobody
    crosses = [each for each in picture.all("line") if each.get("class") == "line s1"]
    assert len(crosses) == 2 * 5 + 1  # two strokes each, and its line in the legend


def test_equal_lines_are_drawn_beside_one_another(pictures: dict[str, Picture]) -> None:
    lines = pictures["recovery.svg"].lines()
    without_errors = [lines[name][-1] for name in (OURS, "psycopg_pool", "SQLAlchemy QueuePool")]
    for n, points in enumerate(without_errors):
        assert len(points) == len(plots.SHOWN_STALE)
        for other in without_errors[:n]:
            assert all(
                abs(y - other_y) >= 3 for (_, y), (_, other_y) in zip(points, other, strict=False)
            )


def test_pools_are_compared_by_cost_wait_and_order(pictures: dict[str, Picture]) -> None:
    words = pictures["pool.svg"].words()
    assert words.count(OURS) == 3
    assert "1.80 µs" in words
    assert "5.0 ms, 3.1 times the median" in words
    assert "0 out of order, overtaken 0 times" in words


def test_bars_are_as_long_as_their_figures(pictures: dict[str, Picture]) -> None:
    picture = pictures["parallel.svg"]
    bars = [each for each in picture.all("rect") if each.get("class") in {"f0", "f1", "f2"}]
    ours, gather, stock = (float(each.get("width", 0)) for each in bars[:3])
    assert ours / gather == pytest.approx(105 / 830, abs=0.01)
    assert gather == stock
    assert any("with a login" in each for each in picture.words())
    assert any("leaves 4 sessions" in each for each in picture.words())


# --- parts of a run ------------------------------------------------------------------------


def test_a_part_that_was_left_out_has_no_picture() -> None:
    run = a_run()
    del run["requests"], run["pool"]
    assert sorted(plots.drawn(run)) == ["parallel.svg", "scale.svg"]
    assert plots.drawn({}) == {}


def test_tables_that_are_empty_have_no_picture() -> None:
    run = a_run()
    for part in ("pool", "requests", "scale", "parallel"):
        for key, value in run[part].items():
            if isinstance(value, list):
                run[part][key] = []
    assert plots.drawn(run) == {}


def test_figures_of_another_server_have_no_counts_and_say_so() -> None:
    run = a_run()
    run["requests"]["counts"] = []
    run["parallel"]["embedded"] = False
    for key in ("beside", "hang_ups", "checks"):
        for each in run["parallel"][key]:
            each["messages"] = None
    found = plots.drawn(run)
    assert "messages.svg" not in found
    words = " ".join(Picture(found["parallel.svg"]).words())
    assert "Server of the environment." in words
    assert not re.search(r"\d messages?\b", words)


def test_one_size_alone_can_be_drawn() -> None:
    run = a_run()
    for part, key, axis in (("requests", "throughput", "clients"), ("scale", "scale", "wanted")):
        first = run[part][key][0][axis]
        run[part][key] = [each for each in run[part][key] if each[axis] == first]
    run["pool"]["recovery"] = [each for each in run["pool"]["recovery"] if each["stale"] == 1]
    for text in plots.drawn(run).values():
        assert Picture(text).outside() == []


def test_pictures_are_written_into_a_folder_that_is_made(tmp_path: Any) -> None:
    folder = tmp_path / "docs" / "pictures"
    written = plots.write(a_run(), folder)
    assert sorted(path.name for path in written) == sorted(ALL)
    assert all(Picture(path.read_text(encoding="utf-8")) for path in written)


# --- axes and words ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([930.0], (0, 200, 400, 600, 800, 1000)),
        ([0.0], (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([20.0], (0, 5, 10, 15, 20)),
    ],
)
def test_a_linear_axis_begins_at_0_and_has_round_ticks(
    values: list[float], ticks: tuple[float, ...]
) -> None:
    axis = linear(values)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.share(0) == 0
    assert axis.share(axis.high) == 1
    assert axis.high >= max(values)


def test_a_logarithmic_axis_has_powers_of_ten_around_its_values() -> None:
    axis = logarithmic([3.0, 250.0, 0.0])
    assert axis.ticks == (1, 10, 100, 1000)
    assert axis.share(10) == pytest.approx(1 / 3)
    assert axis.share(0) == 0  # has no logarithm: at the low end
    assert logarithmic([5.0], steps=(1, 2, 5)).ticks == (1, 2, 5, 10)


def test_an_axis_of_places_has_those_only() -> None:
    assert places([64, 1, 16, 1]).ticks == (1, 16, 64)
    assert places([4]).share(4) == 0


def test_long_words_are_broken_between_them_and_never_inside() -> None:
    lines = wrapped("one two incomprehensibilities", 60)
    assert lines == ["one two", "incomprehensibilities"]
    assert wrapped("", 60) == []


def test_a_series_of_one_point_is_a_mark_without_a_line() -> None:
    chart = Chart("What?", "That.")
    axis = linear([1.0])
    chart.row([Panel("One", [Series("lonely", 3, [(1.0, 1.0)])], axis, axis)])
    chart.bars(Bars("Nothing", [Bar("none", 0, 0.0, "0 ms")]))
    picture = Picture(chart.finished("small print"))
    assert picture.all("polyline") == []
    assert [each.get("class") for each in picture.all("polygon")] == ["f3 ring"]


def test_every_series_has_a_colour_in_light_and_in_dark() -> None:
    assert len({light for light, _ in SERIES}) == len({dark for _, dark in SERIES}) == len(SERIES)
