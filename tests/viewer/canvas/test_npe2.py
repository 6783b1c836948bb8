from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManifest
from slide_kit import write_bare, write_slide

import napari_sslmaps
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.viewer.canvas import npe2
from napari_sslmaps.viewer.compare.annotation import annotation_of


def test_manifest_commands_exist() -> None:
    manifest = PluginManifest.from_file(Path(napari_sslmaps.__file__).with_name("napari.yaml"))
    manifest.validate_imports()
    assert manifest.name == "napari-sslmaps"
    titles = {sample.display_name for sample in manifest.contributions.sample_data}
    plain = {"Histology (IHC)", "Ultrasound (B-mode)"}
    assert titles == plain | {f"{title}, annotated" for title in plain}


@pytest.mark.parametrize("sample", [npe2.histology, npe2.ultrasound])
def test_samples_open_with_a_licence_note(sample: object) -> None:
    (data, options, kind) = sample()[0]
    assert kind == "image"
    assert len(options["metadata"]["licence"]) > 40
    layer = ViewerModel().add_image(data, **options)
    assert layer.rgb
    assert min(layer.data.shape[:2]) >= 240


@pytest.mark.parametrize(
    ("sample", "classes"),
    [
        (npe2.annotated_histology, {1: "epithelium", 2: "stroma"}),
        (npe2.annotated_ultrasound, {1: "blood", 2: "tissue"}),
    ],
)
def test_annotated_samples_can_be_scored_against(
    sample: Callable[[], list[npe2.LayerData]], classes: dict[int, str]
) -> None:
    viewer = ViewerModel()
    (pixels, options, _), (labels, marks, kind) = sample()
    assert kind == "labels"
    image = viewer.add_image(pixels, **options)
    annotation = annotation_of(viewer, viewer.add_labels(labels, **marks), image)
    assert {label: annotation.name_of(label) for label in annotation.classes} == classes
    assert annotation.shape_yx == pixels.shape[:2]
    assert (annotation.labels < 0).any(), "what is unsure is left out"


def test_reader_keeps_rgb_together_and_takes_the_spacing(tmp_path: Path) -> None:
    path = tmp_path / "field.ome.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        metadata={"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "axes": "YXS"},
    )
    reader = npe2.get_reader(str(path))
    (data, options, _) = reader(str(path))[0]
    np.testing.assert_array_equal(data, pixels)
    assert options["rgb"]
    assert options["scale"] == pytest.approx((0.25, 0.5))
    assert options["units"] == ("um", "um")


def test_a_missing_file_has_no_reader(tmp_path: Path) -> None:
    assert npe2.get_reader(str(tmp_path / "none.tif")) is None


def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(UnsupportedImageError, match=r"bad\.png"):
        npe2.get_reader(str(path))(str(path))


def test_a_slide_opens_at_once_as_a_lazy_pyramid_with_units(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "big.svs", ((80_000, 100_000), (20_000, 25_000), (1250, 1563)))
    (data, options, _) = npe2.read(str(slide.path))[0]
    layer = ViewerModel().add_image(data, **options)
    assert [level.shape for level in layer.data] == [
        (80_000, 100_000, 3),
        (20_000, 25_000, 3),
        (1250, 1563, 3),
        (625, 782, 3),
    ]
    assert layer.rgb
    assert layer.multiscale
    assert tuple(map(str, layer.units)) == ("micrometer", "micrometer")
    np.testing.assert_array_equal(layer.scale, (0.25, 0.25))
    part = np.asarray(layer.data[0][70_000:70_300, 90_000:90_400])
    np.testing.assert_array_equal(part, slide.pixels(0, 70_000, 90_000, 300, 400))


def test_one_huge_level_gets_a_sentence_that_tells_what_to_do(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "bare.tif", 125_000, 160_000, strips=1000)  # 60 GB
    with pytest.raises(UnsupportedImageError, match=r"125000 × 160000 px\. Convert it to a pyramid"):
        npe2.read(str(path))


def test_a_large_level_gets_coarser_ones(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "bare.tif", 6000, 20_000, strips=60)
    (data, options, _) = npe2.read(str(path))[0]
    assert options["multiscale"]
    assert [level.shape[1] for level in data] == [20_000, 10_000, 5000, 2500, 1250, 625]


def test_a_long_clip_is_read_frame_by_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npe2, "LIMIT_BYTES", 1000)
    path = tmp_path / "clip.tif"
    pixels = np.random.default_rng(0).integers(0, 60_000, (5, 40, 50), np.uint16)
    tifffile.imwrite(path, pixels, compression="zlib")
    (data, options, _) = npe2.read(str(path))[0]
    viewer = ViewerModel()
    layer = viewer.add_image(data, **options)
    viewer.dims.set_current_step(0, 3)
    np.testing.assert_array_equal(layer._slice.image.raw, pixels[3])


def test_the_layer_says_what_else_its_file_holds(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        for side in (16, 64):
            pixels = np.zeros((side, side, 3), np.uint8)
            file.write(pixels, photometric="rgb", subfiletype=int(side < 64), metadata=None)
    ((_, options, _),) = npe2.read(str(tmp_path / "two.tif"))
    assert options["metadata"]["notes"][0].startswith("two.tif holds 2 images; shown is 1, 64 × 64 px")
