"""Which image of a TIFF is shown, and the spacing that is believed."""

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import tifffile
from case_kit import picture

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.sources.open import open_image

BIG, SMALL = picture((90, 120, 3)), picture((40, 30, 3))


def several(path: Path, *pages: tuple[Any, dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path) as file:
        for pixels, options in pages:
            file.write(pixels, photometric="rgb", **{"metadata": None, **options})
    return path


def shown(path: Path, series: int | str | None = None) -> Any:
    with open_image(path, series=series) as source:
        return source.read(Region(0, 0, *source.levels[0].shape_yx))


@pytest.mark.parametrize(
    "beside", [{"subfiletype": 1}, {"description": "Label Image"}, {"description": "thumbnail"}, {}]
)
def test_a_thumbnail_in_front_is_not_the_image(beside: dict[str, Any], tmp_path: Path) -> None:
    path = several(tmp_path / "a.tif", (SMALL, beside), (BIG, {}))
    np.testing.assert_array_equal(shown(path), BIG)


def test_a_label_is_not_the_image_even_where_it_is_larger(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    several(path, (BIG, {"metadata": {"Name": "label image"}}), (SMALL, {"metadata": {"Name": "tissue"}}))
    np.testing.assert_array_equal(shown(path), SMALL)


@pytest.mark.parametrize("series", [0, "0", "label image"])
def test_another_image_is_chosen_by_number_or_name(series: int | str, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    several(
        path,
        (SMALL, {"metadata": {"Name": "label image", "PhysicalSizeX": 9.0, "PhysicalSizeY": 9.0}}),
        (BIG, {"metadata": {"Name": "slide", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}}),
    )
    np.testing.assert_array_equal(shown(path, series), SMALL)
    with open_image(path) as source, open_image(path, series=series) as other:
        assert source.spacing_um_yx == (0.25, 0.25)
        assert other.spacing_um_yx == (9.0, 9.0)
        assert source.file == other.file
        assert source.file.reading != other.file.reading


def test_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = several(tmp_path / "a.tif", (SMALL, {"subfiletype": 1}), (BIG, {}))
    with open_image(path) as source:
        (note,) = source.notes
    assert note.startswith("a.tif holds 2 images; shown is 1, 90 × 120 px. Left out: 0, 40 × 30 px. Choose")
    assert not caplog.messages  # a thumbnail is no surprise
    several(path, (SMALL, {}), (BIG, {}))
    open_image(path).close()
    assert caplog.messages == [note]


def test_a_sentence_lists_no_more_images_than_one_reads(tmp_path: Path) -> None:
    pages = [(picture((8, 8 + number, 3)), {}) for number in range(40)]
    with open_image(several(tmp_path / "a.tif", *pages)) as source:
        (note,) = source.notes
    assert len(note) < 400
    assert "and 27 more. Choose another" in note
    with pytest.raises(UnsupportedImageError, match=r"and 28 more as series of a\.tif; got 77"):
        open_image(tmp_path / "a.tif", series=77)


UNKNOWN = 52479


def in_unknown_coding(path: Path, subifd: int) -> Path:
    """Say of a SubIFD of the first page that its compression is one that no library knows."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first.pages[subifd]
        at = page.tags["Compression"].valueoffset
    content = bytearray(path.read_bytes())
    content[at : at + 2] = UNKNOWN.to_bytes(2, "little")
    path.write_bytes(content)
    return path


def test_a_level_in_an_unknown_coding_is_left_out_and_said(tmp_path: Path) -> None:
    path = several(
        tmp_path / "a.tif",
        (BIG, {"subifds": 2}),
        (BIG[::2, ::2], {"subfiletype": 1}),
        (BIG[::4, ::4], {"subfiletype": 1}),
    )
    with open_image(in_unknown_coding(path, 0)) as source:
        assert [level.shape_yx for level in source.levels] == [(90, 120), (23, 30)]
        np.testing.assert_array_equal(source.read(Region(0, 0, 23, 30, level=1)), BIG[::4, ::4])
        (note,) = source.notes
    assert note.endswith("not decoded here: that of 45 × 60 px (compression 52479).")


def test_a_page_opens_whose_subifd_is_in_an_unknown_coding(tmp_path: Path) -> None:
    """Beside a page lies one as large or larger, as cameras and scanners attach their raw pixels."""
    raw = picture((180, 240, 3))
    path = several(tmp_path / "a.tif", (BIG, {"subifds": 1}), (raw, {}))
    np.testing.assert_array_equal(shown(path), raw)
    with open_image(in_unknown_coding(path, 0)) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 90, 120)), BIG)
        (note,) = source.notes
    assert "Left out: 1, 180 × 240 px (compression 52479, which is not decoded here)." in note
    with pytest.raises(UnsupportedImageError, match="has compression 52479, which is not decoded here"):
        open_image(path, series=1)
    several(path, (BIG, {"subifds": 1, "subfiletype": 1}), (raw, {}))
    with pytest.raises(UnsupportedImageError, match="has compression 52479"):  # no preview in its place
        open_image(in_unknown_coding(path, 0))


def test_words_that_begin_like_those_of_a_scanner_are_soon_done_with(tmp_path: Path) -> None:
    words = 200_000 * '"DICOM_PIXEL_SPACING" '
    tifffile.imwrite(tmp_path / "a.tif", BIG, photometric="rgb", description=words, metadata=None)
    before = process_time()
    with open_image(tmp_path / "a.tif") as source:
        assert source.spacing_um_yx is None
    assert process_time() - before < 5


def test_an_unknown_series_gets_a_sentence(tmp_path: Path) -> None:
    path = several(tmp_path / "a.tif", (SMALL, {}), (BIG, {}))
    with pytest.raises(UnsupportedImageError, match=r"one of 0, 40 × 30 px; 1, 90 × 120 px .* got 'label'"):
        open_image(path, series="label")
    with pytest.raises(InvalidOptionError, match="series with the path of a file; got it with ndarray"):
        open_image(BIG, series=0)


def spacing(path: Path, **options: Any) -> Any:
    tifffile.imwrite(path, BIG, photometric="rgb", **options)
    with open_image(path) as source:
        return source.spacing_um_yx


@pytest.mark.parametrize("dpi", [72, 144, 180, 196, 300, 350, 1200])
def test_a_number_for_print_is_no_spacing(dpi: int, tmp_path: Path) -> None:
    assert spacing(tmp_path / "a.tif", resolution=(dpi, dpi), resolutionunit="INCH") is None


@pytest.mark.parametrize(
    ("unit", "per_unit", "expected"),
    [
        ("INCH", 50_800, 0.5),
        ("CENTIMETER", 20_000, 0.5),
        ("CENTIMETER", 100, None),
        ("CENTIMETER", 500, 20.0),
    ],
)
def test_fine_resolutions_are_believed(unit: str, per_unit: int, expected: Any, tmp_path: Path) -> None:
    found = spacing(tmp_path / "a.tif", resolution=(per_unit, per_unit), resolutionunit=unit)
    assert found == (None if expected is None else pytest.approx((expected, expected)))


def test_imagej_says_inches_of_a_camera(tmp_path: Path) -> None:
    options = {"imagej": True, "resolution": (180, 180)}
    tifffile.imwrite(tmp_path / "a.tif", BIG, metadata={"unit": "inch"}, **options)
    with open_image(tmp_path / "a.tif") as source:
        assert source.spacing_um_yx is None


def test_aperio_with_a_decimal_comma(tmp_path: Path) -> None:
    description = "Aperio Image Library v10\n120x90|AppMag = 20|MPP = 0,4990"
    assert spacing(tmp_path / "a.svs", description=description, tile=(64, 64)) == (0.499, 0.499)


@pytest.mark.parametrize("quote", ['"', "&quot;"])
def test_philips_says_it_in_dicom(quote: str, tmp_path: Path) -> None:
    """Of several representations the finest is level 0."""
    steps = "".join(
        f'<Attribute Name="DICOM_PIXEL_SPACING" PMSVR="IDoubleArray">{number} {number}</Attribute>'
        for number in (f"{quote}0.0005{quote}", f"{quote}0.00025{quote}")
    )
    assert spacing(tmp_path / "a.tiff", description=f"<DataObject>{steps}</DataObject>") == (0.25, 0.25)


def test_ventana_says_it_in_xmp(tmp_path: Path) -> None:
    words = b"<Metadata><iScan Magnification='20' ScanRes='0.46500'></iScan></Metadata>"
    found = spacing(tmp_path / "a.tif", extratags=[(700, 1, len(words), words, True)])
    assert found == (0.465, 0.465)


def test_the_user_knows_better(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", BIG, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    with open_image(tmp_path / "a.tif", um_per_px=0.3) as source:
        assert source.spacing_um_yx == (0.3, 0.3)
    with open_image(BIG, um_per_px=(0.5, 0.25)) as source:
        assert source.spacing_um_yx == (0.5, 0.25)
    with pytest.raises(InvalidOptionError, match="positive micrometres per pixel; got 0"):
        open_image(BIG, um_per_px=0)


def test_a_stack_is_the_larger_image_by_its_planes_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(picture((7, 40, 30)), metadata={"axes": "ZYX", "Name": "stack"})
        file.write(picture((50, 60)), metadata={"axes": "YX", "Name": "plane"})
    with open_image(path) as source:
        assert source.levels[0].shape_yx == (50, 60)
    with open_image(path, series="stack") as source:
        assert source.frames == 7
        np.testing.assert_array_equal(source.read(Region(0, 0, 40, 30, frame=6)), picture((7, 40, 30))[6])


def test_a_scan_of_then_is_not_recalled_where_pixels_are_others_now(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", BIG, photometric="rgb")
    tifffile.imwrite(tmp_path / "white.tif", BIG[..., 0], photometric="miniswhite")
    with open_image(tmp_path / "plain.tif") as plain, open_image(tmp_path / "white.tif") as white:
        assert plain.file.reading == ""
        assert white.file.reading


@pytest.mark.parametrize(
    ("whose", "said", "expected"),
    [
        ("lsm_metadata", {"VoxelSizeX": 2e-7, "VoxelSizeY": 1e-7}, (0.1, 0.2)),
        ("sis_metadata", {"pixelsizex": 3e-7, "pixelsizey": 4e-7}, (0.4, 0.3)),
        ("micromanager_metadata", {"Summary": {"PixelSize_um": 0.65}}, (0.65, 0.65)),
        (
            "stk_metadata",
            {"SpatialCalibration": 1, "XCalibration": 0.5, "YCalibration": 0.25, "CalibrationUnits": "um"},
            (0.25, 0.5),
        ),
        ("stk_metadata", {"SpatialCalibration": 0, "XCalibration": 1.0, "YCalibration": 1.0}, None),
    ],
)
def test_microscopes_say_it_in_words_of_their_own(
    whose: str, said: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What tifffile understands of them; it writes no such files."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, SMALL[..., 0], photometric="minisblack", metadata=None)
    monkeypatch.setattr(tifffile.TiffFile, whose, said)
    with open_image(path) as source:
        assert source.spacing_um_yx == (None if expected is None else pytest.approx(expected))


def part_of_a_set(path: Path, pixels: Any) -> None:
    """Write a file of an OME data set that another file describes."""
    words = '<?xml version="1.0"?><OME><BinaryOnly MetadataFile="all.companion.ome" UUID="urn:a"/></OME>'
    tifffile.imwrite(path, pixels, description=words, metadata=None)


def test_files_that_a_companion_describes_are_one_image(tmp_path: Path) -> None:
    """And each of them opens alone where that file is missing."""
    planes = [picture((24, 18)) + number for number in range(3)]
    for number, plane in enumerate(planes):
        part_of_a_set(tmp_path / f"z{number}.ome.tif", plane)
    with open_image(tmp_path / "z1.ome.tif") as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 24, 18)), planes[1])
        assert source.frames == 1
        assert "all.companion.ome describes, which is not beside it" in source.notes[0]
    places = "".join(
        f'<TiffData FirstZ="{number}" IFD="0"><UUID FileName="z{number}.ome.tif">u{number}</UUID></TiffData>'
        for number in range(3)
    )
    sizes = 'SizeX="18" SizeY="24" SizeZ="3" SizeC="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.25"'
    pixels = f'<Pixels DimensionOrder="XYCTZ" Type="uint8" {sizes}><Channel Name="DAPI"/>{places}</Pixels>'
    companion = tmp_path / "all.companion.ome"
    companion.write_text(f'<?xml version="1.0"?><OME><Image Name="all">{pixels}</Image></OME>')
    for name in ("z0.ome.tif", "z2.ome.tif"):
        with open_image(tmp_path / name) as source:
            assert (source.frames, source.spacing_um_yx, source.notes) == (3, (0.25, 0.5), ())
            for number, plane in enumerate(planes):
                np.testing.assert_array_equal(source.read(Region(0, 0, 24, 18, frame=number)), plane)
    with pytest.raises(
        UnsupportedImageError, match=r"describes an OME-TIFF whose pixels lie in files beside"
    ):
        open_image(companion)
