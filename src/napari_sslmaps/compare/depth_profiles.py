"""Every method's scores against depth, beside controls: untrained twins at the same blocks, others flat."""

from collections.abc import Sequence

import numpy as np

from napari_sslmaps.compare.entrants import Entrant
from napari_sslmaps.compare.progress import Tell
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import Comparison, MeasuredRow
from napari_sslmaps.compare.scores import DEPTH_COLUMNS
from napari_sslmaps.compare.scoring import RANKED_TOKENS, ImageEmbeddings
from napari_sslmaps.core.findings import Plot
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import at_scale
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.anchor_scores import draw_anchors, score_anchors
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.cross_validation import cross_validate
from napari_sslmaps.evaluation.uncertainty import curve_over_images

KEY = "depth"
_ANY = "any"
"""What the tokens of a control without a network are of: they have no depth."""
_MOST_ANCHORS = 16
_AXIS = "depth, share of the network's blocks or stages"


def depths_of(
    embedded: ImageEmbeddings, entrants: Sequence[Entrant], request: ComparisonRequest, tell: Tell
) -> tuple[MeasuredRow, ...]:
    """Score each method on an image at every block or stage.

    Parameters
    ----------
    embedded
        Image and its embeddings.
    entrants
        Methods that make tokens of every depth.
    request
        Request that says how tokens are made and averaged.
    tell
        Callback, called with the name of a method before its scores; may raise `Cancelled`.
    """
    image, options = embedded.image, request.options
    annotation = image.annotation
    if annotation is None or embedded.unscorable:
        return ()
    grid = embedded.patches[entrants[0].method.name].grid
    count = min(_MOST_ANCHORS, options.anchor_count)
    anchors = draw_anchors(annotation, grid, count=count, seed=options.seed)
    rows = []
    for entrant in entrants:
        name = entrant.method.name
        tell(name)
        places = entrant.places or (_ANY,)
        several = entrant.embed_places(image, options.run) if entrant.places else (embedded.patches[name],)
        for place, embedding in zip(places, several, strict=True):
            smooth = at_scale(embedding, options.run.maps.scale)
            areas = score_anchors(smooth, annotation, anchors=anchors, most_tokens=RANKED_TOKENS).areas["all"]
            found = float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")
            rows.append(MeasuredRow(name, place, {"anchors": found, "probe": _probed(smooth, annotation)}))
    return tuple(rows)


def _probed(embedding: Embedding, annotation: Annotation) -> float:
    """Return the balanced accuracy of a probe within one image; NaN where its labels do not allow one."""
    labels = annotation.token_labels(embedding.grid) + 1
    flat = labels.reshape(-1)
    flat[np.arange(flat.size) % -(-flat.size // RANKED_TOKENS) != 0] = 0
    try:
        return cross_validate(embedding, labels, by="block").accuracy.value
    except InvalidOptionError:  # a class of which no two parts can be held out of each other
        return float("nan")


def depth_plots(comparison: Comparison) -> tuple[Plot, ...]:
    """Return a plot of each score against depth, a curve for each method."""
    found = [row for image in comparison.images for row in image.measured.get(KEY, ())]
    count = len(comparison.images)
    notes = (f"Bands: 95 %, over {count} images.",) if count > 1 else ()
    plots = []
    for key, heading in DEPTH_COLUMNS.items():
        curves = []
        for method in dict.fromkeys(row.method for row in found):
            own = [row for row in found if row.method == method]
            places = list(dict.fromkeys(row.map for row in own))
            values = np.array([[row.values[key] for row in own if row.map == place] for place in places]).T
            share = (1.0 + np.arange(len(places))) / len(places)
            if places == [_ANY]:
                share, values = np.array([0.0, 1.0]), np.repeat(values, 2, axis=1)
            if np.isfinite(values).any():
                curves.append(curve_over_images(method, share.tolist(), values))
        if curves:
            title = f"{heading} against depth"
            plots.append(Plot(title, _AXIS, heading, tuple(curves), notes=notes, key=f"depth-{key}"))
    return tuple(plots)
