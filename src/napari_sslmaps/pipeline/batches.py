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

Batch = tuple[Tile, ...]
Encoded = tuple[Batch, Float32, "TileFeatures"]


def plan_batches(
    tiles: Sequence[Tile], size: int, focus_yx: tuple[float, float] | None = None
) -> list[Batch]:
    """Group tiles for the encoder, `size` at a time.

    Which tiles go together depends on the plan alone, not on where one looks or what is there already: a
    network's sums are rounded differently in a batch of another size.

    Parameters
    ----------
    tiles
        In the order of the plan.
    size
        Tiles per batch.
    focus_yx
        A position on the token grid; batches near it come first.
    """
    batches = [tuple(tiles[start : start + size]) for start in range(0, len(tiles), size)]
    if focus_yx is None:
        return batches
    return sorted(batches, key=lambda batch: min(tile.distance_to(focus_yx) for tile in batch))


def encode_batches(
    reader: TileReader, batches: Sequence[Batch], encoder: "Encoder", size: BatchSize
) -> Generator[Encoded]:
    """Yield tiles, their (B, H, W, 3) pixels and their features, a batch or a part of one at a time.

    The next batch is read while one is computed. A batch that does not fit into memory is halved.

    Raises
    ------
    DeviceMemoryError
        If not even one tile fits.
    """
    tiles = [tile for batch in batches for tile in batch]
    with closing(read_ahead(reader.read, tiles, size.wanted)) as pixels_ahead:
        for batch in batches:
            pixels = np.stack(list(islice(pixels_ahead, len(batch))))
            done = 0
            while done < len(batch):
                part = slice(done, done + size.now)
                features = _encode(encoder, pixels[part], size)
                if features is not None:
                    yield batch[part], pixels[part], features
                    done = part.stop


def _encode(encoder: "Encoder", pixels: Float32, size: BatchSize) -> "TileFeatures | None":
    """Return the features, or None where the batch had to be halved."""
    try:
        return size.watch(lambda: encoder.encode(pixels))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size.halve(error)
        return None
