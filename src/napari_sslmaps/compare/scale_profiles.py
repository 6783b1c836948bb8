"""Every method's score against scale and resolution, beside controls at the same ones."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_sslmaps.compare.entrants import Entrant
from napari_sslmaps.compare.progress import Tell
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import Comparison, MeasuredRow
from napari_sslmaps.compare.scores import SCALE_COLUMNS
from napari_sslmaps.compare.scoring import RANKED_TOKENS, ImageEmbeddings
from napari_sslmaps.compare.verdicts import NEARNESS
from napari_sslmaps.core.findings import Plot
from napari_sslmaps.core.scale import SCALES
from napari_sslmaps.evaluation.scale_profile import scale_profile
from napari_sslmaps.evaluation.uncertainty import curve_over_images

KEY = "scale"
_MOST_ANCHORS = 16
_SCALE_AXIS = "scale σ, % of the region's shorter side"
_SCORE_AXIS = "AUROC of similarity to an anchor"
_HEAT_NOTE = f"{_SCORE_AXIS}; a row for each method and resolution, means over images."
READ = {"trained": "as trained", "native": "as stored"}
"""Resolutions in words that follow "read"; others speak for themselves."""


def profiles_of(
    embedded: ImageEmbeddings, entrants: Sequence[Entrant], request: ComparisonRequest, tell: Tell
) -> tuple[MeasuredRow, ...]:
    """Score each method on an image at every scale, at the comparison's resolution and at others.

    Parameters
    ----------
    embedded
        Image and its embeddings.
    entrants
        Methods that make tokens at other resolutions.
    request
        Request with the other resolutions, and with how tokens are made.
    tell
        Callback, called with the name of a method before its scores; may raise `Cancelled`.
    """
    annotation = embedded.image.annotation
    if annotation is None or embedded.unscorable:
        return ()
    options = request.options
    rows = []
    for resolution in dict.fromkeys((options.run.resolution, *options.resolutions)):
        what = READ.get(resolution, resolution)
        for entrant in entrants:
            name = entrant.method.name
            tell(name)
            embedding = embedded.patches[name]
            if resolution != options.run.resolution:
                embedding = entrant.embed(embedded.image, replace(options.run, resolution=resolution), None)
            found = scale_profile(
                embedding,
                annotation,
                count=min(_MOST_ANCHORS, options.anchor_count),
                seed=options.seed,
                most_tokens=RANKED_TOKENS,
            )
            values = dict(zip(SCALE_COLUMNS, found.areas.values(), strict=True))
            rows.append(MeasuredRow(name, what, values))
            if entrant is entrants[0]:
                rows.append(MeasuredRow(NEARNESS, what, dict.fromkeys(SCALE_COLUMNS, found.nearness)))
    return tuple(rows)


def profile_plots(comparison: Comparison) -> tuple[Plot, ...]:
    """Return one plot for each resolution, score against scale, and a heat map of them all."""
    found = [row for image in comparison.images for row in image.measured.get(KEY, ())]
    count = len(comparison.images)
    notes = (f"Bands: 95 %, over {count} images.",) if count > 1 else ()
    methods = sorted(dict.fromkeys(row.method for row in found), key=NEARNESS.__eq__)  # distance alone last
    plots, cells = [], {}
    for what in dict.fromkeys(row.map for row in found):
        curves = []
        for method in methods:
            values = [list(row.values.values()) for row in found if (row.method, row.map) == (method, what)]
            over_images = np.array(values, float).reshape(-1, len(SCALES))
            curves.append(curve_over_images(method, SCALES, over_images))
            cells[method, what] = replace(curves[-1], label=f"{method}, {what}")
        title, key = f"Scale profile, read {what}", f"scale-{what.replace(' ', '-')}"
        plots.append(Plot(title, _SCALE_AXIS, _SCORE_AXIS, tuple(curves), notes=notes, key=key))
    if not plots:
        return ()
    rows = tuple(
        cells[method, what] for method in methods for what in dict.fromkeys(read for _, read in cells)
    )
    title = "Score against scale and resolution"
    return (
        *plots,
        Plot(title, _SCALE_AXIS, _SCORE_AXIS, rows, notes=(_HEAT_NOTE,), key="scale-heat", heat=True),
    )
