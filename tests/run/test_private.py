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


def test_every_command_can_leave_names_out(tmp_path: Path) -> None:
    images, masks, out = tmp_path / "images" / "drsmith", tmp_path / "masks" / "drsmith", tmp_path / "out"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    rows, cols = np.mgrid[:96, :128]
    sector = (np.hypot(rows + 20, cols - 64) < 110) & (abs(cols - 64) < rows + 4)
    for seed, name in enumerate(("smith_john.png", "smith_mary.png")):
        pixels = np.where(sector, np.random.default_rng(seed).integers(60, 200, (96, 128)), 0)
        pixels[3:7, 2:20:2] = 255
        Image.fromarray(pixels.astype(np.uint8)).save(images / name)
        Image.fromarray((sector * 1 + (sector & (rows > 40))).astype(np.uint8)).save(masks / name)
    (images / "smith_torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    chosen = ("-e", "mae-demo", "--anonymous", "--precision", "float32")
    both = [images / "smith_john.png", images / "smith_mary.png"]
    call(
        *("evaluate", *both, "--masks", masks, "--scores", "maps", "--controls", "none"),
        *(*chosen, "-o", out / "evaluate"),
    )
    call("pretext", both[0], "-e", "mae-demo", "--anonymous", "--fit", "whole", "-o", out / "pretext")
    with pytest.raises(SystemExit) as end:
        main(["batch", str(images.parent), *chosen, "-o", str(out / "batch")])
    assert end.value.code == 1  # of the torn one
    for path in out.rglob("*"):
        assert b"smith" not in os.fsencode(path.relative_to(out)), path
        if path.is_file() and not path.name.endswith("-key.json"):
            assert b"smith" not in path.read_bytes(), path
    record = json.loads((out / "evaluate" / "run.json").read_text())
    told = record["evaluation"]["images"]
    assert [image["image"]["path"] for image in told] == ["image-1.png", "image-2.png"]
    assert [image["mask"]["path"] for image in told] == ["mask-1.png", "mask-2.png"]
    table = parquet.read_table(out / "batch" / "batch.parquet").to_pylist()
    assert {row["image"] for row in table} == {"image-1.png", "image-2.png", "image-3.png"}
    key = json.loads((out / "batch-key.json").read_text())
    assert {Path(path).name for path in key.values()} == {path.name for path in images.iterdir()}
    call(
        *("evaluate", "--from", out / "evaluate" / "run.json", "--images", tmp_path),
        *("-o", tmp_path / "again"),
    )


@pytest.mark.parametrize(
    ("command", "name"), [("run", "figure.png"), ("pretext", "pretext.json"), ("evaluate", "images.csv")]
)
def test_files_of_others_in_the_folder_stay(command: str, name: str, tmp_path: Path) -> None:
    image, mine = tmp_path / "a.png", tmp_path / name
    Image.fromarray(immunohistochemistry()[:64, :64]).save(image)
    mine.write_text("mine")
    more = ("--masks", image) if command == "evaluate" else ()
    with pytest.raises(SystemExit) as end:
        main([command, str(image), "-e", "mae-demo", *map(str, more), "-o", str(tmp_path)])
    assert end.value.code == 1
    assert mine.read_text() == "mine"


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
