"""What ``run`` takes beside encoders and anchors, as it is typed."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sslmaps.cli.commands import main
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.anchors import AnchorSet, save_anchors


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.fixture
def anchors(tmp_path: Path) -> Path:
    groups = (
        AnchorGroup("gland", "#d62728", ((12.0, 30.0),), ((2.0, 2.0),)),
        AnchorGroup("fat", anchors=((20.0, 8.0),)),
    )
    return save_anchors(AnchorSet(groups, shape_yx=(32, 48)), tmp_path / "anchors.json")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def test_every_option_is_written_and_repeated(
    installed: Path, image: Path, anchors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.ones((32, 48), np.uint8)
    mask[:8, 8:] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    common = ("run", image, "-e", "mae-histology", "--precision", "float32", "--device", "cpu")
    assert run(*common, "--save-basis", "-o", tmp_path / "basis") == 0
    basis = tmp_path / "basis" / "mae-histology" / "basis.json"
    assert (
        run(
            *(*common, "-e", "dinov3-histology", "--anchors", anchors, "--block", "1", "--heads"),
            *("--attention", "anchor", "--difference", "mae-histology,dinov3-histology", "--align-colours"),
            *("--basis", basis, "--mask", tmp_path / "mask.png", "--out", tmp_path / "one"),
        )
        == 0
    )
    assert capsys.readouterr().out.endswith(f"heads.png, 16 maps and run.json to {tmp_path / 'one'}\n")
    told = json.loads((tmp_path / "one" / "run.json").read_text())
    assert told["anchors"] == [[12.0, 30.0]]
    assert [group["name"] for group in told["groups"]] == ["gland", "fat"]
    assert run("run", "--from", tmp_path / "one" / "run.json", "-o", tmp_path / "two") == 0
    written = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.tif"))
    assert len(written) == 16
    for path in written:
        one, two = (tifffile.imread(tmp_path / folder / path) for folder in ("one", "two"))
        np.testing.assert_array_equal(one, two)
    assert (tmp_path / "one" / "heads.png").read_bytes() == (tmp_path / "two" / "heads.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--anchors", "{anchors}", "--anchor", "1,2"), 2, "either --anchors FILE"),
        (("--anchors", "{image}"), 1, "a set of anchors"),
        (("--attention", "anchor"), 1, "whose token attends; got none"),
        (("--attention", "tail"), 1, "got 'tail'"),
        (("--block", "9"), 1, "block from 1 to 2"),
        (("--basis", "{anchors}"), 1, "a PCA basis"),
        (("--mask", "lost.png"), 1, "there is no such file"),
        (("--difference", "mae-histology"), 1, "two of the encoders"),
        (("--reference", "lost.png"), 1, "lost.png"),
    ],
)
def test_bad_input_gets_a_sentence(
    arguments: tuple[str, ...],
    code: int,
    sentence: str,
    *,
    installed: Path,
    image: Path,
    anchors: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    typed = [argument.format(anchors=anchors, image=image) for argument in arguments]
    assert run("run", image, "-e", "mae-histology", *typed, "-o", tmp_path / "out") == code
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_set_beyond_the_image_is_refused(
    installed: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = AnchorSet((AnchorGroup("far", anchors=((500.0, 1.0),)),), shape_yx=(600, 600))
    save_anchors(far, tmp_path / "far.json")
    typed = ("-e", "mae-histology", "--anchors", tmp_path / "far.json", "-o", tmp_path / "out")
    assert run("run", image, *typed) == 1
    assert "anchors of 'far' on the region" in " ".join(capsys.readouterr().err.split())


def test_the_usual_scale_is_the_encoder_s_and_0_compares_single_patches(
    image: Path, tmp_path: Path, installed: Path
) -> None:
    common = ("run", image, "-e", "mae-histology", "--anchor", "10,20", "--device", "cpu")
    assert run(*common, "--out", tmp_path / "usual") == 0
    assert run(*common, "--scale", "0", "--out", tmp_path / "patches") == 0
    assert run(*common, "--scale", "4um", "--out", tmp_path / "unknown") == 1
    usual, patches = (
        json.loads((tmp_path / name / "run.json").read_text())["options"] for name in ("usual", "patches")
    )
    assert usual["scale"] == {"value": 2.0, "unit": "%"}
    assert "scale" not in patches
