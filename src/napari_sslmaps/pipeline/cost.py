"""Cost of a plan: bytes read and kept, operations, seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from napari_sslmaps.core.tiling import Tile
from napari_sslmaps.core.units import duration, size_text
from napari_sslmaps.encoders.spec import Architecture, EncoderSpec
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.pipeline.token_store import TokenBudget

_FLOAT_BYTES = 4
_FRAME_BYTES = 64e6
"""Tokens of the coarser level that follows a drag over a large region."""
_MAPS_BYTES = 64
"""Bytes of maps, scores of components and reciprocal lengths, per token."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Speed of an encoder on a device.

    Parameters
    ----------
    seconds
        Seconds per unit of `work_of`.
    device
        Device on which it was measured.
    """

    seconds: float
    device: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Time and bytes that a run takes.

    Parameters
    ----------
    megabytes
        Memory (10⁶ bytes) that tokens, attention and the tokens of coarser levels keep.
    seconds
        Estimate, or None while a pace is not known.
    device
        Device of the run; empty while not known.
    """

    megabytes: float
    seconds: float | None
    device: str

    def describe(self) -> str:
        """Say it in a few words: ``25 MB, about 3 s on cuda:0``."""
        memory = size_text(self.megabytes)
        return (
            memory if self.seconds is None else f"{memory}, about {duration(self.seconds)} on {self.device}"
        )


def cost_of(
    specs: Sequence[EncoderSpec],
    plans: Sequence[EmbeddingPlan],
    throughputs: Sequence[Throughput | None],
    reading: float = 0.0,
) -> Cost:
    """Add up what encoders will take.

    Parameters
    ----------
    specs, plans, throughputs
        Encoders, in the same order.
    reading
        Seconds per pixel of the region's level.
    """
    megabytes = sum(kept_bytes(spec, planned) for spec, planned in zip(specs, plans, strict=True)) / 1e6
    known = [pace for pace in throughputs if pace is not None]
    if len(known) < len(specs):
        return Cost(megabytes, None, "")
    works = [work_of_plan(spec.architecture, planned) for spec, planned in zip(specs, plans, strict=True)]
    seconds = sum(
        max(work * pace.seconds, reading * _pixels_read(planned)) + reading * _pixels_scanned(planned)
        for work, pace, planned in zip(works, known, plans, strict=True)
    )
    return Cost(megabytes, seconds, known[-1].device if known else "")


def _pixels_read(planned: EmbeddingPlan) -> int:
    """Pixels that tiles read while others are computed, overlaps included."""
    return planned.computed_tokens * planned.runs[0].stride ** 2


def _pixels_scanned(planned: EmbeddingPlan) -> float:
    """Pixels that are looked at before the first tile is computed."""
    tiles = planned.tiles
    share = len(tiles) / (len(tiles.rows) * len(tiles.cols))
    return planned.region.height * planned.region.width * share


def work_of(architecture: Architecture, tiles: Sequence[Tile]) -> float:
    """Count what tiles of equal size ask of a network, overlaps included, in its family's units."""
    return len(tiles) * architecture.work(*tiles[0].shape)


def work_of_plan(architecture: Architecture, planned: EmbeddingPlan) -> float:
    """Count what all tiles of a plan, of every pass, ask of a network; see `work_of`."""
    return sum(work_of(architecture, part.tiles) for part in planned.runs)


def beside_tokens(architecture: Architecture) -> int:
    """Return the bytes that a token's attention, of every head, or its activation takes."""
    return max(1, architecture.attention_heads) * _FLOAT_BYTES


def kept_bytes(spec: EncoderSpec, planned: EmbeddingPlan) -> float:
    """Return the bytes that an embedding and its maps keep in memory."""
    (rows, cols), dim = planned.grid.shape, spec.architecture.token_width
    per_value = {"full": 4, "half": 2, "file": 0}[TokenBudget.from_environment().kept(rows, cols, dim)]
    whole = rows * cols * dim * _FLOAT_BYTES
    coarse = _FRAME_BYTES if whole > _FRAME_BYTES else 0
    return rows * cols * (dim * per_value + beside_tokens(spec.architecture) + _MAPS_BYTES) + coarse
