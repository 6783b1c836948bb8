"""Tasks of workers: one image by one encoder, with everything that decides the numbers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.encoders.registry import get_spec, hash_encoder, list_encoders
from napari_sslmaps.errors import InvalidOptionError, WeightsUnavailableError
from napari_sslmaps.files import footprint, hash_path, user_path
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.pipeline.masks import FoundMask
from napari_sslmaps.records.run import RunOptions

SCHEMA = 1
StoredTokens = Literal["float16", "float32", "none"]


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """Options of embedding images, and of what is kept of them.

    Parameters
    ----------
    maps
        Tiling, device, precision and maps, as for a single run.
    level
        Resolution level of every image whose item names none.
    spacing_um
        Micrometres per pixel; if given, the level closest to it is taken instead of `level`.
    tokens
        Number format in which tokens are stored; ``none`` keeps maps and scores alone.
    mask
        ``tissue``, ``field-of-view`` or ``auto``: what is looked for in each image, and alone embedded; empty
        for all of it.
    anonymous
        Whether images are called by numbers in all that is written; the key to them is kept beside it.
    """

    maps: RunOptions = field(default_factory=RunOptions)
    level: int = 0
    spacing_um: float | None = None
    tokens: StoredTokens = "float16"
    mask: FoundMask | Literal[""] = ""
    anonymous: bool = False

    def __post_init__(self) -> None:
        if self.tokens not in get_args(StoredTokens):
            raise InvalidOptionError(
                f"Expected tokens to be stored as {', '.join(get_args(StoredTokens))}; got {self.tokens!r}."
            )
        if self.mask and self.mask not in get_args(FoundMask):
            raise InvalidOptionError(
                f"Expected a mask among {', '.join(get_args(FoundMask))}, or none; got {self.mask!r}."
            )
        if self.maps.of_runs_alone:
            raise InvalidOptionError(
                f"Expected options that a batch takes; got {', '.join(self.maps.of_runs_alone)}, which "
                "only a single run takes. Leave them out; a mask is an option of the batch itself."
            )
        if self.spacing_um is not None and not self.spacing_um > 0:
            raise InvalidOptionError(f"Expected a spacing above 0 µm/px; got {self.spacing_um!r}.")


@dataclass(frozen=True, slots=True)
class BatchEncoder:
    """An encoder as a worker finds it.

    Parameters
    ----------
    name
        Name of its outputs' folder.
    source
        Argument of `load_encoder`: a name that every installation knows, or an absolute path.
    sha256
        Hash of its weights; a worker that has others refuses.
    overrides
        Corrections of the weight file, as keywords of `load_encoder`.
    trained
        The resolution that it learned at; None where there is none or it is not known.
    """

    name: str
    source: str
    sha256: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    trained: Resolution | None = None


@dataclass(frozen=True, slots=True)
class BatchTask:
    """One image by one encoder; of a stack one frame, or several that share what is fitted to them.

    Parameters
    ----------
    item, encoder, options
        Image, encoder and options of the task.
    key
        Hash of everything that decides the numbers; outputs with the same one are not made again.
    folder
        Folder of the output, absolute.
    unfinished
        Folder of this run's unfinished outputs, absolute, as `begin_outputs` made it.
    package_version
        Version that every worker must have.
    """

    item: BatchItem
    encoder: BatchEncoder
    options: BatchOptions
    key: str
    folder: str
    unfinished: str
    package_version: str

    @property
    def outputs(self) -> tuple["BatchTask", ...]:
        """A task for each output: one for each of the item's frames, or this."""
        root = self.folder.removesuffix(f"{self.item.name}.zarr")
        return tuple(replace(self, item=item, folder=f"{root}{item.name}.zarr") for item in self.item.outputs)


def choose_encoder(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> BatchEncoder:
    """Find an encoder and hash its weights.

    Raises
    ------
    EncoderNotFoundError, WeightsUnavailableError
        If there is none, or its file has moved or changed.
    """
    given = dict(overrides or {})
    path = user_path(name_or_path)
    if name_or_path not in {spec.name for spec in list_encoders()} and path.exists():
        from napari_sslmaps.encoders.checkpoint.open import check_weights_there  # with torch

        check_weights_there(path)  # before a folder of images is hashed
        name = path.name.removesuffix(path.suffix) if path.is_file() else path.name
        return BatchEncoder(name, str(path.absolute()), hash_path(path), given)
    spec = get_spec(name_or_path)
    if spec.trouble:
        raise WeightsUnavailableError(spec.trouble)
    own = spec.origin == "file"  # remembered here, and here alone
    source = str(spec.path) if own else spec.name
    return BatchEncoder(spec.name, source, hash_encoder(spec.name), {**spec.overrides, **given}, spec.trained)


def make_task(
    item: BatchItem, encoder: BatchEncoder, options: BatchOptions, out: Path, unfinished: Path
) -> BatchTask:
    """Make a task, with its key and the folder of its output."""
    return BatchTask(
        item=item,
        encoder=encoder,
        options=options,
        key=_key(item, encoder, options),
        folder=str(out / encoder.name / f"{item.name}.zarr"),
        unfinished=str(unfinished),
        package_version=version("napari-sslmaps"),
    )


def tiles_folder(out: Path, key: str = "") -> Path:
    """Return where the tiles of an unfinished image are kept; without a key, those of all of them."""
    return out / ".tiles" / key


def image_footprint(item: BatchItem) -> tuple[int, int] | None:
    """Return size in bytes and time of the last change of an item's image; None if it cannot be looked at."""
    try:
        return footprint(Path(item.image))
    except OSError:
        return None


def _key(item: BatchItem, encoder: BatchEncoder, options: BatchOptions) -> str:
    """Hash what decides the numbers.

    Where the image lies, what it is called and the device do not; size and time of its last change stand for
    its content, as hashing a slide takes as long as reading it.
    """
    shown, how, which = asdict(item), asdict(options), asdict(encoder)
    how["maps"] = options.maps.of_encoders([encoder.trained]).to_flat()
    del which["trained"]
    for since in ("channel", "frames"):  # keys of items without them are as they were
        if not shown[since]:
            del shown[since]
    unimportant = (
        (shown, "image"),
        (shown, "name"),
        (how, "anonymous"),
        (how["maps"], "device"),
        (which, "name"),
        (which, "source"),
    )
    for facts, name in unimportant:
        del facts[name]
    everything = {
        "schema": SCHEMA,
        "package": version("napari-sslmaps"),
        "image": image_footprint(item),
        "item": shown,
        "encoder": which,
        "options": how,
    }
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
