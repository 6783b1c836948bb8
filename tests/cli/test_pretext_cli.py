"""``napari-sslmaps pretext`` with the encoders that come with the package."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sslmaps.cli.commands import app
from napari_sslmaps.records.map_files import read_map

METHODS = ("mae", "ijepa", "dinov3", "dira")


def pretext(*arguments: object):
    return CliRunner().invoke(app, ["pretext", *map(str, arguments)])


def test_the_set_for_such_images_does_its_tasks(tmp_path: Path) -> None:
    result = pretext("sample:histology", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert [entry["name"] for entry in record["encoders"]] == [f"{method}-histology" for method in METHODS]
    assert (tmp_path / "pretext.png").read_bytes().startswith(b"\x89PNG")
    assert (
        json.loads((tmp_path / "pretext.json").read_text(encoding="utf-8"))["image"]["sample"] == "histology"
    )
    for entry in record["encoders"]:
        for name, file in entry["outputs"].items():
            stored = read_map(tmp_path / file)
            assert stored.kind == name
            assert stored.provenance.weights_sha256 == entry["sha256"]


def test_what_is_painted_is_hidden_where_it_was_painted(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    mask = np.zeros((128, 128), np.uint8)
    mask[40:48, 64:72] = 7
    tifffile.imwrite(tmp_path / "image.tif", image)
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    result = pretext(
        tmp_path / "image.tif",
        "-e",
        "mae-histology",
        "--mask",
        tmp_path / "mask.tif",
        "--out",
        tmp_path / "out",
    )
    assert result.exit_code == 0, result.output
    shown = read_map(tmp_path / "out/01-mae-histology/masked_input.tif").values
    changed = np.abs(shown - image / np.float32(255)).max(axis=-1) > 1e-3
    assert changed[40:48, 64:72].mean() > 0.9
    changed[40:48, 64:72] = False
    assert not changed.any()
    error = read_map(tmp_path / "out/01-mae-histology/error.tif").values
    assert error[40:48, 64:72].max() > 0


def test_targets_and_seed_decide_the_views(tmp_path: Path) -> None:
    common = ("sample:ultrasound", "-e", "ijepa-ultrasound", "-e", "dira-ultrasound", "--json")
    arguments = (*common, "--target", "140,180,16,24", "--distortion", "cutout", "--seed", 4)
    arguments = (*arguments, "--resolution", "native")
    for folder in ("one", "two"):
        result = pretext(*arguments, "--out", tmp_path / folder, "--region", "100,150,96,96")
        assert result.exit_code == 0, result.output
    for file in ("01-ijepa-ultrasound/agreement.tif", "02-dira-ultrasound/restoration.tif"):
        one, two = (read_map(tmp_path / folder / file).values for folder in ("one", "two"))
        np.testing.assert_array_equal(one, two)
    agreement = read_map(tmp_path / "one/01-ijepa-ultrasound/agreement.tif").values
    assert np.isfinite(agreement).sum() == 2 * 3  # 16 × 24 px in tokens of 8 px


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sample:histology", "--fit", "stretch"), "fit"),
        (("sample:histology", "-e", "mae-untrained"), "mae-untrained"),
        (("sample:histology", "-e", "dira-histology", "--distortion", "blur"), "distortion"),
        (("nothing.tif",), "nothing.tif"),
    ],
)
def test_bad_input_is_a_sentence(arguments: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    result = pretext(*arguments, "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "Expected" in str(result.exception)
    assert sentence in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_panels_of_earlier_views_do_not_stay_beside_those_of_later_ones(tmp_path: Path) -> None:
    two, one = ("-e", "mae-demo", "-e", "dira-demo"), ("-e", "dira-demo")
    assert pretext("sample:histology", *two, "--out", tmp_path).exit_code == 0
    folder = next(tmp_path.glob("01-mae*"))
    (folder / "mine.tif").write_bytes(next(folder.glob("*.tif")).read_bytes())
    assert pretext("sample:histology", *one, "--out", tmp_path).exit_code == 0
    record = json.loads((tmp_path / "pretext.json").read_text(encoding="utf-8"))
    written = {file for entry in record["encoders"] for file in entry["outputs"].values()}
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tif")}
    assert there == {*written, f"{folder.name}/mine.tif"}
