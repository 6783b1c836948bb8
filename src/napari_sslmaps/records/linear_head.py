"""A linear head as a file, so that what a folder of labels taught shows on other images and other days."""

from pathlib import Path

import numpy as np

from napari_sslmaps.core.linear_heads import ImageHead, LinearHead
from napari_sslmaps.errors import RecordError
from napari_sslmaps.records.json import read_json, write_json

_KIND = "head"
_WORDS = ("encoder", "weights_sha256", "architecture")


def save_head(head: ImageHead, path: str | Path) -> Path:
    """Write a head with its classes and the encoder it belongs to; `load_head` reads it.

    Parameters
    ----------
    head
        From `fit_image_head`.
    path
        The file, in JSON; an older one is replaced.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    path = Path(path)
    words = {name: getattr(head, name) for name in _WORDS}
    arrays = {"weights": head.linear.weights.tolist(), "offset": head.linear.offset.tolist()}
    write_json(path, _KIND, {**words, "names": list(head.names), **arrays})
    return path


def load_head(path: str | Path) -> ImageHead:
    """Read a head for `token_evidence` and `class_activation`.

    Returns
    -------
    ImageHead
        Equal to the one that was saved, to the last digit.

    Raises
    ------
    RecordError
        If the file is missing, damaged or holds something else.
    """
    path = Path(path)
    content = read_json(path, _KIND, "a linear head")
    try:
        weights, offset = (np.array(content[name], np.float32) for name in ("weights", "offset"))
        names = tuple(str(name) for name in content["names"])
        words = [str(content[name]) for name in _WORDS]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error
    count = len(names)
    if weights.ndim != 2 or len(weights) != count or offset.shape != (count,) or len(set(names)) < count:
        raise _damaged(path, f"{count} classes, weights of shape {weights.shape} and {offset.shape}")
    if count < 2 or not (np.isfinite(weights).all() and np.isfinite(offset).all()):
        raise _damaged(path, "fewer than two classes, or weights that are not finite")
    return ImageHead(LinearHead(weights, offset, np.arange(count)), names, *words)


def _damaged(path: Path, reason: str) -> RecordError:
    return RecordError(
        f"Expected a complete linear head; {path.name} does not fit together ({reason}). Undo edits made by "
        "hand, or save it again."
    )
