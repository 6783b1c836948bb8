"""The record of a comparison: a run record with a section that says what was compared, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest, MaskFile
from napari_sslmaps.compare.results import Comparison, ScoredImage
from napari_sslmaps.compare.store import key_of, to_plain
from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders.controls import ControlKind
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import hash_path
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import recorded_image
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.anonymous import number_of, numbered
from napari_sslmaps.records.places import Places
from napari_sslmaps.records.run import EncoderRecord, ImageRecord, MaskRecord, RunRecord
from napari_sslmaps.records.verify import check_unchanged, checked_encoder, checked_mask, lasting_name
from napari_sslmaps.serialise import dump, load, strict


@strict
@dataclass(frozen=True, slots=True)
class _Annotation:
    """An annotation in a file, as it is written.

    Parameters
    ----------
    path, sha256
        Path of the file when it was read, and the hash of its content.
    classes, ignore
        Names of the classes and the label left out, as in `MaskFile`.
    """

    path: str
    sha256: str
    classes: Mapping[int, str]
    ignore: int | None


@strict
@dataclass(frozen=True, slots=True)
class _Image:
    """A compared image, as it is written.

    Parameters
    ----------
    name, label, region, anchors, negative, groups
        Fields of the image, as in `ComparedImage`.
    image
        Path and hash of the file.
    mask
        File of its annotation; None where it is no file.
    wanted
        Mask of the wanted tokens, if they come from a file.
    channel
        Channels that were read, if the image has a choice of its own.
    """

    name: str
    image: ImageRecord
    mask: _Annotation | None
    label: str
    region: Region | None
    anchors: Points
    negative: Points
    groups: tuple[AnchorGroup, ...]
    wanted: MaskRecord | None = None
    channel: tuple[str, ...] = ()


@strict
@dataclass(frozen=True, slots=True)
class _Options:
    """Options of a comparison, as they are written; what is missing in a file had these values in schema 1.

    Parameters
    ----------
    anchor_count, neighbours, perturbations, draws, seed, resolutions
        Options, as in `ComparisonOptions`.
    """

    anchor_count: int = 64
    neighbours: int = 10
    perturbations: tuple[str, ...] = ()
    draws: int = 5
    seed: int = 0
    resolutions: tuple[str, ...] = ()


_OPTIONS = tuple(item.name for item in fields(_Options))


@strict
@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The section of a record that says what was compared.

    Parameters
    ----------
    images, controls, scores, options
        Comparison that was made, as in `ComparisonRequest`.
    numbers_sha256
        Hash of every score.
    files
        Tables, plots and heads that were written beside the record → their hashes.
    """

    images: tuple[_Image, ...]
    controls: tuple[ControlKind, ...]
    scores: tuple[str, ...]
    options: _Options
    numbers_sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def record_of(comparison: Comparison, files: Mapping[str, str] | None = None) -> RunRecord:
    """Return the record of a comparison whose images and masks are files.

    Parameters
    ----------
    comparison
        Comparison to describe.
    files
        Names of the files that were written beside the record → their hashes.

    Returns
    -------
    RunRecord
        `run --from` makes the maps of the first image from it, `evaluate --from` everything.
    """
    request = comparison.request
    first, scored = request.images[0], comparison.images[0]
    return RunRecord(
        image=scored.record,
        encoders=tuple(_encoder(comparison, method.name) for method in comparison.encoders),
        region=first.region,
        anchors=first.anchors,
        negative=first.negative,
        mask=first.mask if isinstance(first.mask, MaskRecord) else None,
        options=request.options.run,
        package_version=version("napari-sslmaps"),
        evaluation=_without_empty_channels(
            _Evaluation(
                images=tuple(
                    _image(*pair, anonymous=request.anonymous)
                    for pair in zip(request.images, comparison.images, strict=True)
                ),
                controls=request.controls,
                scores=request.scores,
                options=_Options(**{name: getattr(request.options, name) for name in _OPTIONS}),
                numbers_sha256=numbers_sha256(comparison.images),
                files=files or {},
            )
        ),
    )


def _without_empty_channels(evaluation: _Evaluation) -> dict[str, Any]:
    """Return what is written; earlier versions know nothing of channels and resolutions."""
    stored: dict[str, Any] = dump(evaluation)
    if not evaluation.options.resolutions:
        del stored["options"]["resolutions"]
    if not evaluation.files:
        del stored["files"]
    for image in stored["images"]:
        if not image["channel"]:
            del image["channel"]
    return stored


def files_of(record: RunRecord) -> Mapping[str, str]:
    """Return what a comparison wrote beside its record → hashes; nothing for the record of a run.

    Raises
    ------
    RecordError
        If its section of the comparison does not fit.
    """
    if record.evaluation is None:
        return {}
    return load(_Evaluation, record.evaluation, "the record of a comparison").files


def numbers_sha256(images: Sequence[ScoredImage]) -> str:
    """Return the hash of every score, so that two comparisons can be told to be equal to the last digit."""
    stored = [to_plain(image) for image in images]
    return key_of(
        {
            image["name"]: {
                key: image[key] for key in ("maps", "anchors", "nearness", "agreement", "robustness")
            }
            for image in stored
        }
    )


def comparison_from_record(record: RunRecord, folder: Path, images: Path | None = None) -> ComparisonRequest:
    """Return the request that a record describes, after checking that nothing has changed.

    Parameters
    ----------
    record
        Record from ``run.json``.
    folder
        Folder of the record; files are looked for there if they are no longer at their path.
    images
        A folder to look for images and masks in by their hash.

    Raises
    ------
    RecordError
        If it is no record of a comparison, or an image, mask or weight file is gone or has another content.
    """
    if record.evaluation is None:
        raise RecordError(
            "Expected the record of a comparison; this one is of a run. Give it to napari-sslmaps run --from."
        )
    places = Places(folder, images)
    checked = [checked_encoder(encoder, places) for encoder in record.encoders]
    choices = tuple(EncoderChoice(encoder.name, encoder.overrides, encoder.precision) for encoder in checked)
    section = load(_Evaluation, record.evaluation, "the record of a comparison")
    options = ComparisonOptions(
        run=record.options, **{name: getattr(section.options, name) for name in _OPTIONS}
    )
    compared = tuple(_image_of(entry, places) for entry in section.images)
    return ComparisonRequest(compared, choices, section.controls, section.scores, options)


def _encoder(comparison: Comparison, name: str) -> EncoderRecord:
    spec = comparison.specs[name]
    provenance = dict(comparison.images[0].provenance[name])
    return EncoderRecord(
        name=lasting_name(spec),
        sha256=spec.sha256,
        precision=str(provenance["precision"]),
        overrides=dict(spec.overrides),
        provenance=provenance,
    )


def _image(requested: ComparedImage, scored: ScoredImage, *, anonymous: bool) -> _Image:
    mask = requested.annotation if isinstance(requested.annotation, MaskFile) else None
    where = "" if mask is None else str(mask.path.absolute())
    if anonymous:
        where = numbered("mask", number_of(requested.name), where)
    return _Image(
        name=requested.name,
        image=scored.record,
        mask=None
        if mask is None
        else _Annotation(where, mask.sha256 or hash_path(mask.path), mask.classes, mask.ignore),
        label=requested.label,
        region=requested.region,
        anchors=requested.anchors,
        negative=requested.negative,
        groups=requested.groups,
        wanted=requested.mask if isinstance(requested.mask, MaskRecord) else None,
        channel=tuple(map(str, requested.channel)),
    )


def _image_of(entry: _Image, places: Places) -> ComparedImage:
    name = recorded_image(f"image {entry.name}", entry.image, places)
    return ComparedImage(
        name=entry.name,
        image=name,
        annotation=None if entry.mask is None else _mask_of(entry.mask, entry.name, places),
        label=entry.label,
        region=entry.region,
        anchors=entry.anchors,
        negative=entry.negative,
        groups=entry.groups,
        mask=checked_mask(entry.wanted, places),
        channel=entry.channel,
    )


def _mask_of(mask: _Annotation, name: str, places: Places) -> MaskFile:
    path = places.find(mask.path, mask.sha256)
    check_unchanged(f"mask of {name}", path, mask.sha256)
    return MaskFile(path, mask.classes, mask.ignore)
