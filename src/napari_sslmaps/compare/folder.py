"""The folder of a comparison: what is finished is kept there, and not made again."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from napari_sslmaps.compare.results import ScoredImage
from napari_sslmaps.compare.stored import from_plain, to_plain, with_tuples
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.export.atomic import written_whole

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
