"""Progress of an embedding."""

from collections.abc import Callable
from dataclasses import dataclass

from napari_sslmaps.core.results import Embedding


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddingProgress:
    """Progress of an embedding.

    Parameters
    ----------
    done, total
        Number of tiles done, and of all tiles.
    seconds
        Seconds since the first tile was begun.
    embedding
        Embedding as far as it is computed, NaN elsewhere; its arrays are still being filled.
    restored
        Number of finished tiles that came from the cache.
    """

    done: int
    total: int
    seconds: float
    embedding: Embedding
    restored: int = 0

    @property
    def seconds_left(self) -> float:
        """Estimate from the pace of the tiles computed so far; 0 where none was."""
        return self.seconds / max(1, self.done - self.restored) * (self.total - self.done)


OnProgress = Callable[[EmbeddingProgress], None]
