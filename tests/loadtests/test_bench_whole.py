"""All benchmarks in one go: one file, kept by parts, and pictures. The parts here are invented."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from loadtests.bench import plots, whole
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
