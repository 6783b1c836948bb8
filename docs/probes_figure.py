"""Numbers and picture of docs/probes.md, on simulated histology: ``python docs/probes_figure.py``.

The task is to find lymphoid tissue from one label per image, and to name all tissues from ever more masks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import napari_sslmaps as ssl
from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.evaluation.image_labels import HeldOutHeads
from napari_sslmaps.evaluation.label_efficiency import LabelEfficiency, LabelledFeatures
from napari_sslmaps.evaluation.localisation import LocalisationScores
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean
from napari_sslmaps.figures.panels import INK, Extent, Scale, draw_grid, draw_image, framed
from napari_sslmaps.figures.plots import draw_plot
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.maps.evidence import EvidenceMap

PAGE = Path(__file__).parent / "probes.md"
SEED, COUNT, SIDE = 9100, 64, 192
CLASS, ENOUGH = "lymphoid", 0.02
DEEP, FINE = "encoder.layer4", "encoder.layer2"
DRAWN = ("mae", "ijepa", "dinov3", "dira")
SHOWN = 3
PANEL, GAP, LEFT, HEAD, CURVES = 1.25, 0.05, 0.1, 0.55, 3.6  # inches


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A simulated image, its annotation and its label."""

    image: np.ndarray
    annotation: ssl.Annotation
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What one method's tokens gave."""

    title: str
    heads: HeldOutHeads
    scores: list[LocalisationScores]
    maps: list[EvidenceMap]


def scenes() -> tuple[list[Scene], int]:
    """Return the images, and the number of the class that is looked for."""
    simulator = get_simulator("histology")
    kind = simulator.classes.index(CLASS)
    made = []
    for index in range(COUNT):
        image, labels = simulator.draw(field_seed(SEED, index), SIDE)
        label = CLASS if (labels == kind).mean() > ENOUGH else "none"
        made.append(Scene(image, ssl.Annotation.from_labels(labels, (SIDE, SIDE)), label))
    return made, kind


def embedded(of: Sequence[Scene]) -> dict[str, tuple[str, list[Embedding]]]:
    """Tokens of every image by every method: title → name and embeddings."""
    found: dict[str, tuple[str, list[Embedding]]] = {}
    for method in DRAWN:
        encoder = ssl.load_encoder(f"{method}-histology", device="cpu", precision="float32")
        tokens = [ssl.embed(scene.image, encoder) for scene in of]
        found[METHODS[encoder.spec.method].title] = (f"{method}-histology", tokens)
    colour = next(item for item in ssl.controls_of(encoder) if item.kind == "colour")
    twin = next(item for item in ssl.controls_of(encoder) if item.kind == "untrained")
    found["untrained U-Net"] = (twin.name, [ssl.embed(scene.image, twin.name) for scene in of])
    found["colour"] = ("", [ssl.embed_control(colour, scene.image, encoder) for scene in of])
    return found


def localise(
    of: Sequence[Scene], kind: int, title: str, tokens: Sequence[Embedding], cam_of: Encoder | None = None
) -> Found:
    """Learn from the images' labels, and draw token evidence, or Grad-CAM on a finer stage of an encoder."""
    heads = ssl.cross_validate_heads(np.stack([ssl.pooled(item) for item in tokens]), [s.label for s in of])
    scores, maps = [], []
    for index, (scene, embedding) in enumerate(zip(of, tokens, strict=True)):
        if scene.label == CLASS:
            head = heads.head_for(index)
            if cam_of is not None:
                row, offset = head.row_of(CLASS)
                made = ssl.class_activation(scene.image, cam_of, embedding, row, offset=offset, stage=FINE)
            else:
                made = ssl.token_evidence(embedding, head, CLASS)
            scores.append(ssl.score_localisation(made, scene.annotation, kind=kind))
            maps.append(made)
    return Found(title, heads, scores, maps)


def efficiency(of: Sequence[Scene], tokens: dict[str, tuple[str, list[Embedding]]]) -> LabelEfficiency:
    """Balanced accuracy of tissue probes against the number of masks."""
    images = {
        title: [
            LabelledFeatures.of_tokens(embedding, scene.annotation.token_labels(embedding.grid) + 1)
            for scene, embedding in zip(of, embeddings, strict=True)
        ]
        for title, (_, embeddings) in tokens.items()
    }
    return ssl.label_efficiency(images, draws=10)


def text(value: Estimate) -> str:
    """Write a value with its interval."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def localisation_lines(found: Sequence[Found]) -> list[str]:
    """Rows of the page's first table."""
    lines = [
        "| method | AUROC of the label | pointing | IoU, best | AUROC of the map |",
        "|---|---|---|---|---|",
    ]
    for item in found:
        several = (
            [score.pointing for score in item.scores],
            [score.iou_best for score in item.scores],
            [score.scores.auroc for score in item.scores],
        )
        cells = [text(item.heads.auroc), *(text(bootstrap_mean(part)) for part in several)]
        lines.append(f"| {' | '.join([item.title, *cells])} |")
    chance = np.mean([score.scores.prevalence for score in found[0].scores])
    count = len(found[0].scores)
    note = (
        f"{CLASS.capitalize()} tissue covers {chance:.0%} of the {count} images that have it; a random token "
        "hits it as often. Brackets are 95 % intervals over images."
    )
    lines += ["", note]
    return lines


def efficiency_lines(found: LabelEfficiency) -> list[str]:
    """Rows of the page's second table."""
    heads = [f"{count} image{'s' if count > 1 else ''}" for count in found.counts]
    lines = [f"| method | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for method in found.methods:
        cells = [f"{found.estimate(method, int(count)).value:.2f}" for count in found.counts]
        lines.append(f"| {' | '.join([method, *cells])} |")
    return [*lines, "", found.plot().notes[0]]


def probes(path: Path) -> None:
    """Draw the picture, and write the tables into the page."""
    of, kind = scenes()
    tokens = embedded(of)
    found = [localise(of, kind, title, embeddings) for title, (_, embeddings) in tokens.items()]
    deep = ssl.load_encoder("dira-histology", token_stage=DEEP, device="cpu", precision="float32")
    late = [ssl.embed(scene.image, deep) for scene in of]
    found[4:4] = [
        localise(of, kind, "DiRA, stage 4", late),
        localise(of, kind, "DiRA, stage 4, Grad-CAM on stage 2", late, deep),
    ]
    curves = efficiency(of, tokens)
    write("localisation", localisation_lines(found))
    write("efficiency", efficiency_lines(curves))
    draw(path, [scene for scene in of if scene.label == CLASS], kind, [*found[:4], found[5]], curves)


def write(name: str, lines: Sequence[str]) -> None:
    """Replace a part of the page."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: written by probes_figure.py -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    body = "\n".join(lines)
    PAGE.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}", encoding="utf-8")


def draw(path: Path, of: Sequence[Scene], kind: int, found: Sequence[Found], curves: LabelEfficiency) -> None:
    """Draw images with their evidence, and the curves beside them."""
    width = 2 * LEFT + (1 + len(found)) * (PANEL + GAP) + CURVES
    height = HEAD + SHOWN * (PANEL + GAP) + LEFT
    figure = Figure(figsize=(width, height))
    extent = Extent(0, 0, SIDE, SIDE)
    best = sorted(range(len(of)), key=lambda index: -found[0].scores[index].scores.prevalence)[:SHOWN]
    for column, title in enumerate(["image", *(item.title.replace(", Grad", ",\nGrad") for item in found)]):
        left = LEFT + column * (PANEL + GAP)
        figure.text(left / width, 1 - (HEAD - 0.08) / height, title, fontsize=7.5, color=INK, va="bottom")
        for row, index in enumerate(best):
            bottom = height - HEAD - (row + 1) * PANEL - row * GAP
            axes = framed(figure, (left / width, bottom / height, PANEL / width, PANEL / height), extent)
            if column == 0:
                draw_image(axes, of[index].image.astype(np.float32) / 255, extent)
            else:
                made = found[column - 1].maps[index]
                low, high = np.percentile(made.values, (2, 99.5))
                draw_grid(axes, made.values, made.grid, Scale("magma", float(low), float(high)))
            mask = of[index].annotation.labels == kind
            axes.contour(mask, [0.5], colors="black" if column == 0 else "white", linewidths=0.8)
    space = LEFT + (1 + len(found)) * (PANEL + GAP) + 0.55
    axes = figure.add_axes(
        (space / width, 0.5 / height, (CURVES - 0.65) / width, (height - HEAD - 0.4) / height)
    )
    draw_plot(axes, curves.plot(), font=7.5)
    top = 1 - (HEAD - 0.08) / height
    figure.text(space / width, top, "all tissues: how many masks?", fontsize=7.5, color=INK, va="bottom")
    note = f"Evidence for {CLASS} tissue, learnt from one label per image; outlines: where it is"
    figure.text(LEFT / width, 1 - 0.06 / height, note, fontsize=9, fontweight="bold", color=INK, va="top")
    figure.savefig(path, dpi=130, facecolor="white")


if __name__ == "__main__":
    probes(Path(__file__).parent / "images" / "probes.png")
