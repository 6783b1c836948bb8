"""Whether an embedding fits into a worker, asked before anything is computed."""

from dataclasses import replace

from napari_sslmaps.encoders.spec import Architecture, ViTArchitecture
from napari_sslmaps.errors import DeviceMemoryError
from napari_sslmaps.pipeline import EmbeddingPlan
from napari_sslmaps.pipeline.token_store import TokenBudget

_MAPS_BYTES = 64
"""Per token: maps, scores of components, reciprocal lengths, foreground."""
_AROUND_BYTES = 2**28
"""For tiles that are read ahead and computed."""


def check_memory(planned: EmbeddingPlan, architecture: Architecture) -> None:
    """Refuse an image whose tokens would not fit into this worker.

    A worker that runs out of memory is killed, and the image is tried again on the others first.

    Raises
    ------
    DeviceMemoryError
        If more is needed than the worker may have.
    """
    rows, cols = planned.grid.shape
    limit = memory_limit()
    width = architecture.token_width
    per_value = {"full": 4, "half": 2, "file": 0}[budget_within(limit).kept(rows, cols, width)]
    heads = architecture.heads if isinstance(architecture, ViTArchitecture) else 1
    needed = rows * cols * (width * per_value + 4 * heads + _MAPS_BYTES) + _AROUND_BYTES
    if needed > limit:
        raise DeviceMemoryError(
            f"Expected an image whose tokens fit into a worker's {limit / 1e9:.1f} GB; "
            f"{planned.describe()} need about {needed / 1e9:.1f} GB. Choose a coarser level or spacing, "
            "regions, or fewer workers."
        )


def budget_within(limit: int) -> TokenBudget:
    """Return how tokens are kept in `limit` bytes: half of them at the most in memory, the rest in a file."""
    named = TokenBudget.from_environment()
    return replace(
        named,
        full_bytes=min(named.full_bytes, limit // 2),
        memory_bytes=min(named.memory_bytes, limit // 2),
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
