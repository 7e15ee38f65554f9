"""The HTML report in a real browser: what is drawn, what answers to clicks and keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.leaks.outcome import Bar, Lane, Outcome, ScenarioResult
from loadtests.leaks.report.html import write_html
from mssql_async.contrib.leaks.findings import Detector
from mssql_async.contrib.leaks.record import Session, Use

from .browser import Browser, Page, chromium, find_chromium
from .outcomes import HOSTILE, outcome

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium found: install one (apt-get install chromium) or name it in CHROMIUM",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with chromium(CHROMIUM) as started:
        yield started


@pytest.fixture(scope="module")
def leaking() -> Outcome:
    return outcome(skipped=["failover"])


@pytest.fixture(scope="module")
def leaking_file(leaking: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "leaks.html"
    write_html(leaking, path)
    return path


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab that must have had no problem, and asked for nothing but the file."""
    opened = Page(browser)
    opened.show(1280, 900)
    yield opened
    opened.close()
    assert opened.problems == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []


def drawn(result: Outcome) -> ScenarioResult:
    """The scenario whose picture is shown first: the first one with a collision."""
    return next(
        scenario
        for scenario in result.scenarios
        if any(bar.colliding for lane in scenario.lanes for bar in lane.bars)
    )


def shown_scenario(page: Page) -> str:
    return str(page.run("document.querySelector('#lanes select').selectedOptions[0].textContent"))


# --- lanes -------------------------------------------------------------------------------------


def test_connections_are_called_so_where_no_session_has_a_number(
    page: Page, leaking: Outcome, tmp_path: Path
) -> None:
    def unnumbered(lane: Lane) -> Lane:
        return replace(lane, session=replace(lane.session, word="connection"))

    scenarios = [
        replace(each, lanes=[unnumbered(lane) for lane in each.lanes]) for each in leaking.scenarios
    ]
    path = tmp_path / "leaks.html"
    write_html(replace(leaking, scenarios=scenarios), path)
    page.open(path)
    labels = page.run("[...document.querySelectorAll('.lane')].map(each => each.ariaLabel)")
    assert labels
    assert all(label.startswith("Connection ") for label in labels)


def test_a_lane_is_drawn_for_each_session_and_a_bar_for_each_unit(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    scenario = drawn(leaking)
    assert shown_scenario(page).startswith(scenario.name)
    assert page.count(".lane") == len(scenario.lanes)
    spids = page.run("[...document.querySelectorAll('.lane')].map(each => each.dataset.spid)")
    in_time = sorted(scenario.lanes, key=lambda lane: min(bar.began_at for bar in lane.bars))
    assert spids == [str(lane.session.spid) for lane in in_time]
    assert page.count(".lane .bar") == sum(len(lane.bars) for lane in scenario.lanes)


def test_colliding_bars_are_hatched_and_no_others(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    expected = sum(bar.colliding for lane in drawn(leaking).lanes for bar in lane.bars)
    assert expected > 0
    hatched = page.run(
        """[...document.querySelectorAll(".lane .bar rect")]
        .filter(rect => getComputedStyle(rect).fill.includes("#hatch-")).length"""
    )
    assert hatched == expected
    assert page.count(".lane .bar.colliding") == expected


#: Pairs of contexts one of whose bars hides a part of the other's.
COVERED = """[...document.querySelectorAll(".lane")].flatMap(lane => {
    const bars = [...lane.querySelectorAll(".bar")].map(bar => [bar.dataset.token,
        bar.firstChild.getBoundingClientRect()]).filter(([, box]) => box.width > 4);
    return bars.flatMap(([a, one], n) => bars.slice(n + 1).filter(([b, other]) =>
        a !== b && one.left < other.right - 3 && other.left < one.right - 3
        && one.top < other.bottom && other.top < one.bottom).map(([b]) => `${a} ${b}`));
})"""


def test_bars_of_two_contexts_never_cover_each_other(page: Page, leaking_file: Path) -> None:
    page.open(leaking_file)
    assert page.run(COVERED) == []
    page.run(
        """document.querySelectorAll(".lane .colliding rect").forEach(rect => rect.setAttribute(
        "y", rect.closest(".lane").querySelector(".bar rect").getAttribute("y")))"""
    )
    assert page.run(COVERED) != []


def test_a_click_on_a_colliding_bar_shows_both_stories(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    page.click(".lane .bar.colliding rect")
    assert page.count(".inspector .story") == 2
    tokens = [
        int(token)
        for token in page.run(
            "[...document.querySelectorAll('.inspector .story')].map(each => each.dataset.token)"
        )
    ]
    assert len(set(tokens)) == 2
    scenario = drawn(leaking)
    texts = page.texts(".inspector .story")
    for token, told in zip(tokens, texts, strict=True):
        bar = next(b for lane in scenario.lanes for b in lane.bars if b.token == token)
        assert scenario.stories[token].what in told
        assert bar.statement.replace("\u2028", "\n") in told.replace("\u2028", "\n")
        assert bar.place in told
    assert page.count(".lane .bar.chosen") == 2
    assert "The bars overlap for" in page.text(".inspector .sub")


def test_a_click_on_a_bar_that_nothing_was_found_in_shows_one_story(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    parties = [party for each in leaking.findings for party in (each.culprit, each.victim)]
    found = {party.token for party in parties if party is not None}
    free = next(
        bar for bar in drawn(leaking).lanes[0].bars if bar.token not in found and not bar.colliding
    )
    page.click(f".lane .bar[data-token='{free.token}'] rect")
    assert page.count(".inspector .story") == 1
    assert drawn(leaking).stories[free.token].what in page.text(".inspector .story")


def test_a_click_on_a_bar_with_another_finding_shows_that(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    bleed = next(each for each in leaking.findings if each.detector is Detector.STATE_BLEED)
    assert bleed.culprit is not None
    page.click(f".lane .bar[data-token='{bleed.culprit.token}'] rect")
    assert page.count(".inspector .story") == 2
    assert page.text(".inspector .tag") == "state bleed"


def test_the_pointer_over_a_bar_tells_whose_it_is(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    x, y = page.middle_of(".lane .bar.colliding rect")
    page.mouse("mouseMoved", x, y)
    page.rest()
    token = int(page.run("document.querySelector('.lane .bar.colliding').dataset.token"))
    assert drawn(leaking).stories[token].what in page.text(".tip")


def test_the_scenario_of_the_picture_can_be_chosen(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    clean = leaking.scenarios[0]
    page.run(
        """(() => { const select = document.querySelector("#lanes select");
        select.value = "0"; select.dispatchEvent(new Event("change")); })()"""
    )
    page.rest()
    assert page.count(".lane .bar") == sum(len(lane.bars) for lane in clean.lanes)
    assert page.count(".lane .bar.colliding") == 0
    assert page.text(".collisions") == "No collisions"


def test_only_the_lanes_with_findings_are_left(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    scenario = drawn(leaking)
    collisions = {
        lane.session.spid for lane in scenario.lanes if any(bar.colliding for bar in lane.bars)
    }
    others = {
        finding.session.spid
        for finding in leaking.findings
        if finding.scenario == scenario.name and finding.session is not None
    }
    page.click("#lanes input[type=checkbox]")
    spids = page.run(
        "[...document.querySelectorAll('.lane')].map(each => Number(each.dataset.spid))"
    )
    assert set(spids) == collisions | others
    assert len(spids) < len(scenario.lanes)
    page.click("#lanes input[type=checkbox]")
    assert page.count(".lane") == len(scenario.lanes)


def test_the_wheel_and_the_buttons_zoom(page: Page, leaking_file: Path) -> None:
    page.open(leaking_file)
    window = "Number(document.querySelector('.overview .window').getAttribute('width'))"
    whole = page.run(window)
    page.click("[aria-label='Zoom in']")
    assert page.run(window) == pytest.approx(whole / 2, rel=0.01)
    page.click("#lanes .push button:nth-child(3)")
    assert page.run(window) == pytest.approx(whole, rel=0.01)
    x, y = page.middle_of("#lanes .rows")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-120, modifiers=2)
    page.rest()
    assert page.run(window) < whole * 0.9


def test_dragging_pans(page: Page, leaking_file: Path) -> None:
    page.open(leaking_file)
    page.click("[aria-label='Zoom in']")
    place = "Number(document.querySelector('.overview .window').getAttribute('x'))"
    before = page.run(place)
    x, y = page.middle_of("#lanes .rows")
    page.mouse("mouseMoved", x, y)
    page.mouse("mousePressed", x, y)
    for moved in (40, 80, 120):
        page.mouse("mouseMoved", x + moved, y, buttons=1)
    page.mouse("mouseReleased", x + 120, y)
    page.rest()
    assert page.run(place) < before


def test_keys_lead_from_bar_to_bar_and_to_the_stories(page: Page, leaking_file: Path) -> None:
    page.open(leaking_file)
    page.run("document.querySelector('.lane .bar[tabindex=\"0\"]').focus()")
    token = "Number(document.activeElement.dataset.token)"
    first = page.run(token)
    page.press("ArrowRight", code=39)
    assert page.run(token) != first
    lane = "Number(document.activeElement.closest('.lane').dataset.spid)"
    spid = page.run(lane)
    page.press("ArrowDown", code=40)
    second = "Number(document.querySelectorAll('.lane')[1].dataset.spid)"
    assert page.run(lane) == page.run(second) != spid
    stroke = "getComputedStyle(document.activeElement.firstChild).strokeWidth"
    assert page.run(stroke) == "3px"  # whatever else is the matter with it
    page.press("Enter", code=13, text="\r")
    assert page.count(".inspector .story") >= 1


def test_the_next_collision_comes_into_view(page: Page, leaking_file: Path) -> None:
    page.open(leaking_file)
    seen = []
    for _ in range(3):
        page.click("[aria-label='Next collision']")
        assert page.count(".inspector .story") == 2
        seen.append(page.text(".inspector .what"))
        inside = page.run(
            """(() => { const rows = document.querySelector("#lanes .rows").getBoundingClientRect();
            const box = document.querySelector(".bar.chosen rect").getBoundingClientRect();
            return box.right > rows.left && box.left < rows.right
                && box.bottom > rows.top && box.top < rows.bottom; })()"""
        )
        assert inside
    assert len(set(seen)) > 1


def test_bars_of_findings_are_outlined_and_can_be_gone_through(page: Page, tmp_path: Path) -> None:
    result = outcome()
    result.findings = [each for each in result.findings if each.detector is Detector.STATE_BLEED]
    for scenario in result.scenarios:
        scenario.lanes = [
            replace(lane, bars=tuple(replace(bar, colliding=False) for bar in lane.bars))
            for lane in scenario.lanes
        ]
    write_html(result, tmp_path / "bleed.html")
    page.open(tmp_path / "bleed.html")
    name = page.run("document.querySelector('#lanes select').selectedOptions[0].textContent")
    assert name.startswith("tasks_outlive_request")
    parties = {
        party.token
        for finding in result.findings
        if finding.scenario == "tasks_outlive_request"
        for party in (finding.culprit, finding.victim)
        if party is not None
    }
    outlined = page.run(
        "[...document.querySelectorAll('.bar.named')].map(bar => Number(bar.dataset.token || 0))"
    )
    assert set(outlined) - {0} == parties  # 0: in the legend
    page.click("[aria-label='Next bar of findings']")
    assert page.text(".inspector .tag") == "state bleed"
    assert page.count(".inspector .story") == 2
    assert page.count(".bar.chosen") == 2


def test_a_statement_is_drawn_within_its_transaction_even_where_it_sticks_out(
    page: Page, tmp_path: Path
) -> None:
    """A transaction is measured from its first statement's answer, a statement from its call."""
    result = outcome(leaking=(), clean=["one"])
    at = result.started_at
    result.scenarios[0].lanes = [
        Lane(
            Session(51),
            1,
            (
                Bar(7, Use.STATEMENT, at + 1.0, at + 2.0),
                Bar(7, Use.TRANSACTION, at + 1.1, at + 1.9),
            ),
        )
    ]
    write_html(result, tmp_path / "one.html")
    page.open(tmp_path / "one.html")
    order = page.run(
        "[...document.querySelectorAll('.lane .bar')].map(bar => bar.classList[1] + ' '"
        " + bar.firstChild.getAttribute('height'))"
    )
    assert order == ["transaction 16", "statement 8"]


# --- findings ----------------------------------------------------------------------------------


def test_all_findings_are_listed(page: Page, leaking: Outcome, leaking_file: Path) -> None:
    page.open(leaking_file)
    assert page.count(".item") == len(leaking.findings)
    assert f"{leaking.found - len(leaking.findings):,} more were counted" in page.text(".more")


def test_findings_are_filtered_by_detector(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    page.click(".chip[data-detector='3']")
    expected = [each for each in leaking.findings if each.detector is Detector.STATE_BLEED]
    assert page.count(".item") == len(expected) > 0
    assert set(page.texts(".item .tag")) == {"state bleed"}
    page.click(".chip[data-detector='3']")
    assert page.count(".item") == len(leaking.findings)


def test_findings_are_filtered_by_words(page: Page, leaking: Outcome, leaking_file: Path) -> None:
    page.open(leaking_file)
    page.run("document.querySelector('#list input').focus()")
    page.write("orphan state_on_purpose")
    assert page.texts(".item > button .tag") == ["orphan session"]
    page.write(" nowhere to be found")
    assert page.count(".item") == 0
    assert "No finding matches" in page.text("#list")


def test_a_count_in_the_verdict_table_filters_the_findings(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    page.click(".hit a[data-scenario='state_on_purpose'][data-detector='0']")
    expected = [
        each
        for each in leaking.findings
        if each.scenario == "state_on_purpose" and each.detector is Detector.SHARED_SESSION
    ]
    assert page.count(".item") == len(expected) > 0


def test_a_finding_shows_both_stories_and_leads_to_its_bars(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    page.click(".item[data-scenario='state_on_purpose'][data-detector='0'] > button")
    assert page.count(".item .story") == 2
    finding = next(
        each
        for each in leaking.findings
        if each.scenario == "state_on_purpose" and each.detector is Detector.SHARED_SESSION
    )
    assert finding.culprit is not None
    assert finding.victim is not None
    accused, other = page.texts(".item .story")
    assert finding.culprit.what in accused
    assert finding.culprit.place in accused
    assert finding.victim.what in other
    page.click(".to-lanes")
    assert shown_scenario(page).startswith("state_on_purpose")
    chosen = page.run(
        "[...document.querySelectorAll('.bar.chosen')].map(bar => Number(bar.dataset.token))"
    )
    assert set(chosen) == {finding.culprit.token, finding.victim.token}


# --- the rest ----------------------------------------------------------------------------------


def test_counts_over_time_and_latencies_are_drawn(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file)
    assert page.count("#series .plotted") == 3
    assert page.count("#series polyline") == 5
    assert page.count("#series .mark-flag") == len(leaking.marks) == page.count(".marks li")
    ran = [scenario for scenario in leaking.scenarios if not scenario.skipped]
    assert page.count("#latencies .histogram") == len(ran)
    columns = sum(len(scenario.latencies.counts) for scenario in ran)
    assert page.count("#latencies .histogram rect") == columns


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(
    page: Page, leaking_file: Path, width: int, dark: bool
) -> None:
    page.show(width, 800, dark=dark)
    page.open(leaking_file)
    page.run("document.querySelector('.collisions').click()")
    page.run("document.querySelector('.item button').click()")
    page.rest()
    assert width - 20 < page.run("document.documentElement.scrollWidth") <= width
    luminance = page.run(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (luminance < 128) == dark


def test_the_verdict_is_there_without_javascript(
    page: Page, leaking: Outcome, leaking_file: Path
) -> None:
    page.open(leaking_file, script=False)
    page.call("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "findings in 2 of 5 scenarios" in page.text("h1")
    rows = page.texts(".verdict tbody tr")
    assert len(rows) == len(leaking.scenarios)
    assert any("failover" in row and "needs the embedded server" in row for row in rows)
    assert page.count("#controls tbody tr") == len(leaking.controls)
    assert page.count(".lane") == 0


def test_a_clean_run_says_so(page: Page, tmp_path: Path) -> None:
    write_html(outcome(leaking=()), tmp_path / "clean.html")
    page.open(tmp_path / "clean.html")
    assert page.text("h1").startswith("Nothing found in ")
    assert page.count(".bar.colliding rect[y]") == 1  # in the legend
    assert page.count(".lane") > 0
    assert "Nothing was found" in page.text("#list")


def test_a_run_that_kept_nothing_is_still_a_page(page: Page, tmp_path: Path) -> None:
    write_html(Outcome(started_at=1.0, ended_at=2.0), tmp_path / "empty.html")
    page.open(tmp_path / "empty.html")
    assert page.text("h1") == "Nothing ran"
    assert "kept no picture" in page.text("#lanes")


def test_what_statements_say_stays_text(page: Page, leaking: Outcome, tmp_path: Path) -> None:
    scenario = leaking.scenarios[0]
    assert any(bar.statement == HOSTILE for lane in scenario.lanes for bar in lane.bars)
    hostile = outcome(leaking=(), clean=["<img src=x onerror=alert(1)>", "{{script}}"])
    hostile.command = ["python", "</script><script>throw 1</script>"]
    write_html(hostile, tmp_path / "hostile.html")
    page.open(tmp_path / "hostile.html")
    assert page.count("script") == 2
    assert page.count("img") == 0
    assert page.texts(".verdict .name")[:2] == [each.name for each in hostile.scenarios]


def test_forty_scenarios_of_three_hundred_bars_can_be_looked_through(
    page: Page, tmp_path: Path
) -> None:
    names = [f"scenario_{number}" for number in range(40)]
    many = outcome(clean=names[:30], leaking=names[30:], bars=300)
    write_html(many, tmp_path / "many.html")
    page.open(tmp_path / "many.html")
    assert page.count(".verdict tbody tr") == 40
    assert page.count("#lanes select option") == 40
    page.click("a[data-lanes='scenario_7']")
    assert shown_scenario(page) == "scenario_7"
    assert page.count(".lane .bar") == sum(len(lane.bars) for lane in many.scenarios[7].lanes)
    page.click(".more button")
    assert page.count(".item") == min(240, len(many.findings))


# --- the controls of these tests ---------------------------------------------------------------


def test_a_page_that_asks_for_something_or_throws_is_noticed(
    browser: Browser, tmp_path: Path
) -> None:
    """What the fixture ``page`` checks would be seen."""
    (tmp_path / "bad.html").write_text(
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('one'); throw Error('two')"
        "</script>"
    )
    bad = Page(browser)
    bad.open(tmp_path / "bad.html")
    bad.close()
    assert "http://127.0.0.1:9/x.png" in bad.requests
    assert any("one" in each for each in bad.problems)
    assert any("two" in each for each in bad.problems)


def test_the_policy_of_the_page_refuses_requests_and_foreign_scripts(
    browser: Browser, leaking_file: Path
) -> None:
    page = Page(browser)
    page.show(1280, 900)
    page.open(leaking_file)
    page.run(
        """(() => { const script = document.createElement("script");
        script.textContent = "window.foreign = true"; document.body.append(script);
        const image = new Image(); image.src = "http://127.0.0.1:9/x.png"; })()"""
    )
    page.rest()
    assert page.run("window.foreign === undefined")
    page.close()
    assert page.refused == ["csp"]
    assert sum("Content Security Policy" in each for each in page.problems) == 2
