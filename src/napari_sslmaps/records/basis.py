"""A PCA basis as a file, so that colours mean the same in other images and on other days."""

from pathlib import Path

from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import user_path
from napari_sslmaps.maps.pca import COMPONENTS, ComponentBasis
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import dump

_KIND = "basis"
_FIRST = ("encoder", "weights_sha256", "normalisation", "aligned_to")
"""Fields in the order in which they are written; records hold hashes of such files."""


def save_basis(basis: ComponentBasis, path: str | Path) -> Path:
    """Write a basis with the encoder, weights and normalisation it belongs to; `load_basis` reads it.

    Parameters
    ----------
    basis
        Basis of a map that `pca_map` or `align_colours` made.
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
    >>> embedding = ssl.Embedding.from_tokens(np.random.default_rng(0).normal(size=(8, 8, 16)))
    >>> with TemporaryDirectory() as folder:
    ...     ssl.save_basis(ssl.pca_map(embedding, foreground=None).basis, f"{folder}/basis.json").name
    'basis.json'
    """
    path = user_path(path)
    stored = dump(basis)
    write_json(path, _KIND, {**{name: stored[name] for name in _FIRST}, **stored})
    return path


def load_basis(path: str | Path) -> ComponentBasis:
    """Read a basis for ``pca_map(basis=…)``, which refuses it for an encoder it does not belong to.

    Parameters
    ----------
    path
        JSON file to read.

    Returns
    -------
    ComponentBasis
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
    >>> embedding = ssl.Embedding.from_tokens(np.random.default_rng(0).normal(size=(8, 8, 16)))
    >>> first = ssl.pca_map(embedding, foreground=None)
    >>> with TemporaryDirectory() as folder:
    ...     basis = ssl.load_basis(ssl.save_basis(first.basis, f"{folder}/basis.json"))
    >>> bool(np.array_equal(ssl.pca_map(embedding, basis=basis).values, first.values))
    True
    """
    path = user_path(path)
    basis = read_json(path, _KIND, ComponentBasis, "a PCA basis")
    dim = basis.mean.size
    shapes = {"mean": (dim,), "components": (COMPONENTS, dim)}
    for name in ("mean", "components", "variance", "low", "high"):
        shape = getattr(basis, name).shape
        if shape != shapes.get(name, (COMPONENTS,)):
            reason = f"{name} of shape {shape}"
            raise RecordError(
                f"Expected a complete PCA basis; {path.name} does not fit together ({reason}). Undo edits "
                "made by hand, or save it again."
            )
    return basis
