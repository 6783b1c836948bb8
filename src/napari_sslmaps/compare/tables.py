"""A comparison told as tables and plots, which window, report, docs and CSV show alike."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from napari_sslmaps.compare.depth_profiles import depth_plots
from napari_sslmaps.compare.image_statistics import sentences_on_outside
from napari_sslmaps.compare.results import ComparedMethod, Comparison, MeasuredRow
from napari_sslmaps.compare.scale_profiles import READ, profile_plots
from napari_sslmaps.compare.scores import SCORES, ScoreType
from napari_sslmaps.compare.verdicts import NEARNESS, anchor_areas, difference, doubts_of, verdicts
from napari_sslmaps.core.findings import Cell, Estimate, Plot, Table
from napari_sslmaps.evaluation.anchor_scores import STRATA, Stratum
from napari_sslmaps.evaluation.map_scores import MapScores
from napari_sslmaps.evaluation.robustness import COSINE, Robustness, join_regions
from napari_sslmaps.evaluation.robustness_tables import robustness_plots, robustness_table
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean

T = TypeVar("T")
_MEASURES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "pointing": "Pointing",
    "dice_best": "Dice, best",
    "dice_otsu": "Dice, Otsu",
}
_MEASURE_TIPS = {
    "Finds best": "the class with the largest mean AUROC.",
    "AUROC": "how often a pixel of the class lies above one of all others; 0.5 is chance.",
    "Average precision": "area under the precision–recall curve; chance is the share of the class.",
    "Pointing": "whether the largest token lies in the class.",
    "Dice, best": "the largest Dice over all thresholds, chosen with the annotation in sight.",
    "Dice, Otsu": "Dice above the threshold that parts the map's own values best in two, by Otsu's rule.",
}
_BEATS = "Beats its controls"
_BEATS_TIP = (
    "whether it is clearly better, over all tokens, than each of them and than distance from the anchor "
    "alone; 'all that see': than all but those that know no more than where a token is."
)
_STRATA_TIPS: Mapping[Stratum, str] = {
    "all": "over all tokens of the region.",
    "near": "among the tokens of the nearest third of the region, by distance from the anchors.",
    "middle": "among the tokens of the middle third of the region, by distance from the anchors.",
    "far": "among the tokens of the farthest third of the region, by distance from the anchors.",
}
_PCA_NOTE = (
    "Of PCA, the component and direction with the largest AUROC is scored, which favours it; image by image "
    "the table says which."
)
_BEST_NOTE = (
    "Of each map the class with the largest mean AUROC is shown, which favours it; the table class by class "
    "has them all."
)
_CKA_NOTE = "CKA, linear: 1 if one encoder's tokens are a rotation of the other's (arXiv 1905.00414)."


def tables_of(comparison: Comparison) -> tuple[Table, ...]:
    """Return every table that a comparison has numbers for, the most telling first."""
    outside = sentences_on_outside(comparison.image_statistics)
    made = (
        anchor_table(comparison),
        difference_table(comparison),
        map_table(comparison),
        class_table(comparison),
        *measured_tables(comparison),
        agreement_table(comparison),
        *_robustness_tables(comparison),
        *(
            replace(part, notes=(*part.notes, *outside))
            for part in comparison.across
            if isinstance(part, Table)
        ),
        image_table(comparison),
    )
    return tuple(table for table in made if table.rows)


def plots_of(comparison: Comparison) -> tuple[Plot, ...]:
    """Return every plot that a comparison has curves for."""
    joined = _robustness(comparison)
    measures = joined[0].measures if joined else ()
    plots = [plot for measure in measures for plot in robustness_plots(joined, measure)]
    across = (part for part in comparison.across if isinstance(part, Plot))
    made = (*profile_plots(comparison), *depth_plots(comparison), *plots, *across)
    beside = {method.name: _beside(method) for method in comparison.methods}
    return tuple(
        replace(plot, curves=tuple(replace(one, beside=beside.get(one.label, "")) for one in plot.curves))
        for plot in made
    )


def _beside(method: ComparedMethod) -> str | None:
    """Return the encoder whose untrained twin a method is, empty for other controls, None for an encoder."""
    if method.control is None:
        return None
    return method.of[0] if method.control == "untrained" and len(method.of) == 1 else ""


def _robustness(comparison: Comparison) -> list[Robustness]:
    """Join what perturbations do to each method over all images."""
    by_method = [
        [found for image in comparison.images for found in image.robustness if found.method == method.name]
        for method in comparison.methods
    ]
    return [join_regions(parts) for parts in by_method if parts]


def _robustness_tables(comparison: Comparison) -> list[Table]:
    joined = _robustness(comparison)
    measures = [measure for measure in joined[0].measures if measure != COSINE] if joined else []
    return [robustness_table(joined, measure) for measure in measures]


def anchor_table(comparison: Comparison) -> Table:
    """AUROC of similarity to anchors: every method, near and far, and whether it beats its controls."""
    beaten = {verdict.encoder: verdict for verdict in verdicts(comparison)}
    rows: list[tuple[Cell, ...]] = []
    names = [method.name for method in comparison.methods]
    for name in (*names, NEARNESS):
        strata = [_mean_area(comparison, name, stratum) for stratum in STRATA]
        if np.isfinite([found.value for found in strata]).any():
            verdict = beaten.get(name)
            word = None if verdict is None else verdict.word
            rows.append((name, *strata, word))
    notes = [
        *doubts_of(tuple(beaten.values())),
        *sentences_on_outside(comparison.image_statistics),
        _anchor_note(len(comparison.images)),
        _strata_note(comparison),
        *_remarks(comparison),
    ]
    heads = {f"AUROC, {stratum}": _STRATA_TIPS[stratum] for stratum in STRATA}
    tips = {**heads, _BEATS: _BEATS_TIP}
    return Table("Similarity to anchors", ("Method", *tips), tuple(rows), tuple(notes), "anchors", tips)


def _anchor_note(images: int) -> str:
    resampled = (
        "the anchors of the one image; they say nothing about others"
        if images == 1
        else "images and the anchors in them"
    )
    return (
        "AUROC of the similarity to an anchor as a detector of the anchor's class; 0.5 is chance. "
        f"Intervals: 95 %, from resampling {resampled}."
    )


def _difference_note(images: int) -> str:
    chosen = "anchors" if images == 1 else "images and anchors"
    return (
        "Mean difference of the AUROC of the same anchors, first less second. Where an interval does not "
        f"reach 0, the two differ by more than the choice of {chosen} explains."
    )


def _strata_note(comparison: Comparison) -> str:
    """Say what near, middle and far are, and how many anchors have a number there."""
    areas = [anchor_areas(comparison, comparison.encoders[0].name, stratum)[0] for stratum in STRATA]
    every, near, middle, far = (int(np.isfinite(found).sum()) for found in areas)
    return (
        "Near, middle and far are thirds of the region, by distance from the anchors. An anchor counts where "
        f"such a third holds both its class and others: of {every} anchors {near} near, {middle} at middle "
        f"distance, {far} far."
    )


def difference_table(comparison: Comparison) -> Table:
    """Paired differences: each encoder less each of its controls, and less each other encoder."""
    rows: list[tuple[Cell, ...]] = []
    if any(image.anchors for image in comparison.images):
        for first, second in _pairs(comparison):
            found = [difference(comparison, first, second, stratum) for stratum in STRATA]
            rows.append((first, second, *found))
    tips = {f"Difference, {stratum}": _STRATA_TIPS[stratum] for stratum in STRATA}
    columns = ("Method", "Less", *tips)
    notes = (_difference_note(len(comparison.images)),)
    return Table("Paired differences", columns, tuple(rows), notes, "differences", tips)


def map_table(comparison: Comparison) -> Table:
    """Scores of each map for the class that it finds best, mean over images.

    A mean over classes would say nothing: what finds one of two classes misses the other.
    """
    labels = _labels(comparison)
    rows: list[tuple[Cell, ...]] = []
    for method, kind in _maps(comparison):
        chosen = (comparison, method, kind)
        areas = {label: _mean_score(*chosen, "auroc", label).value for label in labels}
        best = max(labels, key=lambda label: np.nan_to_num(areas[label], nan=-1.0))
        rows.append((method, kind, best, *(_mean_score(*chosen, measure, best) for measure in _MEASURES)))
    columns = ("Method", "Map", "Finds best", *_MEASURES.values())
    chosen_note = (_BEST_NOTE,) if len(labels) > 1 else ()
    notes = (*chosen_note, *_map_notes(comparison))
    return Table("Maps against annotation", columns, tuple(rows), notes, "maps", _MEASURE_TIPS)


def class_table(comparison: Comparison) -> Table:
    """Scores of maps class by class, mean over images; no rows for a single class."""
    labels = _labels(comparison)
    rows: list[tuple[Cell, ...]] = []
    for method, kind in _maps(comparison) if len(labels) > 1 else ():
        for label in labels:
            found = [_mean_score(comparison, method, kind, measure, label) for measure in _MEASURES]
            if np.isfinite([score.value for score in found]).any():
                rows.append((method, kind, label, *found))
    columns = ("Method", "Map", "Class", *_MEASURES.values())
    notes = _map_notes(comparison)
    return Table("Maps, class by class", columns, tuple(rows), notes, "classes", _MEASURE_TIPS)


def measured_tables(comparison: Comparison) -> list[Table]:
    """Mean over images of what scores measured of each method, one table a score."""
    return [_measured_table(comparison, score) for score in SCORES.values() if score.columns]


def _measured_table(comparison: Comparison, score: ScoreType) -> Table:
    outside = sentences_on_outside(comparison.image_statistics)
    found = [row for image in comparison.images for row in image.measured.get(score.key, ())]
    rows: list[tuple[Cell, ...]] = [
        (method, kind, *(_over_images(_finite(found, method, kind, name)) for name in score.columns))
        for method, kind in _unique((row.method, row.map) for row in found)
    ]
    columns = ("Method", score.each, *score.columns.values())
    return Table(score.title, columns, tuple(rows), (*outside, score.note, *_remarks(comparison)), score.key)


def _finite(rows: Iterable[MeasuredRow], method: str, kind: str, name: str) -> list[float]:
    values = [row.values[name] for row in rows if (row.method, row.map) == (method, kind)]
    return [value for value in values if np.isfinite(value)]


def image_table(comparison: Comparison) -> Table:
    """Every score of every map of every image, one row each, and what was read of its file."""
    names = [item.name for item in fields(MapScores)]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            *(image.name, row.method, row.map, row.label),
            *(getattr(row.scores, name) for name in names),
            *(image.series or None, image.channel or None),
            *(image.record.spacing_um_yx or (None, None)),
        )
        for image in comparison.images
        for row in image.maps
    )
    read = ("Series", "Channel", "µm/px, rows", "µm/px, columns")
    columns = ("Image", "Method", "Map", "Class", *(name.replace("_", " ") for name in names), *read)
    return Table("Maps, image by image", columns, rows, (), "images")


def agreement_table(comparison: Comparison) -> Table:
    """How far encoders agree, mean over images."""
    pairs = _unique((row.first, row.second) for image in comparison.images for row in image.agreement)
    rows: list[tuple[Cell, ...]] = []
    for pair in pairs:
        found = [
            row for image in comparison.images for row in image.agreement if (row.first, row.second) == pair
        ]
        means = [
            _over_images([getattr(row, name) for row in found])
            for name in ("cka", "cka_by_chance", "neighbours")
        ]
        rows.append((*pair, *means))
    count = comparison.request.options.neighbours
    notes = (_CKA_NOTE, f"Neighbours: share of a token's {count} nearest that both name (arXiv 2405.07987).")
    return Table(
        "Agreement of encoders",
        ("First", "Second", "CKA", "CKA by chance", "Neighbours"),
        tuple(rows),
        notes,
        "agreement",
        {
            "CKA": "how alike two encoders see the region, from 0 to 1: whether tokens that are alike to one "
            "are alike to the other.",
            "CKA by chance": "the same with places shuffled: what two encoders share that see nothing alike.",
        },
    )


def _mean_area(comparison: Comparison, method: str, stratum: Stratum) -> Estimate:
    areas, groups = anchor_areas(comparison, method, stratum)
    return bootstrap_mean(areas, groups) if len(areas) else Estimate(float("nan"))


def _mean_score(comparison: Comparison, method: str, kind: str, measure: str, label: str) -> Estimate:
    """Mean over the images that have the class."""
    found = [
        getattr(row.scores, measure)
        for image in comparison.images
        for row in image.maps
        if (row.method, row.map, row.label) == (method, kind, label)
    ]
    return _over_images([value for value in found if np.isfinite(value)])


def _labels(comparison: Comparison) -> list[str]:
    return _unique(row.label for image in comparison.images for row in image.maps)


def _over_images(values: list[float]) -> Estimate:
    """Mean with its interval over images; a single image has none."""
    if len(values) < 2:
        return Estimate(values[0] if values else float("nan"))
    return bootstrap_mean(np.asarray(values, float))


def _maps(comparison: Comparison) -> list[tuple[str, str]]:
    return _unique((row.method, row.map) for image in comparison.images for row in image.maps)


def _pairs(comparison: Comparison) -> list[tuple[str, str]]:
    encoders = [method.name for method in comparison.encoders]
    against = [
        (name, other)
        for name in encoders
        for other in (*(control.name for control in comparison.controls_of(name)), NEARNESS)
    ]
    return against + [(first, second) for at, first in enumerate(encoders) for second in encoders[at + 1 :]]


def _made(comparison: Comparison) -> str:
    """Say at which resolution and scale all methods were asked."""
    run = comparison.request.options.run
    read = READ.get(run.resolution, f"at {run.resolution}")
    return f"Encoders and controls alike: images read {read}, {run.maps.scale.describe()}."


def _remarks(comparison: Comparison) -> tuple[str, ...]:
    """Say how tokens were made, what was left out, and whether images of two kinds are averaged."""
    notes = (
        _made(comparison),
        *(note for image in comparison.images for note in image.notes),
    )
    grey, coloured = (
        [image.name for image in comparison.images if image.grey is kind] for kind in (True, False)
    )
    if not (grey and coloured):
        return notes
    mixed = (
        f"{len(grey)} of the images are grey and {len(coloured)} coloured, such as {grey[0]} and "
        f"{coloured[0]}: a mean over both says little of either."
    )
    return (*notes, mixed)


def _map_notes(comparison: Comparison) -> tuple[str, ...]:
    count = len(comparison.images)
    images = "one image, so there are no intervals" if count == 1 else f"{count} images, with 95 % intervals"
    return (
        *sentences_on_outside(comparison.image_statistics),
        f"Each class against all other annotated pixels, mean over {images}.",
        _PCA_NOTE,
        *_remarks(comparison),
    )


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
