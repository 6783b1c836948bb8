"""``run --frames``: stacks of maps, a strip and an animation."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from napari_sslmaps.cli.commands import app
from napari_sslmaps.core.frames import FrameMap
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.frames_figure import MOST_COLUMNS, FrameRow, FramesFigure, compose_strip
from napari_sslmaps.figures.panels import Extent
from napari_sslmaps.figures.run_figure import Picture
from napari_sslmaps.maps.similarity import SimilarityMap


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 48, 64), dtype=np.uint8)
    np.save(tmp_path / "clip.npy", pixels)
    return tmp_path / "clip.npy"


def run(*words: str) -> dict:
    result = CliRunner().invoke(app, ["run", *words, "--precision", "float32", "--json"])
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    return json.loads(result.output)


def test_stacks_strip_and_animation_are_written_and_made_again(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = run(
        str(clip), "-e", "mae-demo", "--frames", "1:5", "--frame", "2", "--anchor", "20,30", "-o", str(out)
    )
    assert told["options"]["frames"] == "1:5"
    assert told["region"]["frame"] == 2
    outputs = told["encoders"][0]["outputs"]
    for key, shape in (("pca", (4, 6, 8, 3)), ("similarity", (4, 6, 8)), ("attention", (4, 6, 8))):
        stack = tifffile.imread(out / outputs[f"{key}_frames"])
        assert stack.shape == shape
        np.testing.assert_array_equal(stack[1], tifffile.imread(out / outputs[key]))
    with Image.open(out / "frames.webp") as animation:
        assert animation.n_frames == 4
    assert (out / "frames.png").is_file()
    result = CliRunner().invoke(
        app, ["run", "--from", str(out / "run.json"), "-o", str(tmp_path / "b"), "--json"]
    )
    assert result.exit_code == 0, result.exception
    again = json.loads(result.output)["encoders"][0]["outputs"]["pca_frames"]
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "b" / again), tifffile.imread(out / outputs["pca_frames"])
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--frames", "1:3"), "among 1:3; it is 0"),
        (("--frames", "0,9"), "frames below 5; got 9"),
        (("--frames", "some"), "0:20:2"),
    ],
)
def test_frames_that_cannot_be_made_get_a_sentence(
    clip: Path, words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        app, ["run", str(clip), "-e", "mae-demo", *words, "-o", str(tmp_path / "out")]
    )
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"


def test_frames_of_two_encoders_are_turned_alike(clip: Path, tmp_path: Path) -> None:
    out, encoders = tmp_path / "out", ("-e", "mae-demo", "-e", "dinov3-demo")
    words = (*encoders, "--maps", "pca,clusters", "--frames", "0:3")
    told = run(str(clip), *words, "--align-colours", "-o", str(out))
    plain = run(str(clip), *words, "-o", str(tmp_path / "plain"))
    for key in ("pca", "clusters"):
        first, second = (
            tifffile.imread(out / encoder["outputs"][f"{key}_frames"]) for encoder in told["encoders"]
        )
        own = [tifffile.imread(out / encoder["outputs"][key]) for encoder in told["encoders"]]
        np.testing.assert_array_equal(first[0], own[0])
        np.testing.assert_array_equal(second[0], own[1])
        as_before = [
            tifffile.imread(tmp_path / "plain" / encoder["outputs"][f"{key}_frames"])
            for encoder in plain["encoders"]
        ]
        np.testing.assert_array_equal(first, as_before[0])
        if key == "pca":  # turned by one rotation: nearer to the first encoder, and by itself as before
            apart = np.abs(second - first).mean()
            assert apart < np.abs(as_before[1] - first).mean()


def test_anchors_of_another_image_are_looked_for_in_every_frame(clip: Path, tmp_path: Path) -> None:
    whole = np.load(clip)
    np.save(tmp_path / "other.npy", whole[3])
    told = run(
        *(str(clip), "-e", "mae-demo", "--frames", "2:5", "--frame", "3", "--maps", "similarity"),
        *("--reference", str(tmp_path / "other.npy"), "--anchor", "20,30", "-o", str(tmp_path / "out")),
    )
    found = tifffile.imread(tmp_path / "out" / told["encoders"][0]["outputs"]["similarity_frames"])
    assert found.shape == (3, 6, 8)
    assert found[1, 2, 3] > 0.97  # the frame that is that image, but for its window
    assert found[1, 2, 3] > max(found[0, 2, 3], found[2, 2, 3])


def many_frames(count: int, anchor_frame: int) -> FramesFigure:
    grid = TokenGrid.covering(Region(0, 0, 32, 48), 8)
    rng = np.random.default_rng(0)
    maps = [
        SimilarityMap(
            values=(rng.random(grid.shape) * number).astype(np.float32),
            grid=grid,
            provenance=Provenance(),
            anchors=((1.0, 1.0),),
        )
        for number in range(1, count + 1)
    ]
    picture = Picture(np.zeros((32, 48), np.float32), Extent(0, 0, 32, 48))
    row = FrameRow("MAE", "mae-demo", {"similarity": FrameMap(tuple(range(count)), tuple(maps))})
    return FramesFigure(
        tuple(range(count)), (picture,) * count, (row,), anchors=((1.0, 1.0),), anchor_frame=anchor_frame
    )


def test_a_strip_shows_eight_frames_at_most_and_that_of_the_anchors() -> None:
    figure = compose_strip(many_frames(40, 17))
    headings = [text.get_text() for text in figure.texts if text.get_text().startswith("frame ")]
    assert len(headings) == MOST_COLUMNS
    assert "frame 17" in headings


def test_frames_share_their_contrast() -> None:
    low, high = many_frames(3, 0).limits()[0, "similarity"]
    assert low < 0.5
    assert high > 2


def test_without_maps_there_is_no_strip() -> None:
    shown = many_frames(2, 0)
    with pytest.raises(ExportError, match="at least one map"):
        compose_strip(FramesFigure(shown.frames, shown.pictures, (FrameRow("MAE", "mae-demo", {}),)))
