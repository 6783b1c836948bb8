"""On a worker: order → output and row."""

import json
import sys
from dataclasses import asdict, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, cast

from napari_sslmaps.batch.memory import budget_within, check_memory, memory_limit
from napari_sslmaps.batch.orders import BatchEncoder, Order, tiles_folder
from napari_sslmaps.batch.place import choose_region
from napari_sslmaps.batch.scores import score
from napari_sslmaps.batch.store import Output, write_output
from napari_sslmaps.batch.table import Row, spread_provenance
from napari_sslmaps.cache import Cache
from napari_sslmaps.cache.files import remove_folder
from napari_sslmaps.core.attention import activation_map, attention_map
from napari_sslmaps.core.pca import Foreground, pca_map
from napari_sslmaps.core.results import (
    ActivationMap,
    AttentionMap,
    Combine,
    ComponentMap,
    Embedding,
    Rendering,
    TokenMap,
)
from napari_sslmaps.core.similarity import similarity_map
from napari_sslmaps.core.tiling import Stitching, Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import Cancelled, InvalidOptionError, SSLMapsError, WeightsUnavailableError
from napari_sslmaps.pipeline import EmbeddingPlan, embed, plan
from napari_sslmaps.sources.open import open_image

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


def embed_order(order: Order) -> Row:
    """Embed one image and write its output.

    Returns
    -------
    Row
        ``failed``, with the sentence, if the image cannot be embedded, or the run is over meanwhile.
    """
    try:
        _check_version(order.package_version)
        with _ONE_AT_A_TIME:
            return _embed(order)
    except SSLMapsError as error:
        return Row.failed(order, str(error))
    except MemoryError:
        return Row.failed(
            order,
            "Expected the image to fit into this worker's memory; it does not. Choose a coarser level, or "
            "fewer workers on the machine.",
        )


def _embed(order: Order) -> Row:
    _check_running(order)
    maps = order.options.maps
    chosen = order.encoder
    encoder = _kept(chosen.source, chosen.sha256, json.dumps(chosen.overrides), maps.device, maps.precision)
    start = perf_counter()
    tiling = Tiling(maps.tile, maps.overlap, cast("Stitching", maps.stitching))
    with open_image(order.item.image) as source:
        region = choose_region(source, order.item, order.options)
        mask = order.options.mask or None
        planned = plan(source, encoder.spec, region, tiling, mask=mask)
        check_memory(planned, encoder.spec.architecture)
        tiles = _kept_tiles(order, planned)
        embedding = embed(
            source,
            encoder,
            region=region,
            tiling=tiling,
            mask=planned.mask,
            budget=budget_within(memory_limit()),
            cache=tiles,
            on_progress=lambda _: _check_running(order),
        )
        spacing = source.spacing_um_yx
    shown, components = _shown(embedding, order), _components(embedding, order)
    row = replace(
        Row.begun(order),
        **asdict(score(embedding, components, shown, planned.tiles)),
        **spread_provenance(embedding.provenance.to_dict()),
        seconds=perf_counter() - start,
        spacing_um=None if planned.spacing_um_yx is None else planned.spacing_um_yx[0],
        rows=embedding.grid.rows,
        cols=embedding.grid.cols,
        dim=embedding.tokens.shape[-1],
    )
    kind = "activation" if isinstance(shown, ActivationMap) else "attention"
    results: dict[str, TokenMap] = {kind: shown, "pca": components}
    if order.item.anchors:
        results["similarity"] = similarity_map(
            embedding,
            order.item.anchors,
            negative=order.item.negative,
            combine=cast("Combine", maps.combine),
            centred=maps.centred,
        )
    _check_running(order)
    about = {"key": order.key, "row": asdict(row)}
    output = Output(embedding, results, spacing, order.options.tokens, about)
    write_output(Path(order.folder), output, Path(order.unfinished))
    if tiles is not None:
        remove_folder(tiles.folder)
    return row


def _kept_tiles(order: Order, planned: EmbeddingPlan) -> Cache | None:
    """Where the tiles of a large image are kept until its output is there; None for a small one."""
    if len(planned.tiles) < _MANY_TILES:
        return None
    return Cache(tiles_folder(Path(order.unfinished).parent.parent, order.key), sys.maxsize, tiles_only=True)


def _shown(embedding: Embedding, order: Order) -> AttentionMap | ActivationMap:
    if embedding.attention is None:
        return activation_map(embedding)
    return attention_map(embedding, order.options.maps.head)


def _components(embedding: Embedding, order: Order) -> ComponentMap:
    maps = order.options.maps
    return pca_map(
        embedding,
        rendering=cast("Rendering", maps.rendering),
        foreground=cast("Foreground", maps.foreground or None),
    )


def _check_running(order: Order) -> None:
    if not Path(order.unfinished).is_dir():
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


_kept = lru_cache(maxsize=4)(_load)
