"""Scores of one image as plain values that a JSON file can hold, and back, to the last digit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_sslmaps.compare.evidence import ImageEvidence
from napari_sslmaps.compare.results import AgreementRow, AnchorRow, Float, MapRow, ScoredImage
from napari_sslmaps.core.estimate import Estimate
from napari_sslmaps.core.findings import Table
from napari_sslmaps.evaluation.map_scores import MapScores
from napari_sslmaps.evaluation.robustness import Response, Robustness
from napari_sslmaps.export.record import ImageRecord


def to_plain(scored: ScoredImage) -> dict[str, Any]:
    """Return scores as dicts, lists and numbers; NaN becomes None."""
    return {
        "name": scored.name,
        "record": asdict(scored.record),
        "maps": [_plain(asdict(row)) for row in scored.maps],
        "anchors": [{"method": row.method, "areas": _strata(row.areas)} for row in scored.anchors],
        "nearness": _strata(scored.nearness),
        "anchor_yx": None if scored.anchor_yx is None else scored.anchor_yx.tolist(),
        "anchor_labels": None if scored.anchor_labels is None else scored.anchor_labels.tolist(),
        "agreement": [_plain(asdict(row)) for row in scored.agreement],
        "robustness": [_robustness(found) for found in scored.robustness],
        "evidence": None if scored.evidence is None else _plain(asdict(scored.evidence)),
        "provenance": dict(scored.provenance),
        "notes": list(scored.notes),
    }


def from_plain(found: Mapping[str, Any]) -> ScoredImage:
    """Rebuild from `to_plain`'s values.

    Raises
    ------
    KeyError, TypeError, ValueError
        If they are not complete.
    """
    return ScoredImage(
        name=found["name"],
        record=ImageRecord(**with_tuples(found["record"])),
        maps=tuple(_map_row(row) for row in found["maps"]),
        anchors=tuple(AnchorRow(row["method"], _arrays(row["areas"])) for row in found["anchors"]),
        nearness=_arrays(found["nearness"]),
        anchor_yx=None if found["anchor_yx"] is None else _floats(found["anchor_yx"]).reshape(-1, 2),
        anchor_labels=None if found["anchor_labels"] is None else np.array(found["anchor_labels"], np.int64),
        agreement=tuple(AgreementRow(**_known(row)) for row in found["agreement"]),
        robustness=tuple(_robustness_of(part) for part in found["robustness"]),
        evidence=None if found["evidence"] is None else ImageEvidence(**_known(found["evidence"])),
        provenance=found["provenance"],
        notes=tuple(found["notes"]),
    )


def table_to_plain(table: Table) -> dict[str, Any]:
    """Return a table as dicts, lists and numbers; an estimate has value, low and high, NaN becomes None."""
    rows = [
        [_plain(asdict(cell)) if isinstance(cell, Estimate) else _plain(cell) for cell in row]
        for row in table.rows
    ]
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": rows,
        "notes": list(table.notes),
    }


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with tuples where JSON made lists of them."""
    return {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}


def _map_row(row: Mapping[str, Any]) -> MapRow:
    return MapRow(row["method"], row["map"], row["label"], MapScores(**_known(row["scores"])))


def _strata(strata: Mapping[Any, Float]) -> dict[str, list[float | None]]:
    return {name: _plain(values.tolist()) for name, values in strata.items()}


def _arrays(strata: Mapping[str, Sequence[float | None]]) -> dict[Any, Float]:
    return {name: _floats(values) for name, values in strata.items()}


def _robustness(found: Robustness) -> dict[str, Any]:
    responses = {
        key: {
            "strengths": response.strengths.tolist(),
            "runs": {name: _plain(runs.tolist()) for name, runs in response.runs.items()},
        }
        for key, response in found.responses.items()
    }
    return {"method": found.method, "regions": found.regions, "responses": responses}


def _robustness_of(found: Mapping[str, Any]) -> Robustness:
    responses = {
        key: Response(
            key,
            _floats(response["strengths"]),
            {name: _floats(runs) for name, runs in response["runs"].items()},
        )
        for key, response in found["responses"].items()
    }
    return Robustness(found["method"], responses, found["regions"])


def _floats(values: ArrayLike | Sequence[Any]) -> Float:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in values.items()}
