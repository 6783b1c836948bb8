"""The record of a comparison: a run record with a section that says what was compared, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest, MaskFile
from napari_sslmaps.compare.results import Comparison, ScoredImage
from napari_sslmaps.compare.store import key_of, to_plain, with_tuples
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import hash_path
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import SAMPLE_PREFIX, find_sample
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.run import EncoderRecord, ImageRecord, MaskRecord, RunRecord
from napari_sslmaps.records.verify import beside, check_unchanged, check_weights, checked_mask, lasting_name


def record_of(comparison: Comparison) -> RunRecord:
    """Return the record of a comparison whose images and masks are files.

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
        evaluation={
            "images": [_image(*pair) for pair in zip(request.images, comparison.images, strict=True)],
            "controls": list(request.controls),
            "scores": list(request.scores),
            "options": {key: value for key, value in asdict(request.options).items() if key != "run"},
            "numbers_sha256": numbers_sha256(comparison.images),
        },
    )


def numbers_sha256(images: Sequence[ScoredImage]) -> str:
    """Return the hash of every score, so that two comparisons can be told to be equal to the last digit."""
    told = [to_plain(image) for image in images]
    return key_of(
        {
            image["name"]: {
                key: image[key] for key in ("maps", "anchors", "nearness", "agreement", "robustness")
            }
            for image in told
        }
    )


def comparison_from_record(record: RunRecord, folder: Path) -> ComparisonRequest:
    """Return the request that a record describes, after checking that nothing has changed.

    Parameters
    ----------
    record
        Read from ``run.json``.
    folder
        Of the record; files are looked for there if they are no longer at their path.

    Raises
    ------
    RecordError
        If it is no record of a comparison, or an image, mask or weight file is gone or has another content.
    """
    if record.evaluation is None:
        raise RecordError(
            "Expected the record of a comparison; this one is of a run. Give it to napari-sslmaps run --from."
        )
    for encoder in record.encoders:
        check_weights(encoder)
    choices = tuple(
        EncoderChoice(encoder.name, encoder.overrides, encoder.precision) for encoder in record.encoders
    )
    try:
        section = record.evaluation
        options = ComparisonOptions(run=record.options, **with_tuples(section["options"]))
        images = tuple(_image_of(entry, folder) for entry in section["images"])
        return ComparisonRequest(
            images, choices, tuple(section["controls"]), tuple(section["scores"]), options
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"Expected a complete record of a comparison; its fields do not fit ({error!r}). Undo edits made "
            "by hand, or compare again."
        ) from error


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


def _image(asked: ComparedImage, scored: ScoredImage) -> dict[str, Any]:
    mask = asked.annotation if isinstance(asked.annotation, MaskFile) else None
    return {
        "name": asked.name,
        "image": asdict(scored.record),
        "mask": None
        if mask is None
        else {
            "path": str(mask.path.absolute()),
            "sha256": hash_path(mask.path),
            "classes": {str(label): name for label, name in mask.classes.items()},
            "ignore": mask.ignore,
        },
        "label": asked.label,
        "region": None if asked.region is None else asked.region.to_dict(),
        "anchors": [list(point) for point in asked.anchors],
        "negative": [list(point) for point in asked.negative],
        "groups": [_group(group) for group in asked.groups],
        "wanted": asdict(asked.mask) if isinstance(asked.mask, MaskRecord) else None,
    }


def _image_of(entry: Mapping[str, Any], folder: Path) -> ComparedImage:
    record = ImageRecord(**with_tuples(entry["image"]))
    if record.sample:
        path, name = find_sample(record.sample).path, SAMPLE_PREFIX + record.sample
    else:
        path = beside(Path(record.path), folder)
        name = str(path)
    check_unchanged(f"image {entry['name']}", path, record.sha256)
    mask, region, wanted = entry["mask"], entry["region"], entry.get("wanted")
    return ComparedImage(
        name=entry["name"],
        image=name,
        annotation=None if mask is None else _mask_of(mask, entry["name"], folder),
        label=entry["label"],
        region=None if region is None else Region(**region),
        anchors=tuple((float(y), float(x)) for y, x in entry["anchors"]),
        negative=tuple((float(y), float(x)) for y, x in entry["negative"]),
        groups=tuple(AnchorGroup(**group) for group in entry["groups"]),
        mask=checked_mask(None if wanted is None else MaskRecord(**with_tuples(wanted)), folder),
    )


def _group(group: AnchorGroup) -> dict[str, Any]:
    points = {name: [list(point) for point in getattr(group, name)] for name in ("anchors", "negative")}
    return {"name": group.name, "colour": group.colour, **points}


def _mask_of(mask: Mapping[str, Any], name: str, folder: Path) -> MaskFile:
    path = beside(Path(mask["path"]), folder)
    check_unchanged(f"mask of {name}", path, mask["sha256"])
    return MaskFile(path, {int(label): word for label, word in mask["classes"].items()}, mask["ignore"])
