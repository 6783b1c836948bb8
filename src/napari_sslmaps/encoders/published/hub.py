"""Any repository of the hub by name, ``hf:OWNER/NAME`` or ``timm:NAME``, from its cache on this machine.

Nothing is fetched here: what is in the cache was fetched by who chose it, with the hub's own client.
"""

from collections.abc import Iterable
from pathlib import Path

from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.errors import EncoderNotFoundError, WeightsUnavailableError

_PREFIXES = ("hf", "hf-hub", "timm")
_WEIGHTS = {".safetensors", ".bin", ".pth", ".pt", ".ckpt"}


def repository_of(name: str) -> str | None:
    """Return the repository that a name of the hub stands for; None if it is no such name.

    Parameters
    ----------
    name
        ``hf:OWNER/NAME``, or ``timm:NAME`` with the tag of its weights; without it timm's usual one.

    Raises
    ------
    EncoderNotFoundError
        If it begins like one and names none.
    """
    kind, colon, wanted = name.replace("\\", "/").partition(":")
    if not colon or kind not in _PREFIXES:
        return None
    if kind == "timm":
        return _of_timm(wanted)
    if len([part for part in wanted.split("/") if part]) != 2:
        raise EncoderNotFoundError(f"Expected a repository as hf:OWNER/NAME; got {name!r}.")
    return wanted


def _of_timm(wanted: str) -> str:
    bare, _, tag = wanted.removeprefix("timm/").partition(".")
    if tag:
        return f"timm/{bare}.{tag}"
    load_triton_apart()
    import timm

    known = timm.get_pretrained_cfg(bare) if timm.is_model(bare) else None
    if known is None or not known.hf_hub_id:
        raise EncoderNotFoundError(
            f"Expected a network of timm that has weights; timm {timm.__version__} knows none for {bare!r}."
        )
    return f"timm/{bare}.{known.tag}" if known.hf_hub_id == "timm/" else str(known.hf_hub_id)


def published_as(repository: str) -> str | None:
    """Return the name of the published encoder that a repository holds; None if none is known."""
    return next((entry.name for entry in PUBLISHED.values() if entry.repository == repository), None)


def cached_folder(repository: str) -> Path:
    """Return the folder of a repository's files in the hub's cache, without a network.

    Raises
    ------
    EncoderNotFoundError
        If the hub would have no repository of that name.
    WeightsUnavailableError
        If it is not there, or without weights.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    how = f"Fetch it with the hub's own client: hf download {repository}"
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except HFValidationError as error:
        raise EncoderNotFoundError(
            f"Expected the name of a repository, OWNER/NAME; got {repository!r}."
        ) from error
    except LocalEntryNotFoundError as error:
        raise WeightsUnavailableError(
            f"Expected {repository} in the hub's cache on this machine; it is not there. {how}"
        ) from error
    if not _weighs(folder.iterdir()):
        raise WeightsUnavailableError(
            f"Expected weights of {repository} in the hub's cache; {folder} has none. {how}"
        )
    return folder


def _weighs(files: Iterable[Path]) -> bool:
    return any(file.suffix in _WEIGHTS for file in files)


def located(path: Path) -> Path:
    """Return where weights lie: a path as it is, a name of the hub as its folder in the cache.

    Raises
    ------
    EncoderNotFoundError, WeightsUnavailableError
        If it is a name of the hub, and nothing of it is here.
    """
    repository = None if path.exists() else repository_of(str(path))
    return path if repository is None else cached_folder(repository)


def repository_at(path: Path) -> str | None:
    """Return the name, without its owner, of the repository whose cached folder a path is."""
    held = path.parent.parent.name
    return (
        held.rpartition("--")[2] if path.parent.name == "snapshots" and held.startswith("models--") else None
    )
