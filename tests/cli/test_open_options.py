"""Which image of a file, how large its pixels are, whose colours: typed, recorded, made again."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ImageCms
from typer.testing import CliRunner

import napari_sslmaps
from napari_sslmaps.cli.commands import app
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.open_options import OpenOptions


@pytest.fixture
def two_images(tmp_path: Path) -> Path:
    """A thumbnail, and an image that looks different."""
    rng = np.random.default_rng(0)
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(rng.integers(0, 99, (64, 64), dtype=np.uint8), metadata=None, subfiletype=1)
        tiff.write(rng.integers(0, 200, (96, 96), dtype=np.uint8), metadata=None)
    return path


def invoke(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def run(path: Path, out: Path, *options: str) -> dict[str, object]:
    words = ("run", str(path), "-e", "mae-demo", "--precision", "float32", "--json", "-o", str(out))
    told: dict[str, object] = json.loads(invoke(*words, *options))
    return told


def test_a_run_is_of_the_series_and_the_spacing_that_are_asked_for(two_images: Path, tmp_path: Path) -> None:
    told = run(two_images, tmp_path / "out", "--series", "0", "--um-per-px", "0.25,0.5")
    assert told["image"]["shape_yx"] == [64, 64]
    assert told["image"]["spacing_um_yx"] == [0.25, 0.5]
    assert told["options"]["series"] == "0"
    assert told["options"]["um_per_px"] == [0.25, 0.5]
    again = json.loads(
        invoke("run", "--from", str(tmp_path / "out" / "run.json"), "-o", str(tmp_path / "again"), "--json")
    )
    assert again["image"] == told["image"]
    assert (
        again["encoders"][0]["provenance"]["image_sha256"]
        == (told["encoders"][0]["provenance"]["image_sha256"])
    )


def test_nothing_is_recorded_of_what_is_not_asked_for(two_images: Path, tmp_path: Path) -> None:
    told = run(two_images, tmp_path / "out")
    assert not {"channel", "series", "um_per_px", "icc"} & set(told["options"])
    assert told["image"]["shape_yx"] == [96, 96]


def test_flat_options_come_back(two_images: Path) -> None:
    options = RunOptions(channel=("a",), series="1", um_per_px=(0.5, 0.25), icc=False)
    assert RunOptions.from_flat(options.to_flat()) == options
    assert options.opening == OpenOptions(("a",), "1", (0.5, 0.25), icc=False)
    with napari_sslmaps.open_image(two_images, **OpenOptions(series="0").keywords) as source:
        assert source.levels[0].shape_yx == (64, 64)


def test_a_batch_takes_them_too(two_images: Path, tmp_path: Path) -> None:
    words = ("batch", str(two_images), "-e", "mae-demo", "--workers", "1", "--series", "0")
    invoke(*words, "--um-per-px", "0.5", "--resolution", "native", "-o", str(tmp_path / "out"))
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out" / "batch.parquet").to_pydict()
    side = 64 // napari_sslmaps.load_encoder("mae-demo").spec.constraint.token_stride
    assert (table["rows"], table["cols"], table["spacing_um"]) == ([side], [side], [0.5])


def test_a_pretext_view_of_a_channel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 200, (4, 64, 64), dtype=np.uint8)
    path = tmp_path / "cells.ome.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "CYX", "Channel": {"Name": ["a", "b", "c", "d"]}})
    words = ("pretext", str(path), "-e", "mae-demo", "--channel", "c", "--json", "-o", str(tmp_path / "out"))
    told = json.loads(invoke(*words))
    assert told["channel"] == ["c"]
    assert "series" not in told
    expected = napari_sslmaps.embed(path, "mae-demo", channel=2).provenance.image_sha256
    assert told["encoders"][0]["provenance"]["image_sha256"] == expected


def test_colours_as_stored(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, photometric="rgb", tile=(64, 64), subifds=1, iccprofile=profile.tobytes())
        tiff.write(pixels[::2, ::2].copy(), photometric="rgb", tile=(64, 64), subfiletype=1)
    told = run(path, tmp_path / "out", "--no-icc")
    assert told["options"]["icc"] is False
    assert "image_notes" not in told["encoders"][0]["provenance"]


@pytest.mark.parametrize("typed", ["x", "1,2,3", "-1"])
def test_a_spacing_that_is_none_is_refused_in_a_sentence(
    two_images: Path, typed: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        app, ["run", str(two_images), "--um-per-px", typed, "-o", str(tmp_path / "out")]
    )
    assert result.exit_code != 0
    said = f"{result.output} {result.exception}"
    assert "um-per-px" in said or "micrometres" in said
