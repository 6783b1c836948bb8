"""Plots and a table of several methods' robustness."""

from collections.abc import Sequence

import numpy as np

from napari_sslmaps.core.findings import Curve, Plot, Table
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.perturbations import PERTURBATIONS
from napari_sslmaps.evaluation.robustness import CENTRED, COSINE, Response, Robustness

_Y_LABELS = {COSINE: "token cosine to clean", CENTRED: "centred token cosine to clean"}


def robustness_plots(found: Sequence[Robustness], measure: str = CENTRED) -> tuple[Plot, ...]:
    """Draw one plot per perturbation, one curve per method.

    Parameters
    ----------
    found
        Results, one per method.
    measure
        ``centred cosine``, ``cosine`` or the name of a score.

    Returns
    -------
    tuple of Plot
        Curves are means over seeds and regions, bands reach from the lowest to the highest run.

    Raises
    ------
    InvalidOptionError
        If a method lacks the measure.
    """
    _check(found, measure)
    keys = dict.fromkeys(key for each in found for key in each.responses)
    return tuple(_plot(found, key, measure) for key in keys)


def robustness_table(found: Sequence[Robustness], measure: str = CENTRED) -> Table:
    """Write one row per method, one column per perturbation: the mean over all strengths but 0.

    Raises
    ------
    InvalidOptionError
        If a method lacks the measure.
    """
    _check(found, measure)
    keys = tuple(dict.fromkeys(key for each in found for key in each.responses))
    rows = tuple(
        (
            each.method,
            *(each.responses[key].summary(measure) if key in each.responses else None for key in keys),
        )
        for each in found
    )
    strengths = "; ".join(
        f"{PERTURBATIONS[key].title} ({PERTURBATIONS[key].unit}) {_listed(_first(found, key))}"
        for key in keys
    )
    return Table(
        f"Robustness: {_label(measure)}",
        ("method", *(PERTURBATIONS[key].title for key in keys)),
        rows,
        notes=(f"Mean over seeds, regions and the strengths of each perturbation: {strengths}.",),
        key=_file_key(measure),
    )


def _plot(found: Sequence[Robustness], key: str, measure: str) -> Plot:
    change = PERTURBATIONS[key]
    answering = [each for each in found if key in each.responses]
    runs = max(each.responses[key].runs[measure].shape[1] for each in answering)
    band = f"Bands reach from the lowest to the highest of {runs} runs (seeds and regions)."
    notes = [band] if runs > 1 else []
    if change.turns:
        notes.append("Tokens are compared where they went; corners and borders are left out.")
    return Plot(
        title=change.title,
        x_label=f"{change.title}: {change.unit}",
        y_label=_label(measure),
        curves=tuple(_curve(each.method, each.responses[key], measure) for each in answering),
        notes=tuple(notes),
        key=f"{_file_key(measure)}-{key}",
    )


def _curve(method: str, response: Response, measure: str) -> Curve:
    runs = response.runs[measure]
    known = np.isfinite(runs).any(axis=1)
    runs, strengths = runs[known], response.strengths[known].astype(np.float32)
    mean, low, high = (
        reduce(runs, axis=1).astype(np.float32) for reduce in (np.nanmean, np.nanmin, np.nanmax)
    )
    if runs.shape[1] == 1:
        return Curve(method, strengths, mean)
    return Curve(method, strengths, mean, low, high)


def _check(found: Sequence[Robustness], measure: str) -> None:
    lacking = [each.method for each in found if measure not in each.measures]
    if lacking or not found:
        have = ", ".join(found[0].measures) if found else "no method"
        raise InvalidOptionError(
            f"Expected a measure that every method has ({have}); got {measure!r}, which "
            f"{', '.join(lacking) or 'no method'} lacks."
        )


def _label(measure: str) -> str:
    return _Y_LABELS.get(measure, f"change of {measure}")


def _file_key(measure: str) -> str:
    return f"robustness-{measure.replace(' ', '-')}"


def _first(found: Sequence[Robustness], key: str) -> Response:
    return next(each.responses[key] for each in found if key in each.responses)


def _listed(response: Response) -> str:
    return ", ".join(f"{strength:g}" for strength in response.strengths if strength)
