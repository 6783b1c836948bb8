"""Bring the scores of the embedded encoders into the docs: ``python docs/sample_scores.py``.

Both samples with their masks, and a simulated test set of each domain, are compared as ``napari-sslmaps
evaluate`` does; the page and its figures are made of that alone. It takes some minutes.
"""

import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from napari_sslmaps.compare.advice import advise
from napari_sslmaps.compare.compute import compare
from napari_sslmaps.compare.listing import ListingOptions, list_images
from napari_sslmaps.compare.request import (
    ComparedImage,
    ComparisonOptions,
    ComparisonRequest,
    MaskFile,
)
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.scoring import ImageEmbeddings
from napari_sslmaps.compare.tables import plots_of, tables_of
from napari_sslmaps.compare.write import image_figure, plot_figure
from napari_sslmaps.core.findings import Table, cell_text
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.figures.run_figure import save_figure
from napari_sslmaps.inputs.encoders import EncoderChoice, usual_scale
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.samples import SAMPLES

DOCS = Path(__file__).parent
PAGE, PICTURES = DOCS / "sample-scores.md", DOCS / "images"
COUNT, SIDE, SEED = 16, 192, 9004
DOMAINS = ("histology", "ultrasound")
SOUGHT = {"histology": "tumour", "ultrasound": "lesion"}
HEAD = """# Scores of the embedded encoders

Made by `docs/sample_scores.py` with version {version}, in float32; no number is typed by hand. How to make
such tables of your own images: [Evaluating encoders](evaluate.md); what the scores are: [Scores](scores.md).

The four encoders of each domain are small and were trained on public real images and simulated ones
([how far they have come](encoders.md)). What they score here says little of the
methods at their authors' scale, and much of whether a score can be trusted: look at the controls first.
"""
SAMPLE = """
## {title}

![{title}](images/scores-{key}.png)

The real sample with a mask that we drew by eye, coarsely (`scripts/draw_sample_masks.py`): {classes}. **We
are no pathologists or cardiologists, and nobody has checked it.** One image: intervals come from its
anchors and say nothing of others.

<!-- not run: it takes minutes, and this page is its output -->
```console
$ napari-sslmaps evaluate sample:{key} --controls all --scores maps,anchors,agreement,probes --out scores
```
"""
SIMULATED = """
## Simulated {domain}

{count} images of {side} × {side} pixels that no training has seen (`field_seed({seed}, …)`), whose truth is
known: {classes}. The label of an image, for localisation, is whether it has more {sought} than half of them.

![Label efficiency](images/label-efficiency-{domain}.png)
"""


def encoders_for(domain: str) -> tuple[EncoderChoice, ...]:
    """The embedded encoders of a domain."""
    return tuple(map(EncoderChoice, names_for(domain)))


def options_for(domain: str) -> ComparisonOptions:
    """What ``napari-sslmaps evaluate`` takes where nobody says otherwise."""
    maps = MapOptions(scale=usual_scale(encoders_for(domain)))
    return ComparisonOptions(RunOptions(precision="float32", maps=maps))


def sample_request(key: str) -> ComparisonRequest:
    """A sample, its encoders, every control."""
    (image,), _ = list_images([f"sample:{key}"], ListingOptions(anchors=(SAMPLES[key].anchor_yx,)))
    return ComparisonRequest(
        (image,),
        encoders_for(key),
        options=options_for(key),
        controls=("untrained", "constant", "position", "pixels", "colour"),
        scores=("maps", "anchors", "agreement", "probes"),
    )


def simulated_request(domain: str, folder: Path) -> ComparisonRequest:
    """A simulated test set; an image's label is whether it has more of a class than half of them have."""
    simulator, sought = get_simulator(domain), SOUGHT[domain]
    names = {label: name for label, name in enumerate(simulator.classes) if label}
    drawn = [simulator.draw(field_seed(SEED, number), SIDE) for number in range(COUNT)]
    shares = np.array([(labels == simulator.classes.index(sought)).mean() for _, labels in drawn])
    images = []
    for number, (pixels, labels) in enumerate(drawn):
        path, mask = folder / f"{number:02}.png", folder / f"{number:02}-mask.png"
        Image.fromarray(pixels).save(path)
        Image.fromarray(labels).save(mask)
        label = sought if shares[number] > np.median(shares) else f"little {sought}"
        images.append(ComparedImage(path.name, str(path), MaskFile(mask, names), label))
    return ComparisonRequest(
        tuple(images),
        encoders_for(domain),
        options=options_for(domain),
        controls=("untrained", "position", "pixels", "colour"),
        scores=("anchors", "probes", "label-efficiency", "localisation"),
    )


def draw(embedded: ImageEmbeddings, path: Path) -> None:
    """The maps of the encoders, small enough for a page."""
    encoders = {name: embedded.embeddings[name] for name in embedded.encoders}
    figure = image_figure(replace(embedded, embeddings=encoders))
    save_figure(figure, path, dpi=100)
    with Image.open(path) as drawn:
        drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def to_markdown(table: Table) -> str:
    """A table in Markdown, its notes below."""
    lines = [table.columns, ("---",) * len(table.columns)]
    lines += [tuple(cell_text(cell) for cell in row) for row in table.rows]
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = "\n\n".join(table.notes)
    return f"\n### {table.title}\n\n{rows}\n\n{notes}\n"


def told(comparison: Comparison, keys: tuple[str, ...]) -> str:
    """The tables that are wanted, and what speaks for which method."""
    advice = advise(comparison)
    tables = [table for table in tables_of(comparison) if table.key in keys]
    sentences = "\n".join(f"- {sentence}" for sentence in advice.sentences)
    evidence = f"{to_markdown(replace(advice.table, notes=()))}\n{sentences}\n"
    return "".join(map(to_markdown, tables)) + evidence


def main() -> None:
    """Compare, and write the page."""
    parts = [HEAD.format(version=version("napari-sslmaps"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for key in DOMAINS:
            sample = SAMPLES[key]
            picture = PICTURES / f"scores-{key}.png"
            comparison = compare(
                sample_request(key), on_image=lambda embedded, _, picture=picture: draw(embedded, picture)
            )
            parts.append(
                SAMPLE.format(title=sample.title, key=key, classes=" and ".join(sample.classes))
                + told(comparison, ("anchors", "classes", "probes", "agreement"))
            )
        for domain in DOMAINS:
            place = folder / f"simulated-{domain}"
            place.mkdir()
            comparison = compare(simulated_request(domain, place))
            shown = {*(method.name for method in comparison.encoders), "position-8px", "colour-8px"}
            for plot in plots_of(comparison):
                fewer = replace(plot, curves=tuple(curve for curve in plot.curves if curve.label in shown))
                save_figure(plot_figure(fewer), PICTURES / f"{plot.key}-{domain}.png", dpi=110)
            words = {"count": COUNT, "side": SIDE, "seed": SEED, "domain": domain, "sought": SOUGHT[domain]}
            classes = ", ".join(get_simulator(domain).classes)
            keys = ("anchors", "probes", "label-efficiency", "image-labels", "localisation")
            parts.append(SIMULATED.format(**words, classes=classes) + told(comparison, keys))
    PAGE.write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
