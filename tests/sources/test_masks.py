"""Label images from files."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sslmaps.errors import AnnotationError, UnsupportedImageError
from napari_sslmaps.sources.masks import read_mask, void_label

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5


def test_palette_pictures_give_their_indices(tmp_path):
    picture = Image.fromarray(LABELS).convert("P")
    picture.putdata(LABELS.ravel().tolist())
    picture.putpalette([200, 10, 10, 0, 255, 0, 9, 9, 9, 7, 8, 9, 1, 2, 3])
    for name in ("mask.png", "mask.bmp"):
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(read_mask(tmp_path / name), LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, ">i4"])
def test_tiff_and_npy_keep_their_labels(tmp_path, dtype):
    values = LABELS.astype(dtype)
    tifffile.imwrite(tmp_path / "mask.tif", values)
    np.save(tmp_path / "mask.npy", values)
    for name in ("mask.tif", "mask.npy"):
        found = read_mask(tmp_path / name)
        np.testing.assert_array_equal(found, LABELS)
        assert found.dtype.isnative


def test_deep_grey_pictures_keep_their_labels(tmp_path):
    deep = LABELS.astype(np.uint16) * 1000
    Image.fromarray(deep).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), deep)


def test_black_and_white_become_zero_and_one(tmp_path):
    binary = LABELS > 2
    Image.fromarray(binary).save(tmp_path / "bits.png")
    Image.fromarray(binary.astype(np.uint8) * 255).save(tmp_path / "bytes.png")
    np.save(tmp_path / "bools.npy", binary[None])
    for name in ("bits.png", "bytes.png", "bools.npy"):
        found = read_mask(tmp_path / name)
        np.testing.assert_array_equal(found, binary.astype(int))
        assert np.issubdtype(found.dtype, np.integer)


def test_255_beside_other_labels_stays(tmp_path):
    values = np.where(LABELS == 4, 255, LABELS).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("mask.npy", LABELS.astype(float), "Expected whole numbers as labels; mask.npy holds float64"),
        ("mask.png", np.zeros((3, 4, 3), np.uint8), "Expected one number per pixel; mask.png holds colours"),
        ("mask.tif", np.zeros((5, 3, 9), np.uint8), "Expected a mask of one plane"),
        ("mask.jpg", LABELS, "Expected a mask as PNG, TIF, TIFF, NPY, BMP; got mask.jpg"),
    ],
)
def test_what_is_no_label_image_is_refused(tmp_path, name, values, sentence):
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, values)
    elif name.endswith("tif"):
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    with pytest.raises(AnnotationError, match=sentence):
        read_mask(path)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UnsupportedImageError, match=r"there is none at .*gone\.png"):
        read_mask(tmp_path / "gone.png")
    for name in ("mask.png", "mask.tif", "mask.npy"):
        (tmp_path / name).write_bytes(b"no picture at all")
        with pytest.raises(UnsupportedImageError, match=f"Expected a readable mask; {name} cannot"):
            read_mask(tmp_path / name)
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UnsupportedImageError, match="Expected a readable mask"):
        read_mask(tmp_path / "object.npy")


def test_pictures_too_large_for_memory_are_refused(tmp_path, monkeypatch):
    Image.fromarray(LABELS).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(UnsupportedImageError, match="Export it as TIFF, or at a coarser scale"):
        read_mask(tmp_path / "mask.png")


@pytest.mark.parametrize(
    ("labels", "void"),
    [([0, 1, 255], 255), ([1, 2, 255], 255), ([0, 1, 254], None), ([0, 255], None), ([0, 0], None)],
)
def test_255_beside_other_labels_means_not_annotated(labels: list[int], void: int | None) -> None:
    assert void_label(np.array([labels], np.uint8)) == void
    assert void_label(np.array([labels], np.int32)) is None


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_png_of_few_bits_keeps_its_labels(tmp_path: Path, bits: int) -> None:
    """Pillow spreads them over 0 to 255, where 3 of two bits would be 255, "not annotated"."""
    labels = (np.arange(64).reshape(8, 8) % 2**bits).astype(np.uint8)
    flat = np.unpackbits(labels[..., None], axis=-1)[..., -bits:].reshape(8, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in flat)
    header = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    (tmp_path / "few.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    np.testing.assert_array_equal(read_mask(tmp_path / "few.png"), labels)


def test_an_array_of_holes_is_no_mask(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 2), bool))
    header = path.read_bytes()[:-4].replace(b"(2, 2), }        ", b"(60000, 60000), }")
    path.write_bytes(header)
    os.truncate(path, len(header) + 60000**2)
    with pytest.raises(UnsupportedImageError, match=r"Expected bytes for the 3\.6 GB of pixels"):
        read_mask(path)
