"""The record of a run: enough to run it again, and to notice when something has changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution, resolution_of
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.core.tiling import FITTED
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.registry import MAP_TYPES, MapOptions, check_keys, standard
from napari_sslmaps.records.json import check_format, read_object, write_object
from napari_sslmaps.records.places import place_in, written
from napari_sslmaps.serialise import load, strict
from napari_sslmaps.sources.open_options import OpenOptions

FORMAT = "napari-sslmaps/run"
SCHEMA = 1


@strict
@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Image that was read.

    Parameters
    ----------
    path
        Path of the image when it was read.
    sha256
        Hash of the file, or of all files of a folder, as `hash_path` makes it.
    sample
        Key of a sample that comes with the package; empty for the user's own.
    shape_yx
        Height and width of level 0.
    spacing_um_yx
        Micrometres per pixel of level 0, if known.
    """

    path: str
    sha256: str
    sample: str = ""
    shape_yx: tuple[int, int] = (0, 0)
    spacing_um_yx: tuple[float, float] | None = None


@strict
@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that a run reads.

    Parameters
    ----------
    path
        Path of the file, relative to the record.
    sha256
        Hash of its content.
    """

    path: str
    sha256: str


@strict
@dataclass(frozen=True, slots=True)
class MaskRecord:
    """A label image that says which tokens are wanted: those that a pixel above 0 overlaps.

    Parameters
    ----------
    path, sha256
        Path of the file when it was read, and the hash of its content.
    cell_yx
        Pixels of level 0 per pixel of the mask; None for a mask on the pixels of the region or of a level.
    origin_yx
        First pixel of level 0 that the mask covers, where `cell_yx` is given.
    """

    path: str
    sha256: str
    cell_yx: tuple[float, float] | None = None
    origin_yx: tuple[float, float] = (0.0, 0.0)


@strict
@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """Another image that the anchors lie in.

    Parameters
    ----------
    image
        The file that the anchors lie in.
    region
        The rectangle that was embedded, or None for the whole image.
    mask
        The mask that was laid over it, or None.
    """

    image: ImageRecord
    region: Region | None = None
    mask: MaskRecord | None = None


@strict
@dataclass(frozen=True, slots=True)
class EncoderRecord:
    """Encoder that was run, and what came of it.

    Parameters
    ----------
    name
        Name of an encoder that everybody has or can download, or the path of a weight file or folder.
    sha256
        Hash of the weights, as `hash_path` makes it.
    precision
        Precision that the encoder ran in, never ``auto``.
    overrides
        Keywords of `load_encoder` that correct what the file says; of a remembered file, those it was
        remembered with too.
    provenance
        Everything that decided the tokens, as `Provenance.to_dict` returns it.
    outputs
        Kind of map → file, relative to the record.
    control
        Kind of the control of this encoder that was run in its place; empty for the encoder itself.
    """

    name: str
    sha256: str
    precision: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    control: str = ""


@strict
@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of embedding an image and making maps of it.

    Parameters
    ----------
    tile, overlap, stitching
        Side and overlap of tiles in pixels, and the rule for tokens that several cover, as in `Tiling`.
    device, precision
        Device and precision, as `load_encoder` takes them.
    maps
        Options of all maps.
    wanted
        Keys of the maps to make; empty for those that are made of every image.
    mask
        ``tissue``, ``field-of-view`` or ``auto`` for what is found in each image and alone embedded; empty
        for all of it.
    heads
        Whether the figure of heads is drawn.
    difference
        Names of two encoders whose maps are subtracted; empty for none.
    save_basis
        Whether the components of every encoder are written as a file, too.
    channel
        Numbers or names of the channels that are read of every image, as `open_image` takes them; empty for
        those of a grey or RGB image.
    frames
        Frames whose maps are made, as `chosen_frames` takes text; empty for the region's own.
    series, um_per_px, icc
        Image of every file, size of its pixels (y, x) in micrometres and whether its colours are converted,
        as in `OpenOptions`.
    resolution
        Resolution that images are read at: ``trained``, ``native``, or a text that `Resolution.of`
        understands.
    stride
        Pixels per token, as `embed` takes it; None for one token per patch.
    token_block, token_norm
        Depth whose features the tokens are, and whether they pass the final norm, as `embed` takes ``block``
        and ``norm``; None for each encoder's own.

    Raises
    ------
    InvalidOptionError
        If there is no such map, or a resolution is written otherwise.
    """

    tile: int | Literal["fitted"] | None = FITTED
    overlap: int = 8
    stitching: str = "drop"
    device: str = "auto"
    precision: str = "auto"
    maps: MapOptions = field(default_factory=MapOptions)
    wanted: tuple[str, ...] = ()
    mask: str = ""
    heads: bool = False
    difference: tuple[str, ...] = ()
    save_basis: bool = False
    channel: tuple[int | str, ...] = ()
    series: str = ""
    um_per_px: tuple[float, float] | None = None
    icc: bool = True
    resolution: str = "trained"
    frames: str = ""
    stride: int | None = None
    token_block: int | str | None = None
    token_norm: bool = True

    def __post_init__(self) -> None:
        check_keys(self.wanted)
        resolution_of(self.resolution, None, None)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the maps to make."""
        return self.wanted or standard()

    @property
    def opening(self) -> OpenOptions:
        """Options of opening files."""
        return OpenOptions(self.channel, self.series, self.um_per_px, self.icc)

    @property
    def of_runs_alone(self) -> tuple[str, ...]:
        """Names of options that a single run follows and a batch does not, where they ask for something."""
        flat = self.to_flat()
        return tuple(name for name in _LATER_OPTIONS if flat[name] != _SCHEMA_1[name])

    def of_encoders(self, trained: Iterable[Resolution | None]) -> Self:
        """Return the same options, said as before encoders had resolutions where none of these has one."""
        plain = self.resolution == "trained" and not any(trained)
        return replace(self, resolution=_RESOLUTION) if plain else self

    def to_flat(self) -> dict[str, Any]:
        """Return the options as records write them, and as keys of finished work are hashed from.

        What came after schema 1 was first written is left out where nothing is asked of it, so that keys stay
        what they were.
        """
        flat = {name: _value_at(self, _PLACES.get(name, name)) for name in _SCHEMA_1}
        if self.wanted:
            flat["maps"] = self.wanted
        flat |= self.opening.to_flat()
        if self.frames:
            flat["frames"] = self.frames
        if self.maps.similarity.display != _DISPLAY:
            flat["display"] = self.maps.similarity.display
        if self.resolution != _RESOLUTION:
            flat["resolution"] = self.resolution
        if self.stride is not None:
            flat["stride"] = self.stride
        if self.token_block is not None:
            flat["token_block"] = self.token_block
        if not self.token_norm:
            flat["token_norm"] = False
        if self.maps.scale.value:
            flat["scale"] = asdict(self.maps.scale)
        for name in _of_one_map(self.keys):
            flat[name] = asdict(getattr(self.maps, name))
        return flat

    @classmethod
    def from_flat(cls, flat: Mapping[str, Any]) -> Self:
        """Rebuild from `to_flat`'s description; what is missing gets the value of schema 1.

        Raises
        ------
        RecordError
            If a field is unknown, or not of its type.
        """
        return load(cls, _nested(flat), "options of a run record")


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as `RunOptions` holds them."""
    values = {**_SCHEMA_1, "maps": (), "display": _DISPLAY, "resolution": _RESOLUTION, **flat}
    parts: dict[str, Any] = {name: {} for name in _FLAT_PARTS}
    own: dict[str, Any] = {"wanted": values.pop("maps")}
    parts["similarity"]["display"] = values.pop("display")
    known = {item.name for item in fields(MapOptions)}
    for name, value in values.items():
        if name in _PLACES:
            _, part, inner = _PLACES[name].split(".")
            parts[part][inner] = value
        elif name in known and name not in _FLAT_PARTS:
            parts[name] = value
        else:
            own[name] = value
    return {**own, "maps": parts}


_DISPLAY = "shared"
_RESOLUTION = "native"
_PLACES = {
    "head": "maps.attention.head",
    "reduction": "maps.attention.reduction",
    "block": "maps.attention.block",
    "attention_of": "maps.attention.query",
    "rendering": "maps.pca.rendering",
    "foreground": "maps.pca.foreground",
    "aligned": "maps.pca.aligned",
    "centred": "maps.similarity.centred",
    "combine": "maps.similarity.combine",
}
"""Where options are that files name beside those of the embedding; later maps' are in a dict by map."""
_FLAT_PARTS = ("attention", "pca", "similarity")
_SCHEMA_1: Mapping[str, Any] = {
    "tile": None,
    "overlap": 8,
    "stitching": "drop",
    "device": "auto",
    "precision": "auto",
    "head": None,
    "rendering": "stretch",
    "foreground": "",
    "centred": False,
    "combine": "mean",
    "reduction": "mean",
    "block": None,
    "attention_of": "output",
    "aligned": False,
    "mask": "",
    "heads": False,
    "difference": (),
    "save_basis": False,
}
"""What a field that is missing in a file means, whatever the defaults are today."""


def _value_at(options: RunOptions, place: str) -> Any:
    value: Any = options
    for name in place.split("."):
        value = getattr(value, name)
    return value


def _of_one_map(keys: Sequence[str]) -> list[str]:
    """Return the fields of `MapOptions` that files keep as a dict, of maps that are made."""
    used = {MAP_TYPES[key].options for key in keys}
    return [item.name for item in fields(MapOptions) if item.name in used and item.name not in _FLAT_PARTS]


@strict
@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run: an image, encoders, anchors and options, and what was written.

    Parameters
    ----------
    image, encoders
        Image and encoders of the run.
    region
        The rectangle, or None for the whole image.
    anchors, negative
        (row, column) pixels of level 0.
    options
        Choices that the encoders and their maps share.
    figure
        The figure's file, relative to the record.
    package_version
        Version of napari-sslmaps that wrote the record.
    evaluation
        Section of a comparison: its images, masks, controls, scores and options; None for a run. `run --from`
        does the maps of the first image.
    groups
        Named groups of anchors.
    bases
        PCA bases that were applied, each of one encoder.
    mask
        Mask of the wanted tokens, if they come from a file.
    reference
        The image that all anchors lie in; None if it is the image itself.
    """

    image: ImageRecord
    encoders: tuple[EncoderRecord, ...]
    region: Region | None = None
    anchors: Points = ()
    negative: Points = ()
    options: RunOptions = field(default_factory=RunOptions)
    figure: str = ""
    package_version: str = ""
    evaluation: Mapping[str, Any] | None = None
    groups: tuple[AnchorGroup, ...] = ()
    bases: tuple[FileRecord, ...] = ()
    mask: MaskRecord | None = None
    reference: ReferenceRecord | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back.

        What earlier versions do not know is left out where it says nothing, so that they can read the rest.
        """
        fields_ = asdict(self)  # `dump` takes no path that is not UTF-8; `write` makes it readable
        record = {"format": FORMAT, "schema": SCHEMA, **fields_, "options": self.options.to_flat()}
        for entry in record["encoders"]:
            _leave_out(entry, EncoderRecord, ("control",))
        for name in _LATER_OPTIONS:
            if record["options"][name] == _SCHEMA_1[name]:
                del record["options"][name]
        _leave_out(record, RunRecord, _LATER)
        return record

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s description.

        Raises
        ------
        RecordError
            If it is no run record, of a later version, or has missing or unknown fields.
        """
        content = dict(description)
        check_format(content, FORMAT, "a run record", SCHEMA)
        options = content.get("options", {})
        content["options"] = _nested(options) if isinstance(options, Mapping) else options
        record = load(cls, content, "a run record")
        for encoder in record.encoders:
            Provenance.from_dict(encoder.provenance)
        return record

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all, with files by the way to them from the record.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        record = written(self.to_dict(), path.parent)
        names = {entry["name"]: place_in(entry["name"], path.parent) for entry in record["encoders"]}
        for entry in record["encoders"]:
            entry["name"] = names[entry["name"]]
        if "difference" in record["options"]:
            record["options"]["difference"] = [names.get(name, name) for name in self.options.difference]
        write_object(path, record)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        RecordError
            If the file is missing, no JSON, or no run record.
        """
        return cls.from_dict(read_object(path, "a run record"))


_LATER = ("evaluation", "groups", "bases", "mask", "reference")
_LATER_OPTIONS = (
    "reduction",
    "block",
    "attention_of",
    "aligned",
    "mask",
    "heads",
    "difference",
    "save_basis",
)


def _leave_out(record: dict[str, Any], kind: type, names: tuple[str, ...]) -> None:
    """Remove what has its default value."""
    defaults = {item.name: item.default for item in fields(kind)}
    for name in names:
        if record[name] == defaults[name]:
            del record[name]
