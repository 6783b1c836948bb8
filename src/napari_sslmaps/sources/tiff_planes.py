"""The planes of one level of a TIFF series: read by rows where stored plainly, else tile by tile."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.claims import check_claim, check_coded, check_packed
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.orientation import Box

LARGEST_PIECE = 2**31
"""Bytes of pixels that one tile or strip may decode to."""
JPEG = (6, 7, 34892, 33007)
_DEFLATE = (8, 32946, 50013)


def pieces_of(page: Any) -> tuple[int, int, int]:
    """Return how many tiles or strips of a page lie across and down, and the bytes of pixels in one."""
    tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    if min(tall, wide) < 1:
        raise tifffile.TiffFileError(f"its tiles are of {tall} × {wide} px")
    _, _, height, width, together = page.shaped
    return -(-width // wide), -(-height // tall), tall * wide * together * page.dtype.itemsize


class TiffPlanes:
    """Planes of rows, columns and samples; several threads decode at once, only the file is read in turn.

    Parameters
    ----------
    series
        A level of a tifffile series; its leading axes count planes.
    files
        Reader of bytes; all levels of a file share it and its lock.
    kept
        Decoded tiles and strips, shared with the other levels.
    level
        Number of this level, to tell its pieces from the others'.
    fill
        Samples of a tile that the file leaves out; the file's "no data" value if omitted.
    """

    def __init__(
        self,
        series: Any,
        files: tifffile.FileCache,
        kept: DecodedCache,
        level: int,
        fill: tuple[int, ...] | None = None,
    ) -> None:
        self._series, self._files, self._kept, self._level = series, files, kept, level
        page = self._keyframe = series.keyframe
        missing = page.nodata if fill is None else fill
        self._fill = np.resize(missing, (page.shaped[0], page.shaped[4]))  # per sample
        tall = page.tilelength if page.is_tiled else page.rowsperstrip
        self._piece_shape = int(tall), int(page.tilewidth if page.is_tiled else page.imagewidth)
        if min(self._piece_shape) < 1:
            raise tifffile.TiffFileError(
                f"its tiles are of {self._piece_shape[0]} × {self._piece_shape[1]} px"
            )

    def read(self, plane: int, box: Box) -> NDArray[Any]:
        """Read (height, width, samples) of a plane.

        Raises
        ------
        tifffile.TiffFileError
            If bytes are missing.
        UnsupportedImageError
            If a tile or strip is too large to be decoded at once.
        """
        page, offset = self._page(plane)
        if page is None:
            raise tifffile.TiffFileError(f"plane {plane + 1} is missing; another file may hold it")
        if page.is_final:
            return self._plain(page, offset, box)
        return self._decoded(page, plane, box)

    def _page(self, plane: int) -> tuple[Any, int]:
        """Page that holds the plane, and where its pixels start if they follow those of an earlier page."""
        contiguous = self._series.dataoffset
        if contiguous is not None:
            return self._keyframe, contiguous + plane * self._keyframe.nbytes
        with self._files.lock:
            page = self._series[plane]
        return page, page.dataoffsets[0] if page is not None and page.dataoffsets else 0

    def _plain(self, page: Any, offset: int, box: Box) -> NDArray[Any]:
        """Read rows that lie one after the other, whole ones if most of them is wanted anyway."""
        separate, _, height, width, together = page.shaped
        rows, cols = box
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        tall, wide, pixel = rows.stop - rows.start, cols.stop - cols.start, together * dtype.itemsize
        runs, length, left = (1, tall * width, cols.start) if 2 * wide > width else (tall, wide, 0)
        block = np.empty((separate, tall, wide, together), dtype)
        for sample in range(separate):
            first = (sample * height + rows.start) * width + cols.start - left
            for run in range(runs):
                data = self._bytes(page, offset + (first + run * width) * pixel, length * pixel)
                read = np.frombuffer(data, dtype).reshape(tall // runs, -1, together)
                block[sample, run : run + tall // runs] = read[:, left : left + wide]
        return _samples_last(block)

    def _decoded(self, page: Any, plane: int, box: Box) -> NDArray[Any]:
        separate, _, _, _, together = self._keyframe.shaped
        rows, cols = box
        shape = (separate, rows.stop - rows.start, cols.stop - cols.start, together)
        block = np.empty(shape, self._series.dtype)
        for index, sample, y, x in self._touched(box):
            piece = self._piece(page, plane, index)
            into, source = _overlap(box, (y, x), self._piece_shape)
            block[sample, *into] = self._fill[sample] if piece is None else piece[source]
        return _samples_last(block)

    def _touched(self, box: Box) -> Iterator[tuple[int, int, int, int]]:
        """Index, separate sample, first row and first column of each tile or strip that the box touches."""
        separate, _, height, width, _ = self._keyframe.shaped
        tall, wide = self._piece_shape
        down, across = -(-height // tall), -(-width // wide)
        rows, cols = box
        for sample in range(separate):
            for row in range(rows.start // tall, -(-rows.stop // tall)):
                for col in range(cols.start // wide, -(-cols.stop // wide)):
                    yield (sample * down + row) * across + col, sample, row * tall, col * wide

    def _piece(self, page: Any, plane: int, index: int) -> NDArray[Any] | None:
        """Return (height, width, samples) of a tile or strip; None if the file leaves it out."""
        if index >= len(page.dataoffsets) or index >= len(page.databytecounts):
            return None  # Philips leaves out the last row of tiles
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        self._check_size(int(count))
        if not (offset and count):
            return None
        return self._kept.get(
            (self._level, plane, index), lambda: self._decode(page, index, int(offset), int(count))
        )

    def _decode(self, page: Any, index: int, offset: int, count: int) -> NDArray[Any]:
        data = self._bytes(page, offset, count)
        tables = {}
        if self._keyframe.compression in JPEG:
            tables = {"jpegtables": page.jpegtables, "jpegheader": self._keyframe.jpegheader}
        check_coded(data, self._piece_shape)
        try:
            segment, _, _ = self._keyframe.decode(data, index, **tables)
        except RuntimeError:  # of imagecodecs
            if self._keyframe.compression not in _DEFLATE or self._keyframe.is_tiled:
                raise
            segment, _, _ = self._keyframe.decode(self._without_more_rows(data, index), index)
        pixels: NDArray[Any] = segment[0]
        return pixels

    def _without_more_rows(self, data: bytes, index: int) -> bytes:
        """Cut a last strip to the rows that the image has: some writers fill it like the others."""
        page, tall = self._keyframe, self._piece_shape[0]
        _, _, height, width, together = page.shaped
        rows = min(tall, height - index % -(-height // tall) * tall)
        bits = width * together * int(page.bitspersample)
        return zlib.compress(zlib.decompressobj().decompress(data, rows * -(-bits // 8)), level=0)

    def _bytes(self, page: Any, offset: int, count: int) -> bytes:
        data: bytes = self._files.read(page.parent.filehandle, offset, count)
        if len(data) < count:
            raise tifffile.TiffFileError(f"it ends {count - len(data)} bytes early")
        return data

    def _check_size(self, stored: int) -> None:
        tall, wide = self._piece_shape
        size = tall * wide * self._keyframe.shaped[4] * self._series.dtype.itemsize
        if size > LARGEST_PIECE:
            raise UnsupportedImageError(
                f"Expected pixels compressed in tiles; this file has {tall} × {wide} px in one piece, "
                f"{size / 1e9:.0f} GB. Convert it to a tiled, pyramidal TIFF and open that."
            )
        if stored:
            check_claim(size, stored, "a tile or strip of this file")
            check_packed(size, stored, "a tile or strip of this file")


def _samples_last(stored: NDArray[Any]) -> NDArray[Any]:
    """(separate samples, height, width, samples) → (height, width, all samples)."""
    return stored[0] if len(stored) == 1 else np.moveaxis(stored[..., 0], 0, -1)


def _overlap(box: Box, origin_yx: tuple[int, int], shape: tuple[int, int]) -> tuple[Box, Box]:
    """Where a piece lies in the block that is asked for, and which part of the piece that is."""
    into, source = [], []
    for wanted, start, size in zip(box, origin_yx, shape, strict=True):
        first, last = max(wanted.start, start), min(wanted.stop, start + size)
        into.append(slice(first - wanted.start, max(first, last) - wanted.start))
        source.append(slice(first - start, max(first, last) - start))
    return (into[0], into[1]), (source[0], source[1])
