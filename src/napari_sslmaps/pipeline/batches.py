"""Tiles → features, batch by batch, in as much memory as there is."""

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.pipeline.memory import BatchSize, is_out_of_memory
from napari_sslmaps.pipeline.reading import TileReader, read_ahead

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.protocol import TileFeatures

Batch = tuple[list[Tile], Float32, "TileFeatures"]


def encode_tiles(reader: TileReader, tiles: Sequence[Tile], encoder: "Encoder") -> Generator[Batch]:
    """Yield batches of tiles, their (B, H, W, 3) pixels and their features.

    The next batch is read while one is computed. On a GPU the first batch is one tile, which shows how many
    fit. A batch that does not fit is halved, and so are those after it.

    Raises
    ------
    DeviceMemoryError
        If not even one tile fits.
    """
    if not tiles:
        return
    size = BatchSize(encoder, tiles[0])
    pixels_ahead = read_ahead(reader.read, tiles, size.wanted)
    with closing(pixels_ahead):
        done = 0
        while done < len(tiles):
            held = np.stack(list(islice(pixels_ahead, size.now)))
            stop = done + len(held)
            while done < stop:
                pixels = held[done - stop :][: size.now]
                features = _encode(encoder, pixels, size)
                if features is not None:
                    yield list(tiles[done : done + len(pixels)]), pixels, features
                    done += len(pixels)


def _encode(encoder: "Encoder", pixels: Float32, size: "BatchSize") -> "TileFeatures | None":
    """Return the features, or None where the batch had to be halved."""
    try:
        return size.watch(lambda: encoder.encode(pixels))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size.halve(error)
        return None
