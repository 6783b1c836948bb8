"""Embedding several frames of an image, one after the other, all in one window of intensities."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np

from napari_sslmaps.core.frames import FrameEmbeddings, FramesLike, chosen_frames
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.pipeline.planning import RegionLike, region_on
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import scan_region

_LOOKED_AT = 8

EmbedOne = Callable[[Region, tuple[float, float], TokenBudget, OnProgress | None], Embedding]
"""Embeds a region in a window, within a budget."""


def embed_each(
    embed_one: EmbedOne,
    source: ImageSource,
    region: RegionLike | None,
    frames: FramesLike,
    *,
    window: tuple[float, float] | None,
    budget: TokenBudget | None,
    on_progress: OnProgress | None,
) -> FrameEmbeddings:
    """Embed the same rectangle of each frame.

    Parameters
    ----------
    embed_one
        Function that embeds one frame.
    source, region
        Image, and the rectangle; all of the finest level if omitted.
    frames
        Frames to embed: ``all``, numbers, a range, or text such as ``0:20:2``.
    window
        Intensities that become 0 and 1; `common_window` if omitted.
    budget
        Budget for the tokens of all frames together; `TokenBudget.from_environment` if omitted.
    on_progress
        Callback, told of the tiles of all frames together.
    """
    numbers = chosen_frames(frames, source.frames)
    area = region_on(source, region)
    regions = [replace(area, frame=number) for number in numbers]
    chosen = common_window(source, regions) if window is None else window
    share = (budget or TokenBudget.from_environment()).shared(len(regions))
    start = perf_counter()

    def report(before: int, progress: EmbeddingProgress) -> None:
        if on_progress is not None:
            tiles, seconds = progress.total, perf_counter() - start
            done, total = before * tiles + progress.done, len(regions) * tiles
            on_progress(replace(progress, done=done, total=total, seconds=seconds))

    made = (embed_one(one, chosen, share, partial(report, before)) for before, one in enumerate(regions))
    return FrameEmbeddings(numbers, tuple(made))


def common_window(source: ImageSource, regions: list[Region]) -> tuple[float, float]:
    """Return one window for frames, from the darkest to the brightest of those of up to 8 of them."""
    spread = np.unique(np.linspace(0, len(regions) - 1, min(_LOOKED_AT, len(regions))).round().astype(int))
    windows = [scan_region(source, regions[at]).window for at in spread]
    return min(low for low, _ in windows), max(high for _, high in windows)
