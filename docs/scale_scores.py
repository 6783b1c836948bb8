"""Bring scores against scale and resolution into the docs: ``python docs/scale_scores.py FOLDER OUT``.

FOLDER holds sets of annotated images as ``<domain>/<set>/images`` and ``masks``. Finished images are kept
in OUT, so that the page can be made again. Scales are chosen by leaving one set out. What is read as trained
also goes to ``docs/data/scales.json``, for the study's page.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from napari_sslmaps.compare.compute import compare
from napari_sslmaps.compare.listing import ListingOptions, list_images
from napari_sslmaps.compare.request import ComparisonOptions, ComparisonRequest
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.tables import tables_of
from napari_sslmaps.core.findings import Table, cell_text
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.encoders.spec import DOMAINS, Domain
from napari_sslmaps.evaluation.scale_profile import SCALES
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.records.run import RunOptions

PAGE, DATA = (Path(__file__).parent / name for name in ("scale-scores.md", "data/scales.json"))
OTHERS: Mapping[str, tuple[str, ...]] = {"histology": ("192px",), "ultrasound": ("native",)}
"""What each domain is read at besides the default."""
HEAD = """# Scores against scale and resolution

Made by `docs/scale_scores.py` with version {version}, in float32; no number is typed by hand. Real annotated
images that no training has seen, so many of each set: {sets}.
AUROC of the centred similarity to an anchor, mean over anchors and then images, with 95 % intervals over
images; at each scale for the four encoders of the domain, their untrained twins, colour and the distance
alone. What the columns mean: [At a scale](maps.md). Weights, by the first digits of their SHA-256: {weights}.

## A scale chosen on other sets

For each set the scale was chosen on the other sets of its domain, by the mean of the method that it is for;
*its own best* is chosen on the set itself, an upper bound for every method alike. Read as trained.

{chosen}
"""
Profiles = Mapping[tuple[str, str], "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]
"""(method, what it was read at) → (images, scales) scores."""


def comparison_of(folder: Path, domain: Domain, count: int, out: Path) -> Comparison:
    """Compare the encoders of a domain on a set, at most `count` of its images, evenly spaced."""
    listed, _ = list_images([str(folder / "images")], ListingOptions(masks=folder / "masks"), out=out)
    chosen = np.unique(np.linspace(0, len(listed) - 1, min(count, len(listed))).round().astype(int))
    options = ComparisonOptions(RunOptions(precision="float32"), resolutions=OTHERS[domain])
    request = ComparisonRequest(
        tuple(listed[index] for index in chosen),
        tuple(map(EncoderChoice, names_for(domain))),
        controls=("untrained", "colour"),
        scores=("scale",),
        options=options,
    )
    return compare(request, folder=out)


def profiles_in(comparison: Comparison) -> Profiles:
    """Collect scores by method and resolution."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    for image in comparison.images:
        for row in image.measured.get("scale", ()):
            found.setdefault((row.method, row.map), []).append(list(row.values.values()))
    return {key: np.array(values) for key, values in found.items()}


def told(domain: str, found: Profiles) -> dict[str, object]:
    """Return what a set's profiles, read as trained, say to `lab.study.real_scales`."""
    areas = {
        method.replace(f"-{domain}", ""): np.round(values, 5).tolist()
        for (method, at), values in found.items()
        if at == "as trained"
    }
    return {"domain": domain, "areas": areas}


def best(parts: Iterable["np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]) -> int:
    """Return the index of the scale that is best in the mean over sets."""
    return int(np.nanargmax(np.mean([np.nanmean(part, axis=0) for part in parts], axis=0)))


def chosen_table(domain: str, sets: Mapping[str, Profiles]) -> Table:
    """Scores of one patch, of a scale chosen on other sets, and of the set's own best."""
    rows = []
    for name, own in sets.items():
        others = [found for other, found in sets.items() if other != name]
        for method, at in own:
            if at != "as trained":
                continue
            mean = np.nanmean(own[method, at], axis=0)
            at_best = int(np.nanargmax(mean))
            place = best(found[method, at] for found in others) if others else 0
            rows.append(
                (
                    name,
                    method,
                    float(mean[0]),
                    float(mean[place]) if others else None,
                    f"{SCALES[place]:g} %" if others else None,
                    float(mean[at_best]),
                    f"{SCALES[at_best]:g} %",
                )
            )
    columns = ("Set", "Method", "One patch", "Chosen elsewhere", "σ", "Its own best", "σ of that")
    return Table(domain.capitalize(), columns, tuple(rows))


def markdown(table: Table) -> str:
    """Write a table as Markdown."""
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "\n".join(f"| {' | '.join(cell_text(cell) for cell in row)} |" for row in rows)


def main() -> None:
    """Compare on every set, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=12)
    asked = parser.parse_args()
    chosen, parts, names = [], [], []
    weights: dict[str, str] = {}
    data: dict[str, dict[str, object]] = {}
    for domain in DOMAINS:
        sets: dict[str, Profiles] = {}
        for masks in sorted((asked.folder / domain).glob("*/masks")):
            name = masks.parent.name
            comparison = comparison_of(masks.parent, domain, asked.count, asked.out / name)
            sets[name] = profiles_in(comparison)
            data[name] = told(domain, sets[name])
            table = next(found for found in tables_of(comparison) if found.key == "scale")
            count = len(comparison.images)
            specs = comparison.specs.values()
            weights |= {spec.name: f"{spec.name} {spec.sha256[:8]}" for spec in specs if spec.path}
            names.append(f"{name.replace('_', ' ')} ({count})")
            parts.append(f"## {name.replace('_', ' ')}\n\n{count} images.\n\n{markdown(table)}\n")
            print(name, flush=True)  # it takes minutes
        chosen.append(f"### {domain.capitalize()}\n\n{markdown(chosen_table(domain, sets))}\n")
    head = HEAD.format(
        version=version("napari-sslmaps"),
        sets=", ".join(names),
        chosen="\n".join(chosen),
        weights=", ".join(weights.values()),
    )
    PAGE.write_text("\n".join([head, *parts]), encoding="utf-8")
    DATA.write_text(json.dumps({"scales": SCALES, "sets": data}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
