"""Dependencies that only some commands need; who has not got them is told what to type."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from napari_sslmaps.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class Extra:
    """Packages that are installed together on request.

    Parameters
    ----------
    needed
        Modules that must be there.
    purpose
        Things that need them, as the subject's end of a sentence: "which … need".
    """

    needed: tuple[str, ...]
    purpose: str


EXTRAS: Mapping[str, Extra] = {
    "batch": Extra(("distributed", "pyarrow"), "batches"),
    "formats": Extra(("av", "SimpleITK", "pylibCZIrw"), "clips, volumes and CZI files"),
    "remote": Extra(("fsspec", "aiohttp", "s3fs"), "images behind an address"),
    "search": Extra(("faiss",), "index and search"),
    "readers": Extra(("choix", "krippendorff"), "reports of reader studies"),
    "lab": Extra(("lightning_fabric",), "pretrain and study"),
}
"""Extras by the name that pip knows them by."""


def require_extra(name: str) -> None:
    """Check that the packages of an extra are installed.

    Parameters
    ----------
    name
        A key of `EXTRAS`.

    Raises
    ------
    MissingExtraError
        If one is not.
    """
    extra = EXTRAS[name]
    missing = [module for module in extra.needed if not _is_installed(module)]
    if missing:
        raise MissingExtraError(
            f"Expected {' and '.join(extra.needed)}, which {extra.purpose} need; {' and '.join(missing)} "
            f'cannot be found. Install with: pip install "napari-sslmaps[{name}]", or in a clone of its '
            f'repository: .venv/bin/python -m pip install -e ".[{name}]".'
        )


def has_extra(name: str) -> bool:
    """Whether the packages of an extra, a key of `EXTRAS`, are installed."""
    return all(map(_is_installed, EXTRAS[name].needed))


def _is_installed(module: str) -> bool:
    return sys.modules.get(module, ...) is not None and find_spec(module) is not None
