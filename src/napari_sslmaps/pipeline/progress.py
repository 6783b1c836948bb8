"""How far an embedding is."""

from collections.abc import Callable
from dataclasses import dataclass

from napari_sslmaps.core.results import Embedding


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddingProgress:
    """How far an embedding is.

    Parameters
    ----------
    done, total
        Number of tiles done, and of all tiles.
    seconds
        Since the first tile was begun.
    embedding
        What there is so far, NaN elsewhere; its arrays are still being filled.
    restored
        How many of the tiles done came from the cache.
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
