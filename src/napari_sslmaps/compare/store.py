"""The folder of a comparison: finished scores and tokens, found again by what decided them."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_sslmaps.compare.entrants import Lane
from napari_sslmaps.compare.image_statistics import ImageEvidence
from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.compare.request import ComparisonRequest, MaskFile
from napari_sslmaps.compare.results import AgreementRow, AnchorRow, Float, MapRow, ScoredImage
from napari_sslmaps.core.findings import Estimate, Table
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.evaluation.map_scores import MapScores
from napari_sslmaps.evaluation.robustness import Response, Robustness
from napari_sslmaps.files import hash_path, written_whole
from napari_sslmaps.records.run import ImageRecord

_SCORES = "scores.json"
_UNFIT = re.compile(r'[<>:"|?*\\\x00-\x1f]')


class ComparisonFolder:
    """Scores, and tokens where a later step needs them, of the images that are finished.

    Each image's ``scores.json`` is written last and whole, and holds a key of all that decides its numbers.

    Parameters
    ----------
    path
        Of the folder; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def image_folder(self, name: str) -> Path:
        """Return the folder of one image's outputs."""
        return self.path / "images" / file_name(name)

    def load(self, name: str, key: str) -> ScoredImage | None:
        """Return what was found on an image; None if it is not finished, or something has changed since."""
        try:
            stored = json.loads((self.image_folder(name) / _SCORES).read_text(encoding="utf-8"))
            return from_plain(stored["scores"]) if stored["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or of an earlier version: made anew

    def keep(self, scored: ScoredImage, key: str) -> None:
        """Keep what was found on an image; from here on it is finished.

        Raises
        ------
        ExportError
            If it cannot be written.
        """
        text = json.dumps({"key": key, "scores": to_plain(scored)}, allow_nan=False, ensure_ascii=False)
        with written_whole(self.image_folder(scored.name) / _SCORES) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def keep_tokens(self, name: str, method: str, embedding: Embedding) -> None:
        """Keep tokens of an image, exactly.

        Raises
        ------
        ExportError
            If they cannot be written.
        """
        about = {"grid": asdict(embedding.grid), "provenance": embedding.provenance.to_dict()}
        with written_whole(self._tokens(name, method)) as temporary:
            np.savez(temporary, tokens=np.asarray(embedding.tokens[:]), about=np.array(json.dumps(about)))

    def load_tokens(self, name: str, method: str) -> Embedding:
        """Return tokens that were kept.

        Raises
        ------
        OSError
            If they are not there.
        """
        with np.load(self._tokens(name, method), allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            grid = TokenGrid(**with_tuples(about["grid"]))
            return Embedding(stored["tokens"], grid, Provenance.from_dict(about["provenance"]))

    def _tokens(self, name: str, method: str) -> Path:
        return self.image_folder(name) / method / "tokens.npz"


def file_name(name: str) -> str:
    """Return an image's name as a path below a folder, whatever a layer is called; ``/`` stays."""
    parts = [_UNFIT.sub("_", part) for part in name.split("/") if part not in {"", ".", ".."}]
    return "/".join(parts) or "image"


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the hash of all that decides the numbers of an image."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


IMAGE_SCORES = ("maps", "anchors", "agreement", "robustness")
"""Scores that are made image by image; the others are made of all images, of tokens that are kept."""


def image_key(image: OpenedImage, lanes: Sequence[Lane], request: ComparisonRequest) -> str:
    """Return the key of an image's scores: image, mask, region, anchors, methods, scores, options, versions.

    Labels of whole images are not in it: no score of an image by itself depends on them.
    """
    asked, options = image.asked, request.options
    mask = asked.annotation if isinstance(asked.annotation, MaskFile) else None
    facts = {
        "image": image.record.sha256,
        "mask": None if mask is None else [hash_path(mask.path), sorted(mask.classes.items()), mask.ignore],
        "region": image.region.to_dict(),
        "wanted": None if asked.mask is None else asked.mask.sha256,
        "points": [asked.anchors, asked.negative, [asdict(group) for group in asked.groups]],
        "methods": [_facts_of(lane) for lane in lanes],
        "scores": [score for score in IMAGE_SCORES if score in request.scores],
        "tokens": keeps_tokens(request),
        "options": {**asdict(options), "run": options.run.to_flat()},
        "versions": [version("napari-sslmaps"), version("torch")],
    }
    return key_of(facts)


def keeps_tokens(request: ComparisonRequest) -> bool:
    """Whether a score is wanted that is made of all images' tokens together."""
    return request.wants("probes", "label-efficiency", "localisation")


def _facts_of(lane: Lane) -> list[object]:
    if lane.encoder is None:
        return [lane.method.name]
    spec, encoder = lane.encoder.spec, lane.encoder
    overrides = sorted(spec.overrides.items())
    return [lane.method.name, spec.sha256, encoder.precision, encoder.device, spec.normalisation, overrides]


class Tokens:
    """Tokens of all images and methods: in memory, or in the folder of the comparison.

    Parameters
    ----------
    folder
        None to keep them in memory.
    """

    def __init__(self, folder: ComparisonFolder | None) -> None:
        self._folder = folder
        self._here: dict[tuple[str, str], Embedding] = {}

    def put(self, image: str, embeddings: Mapping[str, Embedding]) -> None:
        """Keep the tokens of an image by every method.

        Raises
        ------
        ExportError
            If the folder cannot be written to.
        """
        for method, embedding in embeddings.items():
            if self._folder is None:
                self._here[image, method] = embedding
            else:
                self._folder.keep_tokens(image, method, embedding)

    def get(self, image: str, method: str) -> Embedding:
        """Return the tokens of an image by a method."""
        if self._folder is None:
            return self._here[image, method]
        return self._folder.load_tokens(image, method)


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
