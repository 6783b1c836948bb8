"""Speed of this machine, encoder by encoder, at embedding and answering: ``napari-sslmaps bench``.

What the package costs over bare networks and rivals is measured in the repository's ``benchmarks/``.
"""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from napari_sslmaps.core.findings import Cell, Table
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.pipeline.embedding import embed

SIDES = (64, 8192)
"""Pixels along the shortest and the longest region that is measured."""
_REPEATS = 3
_COLUMNS = (
    "Encoder",
    "Device",
    "Precision",
    "Load (s)",
    "Embed (s)",
    "Megapixels/s",
    "Click (ms)",
    "PCA (ms)",
)


def measure(
    names: Sequence[str],
    *,
    side: int = 512,
    device: str = "auto",
    precision: str = "auto",
    on_encoder: Callable[[str], None] | None = None,
) -> Table:
    """Measure encoders on a square of noise; the best of three, after one to warm up.

    Parameters
    ----------
    names
        Names or paths, as `load_encoder` takes them.
    side
        Pixels along the square.
    device, precision
        Device and precision as `load_encoder` takes them.
    on_encoder
        Callback, called with each name before it is measured; may raise `Cancelled` to stop.

    Returns
    -------
    Table
        A row per encoder. Embedding counts reading, scan, attention and stitching; ``Click`` is a similarity
        map of one anchor, ``PCA`` its fit and its colours.

    Raises
    ------
    InvalidOptionError
        If there is no encoder, or the side is out of range.
    """
    if not names or not SIDES[0] <= side <= SIDES[1]:
        raise InvalidOptionError(
            f"Expected at least one encoder and a side from {SIDES[0]} to {SIDES[1]} px; got "
            f"{', '.join(names) or 'no encoder'} and {side} px."
        )
    rows = []
    for name in names:
        if on_encoder is not None:
            on_encoder(name)
        rows.append(_measure_one(name, side, device, precision))
    note = f"{side} × {side} px of noise, the best of {_REPEATS}, on this machine as busy as it was."
    return Table("Speed on this machine", _COLUMNS, tuple(rows), (note,), "bench")


def _measure_one(name: str, side: int, device: str, precision: str) -> tuple[Cell, ...]:
    start = perf_counter()
    encoder = load_encoder(name, device=device, precision=precision)
    loading = perf_counter() - start
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    embedding = embed(image, encoder)
    anchor = [(side / 2, side / 2)]
    embedding_s = _best(lambda: embed(image, encoder))
    return (
        encoder.spec.name,
        encoder.device,
        encoder.precision,
        loading,
        embedding_s,
        side * side / 1e6 / embedding_s,
        1e3 * _best(lambda: similarity_map(embedding, anchor, centred=False)),
        1e3 * _best(lambda: pca_map(embedding)),
    )


def _best(work: Callable[[], object]) -> float:
    """Seconds of the quickest of some runs, after one that is not counted."""
    taken = []
    for _ in range(_REPEATS + 1):
        start = perf_counter()
        work()
        taken.append(perf_counter() - start)
    return min(taken[1:])
