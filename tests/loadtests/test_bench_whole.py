"""All benchmarks in one go: one file, kept by parts, and pictures. The parts here are invented."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from loadtests.bench import plots, whole
from loadtests.bench.ending import BROKEN_OFF
from loadtests.bench.whole import PARTS, RESULTS, Part

from .a_run import a_run

MODULE = "tests.loadtests.a_part"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    found = [Part(part.name, MODULE, ("--soon",)) for part in PARTS]
    monkeypatch.setattr(whole, "PARTS", found)
    return found


@pytest.mark.usefixtures("parts")
def test_a_run_writes_one_file_with_every_part_and_the_pictures(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert whole.main(["--folder", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([RESULTS, *plots.PICTURES])
    results = whole.read(tmp_path / RESULTS)
    assert set(results) == {"machine", *(part.name for part in PARTS)}
    assert results["machine"]["command"].startswith("python -m loadtests.bench --folder")
    assert results["scale"]["machine"]["command"] == "python -m loadtests.bench.scale"
    assert "--soon" not in results["scale"]["arguments"]
    out = capfd.readouterr().out
    assert "the table of pool" in out
    assert str(tmp_path / "scale.svg") in out


@pytest.mark.usefixtures("parts")
def test_quick_is_told_to_the_parts_and_pictures_may_go_elsewhere(tmp_path: Path) -> None:
    folder, pictures = tmp_path / "build", tmp_path / "pictures"
    given = ["--quick", "--only", "scale", "--folder", str(folder), "--pictures", str(pictures)]
    assert whole.main(given) == 0
    assert whole.read(folder / RESULTS)["scale"]["arguments"][-1] == "--soon"
    assert [path.name for path in folder.iterdir()] == [RESULTS]
    assert [path.name for path in pictures.iterdir()] == ["scale.svg"]


@pytest.mark.usefixtures("parts")
def test_what_an_earlier_run_found_for_other_parts_is_kept(tmp_path: Path) -> None:
    earlier = a_run()
    earlier["pool"]["machine"]["date"] = "2026-01-01T00:00:00+00:00"
    whole.write(earlier, tmp_path / RESULTS)
    assert whole.main(["--only", "scale", "--folder", str(tmp_path)]) == 0
    results = whole.read(tmp_path / RESULTS)
    assert results["pool"] == json.loads(json.dumps(earlier["pool"]))
    assert "arguments" in results["scale"]
    assert "2026-01-01" in (tmp_path / "recovery.svg").read_text(encoding="utf-8")


@pytest.mark.usefixtures("parts")
def test_parts_are_told_further_arguments_and_the_requests_their_limit(tmp_path: Path) -> None:
    told = ["--limit", "40", "--tell", "requests", "--rounds 5", "--tell", "scale", "--period 9"]
    assert whole.main(["--folder", str(tmp_path), *told]) == 0
    results = whole.read(tmp_path / RESULTS)
    assert results["requests"]["arguments"][2:] == ["--limit", "40", "--rounds", "5"]
    assert results["scale"]["arguments"][2:] == ["--period", "9"]
    assert results["pool"]["arguments"][2:] == []
    assert results["machine"]["command"].endswith("--tell scale '--period 9'")


def test_a_part_that_there_is_not_cannot_be_told_anything() -> None:
    with pytest.raises(SystemExit):
        whole.parse(["--tell", "nobody", "--rounds 5"])


def test_a_quick_run_leaves_the_results_of_a_full_one_alone() -> None:
    assert whole.parse([]).folder == whole.FOLDER
    assert whole.parse(["--quick"]).folder == whole.FOLDER / "quick"
    assert whole.parse(["--quick", "--folder", "elsewhere"]).folder == Path("elsewhere")


def test_a_run_that_is_broken_off_keeps_and_draws_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def broken_off_in_the_second(command: list[str]) -> int:
        file = Path(command[command.index("--json") + 1])
        ran.append(file.stem)
        whole.write(a_run()[file.stem], file)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(whole, "run_through", broken_off_in_the_second)
    assert whole.main(["--folder", str(tmp_path)]) == BROKEN_OFF
    assert ran == ["pool", "requests"]
    assert set(whole.read(tmp_path / RESULTS)) == {"machine", *ran}
    assert (tmp_path / "throughput.svg").exists()
    assert not (tmp_path / "scale.svg").exists()
    capfd.readouterr()


def test_what_a_part_wrote_before_it_failed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(command: list[str]) -> int:
        whole.write(a_run()["pool"], Path(command[command.index("--json") + 1]))
        return 1

    monkeypatch.setattr(whole, "run_through", fail)
    assert whole.main(["--only", "pool", "--folder", str(tmp_path)]) == 1
    assert "pool" in whole.read(tmp_path / RESULTS)
    assert "pool failed" in capfd.readouterr().err


def test_a_part_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Part("pool", MODULE, ("--fail",)), Part("scale", MODULE, ())]
    monkeypatch.setattr(whole, "PARTS", parts)
    whole.write(a_run(), tmp_path / RESULTS)
    assert whole.main(["--quick", "--folder", str(tmp_path)]) == 1
    assert "pool failed" in capfd.readouterr().err
    results = whole.read(tmp_path / RESULTS)
    assert "pool" not in results  # an older figure would pass for this run's
    assert "arguments" in results["scale"]


def test_pictures_are_drawn_again_from_a_file_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measuring(*_: object, **__: object) -> None:
        raise AssertionError("it measured")

    monkeypatch.setattr(whole, "run", measuring)
    file = tmp_path / "older.json"
    file.write_text(json.dumps(a_run()))
    pictures = tmp_path / "pictures"
    assert whole.main(["--plots", str(file), "--pictures", str(pictures)]) == 0
    assert sorted(path.name for path in pictures.iterdir()) == sorted(plots.PICTURES)


@pytest.mark.parametrize("content", [None, "no JSON"])
def test_a_file_that_cannot_be_read_is_said(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "older.json"
    if content is not None:
        file.write_text(content)
    assert whole.main(["--plots", str(file)]) == 2
    assert "older.json cannot be read" in capsys.readouterr().err


def test_every_part_is_a_program_and_has_its_pictures() -> None:
    for part in PARTS:
        assert find_spec(part.module) is not None
        assert part.name in {shown for shown, _ in plots.PICTURES.values()}
    assert len({part.name for part in PARTS}) == len(PARTS)
