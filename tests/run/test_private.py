"""What is written to be given away names nobody, and can be run again elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
from encoders_factory import write_encoder
from PIL import Image
from skimage.data import immunohistochemistry

from napari_sslmaps.cli.commands import main


def call(*arguments: object) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert end.value.code in (0, None)


def test_no_output_holds_the_folders_of_a_user_and_all_run_again_elsewhere(tmp_path: Path) -> None:
    user = tmp_path / "Users" / "drsmith" / "study"
    user.mkdir(parents=True)
    Image.fromarray(immunohistochemistry()[:96, :128]).save(user / "a.png")
    Image.fromarray((immunohistochemistry()[:96, :128, 0] > 120).astype("uint8")).save(user / "a-mask.png")
    encoder = write_encoder(user / "mine.safetensors")
    out = tmp_path / "out"
    call("run", user / "a.png", "-e", encoder, "-e", "mae-demo", "--precision", "float32", "-o", out / "run")
    call("pretext", user / "a.png", "-e", "mae-demo", "-o", out / "pretext")
    call("batch", user / "a.png", "-e", encoder, "--precision", "float32", "-o", out / "batch")
    call(
        *("evaluate", user / "a.png", "--masks", user / "a-mask.png", "-e", encoder, "--scores", "maps"),
        *("--controls", "none", "--precision", "float32", "-o", out / "evaluate"),
    )
    for path in out.rglob("*"):
        if path.is_file():
            assert b"drsmith" not in path.read_bytes(), path
    assert json.loads((out / "run" / "run.json").read_text())["image"]["path"] == "a.png"
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(user, elsewhere)
    shutil.rmtree(tmp_path / "Users")
    (elsewhere / "a.png").rename(elsewhere / "renamed.png")
    shutil.copy(elsewhere / "mine.safetensors", out / "run")
    shutil.copy(elsewhere / "mine.safetensors", out / "evaluate")
    for command in ("run", "evaluate"):
        call(command, "--from", out / command / "run.json", "--images", elsewhere, "-o", tmp_path / command)
