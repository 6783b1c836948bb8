"""Tiles → features, batch by batch: as many as run fastest, and fewer where memory is short."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.errors import CheckpointError, DeviceMemoryError
from napari_sslmaps.pipeline.free_memory import forget_peak, free_memory, resident_peak
from napari_sslmaps.pipeline.reading import read_ahead

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

_log = logging.getLogger(__name__)
Batch = tuple[Tile, ...]
Pixels: TypeAlias = NDArray[Any]
Features = TypeVar("Features")


def plan_batches(
    tiles: Sequence[Tile], size: int, focus_yx: tuple[float, float] | None = None
) -> list[Batch]:
    """Group tiles for the encoder, `size` at a time.

    Which tiles go together depends on the plan alone, not on where one looks or what is there already: a
    network's sums are rounded differently in a batch of another size.

    Parameters
    ----------
    tiles
        Tiles in the order of the plan.
    size
        Number of tiles per batch.
    focus_yx
        A position on the token grid; batches near it come first.
    """
    batches = [tuple(tiles[start : start + size]) for start in range(0, len(tiles), size)]
    if focus_yx is None:
        return batches
    return sorted(batches, key=lambda batch: min(tile.distance_to(focus_yx) for tile in batch))


class BatchSize:
    """Tiles per batch on the encoder's device.

    The wish depends on the kind of device and the tile alone, so that a run repeats bit for bit; only a lack
    of memory lowers it. On CUDA, and where little memory is free, the first batch is one tile, whose peak
    tells how many fit.

    Attributes
    ----------
    wanted
        Number of tiles per batch that suits the device, if memory is enough.
    now
        Tiles in the next batch.
    """

    def __init__(self, encoder: "Encoder", tile: Tile) -> None:
        self._device, self._shape = encoder.device, tile.shape
        on_gpu = self._device.startswith("cuda")
        self._measured = not on_gpu and free_memory() >= _PLENTY
        tokens, most = _GPU_TOKENS, _GPU_TILES
        if not on_gpu:
            tokens, most = (2 if encoder.precision == "bfloat16" else 1) * _CPU_TOKENS, _CPU_TILES
        self.wanted = min(most, max(1, tokens // (tile.shape[0] * tile.shape[1])))
        self.now = self.wanted if self._measured else 1

    def watch(self, encode: Callable[[], Features]) -> Features:
        """Encode a batch; the first is measured on CUDA, or where little memory is free."""
        if self._measured:
            return encode()
        self._measured = True
        if not self._device.startswith("cuda"):
            return self._watch_process(encode)
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        features = encode()
        peak = torch.cuda.max_memory_allocated(self._device) - before
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        self.now = fitting(self.wanted, peak, torch.cuda.mem_get_info(self._device)[0] + kept)
        return features

    def _watch_process(self, encode: Callable[[], Features]) -> Features:
        before = forget_peak()
        features = encode()
        peak = resident_peak()
        if before is not None and peak is not None:
            self.now = fitting(self.wanted, peak - before, free_memory())
        if self.now < self.wanted:
            _log.warning(
                "Little memory is free (%.1f GB): %d tiles are computed at a time instead of %d.",
                free_memory() / 1e9,
                self.now,
                self.wanted,
            )
        return features

    def halve(self, error: Exception) -> None:
        """Take half as many from now on, after a batch that did not fit.

        Raises
        ------
        DeviceMemoryError
            If that batch was one tile.
        """
        if self.now == 1:
            rows, cols = self._shape
            raise DeviceMemoryError(
                f"One tile of {rows} × {cols} tokens does not fit into the memory of {self._device}. "
                "Choose smaller tiles, half precision or the CPU."
            ) from error
        self.now //= 2


def encode_batches(
    read: Callable[[Tile], Pixels],
    batches: Sequence[Batch],
    encode: Callable[[Batch, Pixels], Features],
    size: BatchSize,
) -> Generator[tuple[Batch, Features]]:
    """Yield tiles and their features, a batch or a part of one at a time.

    The next batch is read while one is computed. A batch that does not fit into memory is halved.

    Parameters
    ----------
    read
        Function that reads a tile; safe to call from several threads.
    batches
        Batches in the order in which they are wanted.
    encode
        Function of tiles and their (B, H, W[, 3]) pixels.
    size
        Tiles per batch; lowered where memory is short.

    Raises
    ------
    DeviceMemoryError
        If not even one tile fits.
    """
    tiles = [tile for batch in batches for tile in batch]
    with closing(read_ahead(read, tiles, size.wanted)) as pixels_ahead:
        for batch in batches:
            pixels = np.stack(list(islice(pixels_ahead, len(batch))))
            done = 0
            while done < len(batch):
                part = slice(done, done + size.now)
                try:
                    features = size.watch(partial(encode, batch[part], pixels[part]))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    size.halve(error)
                    continue
                yield batch[part], features
                done = part.stop


def check_finite_tokens(bad: int, count: int, encoder: "Encoder") -> None:
    """Refuse tokens that are no numbers, where they appear: their maps would say something else is wrong.

    Parameters
    ----------
    bad, count
        Numbers of values that are not finite, and of all.
    encoder
        Encoder that gave them.

    Raises
    ------
    CheckpointError
        If there are any.
    """
    if bad:
        way_out = "Take other weights." if encoder.precision == "float32" else "Try precision='float32'."
        raise CheckpointError(
            f"Expected tokens that are finite numbers; {bad} of {count} values that {encoder.spec.name} "
            f"gives in {encoder.precision} are not: it overflows, or divides by zero. {way_out}"
        )


_CPU_TOKENS, _CPU_TILES = 2048, 16
"""In float32: four times as many leave the caches and are a tenth slower. In bfloat16 twice as many."""
_GPU_TOKENS, _GPU_TILES = 65_536, 64
_PLENTY = 2_000_000_000
"""Bytes from which a CPU is not asked how many tiles fit."""
_SHARE = 0.8
"""Share of the free memory that is used; an allocator loses some to fragments."""


def fitting(wanted: int, per_tile: int, free: int) -> int:
    """Return how many tiles of `per_tile` bytes to take, at most `wanted`, where `free` bytes are left."""
    return max(1, min(wanted, int(_SHARE * free) // max(1, per_tile)))


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or NumPy says that memory ran out."""
    import torch

    # On a CPU, torch says so in a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
