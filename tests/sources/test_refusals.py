"""Files that are whole and do not open: each is named, with a way out, and none is called damaged."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image

NIFTI_2 = gzip.compress(b"\x1c\2\0\0n+2\0\r\n\x1a\n" + bytes(528), mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.svs", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        ("a.mrxs", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        ("a.tif", b"<!DOCTYPE html><html><title>Sign in</title></html>", "is a web page.*download"),
        ("a.tif", b"\n <html><body>403</body></html>", "is a web page"),
        ("a.tif", b"\xef\xbb\xbf<html><body>403</body></html>", "is a web page"),
        ("a.dcm", b"<!DOCTYPE html><html><title>Sign in</title></html>", "is a web page.*download"),
        ("a.dcm", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
        ("a.svs", b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "AccessDenied"),
        ("a.tif", b'{"message": "Not Found"}', 'a server answered instead.*"Not Found"'),
        (
            "a.nd2",
            b"\xda\xce\xbe\x0a" + bytes(60),
            r"a Nikon ND2\. Convert it: bioformats2raw a\.nd2 image\.zarr",
        ),
        ("a.lif", b"\x70\0\0\0\x10\0\0\0\x2a" + bytes(60), "a Leica LIF.*bioformats2raw"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file.*h5py"),
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(60), r"an HEIC photo.*magick a\.heic"),
        ("a.psd", b"8BPS" + bytes(60), "a Photoshop file"),
        ("a.qoi", b"qoif" + bytes(60), r"a QOI picture.*magick a\.qoi"),
        ("a.pdf", b"%PDF-1.7" + bytes(60), "a PDF"),
        ("a.gz", b"\x1f\x8b\x08" + bytes(60), r"gunzip a\.gz"),
        (
            "a.nii",
            b"\x1c\2\0\0n+2\0\r\n\x1a\n" + bytes(528),
            r"is NIfTI-2\. Convert it: nibabel.*load\('a\.nii'",
        ),
        ("a.nii.gz", NIFTI_2, r"a\.nii\.gz is NIfTI-2"),
        ("a.oib", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60), "an Olympus OIB.*bioformats2raw"),
        ("a.jxr", b"II\xbc\x01" + bytes(60), "a JPEG XR picture"),
        ("a.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(60), r"loadmat\('a\.mat'\)"),
        (
            "a.isyntax",
            b'<?xml version="1.0" encoding="UTF-8"?>\n<DataObject ObjectType="DPUfsImport">' + bytes(60),
            r"a Philips iSyntax\. Export it.*isyntax-to-tiff a\.isyntax",
        ),
    ],
)
def test_a_format_that_does_not_open_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnsupportedImageError, match=words) as caught:
        open_image(tmp_path / name)
    assert "amaged" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".vsi", ".tif"])
def test_an_olympus_vsi_is_refused_for_the_slide_beside_it(suffix: str, tmp_path: Path) -> None:
    path, overview = tmp_path / f"scan{suffix}", np.zeros((20, 30, 3), np.uint8)
    tifffile.imwrite(path, overview, photometric="rgb")
    stack = tmp_path / "_scan_" / "stack1"
    stack.mkdir(parents=True)
    (stack / "frame_t_0.ets").write_bytes(b"SIS\0")
    words = (
        r"an Olympus VSI, whose slide lies in _scan_/stack1/frame_t_0\.ets\. Convert .* bioformats2raw scan"
    )
    with pytest.raises(UnsupportedImageError, match=words):
        open_image(path)
    with open_image(path, series=0) as source:
        np.testing.assert_array_equal(source.read(Region(0, 0, 20, 30)), overview)


def test_a_vsi_alone_says_what_is_missing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.vsi", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(UnsupportedImageError, match=r"slide lies in _scan_/stack1/\*\.ets"):
        open_image(tmp_path / "scan.vsi")


def test_an_mrxs_without_its_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff" + bytes(200))
    with pytest.raises(UnsupportedImageError, match="The folder a that belongs beside it is missing"):
        open_image(tmp_path / "a.mrxs")


def test_a_zarr_folder_of_pointers_is_told_as_that(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    (folder / ".zattrs").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    with pytest.raises(UnsupportedImageError, match=r"a\.zarr/\.zattrs is the pointer.*git lfs pull"):
        open_image(folder)


def test_a_tiff_of_more_pixels_than_can_be_counted_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 96), np.uint8), rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(2**32 - 1, dtype="I")
    with pytest.raises(UnsupportedImageError, match=r"it says \d+ tiles or strips, and lists 4"):
        open_image(path)
