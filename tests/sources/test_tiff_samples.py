"""What the samples of a TIFF mean, against Pillow, scikit-image and OpenSlide."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from case_kit import picture
from numpy.typing import NDArray
from PIL import Image, ImageCms
from skimage.color import lab2rgb
from skimage.data import immunohistochemistry

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.scan import scan_region

COLOURS = np.ascontiguousarray(immunohistochemistry()[:96, :128])


def whole(path: Path, level: int = 0) -> NDArray[Any]:
    with open_image(path) as source:
        pixels = source.read(Region(0, 0, *source.levels[level].shape_yx, level))
        assert pixels.dtype == source.dtype
        assert (pixels.ndim == 3) == (source.channels == 3)
    return pixels


def by_pillow(path: Path, mode: str = "RGB") -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


@pytest.mark.parametrize("colours", [256, 16, 2])
def test_a_palette_is_looked_up(colours: int, tmp_path: Path) -> None:
    path = tmp_path / "palette.tif"
    Image.fromarray(COLOURS).quantize(colours).save(path)
    np.testing.assert_array_equal(whole(path), by_pillow(path))


def test_a_palette_of_bytes_is_not_black(tmp_path: Path) -> None:
    """Some writers put 8 bits where the standard asks for 16."""
    path, table = tmp_path / "palette.tif", np.tile(np.arange(256, dtype=np.uint16), (3, 1))
    tifffile.imwrite(path, COLOURS[..., 0], photometric="palette", colormap=table)
    np.testing.assert_array_equal(whole(path), np.repeat(COLOURS[..., :1], 3, -1))


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_inks_become_light(compression: str | None, tmp_path: Path) -> None:
    path = tmp_path / "cmyk.tif"
    Image.fromarray(COLOURS).convert("CMYK").save(path, compression=compression)
    np.testing.assert_array_equal(whole(path), by_pillow(path))


def test_inks_of_16_bits_and_apart_become_light(tmp_path: Path) -> None:
    inks = np.asarray(Image.fromarray(COLOURS).convert("CMYK"))
    tifffile.imwrite(
        tmp_path / "cmyk.tif",
        np.moveaxis(inks.astype(np.uint16) * 257, -1, 0),
        photometric="separated",
        planarconfig="separate",
    )
    np.testing.assert_array_equal(
        whole(tmp_path / "cmyk.tif"), np.asarray(Image.fromarray(inks, "CMYK").convert("RGB"))
    )


@pytest.mark.parametrize("deep", [False, True])
def test_lab_becomes_srgb(deep: bool, tmp_path: Path) -> None:
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    ImageCms.applyTransform(Image.fromarray(COLOURS), transform).save(tmp_path / "lab.tif")
    stored = tifffile.imread(tmp_path / "lab.tif")
    if deep:
        shifted = stored.astype(np.uint16) << 8
        tifffile.imwrite(tmp_path / "lab.tif", shifted, photometric="cielab")
    scaled = np.stack([stored[..., 0] / 2.55, *np.moveaxis(stored[..., 1:].view(np.int8), -1, 0)], -1)
    assert (
        np.abs(whole(tmp_path / "lab.tif") - 255 * lab2rgb(scaled)).mean() < 3
    )  # D65, and the white is white
    assert np.abs(whole(tmp_path / "lab.tif") - COLOURS.astype(float)).mean() < 2


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ycbcr_without_jpeg_becomes_rgb(compression: str | None, tmp_path: Path) -> None:
    stored = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    tifffile.imwrite(
        tmp_path / "ycbcr.tif",
        stored,
        photometric="ycbcr",
        subsampling=(1, 1),
        compression=compression,
        tile=(32, 32),
    )
    np.testing.assert_array_equal(
        whole(tmp_path / "ycbcr.tif"), np.asarray(Image.fromarray(stored, "YCbCr").convert("RGB"))
    )
    assert np.abs(whole(tmp_path / "ycbcr.tif").astype(int) - COLOURS).mean() < 2


def test_subsampled_ycbcr_without_jpeg_goes_to_libtiff(tmp_path: Path) -> None:
    path = tmp_path / "subsampled.tif"
    _write_subsampled(path, np.asarray(Image.fromarray(COLOURS).convert("YCbCr")))
    assert np.abs(whole(path).astype(int) - COLOURS).mean() < 2


def test_ycbcr_of_other_coefficients_goes_to_libtiff(tmp_path: Path) -> None:
    """BT.709."""
    path, weights = tmp_path / "bt709.tif", np.array([0.2126, 0.7152, 0.0722])
    light = COLOURS @ weights
    blue = (COLOURS[..., 2] - light) / (2 - 2 * weights[2]) + 128
    red = (COLOURS[..., 0] - light) / (2 - 2 * weights[0]) + 128
    stored = np.rint(np.stack([light, blue, red], -1)).astype(np.uint8)
    tag = [(529, 5, 3, (2126, 10_000, 7152, 10_000, 722, 10_000), True)]
    tifffile.imwrite(path, stored, photometric="ycbcr", subsampling=(1, 1), extratags=tag)
    assert np.abs(whole(path).astype(int) - COLOURS).max() <= 3


def _write_subsampled(path: Path, ycc: NDArray[np.uint8]) -> None:
    """Blocks of four Y, one Cb and one Cr, uncompressed."""
    height, width = ycc.shape[:2]
    blocks = ycc.reshape(height // 2, 2, width // 2, 2, 3).swapaxes(1, 2).reshape(-1, 4, 3)
    data = np.concatenate([blocks[..., 0], blocks[:, :1, 1], blocks[:, :1, 2]], 1).tobytes()
    short, long = 3, 4
    bits = 8 + len(data)
    entries = [
        (256, short, 1, width),
        (257, short, 1, height),
        (258, short, 3, bits),
        (259, short, 1, 1),
        (262, short, 1, 6),
        (273, long, 1, 8),
        (277, short, 1, 3),
        (278, short, 1, height),
        (279, long, 1, len(data)),
        (530, short, 2, 2 | 2 << 16),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 42, bits + 6)
    path.write_bytes(head + data + struct.pack("<3H", 8, 8, 8) + struct.pack("<H", 10) + table + bytes(4))


@pytest.mark.parametrize(("code", "photometric"), [(33003, "rgb"), (33003, "ycbcr"), (33005, "rgb")])
def test_aperio_jpeg2000_has_the_colours_of_openslide(code: int, photometric: str, tmp_path: Path) -> None:
    path, pixels = tmp_path / "aperio.svs", np.ascontiguousarray(immunohistochemistry()[:256, :256])
    stored = np.asarray(Image.fromarray(pixels).convert("YCbCr")) if code == 33003 else pixels
    tiles = [
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(stored[y : y + 128, x : x + 128]),
            codecformat="j2k",
            reversible=True,
            mct=False,
        )
        for y in (0, 128)
        for x in (0, 128)
    ]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=pixels.shape,
        dtype=np.uint8,
        photometric=photometric,
        subsampling=(1, 1) if photometric == "ycbcr" else None,
        tile=(128, 128),
        compression=code,
        metadata=None,
        description="Aperio Image Library v10\n256x256 (128x128) J2K/YUV16 Q=70|MPP = 0.5",
    )
    with openslide.OpenSlide(path) as theirs:
        expected = np.asarray(theirs.read_region((0, 0), 0, (256, 256)))[..., :3]
    assert np.abs(whole(path).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "float32"])
def test_where_white_is_zero_values_are_inverted(dtype: str, tmp_path: Path) -> None:
    stored = picture((40, 50), dtype)
    tifffile.imwrite(tmp_path / "white.tif", stored, photometric="miniswhite")
    shown = whole(tmp_path / "white.tif")
    if dtype in ("bool", "uint8"):
        np.testing.assert_array_equal(
            shown, by_pillow(tmp_path / "white.tif", "1" if dtype == "bool" else "L")
        )
    assert shown.dtype == stored.dtype
    assert np.corrcoef(shown.ravel().astype(float), stored.ravel().astype(float))[0, 1] == pytest.approx(-1)


def test_fax_is_black_on_white(tmp_path: Path) -> None:
    path = tmp_path / "fax.tif"
    Image.fromarray(COLOURS[..., 1]).convert("1").save(path, compression="group4")
    np.testing.assert_array_equal(whole(path), by_pillow(path, "1"))


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_grey_of_few_bits_spans_all_of_eight(bits: int, tmp_path: Path) -> None:
    path, stored = tmp_path / "bits.tif", COLOURS[..., 0] >> (8 - bits)
    tifffile.imwrite(path, stored, bitspersample=bits)
    expected = np.rint(stored * (255 / (2**bits - 1)))
    np.testing.assert_array_equal(whole(path), expected)
    if bits in (2, 4):
        np.testing.assert_array_equal(whole(path), by_pillow(path, "L"))


def test_inverted_grey_of_four_bits(tmp_path: Path) -> None:
    path, stored = tmp_path / "bits.tif", COLOURS[..., 0] >> 4
    tifffile.imwrite(path, stored, bitspersample=4, photometric="miniswhite")
    np.testing.assert_array_equal(whole(path), 255 - 17 * stored)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_and_columns_run_as_the_file_says(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "turned.tif"
    tag = [(274, 3, 1, orientation, True)]
    tifffile.imwrite(path, COLOURS, photometric="rgb", compression="zlib", tile=(32, 32), extratags=tag)
    with Image.open(path) as image:
        image.load()
        expected = np.asarray(image)
    np.testing.assert_array_equal(whole(path), expected)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(11, 7, 30, 50)), expected[11:41, 7:57])


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_levels_and_spacing_turn_with_the_image(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "turned.ome.tif"
    tag = [(274, 3, 1, orientation, True)]
    with tifffile.TiffWriter(path) as file:
        sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5}
        file.write(COLOURS, photometric="rgb", tile=(32, 32), subifds=1, metadata=sizes, extratags=tag)
        file.write(COLOURS[::2, ::2], photometric="rgb", tile=(32, 32), subfiletype=1, extratags=tag)
    turned = COLOURS.swapaxes(0, 1) if orientation > 4 else COLOURS
    flip_rows, flip_cols = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    step = slice(None, None, -1)
    with open_image(path) as source:
        assert source.spacing_um_yx == ((0.25, 0.5) if orientation > 4 else (0.5, 0.25))
        for level, unflipped in enumerate((turned, turned[::2, ::2])):
            upright = unflipped[step] if flip_rows else unflipped
            pixels = upright[:, step] if flip_cols else upright
            assert source.levels[level].shape_yx == pixels.shape[:2]
            np.testing.assert_array_equal(source.read(Region(3, 5, 20, 30, level)), pixels[3:23, 5:35])


@pytest.mark.parametrize(
    ("tag", "value", "words"), [(259, 52479, "compression 52479"), (317, 7777, "predictor 7777")]
)
def test_an_unknown_coding_is_not_called_damage(tag: int, value: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.tif"
    tifffile.imwrite(path, COLOURS, photometric="rgb", compression="zlib", predictor=True)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags[tag].overwrite(value)
    with pytest.raises(
        UnsupportedImageError, match=rf"strange\.tif has {words}, .* Convert it: bfconvert"
    ) as caught:
        open_image(path)
    assert "amaged" not in str(caught.value)


def test_complex_pixels_get_a_sentence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "waves.tif", np.ones((20, 30), np.complex64))
    with pytest.raises(UnsupportedImageError, match=r"real float pixels in waves; got complex64"):
        open_image(tmp_path / "waves.tif")


def test_the_image_says_which_bits_are_used_not_its_darkest_corner() -> None:
    labels = (COLOURS[..., 0] // 52).astype(np.uint8)
    frame = COLOURS[..., 0].copy()
    frame[:32, :32] = 9
    corner = Region(0, 0, 32, 32)
    assert scan_region(open_image(labels), Region(0, 0, 96, 128)).window == (0, 7)
    assert scan_region(open_image(frame), corner).window == (0, 255)
    assert scan_region(open_image(frame), corner).high == 9


@pytest.mark.parametrize("planar", [False, True])
def test_colours_are_divided_by_the_opacity_they_were_multiplied_with(planar: bool, tmp_path: Path) -> None:
    path = tmp_path / "rgba.tif"
    opacity = np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))
    multiplied = (COLOURS.astype(np.uint16) * opacity[..., None] // 255).astype(np.uint8)
    pixels = np.dstack([multiplied, opacity])
    tifffile.imwrite(
        path,
        np.moveaxis(pixels, -1, 0) if planar else pixels,
        photometric="rgb",
        extrasamples=["assocalpha"],
        planarconfig="separate" if planar else "contig",
    )
    expected = pixels if planar else np.asarray(Image.open(path))  # Pillow reads no planes of this kind
    if not planar:
        np.testing.assert_array_equal(whole(path)[:, 1:], expected[:, 1:, :3])
    near = opacity > 100
    assert np.abs(whole(path)[near].astype(int) - COLOURS[near]).max() <= 3


@pytest.mark.parametrize("photometric", ["rgb", "separated"])
def test_samples_beside_colours_and_opacity_are_left_out(photometric: str, tmp_path: Path) -> None:
    path = tmp_path / "more.tif"
    own = COLOURS if photometric == "rgb" else np.asarray(Image.fromarray(COLOURS).convert("CMYK"))
    more = np.dstack([own, COLOURS[..., 0], COLOURS[..., 1]])
    extra = more.shape[-1] - (3 if photometric == "rgb" else 4)
    tifffile.imwrite(path, more, photometric=photometric, extrasamples=["unspecified"] * extra)
    expected = COLOURS if photometric == "rgb" else np.asarray(Image.fromarray(own, "CMYK").convert("RGB"))
    np.testing.assert_array_equal(whole(path), expected)
    with open_image(path) as source:
        assert any("more sample" in note for note in source.notes)


def test_too_large_a_count_of_bytes_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    tifffile.imwrite(path, COLOURS[..., 0], photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["StripByteCounts"].overwrite(10**7)
    np.testing.assert_array_equal(whole(path), COLOURS[..., 0])


def test_a_slide_of_blank_tiles_in_zstandard_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "blank.tif"
    pixels = np.full((4096, 8192, 3), 240, np.uint8)
    pixels[:, 4000:] = (200, 180, 20)
    tifffile.imwrite(path, pixels, tile=(1024, 1024), compression="zstd", compressionargs={"level": 19})
    assert pixels.nbytes > 4000 * path.stat().st_size
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(100, 3990, 20, 20)), pixels[100:120, 3990:4010])


def test_opacity_of_four_bits_is_divided_after_it_is_stretched(tmp_path: Path) -> None:
    stored = (COLOURS >> 4)[:4, :6].astype(np.uint8)
    rgba = np.dstack([stored, np.full((4, 6), 15, np.uint8)])
    packed = (rgba.reshape(4, -1)[:, ::2] << 4 | rgba.reshape(4, -1)[:, 1::2]).tobytes()
    path = tmp_path / "four.tif"
    entries = [
        *((256, 3, 1, 6), (257, 3, 1, 4), (258, 3, 4, 200), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, 220), (277, 3, 1, 4), (278, 3, 1, 4), (279, 4, 1, len(packed)), (338, 3, 1, 1)),
    ]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    tags = b"".join(
        struct.pack("<HHII" if kind == 4 or count > 1 else "<HHIHxx", tag, kind, count, value)
        for tag, kind, count, value in entries
    )
    content = (head + tags + struct.pack("<I", 0)).ljust(200, b"\0") + struct.pack("<4H", 4, 4, 4, 4)
    path.write_bytes(content.ljust(220, b"\0") + packed)
    np.testing.assert_array_equal(whole(path), stored * 17)


@pytest.mark.parametrize("pixels", [COLOURS, COLOURS[..., 0]])
def test_where_a_file_does_not_say_what_samples_mean_zero_is_black(
    pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "bare.tif"
    tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages.first.tags[262].offset
    content[at : at + 2] = struct.pack("<H", 65000)  # a tag of nobody's in its place
    path.write_bytes(content)
    np.testing.assert_array_equal(whole(path), pixels)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_last_strip_that_is_filled_to_the_height_of_the_others(bits: int, tmp_path: Path) -> None:
    """As some writers do; libtiff reads what the image has of it."""
    path = tmp_path / "a.tif"
    pixels = picture((20, 30), {1: "bool", 8: "uint8", 16: "uint16"}[bits])
    written = {"rowsperstrip": 16, "compression": "zlib", "photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, np.pad(pixels, ((0, 12), (0, 0))), **written)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages.first.tags["ImageLength"]
    content[tag.valueoffset : tag.valueoffset + 2] = (20).to_bytes(2, "little")
    path.write_bytes(content)
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30)), pixels)
