"""Whether an embedding fits into a worker, asked before anything is computed."""

from napari_sslmaps.encoders.spec import Architecture, token_width
from napari_sslmaps.errors import DeviceMemoryError
from napari_sslmaps.pipeline import EmbeddingPlan

_COPIES = 2.5
"""Of the tokens in single precision, at the most: the tokens, those that PCA is fitted on, maps of them."""


def check_memory(planned: EmbeddingPlan, architecture: Architecture) -> None:
    """Refuse an image whose tokens would not fit into this worker.

    A worker that runs out of memory is killed, and the image is tried again on the others first.

    Raises
    ------
    DeviceMemoryError
        If more is needed than the worker may have.
    """
    rows, cols = planned.grid.shape
    needed = rows * cols * token_width(architecture) * 4 * _COPIES
    limit = memory_limit()
    if needed > limit:
        raise DeviceMemoryError(
            f"Expected an image whose tokens fit into a worker's {limit / 1e9:.1f} GB; "
            f"{planned.describe()} need about {needed / 1e9:.1f} GB. Choose a coarser level or spacing, "
            "regions, or fewer workers."
        )


def memory_limit() -> int:
    """Return the bytes that this worker may have; outside a worker, those of the machine."""
    from distributed import get_worker
    from distributed.system import MEMORY_LIMIT

    try:
        limit = get_worker().memory_manager.memory_limit
    except ValueError:  # no worker
        limit = None
    return int(limit or MEMORY_LIMIT)
