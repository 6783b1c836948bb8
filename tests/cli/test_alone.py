"""Of two commands that write to one folder at once, the second says who is there, and changes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from search_kit import ENCODER, put

from napari_sslmaps.cli import commands
from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import alone_in
from napari_sslmaps.lab.study.design import find_design
from napari_sslmaps.lab.study.run import run_study


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    "command",
    [
        "run IMAGE -e mae-demo",
        "pretext IMAGE -e mae-demo",
        "evaluate IMAGE -e mae-demo --controls none",
        "batch IMAGE -e mae-demo",
        "pretrain --recipe mae-histology --steps 1",
        "study --design quick",
    ],
)
def test_a_second_command_changes_nothing(
    command: str, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    part = "part-1" if command.startswith("study") else ""
    typed = [word.replace("IMAGE", str(image)) for word in command.split()]
    with alone_in(out, part):
        before = list(out.iterdir())
        with pytest.raises(SystemExit) as end:
            commands.main([*typed, "--out", str(out)])
        assert list(out.iterdir()) == before
    assert end.value.code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"is at work in {out}. Wait for it to end, or choose another folder." in said


def test_an_index_is_built_by_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "store", "case0", 0)
    folder = tmp_path / "store" / ".index" / ENCODER
    with alone_in(folder):
        with pytest.raises(SystemExit) as end:
            commands.main(["index", str(tmp_path / "store")])
        assert len(list(folder.iterdir())) == 1
    assert end.value.code == 1
    assert f"is at work in {folder}." in " ".join(capsys.readouterr().err.split())


def test_a_training_of_a_study_is_done_by_one_at_a_time(tmp_path: Path) -> None:
    design = find_design("quick")
    steps = dict.fromkeys(design.methods, 1)
    domain, seed, method = design.trainings[1]
    last = f"{domain}-{method}-{seed}"
    with (
        alone_in(tmp_path / "encoders", last),
        pytest.raises(ExportError, match=f"is at work in {tmp_path / 'encoders'}"),
    ):
        run_study(replace(design, steps=steps), tmp_path, device="cpu", part=(2, 8))
