"""What is written to be given away names nobody, and can be run again elsewhere."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from encoders_factory import write_encoder
from PIL import Image
from pyarrow import parquet
from skimage.data import immunohistochemistry

from napari_sslmaps.cli.commands import main
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.run.compute import compute_run
from napari_sslmaps.run.request import RunRequest


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


def test_an_anonymous_run_names_no_image_and_shows_no_text_around_a_sector(tmp_path: Path) -> None:
    image, out = tmp_path / "smith_john.png", tmp_path / "out"
    rows, cols = np.mgrid[:240, :320]
    sector = (np.hypot(rows - 20, cols - 160) < 200) & (abs(cols - 160) < rows - 10)
    pixels = np.where(sector, np.random.default_rng(0).integers(60, 200, (240, 320)), 0).astype(np.uint8)
    pixels[6:12, 8:60:3] = 255
    Image.fromarray(pixels).save(image)
    Image.fromarray((sector * 1).astype(np.uint8)).save(tmp_path / "smith_mask.png")
    call(
        *("run", image, "-e", "mae-ultrasound", "--precision", "float32", "--anchor", "120,160"),
        *("--mask", tmp_path / "smith_mask.png", "--heads", "-o", out, "--anonymous"),
    )
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) > 4
    for path in written:
        assert b"smith" not in path.read_bytes(), path
    record = json.loads((out / "run.json").read_text())
    assert (record["image"]["path"], record["mask"]["path"]) == ("image-1.png", "mask-1.png")
    assert record["encoders"][0]["provenance"]["image"] == "image-1"
    key = json.loads((tmp_path / "out-key.json").read_text())
    assert key == {"image-1.png": str(image), "mask-1.png": str(tmp_path / "smith_mask.png")}
    request = RunRequest(str(image), (EncoderChoice("mae-ultrasound"),), anonymous=True)
    shown = compute_run(request).picture.pixels
    assert shown[:14, :64].max() == 0
    assert shown[100:150, 150:170].min() > 0.1
    call("run", "--from", out / "run.json", "--images", tmp_path, "-o", tmp_path / "again")


def test_a_name_that_is_no_utf8_stops_nothing(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    image = Path(os.fsdecode(os.fsencode(images) + b"/bad_\xff\xfe.png"))
    with image.open("wb") as file:
        Image.fromarray(immunohistochemistry()[:64, :64]).save(file, "PNG")
    Image.fromarray(immunohistochemistry()[64:128, :64]).save(images / "=cmd|calc!A1.png")
    call("run", image, "-e", "mae-demo", "--precision", "float32", "-o", tmp_path / "out")
    assert (
        json.loads((tmp_path / "out/run.json").read_text())["image"]["path"] == "../images/bad_\\xff\\xfe.png"
    )
    call("run", "--from", tmp_path / "out/run.json", "--images", images, "-o", tmp_path / "again")
    call("batch", images, "-e", "mae-demo", "--precision", "float32", "-o", tmp_path / "batch")
    rows = parquet.read_table(tmp_path / "batch" / "batch.parquet").to_pylist()
    assert {(row["name"], row["status"]) for row in rows} >= {
        ("bad_\\xff\\xfe.png", "done"),
        ("=cmd|calc!A1.png", "done"),
    }
