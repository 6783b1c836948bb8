"""A linear head as a file, so that what a folder of labels taught shows on other images and other days."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sslmaps.core.linear_heads import ImageHead, LinearHead
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import user_path
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import Float32Array, dump, strict

_KIND = "head"


@strict
@dataclass(frozen=True, slots=True, eq=False)
class _HeadFile:
    """A linear head as it is written.

    Parameters
    ----------
    encoder, weights_sha256, architecture, names
        Encoder and names of the classes, as in `ImageHead`.
    weights, offset
        Weights and offset, as in `LinearHead`.
    """

    encoder: str
    weights_sha256: str
    architecture: str
    names: tuple[str, ...]
    weights: Float32Array
    offset: Float32Array


def save_head(head: ImageHead, path: str | Path) -> Path:
    """Write a head with its classes and the encoder it belongs to; `load_head` reads it.

    Parameters
    ----------
    head
        Head that `fit_image_head` returned.
    path
        The file, in JSON; an older one is replaced.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ExportError
        If the file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> head = ssl.fit_image_head(np.eye(4, dtype=np.float32), ["gland", "gland", "stroma", "stroma"])
    >>> with TemporaryDirectory() as folder:
    ...     ssl.save_head(head, f"{folder}/head.json").name
    'head.json'
    """
    path = user_path(path)
    words = (head.encoder, head.weights_sha256, head.architecture)
    form = _HeadFile(*words, head.names, head.linear.weights, head.linear.offset)
    write_json(path, _KIND, dump(form))
    return path


def load_head(path: str | Path) -> ImageHead:
    """Read a head for `token_evidence` and `class_activation`.

    Parameters
    ----------
    path
        JSON file to read.

    Returns
    -------
    ImageHead
        Equal to the one that was saved, to the last digit.

    Raises
    ------
    RecordError
        If the file is missing, damaged or holds something else.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> head = ssl.fit_image_head(np.eye(4, dtype=np.float32), ["gland", "gland", "stroma", "stroma"])
    >>> with TemporaryDirectory() as folder:
    ...     ssl.load_head(ssl.save_head(head, f"{folder}/head.json")).names
    ('gland', 'stroma')
    """
    path = user_path(path)
    found = read_json(path, _KIND, _HeadFile, "a linear head")
    weights, offset, count = found.weights, found.offset, len(found.names)
    shaped = weights.ndim == 2 and len(weights) == count and offset.shape == (count,)
    if not shaped or len(set(found.names)) < count:
        raise _damaged(path, f"{count} classes, weights of shape {weights.shape} and {offset.shape}")
    if count < 2:
        raise _damaged(path, "fewer than two classes")
    linear = LinearHead(weights, offset, np.arange(count))
    return ImageHead(linear, found.names, found.encoder, found.weights_sha256, found.architecture)


def _damaged(path: Path, reason: str) -> RecordError:
    return RecordError(
        f"Expected a complete linear head; {path.name} does not fit together ({reason}). Undo edits made by "
        "hand, or save it again."
    )
