"""The record of a run: enough to run it again, and to notice when something has changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.errors import RecordError, SSLMapsError
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.json import read_object, write_object

FORMAT = "napari-sslmaps/run"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Which image.

    Parameters
    ----------
    path
        Where it was.
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


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that a run reads.

    Parameters
    ----------
    path
        Where it is, relative to the record.
    sha256
        Hash of its content.
    """

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """A label image that says which tokens are wanted: those that a pixel above 0 overlaps.

    Parameters
    ----------
    path, sha256
        Where it was, and the hash of its content.
    cell_yx
        Pixels of level 0 per pixel of the mask; None for a mask on the pixels of the region or of a level.
    origin_yx
        First pixel of level 0 that the mask covers, where `cell_yx` is given.
    """

    path: str
    sha256: str
    cell_yx: tuple[float, float] | None = None
    origin_yx: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ReferenceRecord:
    """Another image that the anchors lie in.

    Parameters
    ----------
    image, region, mask
        As of a run.
    """

    image: ImageRecord
    region: Region | None = None
    mask: MaskRecord | None = None


@dataclass(frozen=True, slots=True)
class EncoderRecord:
    """Which encoder, and what came of it.

    Parameters
    ----------
    name
        Name of an encoder that everybody has or can download, or the path of a weight file or folder.
    sha256
        Hash of the weights, as `hash_path` makes it.
    precision
        As it was resolved.
    overrides
        Keywords of `load_encoder` that correct what the file says; of a remembered file, those it was
        remembered with too.
    provenance
        Of the embedding.
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


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How maps are computed; the defaults are those of the functions that take them.

    Parameters
    ----------
    tile, overlap, stitching
        As `Tiling` takes them.
    device, precision
        As `load_encoder` takes them.
    head
        One attention head, or None for the mean.
    rendering, foreground
        Of PCA; an empty `foreground` fits all tokens.
    centred, combine
        Of similarity.
    reduction
        ``mean`` or ``max`` over heads.
    block
        Whose attention is shown, from 1, or from −1; None for the last. An encoder with fewer shows its last.
    attention_of
        ``output`` for what the output reads, ``anchor`` for what the last anchor's token attends to, or
        ``rollout``.
    aligned
        Whether PCA colours of all encoders are turned towards those of the first.
    mask
        ``tissue``, ``field-of-view`` or ``auto`` for what is found in each image and alone embedded; empty
        for all of it.
    heads
        Whether the figure of heads is drawn.
    difference
        Names of two encoders whose maps are subtracted; empty for none.
    save_basis
        Whether the components of every encoder are written as a file, too.
    """

    tile: int | None = None
    overlap: int = 8
    stitching: str = "drop"
    device: str = "auto"
    precision: str = "auto"
    head: int | None = None
    rendering: str = "stretch"
    foreground: str = ""
    centred: bool = False
    combine: str = "mean"
    reduction: str = "mean"
    block: int | None = None
    attention_of: str = "output"
    aligned: bool = False
    mask: str = ""
    heads: bool = False
    difference: tuple[str, ...] = ()
    save_basis: bool = False

    @property
    def of_runs_alone(self) -> tuple[str, ...]:
        """Names of options that a single run follows and a batch does not, where they ask for something."""
        plain = RunOptions()
        return tuple(name for name in _LATER_OPTIONS if getattr(self, name) != getattr(plain, name))


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run: an image, encoders, anchors and options, and what was written.

    Parameters
    ----------
    image, encoders
        What was compared.
    region
        The rectangle, or None for the whole image.
    anchors, negative
        (row, column) pixels of level 0.
    options
        How.
    figure
        The figure's file, relative to the record.
    package_version
        Of napari-sslmaps.
    evaluation
        Of a comparison: its images, masks, controls, scores and options; None for a run. `run --from` does
        the maps of the first image.
    groups
        Named groups of anchors.
    bases
        PCA bases that were applied, each of one encoder.
    mask
        Which tokens were wanted, if a file says it.
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
        told = {"format": FORMAT, "schema": SCHEMA, **asdict(self)}
        for entry in told["encoders"]:
            _leave_out(entry, EncoderRecord, ("control",))
        _leave_out(told["options"], RunOptions, _LATER_OPTIONS)
        _leave_out(told, RunRecord, _LATER)
        return told

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s description.

        Raises
        ------
        RecordError
            If it is no run record, of a later version, or has missing or unknown fields.
        """
        if description.get("format") != FORMAT:
            raise RecordError(
                f"Expected a run record ({FORMAT}); got the format {description.get('format')!r}. "
                "Give the run.json that napari-sslmaps wrote."
            )
        if description.get("schema") != SCHEMA:
            raise RecordError(
                f"Expected a run record of schema {SCHEMA}; got {description.get('schema')!r}. "
                "Update napari-sslmaps to read it."
            )
        values = {key: value for key, value in description.items() if key not in ("format", "schema")}
        try:
            return cls(
                image=ImageRecord(**_tuples(values.pop("image"))),
                encoders=tuple(_encoder(entry) for entry in values.pop("encoders")),
                region=_region(values.pop("region", None)),
                anchors=_points(values.pop("anchors", ())),
                negative=_points(values.pop("negative", ())),
                options=RunOptions(**_tuples(values.pop("options", {}))),
                groups=tuple(AnchorGroup(**entry) for entry in values.pop("groups", ())),
                bases=tuple(FileRecord(**entry) for entry in values.pop("bases", ())),
                mask=_mask(values.pop("mask", None)),
                reference=_reference(values.pop("reference", None)),
                **values,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error) if isinstance(error, SSLMapsError) else repr(error)
            raise RecordError(
                f"Expected a complete run record; its fields do not fit ({reason}). "
                "Undo edits made by hand, or run again from the image."
            ) from error

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        write_object(path, self.to_dict())

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


def _leave_out(told: dict[str, Any], kind: type, names: tuple[str, ...]) -> None:
    """Remove what has its default value."""
    defaults = {item.name: item.default for item in fields(kind)}
    for name in names:
        if told[name] == defaults[name]:
            del told[name]


def _region(values: Mapping[str, Any] | None) -> Region | None:
    return None if values is None else Region(**values)


def _mask(values: Mapping[str, Any] | None) -> MaskRecord | None:
    return None if values is None else MaskRecord(**_tuples(values))


def _reference(values: Mapping[str, Any] | None) -> ReferenceRecord | None:
    if values is None:
        return None
    image = ImageRecord(**_tuples(values["image"]))
    return ReferenceRecord(image, _region(values["region"]), _mask(values["mask"]))


def _encoder(entry: Mapping[str, Any]) -> EncoderRecord:
    record = EncoderRecord(**entry)
    Provenance.from_dict(record.provenance)
    return record


def _points(values: Any) -> Points:
    return tuple((float(y), float(x)) for y, x in values)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}
