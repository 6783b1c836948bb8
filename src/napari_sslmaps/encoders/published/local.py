"""Published encoders that are on this machine, and what to say of those that are not."""

from pathlib import Path

from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.entry import Published
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import EncoderNotFoundError


def get_published(name: str) -> Published:
    """Return what is known of a published encoder, or raise `EncoderNotFoundError` naming them all."""
    if name not in PUBLISHED:
        raise EncoderNotFoundError(
            f"Expected the name of a published encoder ({', '.join(PUBLISHED)}); got {name!r}."
        )
    return PUBLISHED[name]


def published_specs() -> list[EncoderSpec]:
    """List the published encoders, without torch; `trouble` says how to get those that are not here."""
    return [published_spec(name) for name in PUBLISHED]


def published_spec(name: str) -> EncoderSpec:
    """Return the spec of a published encoder; its path is None while it is not on this machine."""
    entry = get_published(name)
    folder = find_local(entry)
    return EncoderSpec(
        name=entry.name,
        method=entry.method,
        architecture=entry.architecture,
        normalisation=entry.normalisation,
        path=folder,
        sha256="",
        licence=entry.licence,
        origin="published",
        overrides=entry.overrides,
        trained=entry.trained,
        trouble="" if folder is not None else how_to_get(entry),
    )


def find_local(entry: Published) -> Path | None:
    """Return the folder with an encoder's files, brought by hand or in the hub's cache, if there is one."""
    folders = [folder_to_bring_to(entry), *_cached(entry)]
    return next((folder for folder in folders if _is_complete(entry, folder)), None)


def _cached(entry: Published) -> list[Path]:
    """Return the folder in the hub's cache, if the cache has anything of the encoder.

    The hub's library takes a seventh of a second to load; who has downloaded nothing does not wait for it.
    """
    from huggingface_hub import constants

    if not (Path(constants.HF_HUB_CACHE) / f"models--{entry.repository.replace('/', '--')}").is_dir():
        return []
    from huggingface_hub import try_to_load_from_cache

    first = (*entry.descriptions, *entry.weight_names)[0]
    cached = try_to_load_from_cache(entry.repository, first)
    return [Path(cached).parent] if isinstance(cached, str) else []


def folder_to_bring_to(entry: Published) -> Path:
    """Return the folder where files brought by hand are looked for; beside the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "napari-sslmaps" / "published" / entry.name


def how_to_get(entry: Published) -> str:
    """Say how to download an encoder, and at what price."""
    if entry.elsewhere:
        return (
            f"Expected the weights of {entry.name} on this machine; they are not here. "
            f"{how_to_bring(entry)} (about {entry.megabytes:.0f} MB, {entry.licence})."
        )
    return (
        f"Expected the weights of {entry.name} on this machine; they are not downloaded. Fetch them (about "
        f"{entry.megabytes:.0f} MB, {entry.licence}{', gated' if entry.gated else ''}) with: "
        f"napari-sslmaps encoders download {entry.name}"
    )


def how_to_bring(entry: Published) -> str:
    """Say which files to bring from a machine with a network, and where to put them."""
    files = " and ".join((*filter(None, [", ".join(entry.descriptions)]), " or ".join(entry.weight_names)))
    if entry.elsewhere:
        return f"Fetch {files} from {entry.page} yourself, and put it into {folder_to_bring_to(entry)}"
    return (
        f"Without a network, bring {files} of {entry.page}/tree/main from another machine and put them in "
        f"{folder_to_bring_to(entry)}"
    )


def _is_complete(entry: Published, folder: Path) -> bool:
    described = all((folder / name).is_file() for name in entry.descriptions[:1])
    return described and any((folder / name).is_file() for name in entry.weight_names)
