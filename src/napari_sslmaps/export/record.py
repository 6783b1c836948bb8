"""The record of a run: enough to run it again, and to notice when something has changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.errors import RecordError, SSLMapsError
from napari_sslmaps.export.json_file import read_object, write_object

FORMAT = "napari-sslmaps/run"
SCHEMA = 1
Points = tuple[tuple[float, float], ...]


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
    """

    name: str
    sha256: str
    precision: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


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

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        told = {"format": FORMAT, "schema": SCHEMA, **asdict(self)}
        if self.evaluation is None:
            del told["evaluation"]  # earlier versions can read it
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
            region = values.pop("region", None)
            return cls(
                image=ImageRecord(**_tuples(values.pop("image"))),
                encoders=tuple(_encoder(entry) for entry in values.pop("encoders")),
                region=None if region is None else Region(**region),
                anchors=_points(values.pop("anchors", ())),
                negative=_points(values.pop("negative", ())),
                options=RunOptions(**values.pop("options", {})),
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


def _encoder(entry: Mapping[str, Any]) -> EncoderRecord:
    record = EncoderRecord(**entry)
    Provenance.from_dict(record.provenance)
    return record


def _points(values: Any) -> Points:
    return tuple((float(y), float(x)) for y, x in values)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(item) if isinstance(item, list) else item for key, item in values.items()}
