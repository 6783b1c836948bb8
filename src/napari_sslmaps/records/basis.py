"""A PCA basis as a file, so that colours mean the same in other images and on other days."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import RecordError
from napari_sslmaps.maps.pca import COMPONENTS, ComponentBasis
from napari_sslmaps.records.json import read_json, write_json

_KIND = "basis"
_ARRAYS = ("mean", "components", "variance", "low", "high")
_WORDS = ("encoder", "weights_sha256", "normalisation", "aligned_to")


def save_basis(basis: ComponentBasis, path: str | Path) -> Path:
    """Write a basis with the encoder, weights and normalisation it belongs to; `load_basis` reads it.

    Parameters
    ----------
    basis
        Of a map that `pca_map` or `align_colours` made.
    path
        The file, in JSON; an older one is replaced.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    path = Path(path)
    arrays = {name: getattr(basis, name).tolist() for name in _ARRAYS}
    write_json(path, _KIND, {**{name: getattr(basis, name) for name in _WORDS}, **arrays})
    return path


def load_basis(path: str | Path) -> ComponentBasis:
    """Read a basis for ``pca_map(basis=…)``, which refuses it for an encoder it does not belong to.

    Returns
    -------
    ComponentBasis
        Equal to the one that was saved, to the last digit.

    Raises
    ------
    RecordError
        If the file is missing, damaged or holds something else.
    """
    path = Path(path)
    content = read_json(path, _KIND, "a PCA basis")
    try:
        arrays = {name: np.array(content.pop(name), np.float64) for name in _ARRAYS}
        words = {name: _word(content.pop(name)) for name in _WORDS}
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, repr(error)) from error
    _check(path, arrays)
    fields: dict[str, Any] = {**arrays, **words}
    return ComponentBasis(**fields)


def _check(path: Path, arrays: dict[str, NDArray[np.float64]]) -> None:
    dim = arrays["mean"].size
    shapes = {"mean": (dim,), "components": (COMPONENTS, dim)}
    for name, array in arrays.items():
        if array.shape != shapes.get(name, (COMPONENTS,)) or not np.isfinite(array).all():
            raise _damaged(path, f"{name} of shape {array.shape}, or not finite")


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a word is {value!r}")
    return value


def _damaged(path: Path, reason: str) -> RecordError:
    return RecordError(
        f"Expected a complete PCA basis; {path.name} does not fit together ({reason}). Undo edits made by "
        "hand, or save it again."
    )
