"""One image on a worker: place, memory, embedding, output and row."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.metadata import version
from math import log
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, cast

from napari_sslmaps.batch.store import Output, is_going_on, write_output
from napari_sslmaps.batch.summaries import score
from napari_sslmaps.batch.table import Row, spread_provenance
from napari_sslmaps.batch.tasks import BatchEncoder, BatchOptions, BatchTask, tiles_folder
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.frames import FrameEmbeddings
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.errors import (
    Cancelled,
    DeviceMemoryError,
    InvalidOptionError,
    RegionError,
    SSLMapsError,
    UnsupportedImageError,
    WeightsUnavailableError,
)
from napari_sslmaps.files import remove_folder
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.maps.frames import frame_maps
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import MapRequest, make_maps
from napari_sslmaps.pipeline.cost import beside_tokens
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.free_memory import free_memory
from napari_sslmaps.pipeline.planning import EmbeddingPlan, plan_at
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.sources.base import Contents, rename
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

_MANY_TILES = 64
_ONE_AT_A_TIME = Lock()  # an encoder's tap sees one forward pass; a worker may have several threads


def prepare(encoder: BatchEncoder, device: str, precision: str, package_version: str) -> str:
    """Load an encoder on this worker, and return the precision that it chose.

    Raises
    ------
    SSLMapsError
        If it cannot be loaded here, or this worker has another version of the package or other weights.
    """
    _check_version(package_version)
    with _ONE_AT_A_TIME:
        return _load(
            encoder.source, encoder.sha256, json.dumps(encoder.overrides), device, precision
        ).precision


def embed_task(task: BatchTask) -> tuple[Row, ...]:
    """Embed one image, or frames of one, and write the outputs.

    Returns
    -------
    tuple of Row
        Rows, one for each output; ``failed``, with the sentence, if the image cannot be embedded, or the run
        is over meanwhile.
    """
    try:
        _check_version(task.package_version)
        with _ONE_AT_A_TIME:
            return _embed(task)
    except SSLMapsError as error:
        return failed_rows(task, str(error))
    except MemoryError:
        return failed_rows(
            task,
            "Expected the image to fit into this worker's memory; it does not. Choose a coarser level, or "
            "fewer workers on the machine.",
        )


def failed_rows(task: BatchTask, sentence: str) -> tuple[Row, ...]:
    """Return the rows of a task that came to nothing."""
    return tuple(Row.failed(output, sentence) for output in task.outputs)


def _embed(task: BatchTask) -> tuple[Row, ...]:
    _check_running(task)
    maps, outputs = task.options.maps, task.outputs
    chosen = task.encoder
    encoder = _loaded(chosen.source, chosen.sha256, json.dumps(chosen.overrides), maps.device, maps.precision)
    encoder = encoder.at_block(maps.token_block, norm=maps.token_norm)
    start = perf_counter()
    tiling = Tiling(maps.tile, maps.overlap, cast("Stitching", maps.stitching))
    opening = replace(maps.opening, channel=task.item.channel or maps.channel)
    with open_image(task.item.image, **opening.keywords) as source:
        if task.options.anonymous:
            rename(source, task.item.name)
        region = choose_region(source, outputs[0].item, task.options)
        mask = task.options.mask or None
        # a level that was chosen by its spacing says its resolution itself
        resolution = "native" if task.options.spacing_um is not None else maps.resolution
        planned = plan_at(
            source, encoder.spec, region, tiling, resolution=resolution, mask=mask, stride=maps.stride
        )
        check_memory(planned, encoder.spec.architecture, len(outputs))
        tiles = _unfinished_tiles(task, planned)
        embeddings = embed(
            source,
            encoder,
            region=region,
            tiling=tiling,
            mask=mask if task.item.frames else planned.mask,  # which each frame has of its own
            resolution=resolution,
            stride=maps.stride,
            budget=budget_within(memory_limit()),
            cache=tiles,
            on_progress=lambda _: _check_running(task),
            frames=task.item.frames or None,
        )
        spacing = source.spacing_um_yx
        read: Contents = getattr(source, "contents", Contents())
        given = None if spacing is None else bool(getattr(source, "calibrated", False))
    each = embeddings if isinstance(embeddings, FrameEmbeddings) else (embeddings,)
    made = _maps(task, embeddings)
    seconds = (perf_counter() - start) / len(outputs)
    rows = []
    for one, embedding, found in zip(outputs, each, made, strict=True):
        row = replace(
            Row.started(one),
            **asdict(score(embedding, found, planned.tiles, planned.closer)),
            **spread_provenance(embedding.provenance),
            seconds=seconds,
            spacing_um=None if planned.spacing_um_yx is None else planned.spacing_um_yx[0],
            rows=embedding.grid.rows,
            cols=embedding.grid.cols,
            dim=embedding.tokens.shape[-1],
            series=read.series_read,
            channel=read.channels_read,
            spacing_given=given,
        )
        _check_running(task)
        output = Output(embedding, found, spacing, task.options.tokens, task.key, asdict(row))
        write_output(Path(one.folder), output, Path(task.unfinished))
        rows.append(row)
    if tiles is not None:
        remove_folder(tiles.folder)
    return tuple(rows)


def _unfinished_tiles(task: BatchTask, planned: EmbeddingPlan) -> Cache | None:
    """Where the tiles of a large image are kept until its output is there; None for a small one."""
    if planned.tile_count < _MANY_TILES:
        return None
    return Cache(tiles_folder(Path(task.unfinished).parent.parent, task.key), sys.maxsize, tiles_only=True)


def _maps(task: BatchTask, embeddings: Embedding | FrameEmbeddings) -> list[Mapping[str, TokenMap]]:
    """Make the maps of each output, those of frames alike."""
    maps, item = task.options.maps, task.item
    # a summary needs components and attention, whatever is wanted besides
    keys = tuple(dict.fromkeys(("attention", "pca", *maps.keys)))
    if isinstance(embeddings, Embedding):
        anchors = AnchorGroup("anchors", anchors=item.anchors, negative=item.negative)
        return [make_maps({0: embeddings}, MapRequest(keys, maps.maps, anchors))[0]]
    found = frame_maps(embeddings, keys, anchors=item.anchors, negative=item.negative, options=maps.maps)
    return [{key: frames.maps[index] for key, frames in found.items()} for index in range(len(embeddings))]


def _check_running(task: BatchTask) -> None:
    if not is_going_on(Path(task.unfinished)):
        raise Cancelled("The batch that asked for this image has been stopped.")


def _check_version(wanted: str) -> None:
    here = version("napari-sslmaps")
    if here != wanted:
        raise InvalidOptionError(
            f"Expected napari-sslmaps {wanted} on every worker; one has {here}. Install the same version."
        )


def _load(source: str, sha256: str, overrides: str, device: str, precision: str) -> "Encoder":
    encoder = load_encoder(source, device=device, precision=precision, **json.loads(overrides))
    if encoder.spec.sha256 != sha256:
        raise WeightsUnavailableError(
            f"Expected the same weights of {source} on every worker (sha256 {sha256[:12]}…); one has others "
            f"({encoder.spec.sha256[:12]}…). Install the same version there, or give a file that all see."
        )
    return encoder


_loaded = lru_cache(maxsize=4)(_load)
_MAPS_BYTES = 64
"""Per token: maps, scores of components, reciprocal lengths, foreground."""
_AROUND_BYTES = 2**28
"""For tiles that are read ahead and computed."""


def check_memory(planned: EmbeddingPlan, architecture: Architecture, frames: int = 1) -> None:
    """Refuse an image whose tokens would not fit into this worker.

    A worker that runs out of memory is killed, and the image is tried again on the others first.

    Parameters
    ----------
    planned, architecture
        Plan of one image or frame, and architecture of its encoder.
    frames
        Number of frames that are embedded together.

    Raises
    ------
    DeviceMemoryError
        If more is needed than the worker may have.
    """
    rows, cols = planned.grid.rows * frames, planned.grid.cols
    limit = memory_limit()
    width = architecture.token_width
    per_value = {"full": 4, "half": 2, "file": 0}[budget_within(limit).kept(rows, cols, width)]
    needed = rows * cols * (width * per_value + beside_tokens(architecture) + _MAPS_BYTES) + _AROUND_BYTES
    if needed > limit:
        raise DeviceMemoryError(
            f"Expected an image whose tokens fit into a worker's {limit / 1e9:.1f} GB; "
            f"{planned.describe()}{f' in each of {frames} frames' if frames > 1 else ''} need about "
            f"{needed / 1e9:.1f} GB. Choose a coarser level or spacing, regions, "
            f"{'fewer frames, ' if frames > 1 else ''}or fewer workers."
        )


def budget_within(limit: int) -> TokenBudget:
    """Return how tokens are kept in `limit` bytes: half of them at the most in memory, the rest in a file."""
    return TokenBudget.named().within(limit // 2)


def memory_limit() -> int:
    """Return the bytes that this worker may have, and are free; outside a worker, those of the machine."""
    from distributed import get_worker
    from distributed.system import MEMORY_LIMIT

    try:
        limit = get_worker().memory_manager.memory_limit
    except ValueError:  # no worker
        limit = None
    return min(int(limit or MEMORY_LIMIT), free_memory())


_NEAR = 1.5


def choose_region(source: ImageSource, item: BatchItem, options: BatchOptions) -> Region:
    """Return the rectangle to embed.

    The item's level wins over the wanted spacing, and that over the batch's level.

    Raises
    ------
    RegionError
        If there is no such level.
    UnsupportedImageError
        If a spacing is wanted and the image does not say its own, or has no level within a factor of 1.5.
    """
    if item.level is None and options.spacing_um is not None:
        level = _level_near(source, options.spacing_um, Path(item.image).name)
    else:
        level = options.level if item.level is None else item.level
    if level >= len(source.levels):
        raise RegionError(
            f"Expected a level below {len(source.levels)} of {Path(item.image).name}; got {level}. "
            "Give another, or a spacing, which finds each image's own level."
        )
    rectangle = item.region or (0, 0, *source.levels[level].shape_yx)
    return Region(*rectangle, level, item.frame)


def _level_near(source: ImageSource, wanted: float, name: str) -> int:
    finest = source.spacing_um_yx
    if finest is None:
        raise UnsupportedImageError(
            f"Expected an image that says its spacing, as {wanted:g} µm/px is wanted; {name} does not. "
            "Give its level, for example in a CSV."
        )
    spacings = [
        (finest[0] * finest[1] * level.downsample_yx[0] * level.downsample_yx[1]) ** 0.5
        for level in source.levels
    ]
    distances = [abs(log(spacing / wanted)) for spacing in spacings]
    nearest = distances.index(min(distances))
    if distances[nearest] > log(_NEAR):
        there = ", ".join(f"{spacing:.3g}" for spacing in spacings)
        raise UnsupportedImageError(
            f"Expected a level within a factor of {_NEAR:g} of {wanted:g} µm/px; {name} has {there}. Another "
            "scale would make its scores incomparable: give the level, or leave the image out."
        )
    return nearest
