"""What tokens closer than patches bring, beside interpolation: ``python docs/stride_table.py SET=FOLDER …``.

A folder has ``images/`` and ``masks/`` of the same names; above 0 in a mask is what is sought. ``simulated``
needs no folder: tumour of simulated histology, lesions of simulated ultrasound. A linear head is taught on
tokens of whole patches of one half of the images and applied to the other half, and the other way round, at
every stride; its map is brought to the pixels and compared with the mask there. The table goes into the page.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.pipeline.embedding import embed

PAGE = Path(__file__).parent / "stride.md"
BEGIN, END = "<!-- begin: made by docs/stride_table.py -->", "<!-- end -->"
COUNT, SIDE, MOST_PX = 12, 192, 256
STRIDES = (8, 4, 2)
TOLERANCE = 2
NEAR = 8
SOUGHT = {"histology": "tumour", "ultrasound": "lesion"}


@dataclass(frozen=True)
class Case:
    """An image with what is sought in it."""

    pixels: NDArray
    wanted: NDArray


def simulated(domain: str) -> list[Case]:
    """Draw fields that have what is sought."""
    simulator = get_simulator(domain)
    sought = simulator.classes.index(SOUGHT[domain])
    cases, index = [], 0
    while len(cases) < COUNT:
        pixels, labels = simulator.draw(field_seed(seed=77, index=index), SIDE)
        index += 1
        if 0.05 < (labels == sought).mean() < 0.6:
            cases.append(Case(pixels, labels == sought))
    return cases


def in_folder(folder: Path) -> list[Case]:
    """Read the first images that have what is sought, the middle of large ones."""
    cases = []
    for path in sorted((folder / "images").iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        wanted = np.asarray(Image.open(folder / "masks" / f"{path.stem}.png")) > 0
        cut = tuple(
            slice((size - min(size, MOST_PX)) // 2, (size + min(size, MOST_PX)) // 2) for size in wanted.shape
        )
        if 0.03 < wanted[cut].mean() < 0.9:
            cases.append(Case(pixels[cut], wanted[cut]))
        if len(cases) == COUNT:
            break
    return cases


def on_pixels(values: NDArray, grid: TokenGrid, shape: tuple[int, int], order: int) -> NDArray:
    """Bring a map to pixels: of the token that covers them (0), or interpolated between centres (1)."""
    rows = grid.pixel_to_token(np.stack([np.arange(shape[0]), np.zeros(shape[0])], -1))[:, 0]
    cols = grid.pixel_to_token(np.stack([np.zeros(shape[1]), np.arange(shape[1])], -1))[:, 1]
    places = np.meshgrid(rows, cols, indexing="ij")
    return ndimage.map_coordinates(values, places, order=order, mode="nearest")


def boundary(mask: NDArray) -> NDArray:
    """Find the pixels of a mask that touch what is outside of it."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def boundary_f1(found: NDArray, wanted: NDArray) -> float:
    """F1 of boundaries within `TOLERANCE` pixels (Csurka et al. 2013)."""
    first, second = boundary(found), boundary(wanted)
    if not first.any() or not second.any():
        return 0.0
    precision = (ndimage.distance_transform_edt(~second)[first] <= TOLERANCE).mean()
    recall = (ndimage.distance_transform_edt(~first)[second] <= TOLERANCE).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def scores(values: NDArray, wanted: NDArray) -> tuple[float, float, float]:
    """AUROC of all pixels, of those near a boundary, and boundary F1 at the threshold of the best Dice."""
    near = ndimage.distance_transform_edt(~(boundary(wanted) | boundary(~wanted))) <= NEAR
    cuts = np.quantile(values, np.linspace(0.02, 0.98, 33))
    dice = [2 * (wanted & (values > cut)).sum() / max((values > cut).sum() + wanted.sum(), 1) for cut in cuts]
    return (
        float(roc_auc_score(wanted.ravel(), values.ravel())),
        float(roc_auc_score(wanted[near], values[near])),
        boundary_f1(values > cuts[int(np.argmax(dice))], wanted),
    )


def taught(embeddings: list[Embedding], cases: list[Case]) -> LogisticRegression:
    """Teach a head on tokens of whole patches."""
    tokens = np.concatenate([embedding.flat for embedding in embeddings])
    labels = np.concatenate(
        [
            Annotation.from_labels(case.wanted.astype(np.uint8), case.wanted.shape)
            .token_labels(embedding.grid)
            .ravel()
            > 0
            for embedding, case in zip(embeddings, cases, strict=True)
        ]
    )
    centre, spread = tokens.mean(axis=0), tokens.std(axis=0) + 1e-6
    head = LogisticRegression(C=0.1, max_iter=300, class_weight="balanced").fit(
        (tokens - centre) / spread, labels
    )
    head.coef_ = head.coef_ / spread
    head.intercept_ = head.intercept_ - head.coef_ @ centre
    return head


def measured(
    encoder: Encoder, cases: list[Case]
) -> Iterator[tuple[str, list[tuple[float, float, float]], float]]:
    """Yield how tokens were made, scores of every image, and seconds an image."""
    made, seconds = {}, {}
    for stride in STRIDES:
        start = perf_counter()
        made[stride] = [embed(case.pixels, encoder, stride=stride) for case in cases]
        seconds[stride] = (perf_counter() - start) / len(cases)
    half = len(cases) // 2
    folds = [(range(half), range(half, len(cases))), (range(half, len(cases)), range(half))]
    heads = {}
    for learn, apply in folds:
        head = taught([made[STRIDES[0]][i] for i in learn], [cases[i] for i in learn])
        heads.update(dict.fromkeys(apply, head))
    ways = [(STRIDES[0], 0, "whole patches"), *((stride, 1, "") for stride in STRIDES)]
    for stride, order, name in ways:
        found = []
        for i, case in enumerate(cases):
            embedding = made[stride][i]
            values = (embedding.flat @ heads[i].coef_[0]).reshape(embedding.grid.shape)
            found.append(scores(on_pixels(values, embedding.grid, case.wanted.shape, order), case.wanted))
        yield (
            name or ("whole patches, interpolated" if stride == STRIDES[0] else f"stride {stride}"),
            found,
            seconds[stride],
        )


def main() -> None:
    """Measure every set, and write the table."""
    lines = []
    sets: list[tuple[str, str, list[Case]]] = []
    for word in sys.argv[1:]:
        name, _, folder = word.partition("=")
        if name == "simulated":
            sets += [
                (f"simulated {domain}, {SOUGHT[domain]}", domain, simulated(domain)) for domain in SOUGHT
            ]
        else:
            domain = "ultrasound" if "ultrasound" in folder else "histology"
            sets.append((name, domain, in_folder(Path(folder))))
    for title, domain, cases in sets:
        lines += [
            f"**{title.capitalize()}** ({len(cases)} images)\n",
            "| encoder | tokens | AUROC | AUROC near a boundary | boundary F1 | seconds an image |",
            "|---|---|---|---|---|---|",
        ]
        for name in names_for(domain):
            encoder = load_encoder(name, device="cpu", precision="float32")
            before = None
            for way, found, seconds in measured(encoder, cases):
                values = np.asarray(found)
                cells = [f"{value:.3f}" for value in values.mean(axis=0)]
                if before is not None:
                    gain = values[:, 1:] - before[:, 1:]
                    error = gain.std(axis=0, ddof=1) / len(gain) ** 0.5
                    cells[1:] = [
                        f"{cell} ({up:+.3f} ± {sigma:.3f})"
                        for cell, up, sigma in zip(cells[1:], gain.mean(axis=0), error, strict=True)
                    ]
                if way.endswith("interpolated"):
                    before = values
                lines.append(
                    f"| {METHODS[encoder.spec.method].title} | {way} | {' | '.join(cells)} | {seconds:.2f} |"
                )
                print(lines[-1], flush=True)
        lines.append("")
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    PAGE.write_text(
        f"{head}{BEGIN}\n\n" + "\n".join(lines) + f"\n{END}{rest.partition(END)[2]}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
