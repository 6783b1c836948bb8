import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from dicom_slide_kit import write_dicom_slide
from pydicom import dcmread, examples
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import MissingExtraError, UnsupportedImageError
from napari_sslmaps.sources.open import find_images, open_image


def ultrasound(path: Path, *, right: int, bottom: int, **changes: object) -> Path:
    """A copy of the clip's first frame whose calibrated rectangle ends at (bottom, right)."""
    dataset = examples.rgb_color
    region = Dataset()
    region.RegionSpatialFormat = 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, -0.03
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right, bottom
    for name, value in changes.items():
        setattr(region, name, value)
    dataset.SequenceOfUltrasoundRegions = Sequence([region])
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("right", "bottom", "changes", "expected"),
    [
        (319, 239, {}, (300.0, 200.0)),
        (319, 500, {}, (300.0, 200.0)),  # cropped
        (639, 479, {}, None),  # resampled: the header is the original's
        (319, 239, {"PhysicalUnitsXDirection": 4}, None),  # seconds
        (319, 239, {"RegionSpatialFormat": 3}, None),  # a spectrum
        (319, 239, {"PhysicalDeltaX": 0.0}, None),
    ],
)
def test_spacing_of_ultrasound(
    right: int,
    bottom: int,
    changes: dict[str, object],
    expected: tuple[float, float] | None,
    tmp_path: Path,
) -> None:
    path = ultrasound(tmp_path / "us.dcm", right=right, bottom=bottom, **changes)
    with open_image(path) as source:
        spacing = source.spacing_um_yx
    assert spacing == (None if expected is None else pytest.approx(expected))


def test_monochrome1_is_turned_so_that_bright_is_dense(tmp_path: Path) -> None:
    dataset = examples.mr
    stored = dataset.pixel_array.copy()
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(tmp_path / "inverted.dcm")
    with open_image(tmp_path / "inverted.dcm") as source:
        pixels = source.read(Region(0, 0, *stored.shape))
    np.testing.assert_array_equal(pixels, -1 - stored)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rtplan.dcm", r"has none \(RT Plan Storage\)\. Choose an image file"),
        ("MR_truncated.dcm", "damaged or truncated"),
        ("UN_sequence.dcm", "CT Image Storage"),
        ("no_meta.dcm", "no SOP class"),
    ],
)
def test_files_without_usable_pixels_get_a_sentence(name: str, sentence: str) -> None:
    path = get_testdata_file(name, download=False)
    with (
        pytest.raises(UnsupportedImageError, match=sentence),
        open_image(path) as source,
    ):
        source.read(Region(0, 0, *source.levels[0].shape_yx))


def test_deflated_files_are_read() -> None:
    with open_image(get_testdata_file("image_dfl.dcm", download=False)) as source:
        assert source.read(Region(0, 0, 512, 512)).std() > 0


@pytest.mark.parametrize("end", [400, 3000])
def test_a_deflated_file_that_is_damaged_gets_a_sentence(end: int, tmp_path: Path) -> None:
    content = Path(get_testdata_file("image_dfl.dcm", download=False)).read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:end] + b"\xff" * (end == 400) * 900)
    with pytest.raises(UnsupportedImageError, match=r"a\.dcm cannot be decoded.*damaged"):
        open_image(tmp_path / "a.dcm")


def test_a_frame_that_decodes_to_another_size_gets_a_sentence(tmp_path: Path) -> None:
    dataset = dcmread(get_testdata_file("JPEG-lossy.dcm", download=False))
    dataset.Rows = 4095
    dataset.save_as(tmp_path / "a.dcm")
    with (
        pytest.raises(UnsupportedImageError, match=r"a frame of 4095 × 256 px decodes to \(1024, 256\)"),
        open_image(tmp_path / "a.dcm") as source,
    ):
        source.read(Region(0, 0, 4095, 256))


@pytest.mark.filterwarnings("ignore:The value length")
def test_what_a_header_says_at_length_is_not_repeated(tmp_path: Path) -> None:
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 2, "X" * 60_000
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnsupportedImageError, match="stored as 2 samples of XX") as error:
        open_image(tmp_path / "a.dcm")
    assert len(str(error.value)) < 400


def _of_unknown_kind(path: Path) -> Path:
    content = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
    place = content.index(b"\x08\0\x16\0UI")
    path.write_bytes(content[: place + 4] + b"XY" + content[place + 6 :])
    return path


def test_an_element_of_no_known_kind_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedImageError, match=r"a\.dcm cannot be decoded"):
        open_image(_of_unknown_kind(tmp_path / "a.dcm"))
    with pytest.raises(UnsupportedImageError, match=r"a\.dcm cannot be decoded"):
        open_image(tmp_path)
    _of_unknown_kind(tmp_path / "b.dcm")
    assert [path.name for path in find_images(tmp_path)] == ["a.dcm", "b.dcm"]


def test_a_deflated_file_beside_another_is_not_unpacked_whole(tmp_path: Path) -> None:
    header = Path(get_testdata_file("image_dfl.dcm", download=False)).read_bytes()
    start = 144 + int.from_bytes(header[140:144], "little")
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = header[:start] + b"".join(packing.compress(bytes(10**7)) for _ in range(60)) + packing.flush()
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / name).write_bytes(bomb)
    tracemalloc.start()
    assert len(list(find_images(tmp_path))) == 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_tiled_slides_need_openslide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom_slide(tmp_path, [np.zeros((64, 64, 3), np.uint8)], spacing_um=1.0)
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(MissingExtraError, match=r"0\.dcm; it does not run here"):
        open_image(tmp_path / "0.dcm")
