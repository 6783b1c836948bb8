"""The folder of a comparison: finished scores and tokens, found again by what decided them."""

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from napari_sslmaps.compare.entrants import Entrant
from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.compare.request import ComparisonRequest, MaskFile
from napari_sslmaps.compare.results import ScoredImage
from napari_sslmaps.compare.scores import SCORES
from napari_sslmaps.core.findings import Estimate, Table
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.core.tiling import FITTED, Tiling
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import digest_of, fitting, hash_path, written_whole
from napari_sslmaps.maps.registry import MAP_TYPES
from napari_sslmaps.records.claim import remove_own
from napari_sslmaps.records.places import written
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.serialise import dump, load, parse, plain, read, strict
from napari_sslmaps.sources import npy

logger = logging.getLogger(__name__)
FIGURE = "figure.png"
"""Name of the figure in the folder of an image."""
_SCORES = "scores.json"
_TOKENS = "tokens.npz"
_FORMAT = "napari-sslmaps/scores"
_TOKENS_FORMAT = b"napari-sslmaps/tokens"
_WHAT = "the scores of an image"
_UNFIT = re.compile(r'[<>:"|?*\\\x00-\x1f]')

_DAMAGE = (*npy.DAMAGE, KeyError, BadZipFile, NotImplementedError, RuntimeError, zlib.error)


@strict
@dataclass(frozen=True, slots=True)
class _Stored:
    """Content of ``scores.json``.

    Parameters
    ----------
    key
        Hash of all that decides the scores.
    scores
        Scores as `to_plain` returns them.
    check
        Hash of the scores; empty in files of version 0.1.0.
    format
        Kind of the file, by which it is known to be ours; empty in files of before.
    """

    key: str
    scores: Mapping[str, Any]
    check: str = ""
    format: str = ""

    def unchanged(self) -> Mapping[str, Any]:
        """Return the scores as they were written, or raise RecordError."""
        if self.check and self.check != digest_of(self.scores):
            raise RecordError(f"Expected {_WHAT} as they were written; they have been edited since.")
        return self.scores


@strict
@dataclass(frozen=True, slots=True)
class _AboutTokens:
    """Facts about tokens that are kept.

    Parameters
    ----------
    grid, provenance
        Grid and provenance, as of an `Embedding`.
    """

    grid: TokenGrid
    provenance: Provenance


class ComparisonFolder:
    """Scores, and tokens where a later step needs them, of the images that are finished.

    Each image's ``scores.json`` is written last and whole, and holds a key of all that decides its numbers.

    Parameters
    ----------
    path
        Path of the folder, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def image_folder(self, name: str) -> Path:
        """Return the folder of one image's outputs."""
        return self.path / "images" / file_name(name)

    def load(self, name: str, key: str) -> ScoredImage | None:
        """Return what was found on an image; None if it is not finished, or something has changed since."""
        path = self.image_folder(name) / _SCORES
        if not path.exists():
            return None
        try:
            stored = load(_Stored, read(path, _WHAT), _WHAT)
            return from_plain(stored.unchanged()) if stored.key == key else None
        except RecordError as error:
            logger.warning("%s Those of %s are made anew.", error, name)
            return None

    def keep(self, scored: ScoredImage, key: str) -> None:
        """Keep what was found on an image; from here on it is finished.

        Raises
        ------
        ExportError
            If it cannot be written.
        """
        plain_scores = written(to_plain(scored), self.image_folder(scored.name))
        stored = dump(_Stored(key, plain_scores, digest_of(plain_scores), _FORMAT))
        text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
        with written_whole(self.image_folder(scored.name) / _SCORES) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def forget(self, name: str) -> None:
        """Remove scores, figure, maps and tokens of an image, which an earlier comparison wrote.

        Raises
        ------
        ExportError
            If one cannot be removed.
        """
        kinds = (*MAP_TYPES, "similarity, *")
        maps = (f"*/{kind}.tif" for kind in kinds)
        remove_own(self.image_folder(name), (_SCORES, FIGURE, *maps, f"*/{_TOKENS}"))

    def keep_tokens(self, name: str, method: str, embedding: Embedding) -> None:
        """Keep tokens of an image, exactly.

        Raises
        ------
        ExportError
            If they cannot be written.
        """
        about = dump(_AboutTokens(embedding.grid, embedding.provenance))
        with written_whole(self._tokens(name, method)) as temporary:
            np.savez(
                temporary,
                tokens=np.asarray(embedding.tokens[:]),
                about=np.array(json.dumps(about)),
                format=np.array(_TOKENS_FORMAT),
            )

    def load_tokens(self, name: str, method: str) -> Embedding:
        """Return tokens that were kept.

        Raises
        ------
        RecordError
            If they are not there, or damaged.
        """
        path, what = self._tokens(name, method), "a description of tokens"
        try:
            with np.load(path, allow_pickle=False) as stored:
                about = load(_AboutTokens, parse(str(stored["about"]), what), what)
                return Embedding(stored["tokens"], about.grid, about.provenance)
        except _DAMAGE as error:
            if isinstance(error, RecordError):
                raise
            raise RecordError(
                f"Expected the tokens of {name} by {method} as they were kept; {path} is damaged ({error}). "
                f"Delete {path.parents[1] / _SCORES} and run the comparison again."
            ) from error

    def _tokens(self, name: str, method: str) -> Path:
        return self.image_folder(name) / method / _TOKENS


def file_name(name: str) -> str:
    """Return an image's name as a path below a folder, whatever a layer is called; ``/`` stays."""
    parts = [_UNFIT.sub("_", part) for part in name.split("/") if part not in {"", ".", ".."}]
    return fitting("/".join(parts)) or "image"


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the hash of all that decides the numbers of an image."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def image_key(image: OpenedImage, entrants: Sequence[Entrant], request: ComparisonRequest) -> str:
    """Return the key of an image's scores: image, mask, region, anchors, methods, scores, options, versions.

    Labels of whole images are not in it: no score of an image by itself depends on them.
    """
    requested, options = image.requested, request.options
    mask = requested.annotation if isinstance(requested.annotation, MaskFile) else None
    run = options.run.of_encoders(entrant.trained for entrant in entrants)
    how = asdict(options)
    if not options.resolutions:
        del how["resolutions"]
    facts = {
        "image": image.record.sha256,
        "mask": None if mask is None else [hash_path(mask.path), sorted(mask.classes.items()), mask.ignore],
        "region": image.region.to_dict(),
        "wanted": None if requested.mask is None else requested.mask.sha256,
        "points": [requested.anchors, requested.negative, [asdict(group) for group in requested.groups]],
        "methods": [_facts_of(entrant) for entrant in entrants],
        "scores": [score for score in SCORES if SCORES[score].per_image and score in request.scores],
        "tokens": keeps_tokens(request),
        "options": {**how, "run": _run_facts(image, entrants, run)},
        **({"channel": requested.channel} if requested.channel else {}),
        "versions": [version("napari-sslmaps"), version("torch")],
    }
    return key_of(facts)


def keeps_tokens(request: ComparisonRequest) -> bool:
    """Whether a score is wanted that is made of all images' tokens together."""
    return any(SCORES[score].keeps_tokens for score in request.scores)


def _run_facts(image: OpenedImage, entrants: Sequence[Entrant], run: RunOptions) -> dict[str, object]:
    """Return how an image is embedded; where that is one pass as it was in version 0.1, in its words."""
    strides = [entrant.spec.constraint.token_stride for entrant in entrants if entrant.spec]
    grids = [TokenGrid.covering(image.region, stride) for stride in strides]
    fitted = run.tile == FITTED and run.resolution == "native"
    as_before = fitted and all(Tiling(None).side_for(*grid.shape) == 0 for grid in grids)
    return {**run.to_flat(), **({"tile": None} if as_before else {})}


def _facts_of(entrant: Entrant) -> list[object]:
    if entrant.loadable is None:
        return [entrant.method.name]
    spec, encoder = entrant.loadable.spec, entrant.loadable
    overrides = sorted(spec.overrides.items())
    return [
        entrant.method.name,
        spec.sha256,
        encoder.precision,
        encoder.device,
        spec.normalisation,
        overrides,
    ]


class Tokens:
    """Tokens of all images and methods: in memory, or in the folder of the comparison.

    Parameters
    ----------
    folder
        Folder that holds them; None to keep them in memory.
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
    plain_scores: dict[str, Any] = dump(scored)
    return plain_scores


def from_plain(found: Any) -> ScoredImage:
    """Rebuild from `to_plain`'s values.

    Raises
    ------
    RecordError
        If they are not complete.
    """
    scored = load(ScoredImage, found, _WHAT)
    if scored.anchor_yx is None:
        return scored
    return replace(scored, anchor_yx=scored.anchor_yx.reshape(-1, 2))  # of none, JSON keeps no width


def table_to_plain(table: Table) -> dict[str, Any]:
    """Return a table as dicts, lists and numbers; an estimate has value, low and high, NaN becomes None."""
    rows = [
        [plain(asdict(cell)) if isinstance(cell, Estimate) else plain(cell) for cell in row]
        for row in table.rows
    ]
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": rows,
        "notes": list(table.notes),
    }
