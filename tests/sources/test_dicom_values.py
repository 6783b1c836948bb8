"""What DICOM files say of their numbers, against SimpleITK, another decoder, or by definition."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_kit import item, items, ramp, write_dicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_voi
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

import napari_sslmaps
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import spacing_in
from napari_sslmaps.sources.dicom_values import Values
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.scan import scan_region


def read(path: Path | str, frame: int = 0) -> NDArray[Any]:
    with open_image(path) as source:
        return source.read(Region(0, 0, *source.levels[0].shape_yx, 0, frame))


def window(path: Path) -> tuple[float, float]:
    with open_image(path) as source:
        return scan_region(source, Region(0, 0, *source.levels[0].shape_yx)).window


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_are_read_as_such(dtype: str, tmp_path: Path) -> None:
    pixels = ramp(dtype) / 1000
    path = write_dicom(tmp_path / "map.dcm", pixels)
    np.testing.assert_array_equal(read(path), pixels)
    assert read(path).dtype == dtype


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "CT_small.dcm", "MR_small_bigendian.dcm", "rtdose.dcm"])
def test_rescaled_values_are_those_of_another_decoder(name: str) -> None:
    path = get_testdata_file(name, download=False)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(path))
    np.testing.assert_array_equal(read(path), expected[0])


def test_a_rescale_by_a_fraction_gives_real_numbers(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "pet.dcm", ramp("uint16"), RescaleSlope="0.25", RescaleIntercept="-3")
    np.testing.assert_array_equal(read(path), sitk.GetArrayFromImage(sitk.ReadImage(path))[0])
    assert read(path).dtype == np.float32


def test_each_frame_is_rescaled_by_its_own_numbers(tmp_path: Path) -> None:
    frames = [
        item(PixelValueTransformationSequence=items(RescaleSlope=slope, RescaleIntercept="1"))
        for slope in ("2", "0.5")
    ]
    path = write_dicom(
        tmp_path / "frames.dcm", ramp("uint16", (2, 8, 8)), PerFrameFunctionalGroupsSequence=Sequence(frames)
    )
    np.testing.assert_array_equal(read(path, 0), 2 * ramp("float32", (8, 8)) + 1)
    np.testing.assert_array_equal(read(path, 1), 0.5 * (ramp("float32", (8, 8)) + 64) + 1)


def test_a_modality_table_gives_the_values(tmp_path: Path) -> None:
    table = np.arange(200, dtype=np.uint16) * 7 + 100
    path = write_dicom(
        tmp_path / "table.dcm",
        ramp("uint16"),
        ModalityLUTSequence=items(LUTDescriptor=[200, 10, 12], ModalityLUTType="US", LUTData=table.tobytes()),
    )
    np.testing.assert_array_equal(read(path), table[np.clip(ramp("int64") - 10, 0, 199)])


def test_a_table_of_interest_gives_the_values(tmp_path: Path) -> None:
    table = np.linspace(0, 4095, 768).astype(np.uint16) ** 2 // 4095
    sequence = items(LUTDescriptor=[768, 0, 12], LUTData=table.tobytes())
    path = write_dicom(tmp_path / "interest.dcm", ramp("uint16"), VOILUTSequence=sequence)
    np.testing.assert_array_equal(read(path), apply_voi(ramp("uint16"), pydicom.dcmread(path)))
    assert window(path) == (0, 4095)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"WindowCenter": "300", "WindowWidth": "201"}, (199.5, 399.5)),
        ({"WindowCenter": "300", "WindowWidth": "200", "VOILUTFunction": "LINEAR_EXACT"}, (200, 400)),
        ({"WindowCenter": ["300", "40"], "WindowWidth": ["201", "80"]}, (199.5, 399.5)),
        ({"WindowCenter": "30000", "WindowWidth": "10"}, (0.767, 766.233)),  # of other pixels than these
        ({"WindowCenter": "300", "WindowWidth": "0"}, (0.767, 766.233)),
    ],
)
def test_a_window_of_interest_becomes_black_and_white(
    elements: dict[str, Any], expected: tuple[float, float], tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "window.dcm", ramp("uint16"), **elements)
    assert window(path) == pytest.approx(expected, abs=1e-3)
    np.testing.assert_array_equal(read(path), ramp("uint16"))


def test_inverted_images_have_their_window_inverted(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "inverted.dcm",
        ramp("uint16"),
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
        RescaleIntercept="-1000",
        RescaleSlope="1",
        WindowCenter="-700",
        WindowWidth="201",
    )
    np.testing.assert_array_equal(read(path), 4095 - 2000 - (ramp("int64") - 1000))
    assert window(path) == (2095 + 600.5, 2095 + 800.5)


@pytest.mark.parametrize("bits", [1, 4, 6])
def test_the_window_follows_the_bits_that_are_used(bits: int, tmp_path: Path) -> None:
    pixels = ramp() % 2**bits
    path = write_dicom(tmp_path / "few.dcm", pixels, BitsStored=bits, HighBit=bits - 1)
    assert window(path) == (0, 2**bits - 1)


def test_few_bits_give_the_maps_of_the_image_scaled_by_hand(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 16, (64, 64), dtype=np.uint8)
    path = write_dicom(tmp_path / "few.dcm", pixels, BitsStored=4, HighBit=3)
    maps = [napari_sslmaps.embed(image, "mae-demo").tokens for image in (path, pixels * np.uint8(17))]
    np.testing.assert_allclose(*maps, atol=0.05)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_palette_gives_its_colours_in_either_order_of_bytes(syntax: str, tmp_path: Path) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    tables = np.random.default_rng(0).integers(0, 2**16, (3, 256)).astype(f"{order}u2")
    palette: dict[str, Any] = {}
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
    path = write_dicom(
        tmp_path / "palette.dcm", ramp(), syntax, PhotometricInterpretation="PALETTE COLOR", **palette
    )
    np.testing.assert_array_equal(read(path), np.moveaxis(tables[:, ramp()] >> 8, 0, -1))


def test_files_without_syntax_or_class_open(tmp_path: Path) -> None:
    bare = pydicom.dcmread(write_dicom(tmp_path / "whole.dcm", ramp()))
    del bare.file_meta
    pydicom.dcmwrite(tmp_path / "bare", bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    np.testing.assert_array_equal(read(tmp_path / "bare"), ramp())
    np.testing.assert_array_equal(read(write_dicom(tmp_path / "a.dcm", ramp(), SOPClassUID=None)), ramp())


def test_a_syntax_that_nothing_decodes_is_named(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "odd.dcm", ramp())
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"))
    with pytest.raises(
        UnsupportedImageError,
        match=r"stored as 1\.2\.840\.10008\.1\.2\.9, which",
    ):
        open_image(path)


def test_a_list_of_files_says_what_to_give() -> None:
    path = Path(get_testdata_file("CT_small.dcm", download=False)).parent / "dicomdirtests" / "DICOMDIR"
    with pytest.raises(UnsupportedImageError, match="DICOMDIR lists others"):
        open_image(path)


@pytest.mark.parametrize("place", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_spacing_of_functional_groups(place: str, tmp_path: Path) -> None:
    measures = [item(PixelMeasuresSequence=items(PixelSpacing=[step, 0.1])) for step in (0.2, 0.4)]
    path = write_dicom(
        tmp_path / "enhanced.dcm",
        ramp(shape=(2, 8, 8)),
        **{place: Sequence(measures if place.startswith("Per") else measures[:1])},
    )
    with open_image(path) as source:
        assert source.spacing_um_yx == pytest.approx((200, 100))
        second = spacing_in(source, Region(0, 0, 8, 8, frame=1))
    assert second == pytest.approx((400 if place.startswith("Per") else 200, 100))


def test_spacing_of_the_detector(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "detector.dcm", ramp(), ImagerPixelSpacing=[0.15, 0.2])
    with open_image(path) as source:
        assert source.spacing_um_yx == pytest.approx((150, 200))


def ultrasound_part(left: int, right: int, step_cm: float) -> pydicom.Dataset:
    return item(
        RegionSpatialFormat=1,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        PhysicalDeltaX=step_cm,
        PhysicalDeltaY=step_cm,
        RegionLocationMinX0=left,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=right,
        RegionLocationMaxY1=23,
    )


def test_each_part_of_an_ultrasound_image_has_its_spacing(tmp_path: Path) -> None:
    parts = Sequence([ultrasound_part(0, 14, 0.01), ultrasound_part(16, 31, 0.03)])
    path = write_dicom(tmp_path / "two.dcm", ramp(), SequenceOfUltrasoundRegions=parts)
    with open_image(path) as source:
        assert source.spacing_um_yx is None  # the middle is in neither
        assert spacing_in(source, Region(2, 2, 8, 8)) == pytest.approx((100, 100))
        assert spacing_in(source, Region(2, 18, 8, 8)) == pytest.approx((300, 300))


def test_pixels_that_are_no_squares_say_their_ratio(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "wide.dcm", ramp(), PixelAspectRatio=[2, 1])
    with open_image(path) as source:
        assert source.spacing_um_yx is None
        assert source.aspect_yx == (2, 1)


def slices(folder: Path, order: list[int]) -> NDArray[Any]:
    stack = ramp("uint16", (len(order), 8, 8))
    for place, name in enumerate(order):
        write_dicom(
            folder / f"{name}.dcm",
            stack[place],
            ImagePositionPatient=[0, 0, 2.5 * place],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.5, 0.25],
            InstanceNumber=name,
        )
    return stack


def test_a_folder_of_slices_is_a_stack_in_the_order_of_their_places(tmp_path: Path) -> None:
    stack = slices(tmp_path, [3, 1, 2])
    (tmp_path / "notes.txt").write_text("of the scan")
    with open_image(tmp_path) as source:
        assert (source.frames, source.spacing_um_yx) == (3, pytest.approx((500, 250)))
        assert source.name == tmp_path.name
        for frame in range(3):
            np.testing.assert_array_equal(source.read(Region(0, 0, 8, 8, frame=frame)), stack[frame])


def test_a_folder_of_several_series_or_sizes_gets_a_sentence(tmp_path: Path) -> None:
    slices(tmp_path, [1, 2])
    write_dicom(tmp_path / "3.dcm", ramp("uint16", (9, 8)))
    with pytest.raises(UnsupportedImageError, match="slices of one size"):
        open_image(tmp_path)
    write_dicom(tmp_path / "3.dcm", ramp("uint16", (8, 8)), SeriesInstanceUID="1.2.4")
    with pytest.raises(UnsupportedImageError, match=r"got 2 series \(2 files from 1.dcm on, 1 file"):
        open_image(tmp_path)


def test_a_slide_that_says_nothing_of_tiles_is_one_frame(tmp_path: Path) -> None:
    whole_slide = "1.2.840.10008.5.1.4.1.1.77.1.6"
    path = write_dicom(tmp_path / "grey.dcm", ramp("uint16"), SOPClassUID=whole_slide)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, *source.levels[0].shape_yx)), ramp("uint16"))


def test_what_old_files_say_or_leave_out(tmp_path: Path) -> None:
    pixels = ramp("uint16")
    bare = {"SamplesPerPixel": None, "PhotometricInterpretation": None}
    with open_image(write_dicom(tmp_path / "bare.dcm", pixels, **bare, PixelAspectRatio="1")) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, *source.levels[0].shape_yx)), pixels)
    with pytest.raises(UnsupportedImageError, match=r"12 bits without gaps.*gdcmconv"):
        open_image(write_dicom(tmp_path / "packed.dcm", pixels, BitsAllocated=12))
    with pytest.raises(UnsupportedImageError, match=r"stored as 4 samples of ARGB, which is not supported"):
        open_image(
            write_dicom(tmp_path / "a.dcm", pixels, SamplesPerPixel=4, PhotometricInterpretation="ARGB")
        )


@pytest.mark.parametrize("entries", [{}, {"LUTDescriptor": None}])
def test_what_anonymisers_leave_empty_says_nothing(entries: dict[str, Any], tmp_path: Path) -> None:
    pixels = ramp("uint16")
    tables = dict.fromkeys(("ModalityLUTSequence", "VOILUTSequence"), items(**entries))
    with open_image(write_dicom(tmp_path / "a.dcm", pixels, **tables, PixelSpacing=[0.2, 0, 0.2])) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, *source.levels[0].shape_yx)), pixels)
        assert source.spacing_um_yx is None


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_values_of_a_large_frame_are_made_without_wide_copies_of_all(photometric: str) -> None:
    header = pydicom.Dataset()
    header.PhotometricInterpretation, header.BitsStored = photometric, 12
    header.RescaleSlope, header.RescaleIntercept = 1, -1024
    pixels = np.random.default_rng(0).integers(0, 4096, (4000, 5000), np.uint16)
    values = Values(header, pixels.dtype, 1)
    expected = pixels.astype(np.int64) - 1024
    if photometric == "MONOCHROME1":
        expected = 4095 - 2 * 1024 - expected
    tracemalloc.start()
    found = values.of(pixels, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    assert peak < 5 * pixels.nbytes
