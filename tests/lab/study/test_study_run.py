"""A study from nothing to its page, killed in the middle and gone on with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_sslmaps.cli.commands import app
from napari_sslmaps.errors import ExportError, InvalidOptionError
from napari_sslmaps.lab.study import train
from napari_sslmaps.lab.study.design import Design, design_to_toml
from napari_sslmaps.lab.study.page import blocks, to_markdown
from napari_sslmaps.lab.study.run import run_study, write_results

TINY = Design(
    "tiny",
    domains=("ultrasound",),
    methods=("ijepa", "dinov3", "mae"),
    seeds=1,
    steps={"ijepa": 3, "dinov3": 3, "mae": 3},
    localities=(0.0, 1.0),
    noises=(0.0, 1.0),
    train_images=40,
    probe_images=40,
    test_images=40,
    dim=16,
    depth=1,
    heads=1,
    resamples=50,
)


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run_study(TINY, out, device="cpu")
    return out


def without_seconds(path: Path) -> object:
    result = json.loads((path / "study.json").read_text())
    for methods in result["compute"].values():
        for trainings in methods.values():
            for facts in trainings:
                del facts["seconds"]
    return result


def test_a_killed_study_goes_on_to_the_same_files(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)

    def kill(what: str, done: int, of: int) -> None:
        if "dinov3 seed 0" in what and done == 2 and of == 3:
            raise Killed

    with pytest.raises(Killed):
        run_study(TINY, tmp_path, device="cpu", on_progress=kill)
    assert list(tmp_path.glob("encoders/*.checkpoint"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.npz")}
    run_study(TINY, tmp_path, device="cpu")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    for path in whole.glob("scores/*.npz"):
        with np.load(path) as one, np.load(tmp_path / "scores" / path.name) as other:
            assert np.array_equal(one["image"], other["image"])
            assert np.array_equal(one["token"], other["token"])
    for path in whole.glob("encoders/*.pt"):
        one = torch.load(path, weights_only=True)
        other = torch.load(tmp_path / "encoders" / path.name, weights_only=True)
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert without_seconds(whole) == without_seconds(tmp_path)


def test_the_page_is_made_of_the_data_alone_and_stands_alone(whole: Path) -> None:
    page = (whole / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("https://", "http").split("</style>")[1]
    result = json.loads((whole / "study.json").read_text())
    text = to_markdown(list(blocks(result)), "study.png")
    assert f"{result['contrasts'][0]['value']:+.3f}" in text
    assert f"**{result['contrasts'][0]['verdict']}**" in text
    assert "One method has a single training" in text
    for name, count in TINY.steps.items():
        assert name in TINY.methods
        assert f" {count}" in text


def test_another_design_does_not_mix_into_a_folder(whole: Path) -> None:
    with pytest.raises(InvalidOptionError, match="begun with"):
        run_study(replace(TINY, test_images=50), whole, device="cpu")


def test_a_study_takes_the_place_of_nothing_that_no_study_wrote(tmp_path: Path) -> None:
    (tmp_path / "encoders").mkdir()
    for name in ("index.html", "encoders/mine.pt"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(ExportError, match="did not write it"):
            run_study(TINY, tmp_path, device="cpu")
        (tmp_path / name).unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["encoders"]


def test_parts_share_a_folder_and_make_the_same_study(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="part"):
        run_study(TINY, tmp_path, device="cpu", part=(3, 2))
    with pytest.raises(InvalidOptionError, match="Start part 1"):
        run_study(replace(TINY, steps={}), tmp_path, device="cpu", part=(2, 2))
    shutil.copytree(whole, tmp_path / "shared")
    for kind in ("encoders", "scores"):
        for path in (tmp_path / "shared" / kind).glob("*-mae-0.*"):
            path.unlink()
    position = TINY.trainings.index(("ultrasound", 0, "mae")) + 1
    run_study(TINY, tmp_path / "shared", device="cpu", part=(position % 3 + 1, 3))
    assert not (tmp_path / "shared" / "scores" / "ultrasound-mae-0.npz").exists()
    run_study(TINY, tmp_path / "shared", device="cpu", part=(position, 3))
    assert without_seconds(tmp_path / "shared") == without_seconds(whole)


def test_steps_are_measured_once_and_kept(tmp_path: Path) -> None:
    timed = replace(TINY, methods=("dira",), steps={}, minutes=0.005)
    run_study(timed, tmp_path, device="cpu")
    written = (tmp_path / "design.toml").read_text()
    assert "dira = " in written
    run_study(timed, tmp_path, device="cpu")
    assert (tmp_path / "design.toml").read_text() == written


def test_a_page_can_be_had_before_the_end(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="none yet"):
        write_results(TINY, tmp_path)
    shutil.copytree(whole, tmp_path / "part")
    for path in (tmp_path / "part" / "scores").glob("*-mae-0.npz"):
        path.unlink()
    page = write_results(TINY, tmp_path / "part").read_text()
    assert "<b>Unfinished:</b> 2 of 3 planned trainings" in page
    assert "MAE, untrained" not in page


def test_the_command_goes_on_with_a_folder(whole: Path, tmp_path: Path) -> None:
    design = tmp_path / "tiny.toml"
    design.write_text(design_to_toml(TINY))
    for arguments in ([], ["--design", str(design)]):
        answer = CliRunner().invoke(app, ["study", "--out", str(whole), "--device", "cpu", *arguments])
        assert answer.exit_code == 0, answer.output
        assert "index.html" in answer.output
