"""A picture for each method's page: its maps of both samples, and its untrained twin's similarity."""

from pathlib import Path

import numpy as np
from encoders_figure import REGIONS, SIMILARITY, twin
from matplotlib.figure import Figure

from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.tiling import ONE_PASS
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.figures.panels import (
    FAINT,
    INK,
    Extent,
    Scale,
    draw_anchors,
    draw_grid,
    draw_image,
    framed,
)
from napari_sslmaps.maps.attention import activation_map, attention_map
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.sources.samples import SAMPLES, Sample

# inches
SIDE, GAP, HEADING = 1.9, 0.05, 0.3


def method_pages(folder: Path) -> None:
    """Draw ``method-NAME.png`` for each embedded method."""
    for names in zip(*(names_for(key) for key in SAMPLES), strict=True):
        rows = [panels(name, sample) for name, sample in zip(names, SAMPLES.values(), strict=True)]
        method = load_encoder(names[0], device="cpu").spec.method
        draw(rows, folder / f"method-{method}.png")


def panels(name: str, sample: Sample) -> tuple[Sample, dict[str, TokenMap]]:
    """Compute one encoder's maps of a sample, as the demo does."""
    encoder = load_encoder(name, device="cpu", precision="float32")
    region = REGIONS[sample.key]
    own, untrained = (
        embed(sample.open(), network, region=region, tiling=ONE_PASS) for network in (encoder, twin(encoder))
    )
    return sample, {
        **_attended(own),
        "PCA": pca_map(own),
        "similarity": similarity_map(own, [sample.anchor_yx]),
        "similarity, untrained": similarity_map(untrained, [sample.anchor_yx]),
    }


def _attended(embedding: Embedding) -> dict[str, TokenMap]:
    if embedding.attention is None:
        return {"activation": activation_map(embedding)}
    return {"attention": attention_map(embedding)}


def draw(rows: list[tuple[Sample, dict[str, TokenMap]]], path: Path) -> None:
    """Draw the image with its anchor and its maps, a row for each sample."""
    heights = [SIDE * REGIONS[sample.key].height / REGIONS[sample.key].width for sample, _ in rows]
    columns = 1 + len(rows[0][1])
    width, height = columns * (SIDE + GAP) + GAP, HEADING + sum(heights) + len(rows) * GAP
    figure = Figure(figsize=(width, height))
    top = height - HEADING
    for index, title in enumerate(("image and anchor", *rows[0][1])):
        style = {"color": FAINT if "untrained" in title else INK, "fontsize": 9}
        figure.text((GAP + index * (SIDE + GAP)) / width, (top + 0.09) / height, title, **style)
    for (sample, maps), panel in zip(rows, heights, strict=True):
        region = REGIONS[sample.key]
        extent = Extent(region.y, region.x, region.height, region.width)
        for index, shown in enumerate((None, *maps.values())):
            left = GAP + index * (SIDE + GAP)
            box = (left / width, (top - panel) / height, SIDE / width, panel / height)
            axes = framed(figure, box, extent)
            if shown is None:
                draw_image(axes, sample.open().read(region).astype(np.float32) / 255, extent)
            else:
                draw_grid(axes, shown.values, shown.grid, _scale(shown))
            if shown is None or "similarity" in list(maps)[index - 1]:
                draw_anchors(axes, [sample.anchor_yx])
        top -= panel + GAP
    figure.savefig(path, dpi=110)


def _scale(shown: TokenMap) -> Scale | None:
    if shown.values.ndim == 3:
        return None
    if getattr(shown, "value_range", None) == (-1, 1):
        return SIMILARITY
    low, high = np.percentile(shown.values, (1, 99))
    return Scale("magma", float(low), float(high))


if __name__ == "__main__":
    method_pages(Path(__file__).parent / "images")
