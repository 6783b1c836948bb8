import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from case_kit import picture
from PIL import Image, ImageSequence

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image


def test_sixteen_bits_per_colour_survive(tmp_path: Path) -> None:
    pixels = picture((20, 30, 3), "uint16")
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    with open_image(tmp_path / "deep.png") as source:
        assert source.dtype == np.uint16
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30)), pixels)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("P", 3), ("CMYK", 3), ("L", 1)])
def test_modes_become_grey_or_colour(mode: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(picture((20, 30, 3))).convert(mode).save(path)
    with open_image(path) as source:
        pixels = source.read(Region(0, 0, 20, 30))
    assert source.channels == channels
    expected = np.asarray(Image.open(path).convert("RGB" if channels == 3 else "L"))
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int, tmp_path: Path) -> None:
    pixels, exif = picture((20, 30, 3)), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    turned = pixels if orientation < 5 else pixels.swapaxes(0, 1)
    flip_rows, flip_cols = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    expected = turned[:: -1 if flip_rows else 1, :: -1 if flip_cols else 1]
    with open_image(tmp_path / "a.png") as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, *expected.shape[:2])), expected)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_deep_and_animated_pictures_are_turned_as_well(orientation: int, tmp_path: Path) -> None:
    exif, deep = Image.Exif(), picture((20, 30, 3), "uint16")
    exif[0x0112] = orientation
    words = b"eXIf" + exif.tobytes()[6:]
    chunk = struct.pack(">I", len(words) - 4) + words + struct.pack(">I", zlib.crc32(words))
    content = imagecodecs.png_encode(deep)
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    turns = {3: 2, 6: -1, 8: 1}[orientation]
    with open_image(tmp_path / "a.png") as source:
        expected = np.rot90(deep, turns)
        np.testing.assert_array_equal(source.read(Region(0, 0, *expected.shape[:2])), expected)
    frames = [picture((20, 30, 3)) // (number + 1) for number in range(3)]
    first, *more = [Image.fromarray(frame) for frame in frames]
    first.save(tmp_path / "a.webp", save_all=True, append_images=more, lossless=True, exif=exif)
    with open_image(tmp_path / "a.webp") as source:
        for number, frame in enumerate(frames):
            expected = np.rot90(frame, turns)
            found = source.read(Region(0, 0, *expected.shape[:2], frame=number))
            np.testing.assert_array_equal(found, expected)


def test_a_picture_beyond_memory_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("L", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(UnsupportedImageError, match=r"bomb\.png is too large .* Convert it to a tiled"):
        open_image(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_pictures_that_follow_each_other_are_frames(suffix: str, tmp_path: Path) -> None:
    pictures = [Image.fromarray(picture((20, 30, 3))).rotate(90 * turn) for turn in range(4)]
    path = tmp_path / f"clip.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50)
    with Image.open(path) as pillow:
        decoded = [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(pillow)]
    with open_image(path) as source:
        assert (source.frames, source.channels, source.dtype) == (4, 3, np.uint8)
        for frame in (3, 0, 2, 1):
            np.testing.assert_array_equal(
                source.read(Region(5, 6, 9, 10, 0, frame)), decoded[frame][5:14, 6:16]
            )


def write_bit_fields(path: Path, words: np.ndarray, masks: tuple[int, int, int], *, from_top: bool) -> None:
    rows, cols = words.shape
    padded = np.pad(words, ((0, 0), (0, cols % 2))) if words.dtype.itemsize == 2 else words
    body = (padded if from_top else padded[::-1]).tobytes()
    tall, bits = -rows if from_top else rows, 8 * words.dtype.itemsize
    file = struct.pack("<2sIII", b"BM", 66 + len(body), 0, 66)
    header = struct.pack("<IiiHHIIiiII", 40, cols, tall, 1, bits, 3, 0, 0, 0, 0, 0)
    path.write_bytes(file + header + struct.pack("<III", *masks) + body)


@pytest.mark.parametrize("from_top", [False, True])
@pytest.mark.parametrize(
    ("dtype", "bits"),
    [("uint16", (4, 4, 4)), ("uint16", (5, 5, 5)), ("uint32", (8, 8, 8)), ("uint32", (11, 11, 10))],
)
def test_bmp_whose_colours_have_bits_of_their_choice(
    dtype: str, bits: tuple[int, int, int], from_top: bool, tmp_path: Path
) -> None:
    """Blue takes the highest bits, as no camera has it."""
    colours = picture((21, 31, 3)).astype(np.float64)
    words, masks, shift = np.zeros((21, 31), dtype), [], 0
    expected = np.empty((21, 31, 3))
    for channel, count in enumerate(bits):
        top = (1 << count) - 1
        level = np.rint(colours[..., channel] / 255 * top)
        words |= level.astype(dtype) << shift
        masks.append(top << shift)
        expected[..., channel] = level / top * 255
        shift += count
    write_bit_fields(tmp_path / "a.bmp", words, tuple(masks), from_top=from_top)
    with open_image(tmp_path / "a.bmp") as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 21, 31)), np.rint(expected))


def test_avif_is_known_by_its_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    Image.fromarray(picture((20, 30, 3))).save(path, quality=100)
    stored = path.read_bytes()
    box = int.from_bytes(stored[:4], "big")
    other = struct.pack(">I4s4sI", box + 4, b"ftyp", b"mif1", 0) + b"avif" + stored[16:box]
    (tmp_path / "b.avif").write_bytes(other + stored[box:])
    expected = np.asarray(Image.open(path).convert("RGB"))
    with open_image(path) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30)), expected)
    with (
        pytest.raises(UnsupportedImageError, match="readable picture"),
        open_image(tmp_path / "b.avif") as source,
    ):
        source.read(Region(0, 0, 20, 30))  # offsets inside have moved


def test_an_animation_beyond_memory_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.gif"
    pictures = [Image.fromarray(picture((20, 30, 3))).rotate(90 * turn) for turn in range(2)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnsupportedImageError, match="fits into memory"):
        open_image(path)


@pytest.mark.parametrize("kind", ["rgb", "grey", "grey16", "rgba", "odd", "grey-alpha", "animation"])
def test_jpeg_xl_is_what_libjxl_was_given(tmp_path: Path, kind: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (45, 61, 3), dtype=np.uint8)
    grey = rgb[..., 0]
    given, wanted = {
        "rgb": (rgb, rgb),
        "grey": (grey, grey),
        "grey16": (grey.astype(np.uint16) * 257, grey.astype(np.uint16) * 257),
        "rgba": (np.dstack([rgb, grey]), rgb),
        "odd": (rgb[:33, :57], rgb[:33, :57]),
        "grey-alpha": (np.stack([grey, grey // 2], -1), grey),
        "animation": (np.stack([rgb, 255 - rgb]), 255 - rgb),
    }[kind]
    encode = {"photometric": "gray"} if kind == "grey-alpha" else {}
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(given), lossless=True, **encode))
    with open_image(path) as source:
        last = Region(0, 0, *source.levels[0].shape_yx, frame=source.frames - 1)
        np.testing.assert_array_equal(source.read(last), wanted)
        assert source.frames == (2 if kind == "animation" else 1)


def test_jpeg_xl_of_a_size_that_its_bytes_cannot_have_is_refused(tmp_path: Path) -> None:
    whole = imagecodecs.jpegxl_encode(np.zeros((300, 300), np.uint8), lossless=True)
    side = (2**29 - 1) << 3 | 3 << 1  # 30 bits for the height, and the ratio 1 : 1
    header = (side | 1 << 33).to_bytes(5, "little")
    (tmp_path / "a.jxl").write_bytes(whole[:2] + header + whole[7:])
    with pytest.raises(UnsupportedImageError, match="GB of pixels"):
        open_image(tmp_path / "a.jxl")
    noisy = imagecodecs.jpegxl_encode(picture((40, 50, 3)), lossless=True)
    (tmp_path / "cut.jxl").write_bytes(noisy[: len(noisy) // 2])
    with pytest.raises(UnsupportedImageError, match=r"damaged"):
        open_image(tmp_path / "cut.jxl")


def test_tga_is_known_by_its_name(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (45, 61, 3), dtype=np.uint8)
    for name, words in (("plain.tga", {}), ("packed.TGA", {"compression": "tga_rle"})):
        Image.fromarray(rgb).save(tmp_path / name, format="TGA", **words)
        with open_image(tmp_path / name) as source:
            np.testing.assert_array_equal(source.read(Region(0, 0, 45, 61)), rgb)


@pytest.mark.parametrize("shape", [(16_385, 16_385), (40_000, 10)])
def test_an_avif_larger_than_its_decoder_takes_is_not_called_damaged(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / "large.avif"
    Image.fromarray(picture((64, 64, 3))).save(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"ispe") + 8
    content[at : at + 8] = struct.pack(">II", *shape[::-1])
    path.write_bytes(content)
    words = rf"large\.avif is an AVIF of {shape[0]} × {shape[1]} px, more than libavif takes\. Convert"
    with pytest.raises(UnsupportedImageError, match=words):
        open_image(path)


def test_a_long_png_of_16_bits_is_not_called_damaged(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 1_000_001, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 + 6 * 1_000_001))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    stored = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    (tmp_path / "long.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(stored))
    with pytest.raises(UnsupportedImageError, match=r"1 × 1000001 px, more than libpng takes"):
        open_image(tmp_path / "long.png")


@pytest.mark.parametrize("shape", [(8, 65_535), (8, 65_535, 3)])
def test_a_jpeg_of_the_longest_side_is_decoded(shape: tuple[int, ...], tmp_path: Path) -> None:
    """libjpeg as Pillow has it stops at 65,500 px."""
    ramp = np.broadcast_to(np.linspace(0, 255, shape[1]).astype(np.uint8)[None, :], shape[:2])
    pixels = ramp if len(shape) == 2 else np.stack([ramp, 255 - ramp, ramp // 2], -1)
    path = tmp_path / "long.jpg"
    path.write_bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(pixels), level=95))
    with open_image(path) as source:
        assert source.levels[0].shape_yx == shape[:2]
        read = source.read(Region(0, 0, *shape[:2]))
    assert np.abs(read.astype(int) - pixels).max() <= 6
