from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from npe2 import PluginManifest

import napari_sslmaps
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.viewer import npe2


def test_manifest_commands_exist() -> None:
    manifest = PluginManifest.from_file(Path(napari_sslmaps.__file__).with_name("napari.yaml"))
    manifest.validate_imports()
    assert manifest.name == "napari-sslmaps"
    titles = {sample.display_name for sample in manifest.contributions.sample_data}
    assert titles == {"Histology (IHC)", "Ultrasound (B-mode)"}


@pytest.mark.parametrize("sample", [npe2.histology, npe2.ultrasound])
def test_samples_open_with_a_licence_note(sample: object) -> None:
    (data, options, kind) = sample()[0]
    assert kind == "image"
    assert len(options["metadata"]["licence"]) > 40
    layer = ViewerModel().add_image(data, **options)
    assert layer.rgb
    assert min(layer.data.shape[:2]) >= 240


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


def test_an_image_too_large_to_open_whole_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.ones((64, 64), np.uint8))
    monkeypatch.setattr(npe2, "LIMIT_BYTES", 4000)
    with pytest.raises(UnsupportedImageError, match="embed a region from Python"):
        npe2.read(str(path))
