"""DICOM slides that OpenSlide does not read: JPEG-LS, 16 bits, optical paths, tiles in any order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from dicom_kit import item, items
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)
from skimage.data import immunohistochemistry

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import ChannelsError, InvalidOptionError, UnsupportedImageError
from napari_sslmaps.inputs.listing import list_items
from napari_sslmaps.sources.dicom import open_dicom
from napari_sslmaps.sources.open import open_image

SIDE = 48
COLOURS = np.ascontiguousarray(immunohistochemistry()[:130, :200])
GREY = (COLOURS[..., 1].astype(np.uint16) * 257)[None, None]


def write_tiles(
    path: Path,
    pixels: NDArray[Any],
    encode: Callable[[NDArray[Any]], bytes] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    *,
    shuffled: bool = False,
    series: str = "1.2.3",
    kind: str = "VOLUME",
) -> None:
    """Write (paths, planes, rows, columns[, 3]) as tiles, in the standard's order or each where it says."""
    paths, planes, tall, wide = pixels.shape[:4]
    margins = [(0, 0), (0, 0), (0, -tall % SIDE), (0, -wide % SIDE), *([(0, 0)] * (pixels.ndim - 4))]
    padded = np.pad(pixels, margins)
    frames, groups = [], []
    for number in range(paths):
        for plane in range(planes):
            for y in range(0, tall, SIDE):
                for x in range(0, wide, SIDE):
                    frames.append(np.ascontiguousarray(padded[number, plane, y : y + SIDE, x : x + SIDE]))
                    position = items(
                        ColumnPositionInTotalImagePixelMatrix=x + 1,
                        RowPositionInTotalImagePixelMatrix=y + 1,
                        ZOffsetInSlideCoordinateSystem=float(plane),
                    )
                    path_of = items(OpticalPathIdentifier=str(number))
                    groups.append(
                        item(PlanePositionSlideSequence=position, OpticalPathIdentificationSequence=path_of)
                    )
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.ImageType = series, ["ORIGINAL", "PRIMARY", kind, "NONE"]
    made.Rows = made.Columns = SIDE
    made.TotalPixelMatrixRows, made.TotalPixelMatrixColumns = tall, wide
    made.SamplesPerPixel = 3 if pixels.ndim == 5 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 5 else "MONOCHROME2"
    if pixels.ndim == 5:
        made.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits, bits - 1, 0
    made.OpticalPathSequence = Sequence(
        [
            item(OpticalPathIdentifier=str(number), OpticalPathDescription=f"stain {number}")
            for number in range(paths)
        ]
    )
    made.TotalPixelMatrixFocalPlanes = planes
    made.SharedFunctionalGroupsSequence = items(PixelMeasuresSequence=items(PixelSpacing=[0.0005, 0.00025]))
    if shuffled:
        order = np.random.default_rng(0).permutation(len(frames))
        frames = [frames[at] for at in order]
        made.PerFrameFunctionalGroupsSequence = Sequence([groups[at] for at in order])
    made.NumberOfFrames = len(frames)
    if encode is None:
        made.PixelData = b"".join(frame.tobytes() for frame in frames)
    else:
        made.PixelData = encapsulate([encode(frame) for frame in frames])
        made["PixelData"].is_undefined_length = True
    made.save_as(path, enforce_file_format=True)


def whole(source: Any, frame: int = 0) -> NDArray[Any]:
    return source.read(Region(0, 0, *source.levels[0].shape_yx, 0, frame))


def test_colour_in_jpeg_ls_with_a_coarser_level_beside_it(tmp_path: Path) -> None:
    write_tiles(tmp_path / "a.dcm", COLOURS[None, None, ::2, ::2], imagecodecs.jpegls_encode, JPEGLSLossless)
    write_tiles(tmp_path / "b.dcm", COLOURS[None, None], imagecodecs.jpegls_encode, JPEGLSLossless)
    write_tiles(tmp_path / "other.dcm", COLOURS[None, None, :60], series="9")
    with open_image(tmp_path / "a.dcm") as source:
        assert [level.shape_yx for level in source.levels] == [(130, 200), (65, 100)]
        assert source.spacing_um_yx == (0.5, 0.25)
        np.testing.assert_array_equal(whole(source), COLOURS)
        np.testing.assert_array_equal(source.read(Region(20, 50, 40, 45, 1)), COLOURS[::2, ::2][20:60, 50:95])


@pytest.mark.parametrize("shuffled", [False, True])
def test_grey_of_16_bits_any_part_of_it(tmp_path: Path, shuffled: bool) -> None:
    write_tiles(tmp_path / "grey.dcm", GREY, shuffled=shuffled)
    with open_image(tmp_path / "grey.dcm") as source:
        assert (source.channels, source.dtype) == (1, np.uint16)
        for y, x, height, width in ((0, 0, 130, 200), (47, 48, 2, 3), (100, 150, 30, 50), (5, 95, 90, 2)):
            np.testing.assert_array_equal(
                source.read(Region(y, x, height, width)), GREY[0, 0, y : y + height, x : x + width]
            )


@pytest.mark.parametrize("shuffled", [False, True])
def test_optical_paths_are_channels_and_focal_planes_frames(tmp_path: Path, shuffled: bool) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 60_000, (2, 3, 60, 100), dtype=np.uint16)
    write_tiles(tmp_path / "stains.dcm", pixels, shuffled=shuffled)
    with pytest.raises(ChannelsError, match="0 stain 0, 1 stain 1"):
        open_image(tmp_path / "stains.dcm")
    with open_image(tmp_path / "stains.dcm", channel="stain 1") as source:
        assert source.frames == 3
        np.testing.assert_array_equal(whole(source, 2), pixels[1, 2])


def test_where_nothing_was_scanned_colour_is_white(tmp_path: Path) -> None:
    write_tiles(tmp_path / "gap.dcm", COLOURS[None, None], imagecodecs.jpegls_encode, JPEGLSLossless)
    import pydicom

    made = pydicom.dcmread(tmp_path / "gap.dcm")
    made.TotalPixelMatrixRows = 200
    made.save_as(tmp_path / "gap.dcm")
    with open_dicom(tmp_path / "gap.dcm") as source:
        pixels = whole(source)
    np.testing.assert_array_equal(pixels[:130], COLOURS)
    assert (pixels[144:] == 255).all()


def test_lossy_jpeg_of_12_bits_that_pydicom_does_not_decode(tmp_path: Path) -> None:
    from dicom_kit import write_dicom

    pixels = (COLOURS[..., 0].astype(np.uint16) << 4)[:128]
    coded = imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12)
    for syntax in (JPEGExtended12Bit, "1.2.840.10008.1.2.4.55"):
        path = write_dicom(
            tmp_path / "ct.dcm",
            pixels,
            syntax,
            BitsStored=12,
            HighBit=11,
            PixelData=encapsulate([coded]),
        )
        with open_image(path) as source:
            decoded = imagecodecs.jpeg8_decode(coded).astype(int)
            assert np.abs(whole(source) - decoded).max() <= 1


@pytest.mark.parametrize("colour", [False, True])
def test_a_clip_in_jpeg_xl(colour: bool, tmp_path: Path) -> None:
    """As ultrasound machines begin to write it; pydicom does not know its syntax."""
    from dicom_kit import write_dicom

    frames = np.stack([COLOURS, COLOURS[::-1]])
    frames = frames if colour else np.ascontiguousarray(frames[..., 0])
    coded = encapsulate([imagecodecs.jpegxl_encode(frame, lossless=True) for frame in frames])
    known, meant = b"1.2.840.10008.1.2.4.100", b"1.2.840.10008.1.2.4.110"
    kind = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    stored = {**(kind if colour else {}), "NumberOfFrames": 2, "PixelData": coded}
    path = write_dicom(tmp_path / "clip.dcm", COLOURS[..., 0], known.decode(), **stored)
    path.write_bytes(path.read_bytes().replace(known, meant))
    with open_image(path) as source:
        assert source.frames == 2
        for number, frame in enumerate(frames):
            np.testing.assert_array_equal(whole(source, number), frame)


def test_frames_before_a_cut_in_jpeg_2000_stay_readable(tmp_path: Path) -> None:
    """Each is read from where it lies, not the whole file for each."""
    from dicom_kit import write_dicom

    frames = np.stack([np.roll(COLOURS[..., 0], number, 0) for number in range(3)])
    coded = [imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True) for frame in frames]
    stored = {"NumberOfFrames": 3, "PixelData": encapsulate(coded)}
    path = write_dicom(tmp_path / "clip.dcm", frames[0], JPEG2000Lossless, **stored)
    with open_image(path) as source:
        np.testing.assert_array_equal(whole(source, 2), frames[2])
    path.write_bytes(path.read_bytes()[: -len(coded[2]) // 2])
    with open_image(path) as source:
        np.testing.assert_array_equal(whole(source, 0), frames[0])
        with pytest.raises(UnsupportedImageError, match=r"clip\.dcm cannot be decoded"):
            whole(source, 2)


LABEL = np.ascontiguousarray(COLOURS[:SIDE, :SIDE][::-1])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless])
def test_a_folder_that_holds_a_slide_is_that_slide(syntax: str, tmp_path: Path) -> None:
    """Not a stack of its tiles, whoever reads them; its label lies beside it."""
    folder, encode = (
        tmp_path / "slide",
        None if syntax == ExplicitVRLittleEndian else imagecodecs.jpegls_encode,
    )
    folder.mkdir()
    write_tiles(folder / "0.dcm", LABEL[None, None], encode, syntax, kind="LABEL")
    write_tiles(folder / "1.dcm", COLOURS[None, None], encode, syntax)
    write_tiles(folder / "2.dcm", COLOURS[None, None, ::2, ::2], encode, syntax)
    for path in (folder, folder / "0.dcm", folder / "2.dcm"):
        with open_image(path) as source:
            assert [level.shape_yx for level in source.levels] == [(130, 200), (65, 100)]
            np.testing.assert_array_equal(whole(source), COLOURS)
            assert source.name == path.stem
    write_tiles(folder / "3.dcm", COLOURS[None, None], encode, syntax, series="9")
    with pytest.raises(UnsupportedImageError, match=r"got 2 series \(2 files from 1.dcm on, 1 file from 3"):
        open_image(folder)


def test_a_folder_run_takes_a_slide_once(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        folder = tmp_path / "study" / name
        folder.mkdir(parents=True)
        write_tiles(folder / "0.dcm", LABEL[None, None], kind="LABEL", series=f"1.{number}")
        write_tiles(folder / "1.dcm", COLOURS[None, None, ::2, ::2], series=f"1.{number}")
        write_tiles(folder / "2.dcm", COLOURS[None, None], series=f"1.{number}")
    assert [item.name for item in list_items([tmp_path / "study"]).items] == ["a/2.dcm", "b/2.dcm"]
    assert [item.name for item in list_items([tmp_path / "study" / "a"]).items] == ["2.dcm"]


def test_what_lies_beside_a_dicom_slide_is_chosen_by_series(tmp_path: Path) -> None:
    write_tiles(tmp_path / "0.dcm", COLOURS[None, None])
    write_tiles(tmp_path / "1.dcm", LABEL[None, None], kind="LABEL")
    for path in (tmp_path, tmp_path / "0.dcm"):
        with open_image(path, series="label") as source:
            np.testing.assert_array_equal(whole(source), LABEL)
    with pytest.raises(UnsupportedImageError, match=r"one of label as series of 0.dcm; got 'macro'"):
        open_image(tmp_path / "0.dcm", series="macro")
    (tmp_path / "0.dcm").unlink()
    with open_image(tmp_path / "1.dcm") as source:
        np.testing.assert_array_equal(whole(source), LABEL)
    with pytest.raises(InvalidOptionError, match=r"no series for 1.dcm, which holds one image; got 'macro'"):
        open_image(tmp_path / "1.dcm", series="macro")
