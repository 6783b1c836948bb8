"""How far tokens move under perturbation: the embedded encoders and their controls on both samples."""

import math
from functools import partial
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sslmaps.core.baselines import colour_embedding, pixel_embedding, position_embedding
from napari_sslmaps.core.findings import Plot, Table, cell_text
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import Domain
from napari_sslmaps.evaluation.robustness import Encode, Robustness, RobustnessOptions, robustness
from napari_sslmaps.evaluation.robustness_tables import robustness_plots, robustness_table
from napari_sslmaps.figures.panels import INK
from napari_sslmaps.figures.plots import draw_plot
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.sources.samples import SAMPLES

PAGE = Path(__file__).parent / "robustness.md"
#: Tissue, and the sector of the scan without its captions.
REGIONS: dict[Domain, Region] = {
    "histology": Region(64, 128, 256, 256),
    "ultrasound": Region(16, 72, 208, 184),
}
SHOWN = ("speckle", "gaussian", "gain", "rotation")
BEGIN, END = "<!-- begin: made by docs/robustness_figure.py -->", "<!-- end -->"


def robustness_page(path: Path) -> None:
    """Measure, draw the curves to `path`, and write the tables into the page."""
    found = {domain: measure(domain) for domain in REGIONS}
    draw(found, path)
    text = "\n".join(
        part for domain, results in found.items() for part in (f"**{domain.title()}**\n", written(results))
    )
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def measure(domain: Domain) -> list[Robustness]:
    """Perturb a part of a sample, for every encoder of its domain and for controls without a network."""
    region = REGIONS[domain]
    with SAMPLES[domain].open() as source:
        pixels = source.read(region)
    results = [of_encoder(name, pixels) for name in (*names_for(domain), *untrained(domain))]
    grid = TokenGrid.covering(Region(0, 0, *region.shape_yx), 8)
    bare: tuple[Encode, ...] = (
        partial(pixel_embedding, grid=grid, window=(0.0, 1.0)),
        partial(colour_embedding, grid=grid, window=(0.0, 1.0)),
        lambda _: position_embedding(grid),
    )
    return results + [robustness(pixels, encode, options()) for encode in bare]


def options() -> RobustnessOptions:
    """What is tried: everything, with three seeds."""
    return RobustnessOptions(seeds=3)


def untrained(domain: Domain) -> tuple[str, ...]:
    """Return the untrained control that is shown: DINOv3's."""
    return ("dinov3-untrained",) if domain == "histology" else ("dinov3-ultrasound-untrained",)


def of_encoder(name: str, pixels: NDArray) -> Robustness:
    """Perturb pixels for one encoder."""
    encoder = load_encoder(name, device="cpu", precision="float32")

    def encode(unit: Float32) -> Embedding:
        return embed(unit, encoder, window=(0.0, 1.0))

    found = robustness(pixels, encode, options())
    title = METHODS[encoder.spec.method].title
    return Robustness(f"{title}, untrained" if encoder.spec.origin == "control" else title, found.responses)


def draw(found: dict[Domain, list[Robustness]], path: Path) -> None:
    """Draw a row of plots per sample, one legend for all."""
    figure = Figure(figsize=(10.6, 5.0), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(found), len(SHOWN), sharey=True)
    for axes, (domain, results) in zip(rows, found.items(), strict=True):
        plots = {plot.key.rpartition("-")[2]: plot for plot in robustness_plots(results)}
        for ax, key in zip(axes, SHOWN, strict=True):
            draw_one(ax, plots[key])
            ax.set_ylim(0, 1.03)
        axes[0].set_ylabel(f"{domain}\ncentred token cosine to clean", color=INK, fontsize=8)
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=math.ceil(len(labels)), fontsize=8, frameon=False
    )
    figure.savefig(path)


def draw_one(axes, plot: Plot) -> None:
    """Draw a plot without legend and label of its own."""
    draw_plot(axes, plot)
    axes.get_legend().remove()
    axes.set_ylabel("")


def written(results: list[Robustness]) -> str:
    """Write the table of a sample's results as Markdown."""
    table: Table = robustness_table(results)
    rows = [table.columns, ("---",) * len(table.columns), *(tuple(map(short, row)) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def short(cell: object) -> str:
    """Write a number to two digits."""
    return f"{cell:.2f}" if isinstance(cell, float) else cell_text(cell)


if __name__ == "__main__":
    robustness_page(PAGE.parent / "images" / "robustness.png")
