"""How many tiles go into a batch: as many as run fastest, and fewer where memory is short."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.errors import DeviceMemoryError

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder
    from napari_sslmaps.encoders.protocol import TileFeatures

_CPU_TOKENS, _CPU_TILES = 8192, 16
_GPU_TOKENS, _GPU_TILES = 65_536, 64
_SHARE = 0.8
"""Of the free memory; an allocator loses some to fragments."""


class BatchSize:
    """Tiles per batch on the encoder's device.

    The wish depends on the kind of device and the tile alone, so that a run repeats bit for bit; only a lack
    of memory lowers it. On CUDA the first batch is one tile, whose peak memory tells how many fit.

    Attributes
    ----------
    wanted
        With enough memory.
    now
        Of the next batch.
    """

    def __init__(self, encoder: "Encoder", tile: Tile) -> None:
        self._device, self._shape = encoder.device, tile.shape
        self._measured = not self._device.startswith("cuda")
        tokens, most = (_CPU_TOKENS, _CPU_TILES) if self._measured else (_GPU_TOKENS, _GPU_TILES)
        self.wanted = min(most, max(1, tokens // (tile.shape[0] * tile.shape[1])))
        self.now = self.wanted if self._measured else 1

    def watch(self, encode: Callable[[], "TileFeatures"]) -> "TileFeatures":
        """Encode a batch; the first on CUDA is measured."""
        if self._measured:
            return encode()
        import torch

        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        features = encode()
        peak = torch.cuda.max_memory_allocated(self._device) - before
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        self.now = fitting(self.wanted, peak, torch.cuda.mem_get_info(self._device)[0] + kept)
        self._measured = True
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


def fitting(wanted: int, per_tile: int, free: int) -> int:
    """Return how many tiles of `per_tile` bytes to take, at most `wanted`, where `free` bytes are left."""
    return max(1, min(wanted, int(_SHARE * free) // max(1, per_tile)))


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or NumPy says that memory ran out."""
    import torch

    # On a CPU, torch says so in a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
