"""Volumes as NIfTI, MetaImage and NRRD, through SimpleITK; an extra. A slice axis is like a time axis."""

import errno
import os
import re
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.files import special_kind
from napari_sslmaps.sources.axes import plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    decoding,
    levels_from_shapes,
    spacing_um,
    unit_um,
)
from napari_sslmaps.sources.channels import ChannelChoice
from napari_sslmaps.sources.claims import check_claim, check_packed, held_bytes
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.nifti import check_nifti, pair_of
from napari_sslmaps.sources.refusals import check_beside

LARGEST_BYTES = 8 * 2**30
"""What a volume may take: it is read whole."""
_LARGE = 2**31
"""What it may take that is stored in next to nothing, as masks are."""
_DAMAGE = (RuntimeError, OSError, ValueError, EOFError, zlib.error)
_AXES = "TZYX"
_DATA_FILE = re.compile(rb"(?im)^\s*(?:ElementDataFile\s*=|data ?file:)\s*([^\r\n]*)")
_INSIDE = ("LOCAL", "skip")
_UNITS = re.compile(rb'(?im)^(?:space )?units:\s*"([^"]*)"')
_SKIPPED = re.compile(rb"(?i)(?:byte|line) ?skip:\s*(\d{1,18})\s*$")
_MILLIMETRE = 1e3
_HEADER_BYTES, _FIELD_BYTES = 2**20, 900
_SAYS_SPACING = {
    ".mhd": rb"(?im)^\s*Element(Spacing|Size)\s*=",
    ".mha": rb"(?im)^\s*Element(Spacing|Size)\s*=",
    ".nrrd": rb"(?im)^(spacings|space directions):",
    ".nhdr": rb"(?im)^(spacings|space directions):",
}


class VolumeSource(SourceBase):
    """A volume, read whole when first needed; slices are frames, of time point after time point.

    Rows and columns are those of the file: nothing is turned to a patient's axes.

    Parameters
    ----------
    path
        Volume that SimpleITK reads, such as NIfTI or NRRD.
    channel
        Components of a pixel that are wanted.

    Raises
    ------
    MissingExtraError
        If SimpleITK is not installed.
    UnsupportedImageError
        If it is damaged, or too large for memory.
    """

    def __init__(self, path: Path, channel: ChannelChoice = None) -> None:
        require_extra("formats")
        import SimpleITK as itk  # noqa: N813  # as its documentation has it

        self._path, self._kept = path, DecodedCache(limit_bytes=0)  # one piece, and the newest always stays
        with decoding(path.name, "a readable volume", *_DAMAGE):
            _check_pair(path)
            check_nifti(path)
            _check_nrrd(path)
            files = _files_of(path)
            reader = itk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            parts = reader.GetNumberOfComponents()
            sizes = tuple(int(size) for size in reader.GetSize()[::-1])
            shape = (*sizes, parts) if parts > 1 else sizes
            dtype = _dtype(itk.GetPixelIDValueAsString(reader.GetPixelIDValue()))
            colours = dtype == np.uint8 and parts in (3, 4)  # else parts of a vector
            axes = _AXES[-len(sizes) :] + ("" if parts == 1 else "S" if colours else "C")
            spacing = reader.GetSpacing()
            self._plan = plan_axes(axes, shape, path.name, dtype, channel=channel)
            _check_size(shape, dtype, path)
            size, stored = prod(shape) * dtype.itemsize, sum(map(held_bytes, files))
            check_claim(size, stored, path.name)
            check_packed(size, stored, path.name, _LARGE)
        layout = ImageLayout(
            levels=levels_from_shapes([self._plan.shape_yx(shape)]),
            channels=self._plan.channels,
            dtype=dtype,
            frames=self._plan.frames,
            notes=self._plan.notes,
            contents=self._plan.contents,
            spacing_um_yx=spacing_um(spacing[1], spacing[0], _unit_um(path)),
        )
        super().__init__(re.sub(r"(\.nii)?\.[A-Za-z]+$", "", path.name), layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._path.name, "a readable volume", *_DAMAGE):
            whole = self._kept.get(0, self._whole)
        return self._plan.cut(whole, region)

    def _whole(self) -> NDArray[Any]:
        import SimpleITK as itk  # noqa: N813  # as its documentation has it

        pixels: NDArray[Any] = itk.GetArrayFromImage(itk.ReadImage(str(self._path)))
        return pixels

    def _release(self) -> None:
        self._kept.clear()


def _dtype(described: str) -> np.dtype[Any]:
    """Type of numbers that SimpleITK describes as ``16-bit signed integer``, ``vector of 32-bit float``."""
    found = re.search(r"(\d+)-bit (unsigned|signed)?\s*(integer|float)", described)
    if found is None:
        raise ValueError(f"its pixels are {described}")
    kind = "f" if found[3] == "float" else "u" if found[2] == "unsigned" else "i"
    width = int(found[1]) // 8
    return np.dtype(f"c{2 * width}" if described.startswith("complex") else f"{kind}{width}")


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size > LARGEST_BYTES:
        raise UnsupportedImageError(
            f"Expected a volume that fits into memory, at most {LARGEST_BYTES / 1e9:.0f} GB; {path.name} "
            f"takes {size / 1e9:.0f} GB. Save the slices that are of interest, or OME-Zarr."
        )


def _check_nrrd(path: Path) -> None:
    """Check the lines of an NRRD's header before ITK reads them: one that is too long ends the process.

    Raises
    ------
    ValueError
        If a field is longer than the reader has room for in what it says of it.
    """
    with path.open("rb") as file:
        header = re.split(rb"\r?\n\r?\n", file.read(_HEADER_BYTES), maxsplit=1)[0].splitlines()
    if not header or not header[0].startswith(b"NRRD"):
        return
    fields = (line for line in header if not line.startswith(b"#") and b":=" not in line)
    longest = max(map(len, fields), default=0)
    if longest > _FIELD_BYTES:
        raise ValueError(f"a line of its header has {longest:,} characters")
    skipped = [int(found[1]) for line in header if (found := _SKIPPED.match(line))]
    if max(skipped, default=0) > _HEADER_BYTES:  # ITK unpacks them one by one
        raise ValueError(f"it says that {max(skipped):,} bytes or lines come before its pixels")


def _check_pair(path: Path) -> None:
    """Look for the one file of pixels that a header is for, or for the header, before ITK does.

    Raises
    ------
    UnsupportedImageError
        If it is not there.
    """
    if path.suffix.lower() not in _SAYS_SPACING:
        for part in pair_of(path):
            check_beside(part, path)
        return
    named = _named_file(path)
    words = named.split()
    if not words or words[0] in (*_INSIDE, "LIST") or "%" in named:
        return
    if not (path.parent / words[0]).is_file():
        check_beside(path.parent / named, path)


def _named_file(path: Path) -> str:
    """Return what a header says of the file of its pixels; empty if it says nothing."""
    with path.open("rb") as file:
        found = _DATA_FILE.search(file.read(2**16))
    return found[1].decode(errors="replace").strip() if found else ""


def _files_of(path: Path) -> list[Path]:
    """List a volume's files: itself, and those that its header names.

    Raises
    ------
    OSError
        If one of these is no file.
    """
    if path.suffix.lower() not in _SAYS_SPACING:
        return sorted({*pair_of(path)})
    with path.open("rb") as file:
        start = file.read(2**16)
    found = _DATA_FILE.search(start)
    words = found[1].decode(errors="replace").split() if found else []
    if not words or words[0] in _INSIDE:
        return [path]
    named = (
        start[found.end() :].decode(errors="replace").split() if words[0] == "LIST" and found else words[:1]
    )
    for name in named:
        if Path(os.path.normpath(name)).anchor or os.path.normpath(name).startswith(".."):
            raise ValueError(f"{name:.80}, which it names, does not lie beside it")
    beside = [path.parent / name for name in named if "%" not in name]
    for file_beside in beside:
        special = special_kind(file_beside)
        if special:
            raise OSError(errno.EINVAL, f"{file_beside.name}, which it names, is {special}")
    there = [each for each in beside if each.is_file()]
    return [path, *(there or path.parent.iterdir())]


def _unit_um(path: Path) -> float | None:
    """Micrometres in a volume's unit of length; None where it says no spacing, for which ITK gives 1."""
    wanted = _SAYS_SPACING.get(path.suffix.lower())
    if wanted is None:
        return _MILLIMETRE
    with path.open("rb") as file:
        start = file.read(2**16)
    if re.search(wanted, start) is None:
        return None
    said = _UNITS.search(start)  # ITK takes all of NRRD for millimetres
    return (unit_um(said[1].decode(errors="replace")) if said else None) or _MILLIMETRE
