"""The whole of ``napari-sslmaps pretext``: each encoder's own task on one image, written to a folder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.figures.picture import picture_of
from napari_sslmaps.figures.pretext_figure import PretextColumn, compose_pretext_figure
from napari_sslmaps.figures.run_figure import Picture, save_figure
from napari_sslmaps.files import readable
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import open_named, record_of
from napari_sslmaps.pretext.view import pretext_view
from napari_sslmaps.records.anonymous import Key, numbered
from napari_sslmaps.records.claim import remove_own
from napari_sslmaps.records.json import read_object, write_object
from napari_sslmaps.records.map_files import write_panel
from napari_sslmaps.records.places import place_in, written
from napari_sslmaps.records.run import ImageRecord
from napari_sslmaps.serialise import load
from napari_sslmaps.sources.base import rename
from napari_sslmaps.sources.open_options import AS_STORED, OpenOptions
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.without_text import WithoutText

FORMAT = "napari-sslmaps/pretext"
_RECORD = "pretext.json"
OnEncoder = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PretextRequest:
    """Request for pretext views of one image.

    Parameters
    ----------
    image
        A path, or ``sample:histology``, ``sample:ultrasound``.
    encoders
        Encoders to show, at least one.
    region
        Region to show; None for the whole image.
    device
        Device as `load_encoder` takes it.
    options
        Keywords of `pretext_view`: ``fit``, ``seed``, ``ratio``, ``targets``, ``distortion``, ….
    mask
        An image file of the region's size, or of the size of the token grid: what is not 0 is hidden.
    opening
        Options with which the image is opened.
    resolution
        Resolution that the image is read at, as `embed` takes it.
    anonymous
        Whether files are called by numbers, and text around an ultrasound sector is black, for the task too.
    """

    image: str
    encoders: tuple[EncoderChoice, ...]
    region: Region | None = None
    device: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    mask: Path | None = None
    opening: OpenOptions = AS_STORED
    resolution: str = "trained"
    anonymous: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class PretextOutcome:
    """Outcome of such a request, before anything is written."""

    request: PretextRequest
    image: ImageRecord
    picture: Picture
    specs: tuple[EncoderSpec, ...]
    columns: tuple[PretextColumn, ...]


def compute_pretext(request: PretextRequest, on_encoder: OnEncoder | None = None) -> PretextOutcome:
    """Let each encoder do its own task.

    Parameters
    ----------
    request
        Image, encoders and options of the views.
    on_encoder
        Callback, called with the name of each encoder before it is loaded.

    Raises
    ------
    SSLMapsError
        If image, region, mask, encoders or options cannot be used.
    """
    if not request.encoders:
        raise InvalidOptionError("Expected at least one encoder; got none. Name one with -e.")
    mask = None if request.mask is None else _read_mask(request.mask)
    specs, columns = [], []
    with _opened(request) as source:
        image = record_of(request.image, source)
        if request.anonymous:
            image = replace(image, path=numbered("image", 1, image.path))
        region = request.region or Region(0, 0, *source.levels[0].shape_yx)
        for choice in request.encoders:
            if on_encoder is not None:
                on_encoder(choice.name)
            encoder = load_encoder(
                choice.name, device=request.device, precision="float32", **choice.overrides
            )
            view = pretext_view(
                source, encoder, mask, region=region, resolution=request.resolution, **request.options
            )
            specs.append(encoder.spec)
            columns.append(PretextColumn(METHODS[encoder.spec.method].title, encoder.spec.name, view))
        picture = picture_of(source, region, columns[0].view.provenance.window or (0.0, 1.0))
    return PretextOutcome(request, image, picture, tuple(specs), tuple(columns))


def _opened(request: PretextRequest) -> ImageSource:
    source = open_named(request.image, request.opening)
    if not request.anonymous:
        return source
    rename(source, "image-1")
    return WithoutText(source)


def write_key(outcome: PretextOutcome, key: Key) -> None:
    """Write which files the numbers of an anonymous view stand for, to be kept apart from it.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    request = outcome.request
    key.files[outcome.image.path] = readable(request.image)
    if request.mask is not None:
        key.files[numbered("mask", 1, str(request.mask))] = readable(str(request.mask.absolute()))
    key.write()


def draw_pretext(outcome: PretextOutcome, path: Path) -> None:
    """Write the figure of a run; the suffix chooses PNG, PDF or SVG."""
    save_figure(compose_pretext_figure(outcome.picture, outcome.columns), path)


@dataclass(frozen=True, slots=True)
class _Panels:
    """Panels of an encoder, as an earlier record lists them."""

    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An earlier record, as far as it lists what was written."""

    encoders: tuple[_Panels, ...]


def _written_before(folder: Path) -> set[str]:
    """Return the names of the panels that the views whose record lies in a folder wrote."""
    try:
        record = load(_Earlier, read_object(folder / _RECORD, "a record"), "a record")
    except RecordError:  # none, or none that can be understood
        return set()
    return {name for entry in record.encoders for name in entry.outputs.values()}


def write_pretext(outcome: PretextOutcome, folder: Path) -> dict[str, Any]:
    """Write figure, panels and record into `folder`; panels of earlier views that lie there go.

    Returns
    -------
    dict
        The record as written to ``pretext.json``, last of all.

    Raises
    ------
    ExportError
        If something cannot be written.
    """
    earlier = _written_before(folder)
    entries = [
        _write_panels(column, spec, folder, f"{index:02d}-{column.encoder}", outcome.image.spacing_um_yx)
        for index, (column, spec) in enumerate(zip(outcome.columns, outcome.specs, strict=True), 1)
    ]
    draw_pretext(outcome, folder / "pretext.png")
    request = outcome.request
    mask = "" if request.mask is None else place_in(str(request.mask.absolute()), folder)
    if mask and request.anonymous:
        mask = numbered("mask", 1, mask)
    record: dict[str, Any] = {
        "format": FORMAT,
        "schema": 1,
        "package_version": version("napari-sslmaps"),
        "image": asdict(outcome.image),
        "region": None if request.region is None else asdict(request.region),
        "options": dict(request.options),
        "mask": mask or None,
        **request.opening.to_flat(),
        **({} if request.resolution == "trained" else {"resolution": request.resolution}),
        "encoders": entries,
        "figure": "pretext.png",
    }
    record = written(record, folder)
    write_object(folder / _RECORD, record)
    now = {name for entry in entries for name in entry["outputs"].values()}
    remove_own(folder, map(escape, earlier - now))
    return record


def _write_panels(
    column: PretextColumn, spec: EncoderSpec, folder: Path, part: str, spacing: tuple[float, float] | None
) -> dict[str, Any]:
    view, outputs = column.view, {}
    for panel in view.panels:
        outputs[panel.name] = f"{part}/{panel.name.replace(' ', '_')}.tif"
        write_panel(folder / outputs[panel.name], view, panel, spacing_um_yx=spacing)
    return {
        "name": column.encoder,
        "method": view.method,
        "sha256": spec.sha256,
        "overrides": dict(spec.overrides),
        "notes": list(view.notes),
        "provenance": view.provenance.to_dict(),
        "outputs": outputs,
    }


def _read_mask(path: Path) -> Any:
    """Read what is not 0 in an image file, (H, W) bool."""
    with open_named(str(path)) as source:
        pixels = source.read(Region(0, 0, *source.levels[0].shape_yx))
    return pixels.any(axis=-1) if pixels.ndim == 3 else pixels != 0
