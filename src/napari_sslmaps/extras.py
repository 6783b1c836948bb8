"""What only batches need; who has not got it is told."""

from importlib.util import find_spec

from napari_sslmaps.errors import MissingExtraError

NEEDED = ("distributed", "pyarrow")


def require_extra() -> None:
    """Check that Dask's distributed and pyarrow are installed.

    Raises
    ------
    MissingExtraError
        If one is not.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Expected {' and '.join(NEEDED)}, which batches need; {' and '.join(missing)} cannot be found. "
            "Install them: python -m pip install 'napari-sslmaps[batch]'."
        )
