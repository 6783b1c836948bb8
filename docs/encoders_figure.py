"""The embedded encoders' maps of real images beside those of their untrained twins."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import ONE_PASS
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.figures.panels import (
    FAINT,
    INK,
    Extent,
    Scale,
    draw_anchors,
    draw_grid,
    draw_image,
    draw_scale_bar,
    framed,
)
from napari_sslmaps.lab.gate.gate import Twins
from napari_sslmaps.lab.gate.results import Book
from napari_sslmaps.lab.gate.verdict import label
from napari_sslmaps.maps.pca import ComponentMap, pca_map
from napari_sslmaps.maps.similarity import SimilarityMap, similarity_map
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.sources.samples import SAMPLES, Sample

BOOK = Path(__file__).parent / "data" / "encoders.json"
ROWS = ("similarity", "untrained twin", "PCA", "untrained twin")
SIMILARITY = Scale("viridis", -1.0, 1.0)
#: The part of each sample that is shown: all of the tissue, the sector of the scan without its captions.
REGIONS = {"histology": Region(0, 0, 512, 512), "ultrasound": Region(16, 72, 208, 184)}
TWIN = """An untrained twin is the same
network with the weights that
training started from. What its
map shows too need not have
been learned."""
NOTES = (
    (1, "Similarity: cosine to the token\nunder the anchor, centred."),
    (2, "PCA: first three components of\neach encoder as R, G, B."),
    (3, TWIN),
)
# inches
SIDE, GAP, WIDE_GAP, LABELS, HEADING = 1.9, 0.05, 0.16, 0.26, 0.66


@dataclass(frozen=True, slots=True)
class Column:
    """An encoder's maps and its twin's, in the order of `ROWS`."""

    title: str
    below: str
    maps: tuple[SimilarityMap | ComponentMap, ...]


def encoders(path: Path) -> None:
    """For each real sample a block: the image, and the maps of the encoders trained for its kind."""
    blocks = [(sample, [column(name, sample) for name in names_for(key)]) for key, sample in SAMPLES.items()]
    heights = [block_height(sample) for sample, _ in blocks]
    width = LABELS + (1 + max(len(columns) for _, columns in blocks)) * (SIDE + GAP) + 2 * GAP
    figure = Figure(figsize=(width, sum(heights) + GAP))
    top = figure.get_figheight()
    for (sample, columns), height in zip(blocks, heights, strict=True):
        draw_block(figure, sample, columns, top)
        top -= height
    figure.savefig(path, dpi=120)


def twin(encoder: Encoder) -> Encoder:
    """Return the same network with the weights its training started from."""
    return replace(encoder, extractor=type(encoder.extractor)(Twins.of(encoder).draw(0).network))


def column(name: str, sample: Sample) -> Column:
    """Compute the maps of an encoder and its twin, as the demo does."""
    encoder = load_encoder(name, device="cpu", precision="float32")
    embeddings = [
        embed(sample.open(), network, region=REGIONS[sample.key], tiling=ONE_PASS)
        for network in (encoder, twin(encoder))
    ]
    similar = [similarity_map(found, [sample.anchor_yx], centred=True) for found in embeddings]
    components = [pca_map(found, foreground="auto") for found in embeddings]
    book = Book(BOOK)
    known = name in book and book[name]["sha256"] == encoder.spec.sha256
    said = f"simulated: {label(book[name])}".replace(" (", "\n(") if known else "not judged yet"
    return Column(
        title=METHODS[encoder.spec.method].title,
        below=f"{name}\n{said}",
        maps=(*similar, *components),
    )


def block_height(sample: Sample) -> float:
    """Height of a sample's block in inches."""
    return HEADING + 4 * panel_height(sample) + 2 * GAP + WIDE_GAP


def panel_height(sample: Sample) -> float:
    """Height of a panel in inches: as wide as all, in the region's proportions."""
    return SIDE * REGIONS[sample.key].height / REGIONS[sample.key].width


def draw_block(figure: Figure, sample: Sample, columns: list[Column], top: float) -> None:
    """Draw one sample's image and maps; `top` in inches from the bottom."""
    place = Places(tuple(figure.get_size_inches()), top, panel_height(sample))
    region = REGIONS[sample.key]
    extent = Extent(region.y, region.x, region.height, region.width)
    draw_sample(figure, place, sample, extent)
    if top == figure.get_figheight():
        draw_notes(figure, place)
    for row, text in enumerate(ROWS):
        x, y = place.at(SIDE + GAP + LABELS / 2, place.middle(row))
        trained = row % 2 == 0
        style = {"color": INK, "fontweight": "bold"} if trained else {"color": FAINT}
        figure.text(x, y, text, rotation=90, ha="center", va="center", fontsize=8, **style)
    heading = {"fontsize": 11, "fontweight": "bold", "color": INK}
    for index, shown in enumerate(columns, start=1):
        left = place.left(index)
        figure.text(*place.at(left, -0.2), shown.title, **heading)
        figure.text(*place.at(left, -0.24), shown.below, fontsize=6.5, color=FAINT, va="top")
        for row, made in enumerate(shown.maps):
            axes = framed(figure, place.panel(index, row), extent)
            similar = isinstance(made, SimilarityMap)
            draw_grid(axes, made.values, made.grid, SIMILARITY if similar else None)
            if similar:
                draw_anchors(axes, [sample.anchor_yx])


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie in a block: inches from its upper left corner become shares of the figure."""

    size: tuple[float, float]
    top: float
    panel_height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Position of a point; y is negative below the block's top."""
        return x / self.size[0], (self.top + y) / self.size[1]

    def left(self, column: int) -> float:
        """Left edge of a column; column 0 is the image."""
        return GAP if column == 0 else 2 * GAP + SIDE + LABELS + (column - 1) * (SIDE + GAP)

    def bottom(self, row: int) -> float:
        """Lower edge of a row; a wider gap parts similarity from PCA."""
        return -HEADING - (row + 1) * self.panel_height - row * GAP - (WIDE_GAP - GAP) * (row > 1)

    def middle(self, row: int) -> float:
        """Middle of a row."""
        return self.bottom(row) + self.panel_height / 2

    def panel(self, column: int, row: int) -> tuple[float, float, float, float]:
        """Box of a panel as `add_axes` takes it."""
        width, height = self.size
        return *self.at(self.left(column), self.bottom(row)), SIDE / width, self.panel_height / height


def draw_sample(figure: Figure, place: Places, sample: Sample, extent: Extent) -> None:
    """Draw the image with its anchor."""
    source = sample.open()
    axes = framed(figure, place.panel(0, 0), extent)
    pixels = source.read(REGIONS[sample.key])
    draw_image(axes, pixels.astype(np.float32) / 255, extent)
    draw_anchors(axes, [sample.anchor_yx])
    if sample.spacing_um_yx:
        draw_scale_bar(axes, extent, sample.spacing_um_yx[1])
    figure.text(*place.at(GAP, 0.07 - HEADING), sample.title, fontsize=11, fontweight="bold", color=INK)
    anchor = f"× anchor: {sample.anchor_on}"
    figure.text(*place.at(GAP, place.bottom(0) - 0.1), anchor, fontsize=7.5, color=FAINT, va="top")


def draw_notes(figure: Figure, place: Places) -> None:
    """Say below the image how its maps are to be read."""
    width, height = place.size
    for row, note in NOTES:
        upper = place.bottom(row) + place.panel_height - (0.45 if row == 1 else 0)
        figure.text(*place.at(GAP, upper), note, fontsize=7.5, color=FAINT, va="top", linespacing=1.5)
    left, bottom = place.at(GAP + 0.06, place.bottom(1) + place.panel_height - 1.0)
    bar = figure.add_axes((left, bottom, (SIDE - 0.3) / width, 0.09 / height))
    colour_bar = figure.colorbar(SIMILARITY.mappable, cax=bar, orientation="horizontal", ticks=[-1, 0, 1])
    colour_bar.ax.tick_params(labelsize=7, length=2, pad=1.5, color=FAINT, labelcolor=FAINT)
    colour_bar.outline.set(linewidth=0.4, edgecolor=INK)


if __name__ == "__main__":
    encoders(Path(__file__).parent / "images" / "encoders.png")
