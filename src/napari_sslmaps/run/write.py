"""Outcome → figure, maps and record; record → request."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from glob import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np

from napari_sslmaps.core.resolution import far_from_trained, in_words
from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import RecordError
from napari_sslmaps.figures.frames_figure import FrameRow, FramesFigure, compose_strip, write_animation
from napari_sslmaps.figures.heads_figure import HeadsRow, compose_heads_figure
from napari_sslmaps.figures.run_figure import compose_figure, save_figure
from napari_sslmaps.files import hash_path, readable
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import find_sample, recorded_image
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.pca import ComponentBasis, ComponentMap
from napari_sslmaps.maps.registry import MAP_TYPES, map_type_of
from napari_sslmaps.records.anonymous import Key, numbered
from napari_sslmaps.records.basis import load_basis, save_basis
from napari_sslmaps.records.claim import remove_own
from napari_sslmaps.records.map_files import write_frames, write_heads, write_map
from napari_sslmaps.records.places import Places
from napari_sslmaps.records.run import (
    EncoderRecord,
    FileRecord,
    MaskRecord,
    ReferenceRecord,
    RunOptions,
    RunRecord,
)
from napari_sslmaps.records.verify import check_unchanged, checked_encoder, checked_mask, lasting_name
from napari_sslmaps.run.outcome import EncoderOutcome, RunOutcome
from napari_sslmaps.run.request import Reference, RunRequest
from napari_sslmaps.sources.scan import MUCH_EMPTY

WRITTEN = (
    *("run.json", "figure.png", "heads.png", "frames.png", "frames.webp", "bases/*.json"),
    *(f"*/{key}.tif" for key in MAP_TYPES),
)
"""What a run writes to its folder, as patterns."""


def draw_run(outcome: RunOutcome, path: Path) -> None:
    """Write the figure of a run; the suffix chooses PNG, PDF or SVG.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    figure = compose_figure(
        outcome.picture,
        [encoder.row for encoder in outcome.encoders],
        anchors=outcome.request.anchors,
        negative=outcome.request.negative,
        title=_title(outcome),
        display=outcome.request.options.maps.similarity.display,
    )
    save_figure(figure, path)


def draw_frames(outcome: RunOutcome, folder: Path) -> None:
    """Write the maps of frames as a strip and an animation.

    Raises
    ------
    ExportError
        If one cannot be written.
    """
    region, elsewhere = outcome.request.region, outcome.reference is not None
    shown = FramesFigure(
        outcome.frames,
        outcome.frame_pictures,
        tuple(FrameRow(one.title, one.name, one.frames) for one in outcome.encoders if one.frames),
        anchors=() if elsewhere else outcome.request.anchors,
        negative=() if elsewhere else outcome.request.negative,
        anchor_frame=0 if region is None else region.frame,
        title=_title(outcome),
        display=outcome.request.options.maps.similarity.display,
    )
    save_figure(compose_strip(shown), folder / "frames.png")
    write_animation(shown, folder / "frames.webp")


def draw_heads(outcome: RunOutcome, path: Path) -> None:
    """Write the figure of every head of every encoder that has any.

    Raises
    ------
    ExportError
        If none has, or it cannot be written.
    """
    rows = [_heads_row(encoder) for encoder in outcome.encoders if encoder.heads is not None]
    figure = compose_heads_figure(
        outcome.picture, rows, anchors=outcome.request.anchors, title=_title(outcome)
    )
    save_figure(figure, path)


def _heads_row(encoder: EncoderOutcome) -> HeadsRow:
    found = encoder.heads
    if isinstance(found, AttentionStack):
        what = f"{found.kind}, block {found.block}"
        return HeadsRow(encoder.title, encoder.name, found.heads, found.grid, what, found.prefix_attention)
    embedding = encoder.embedding
    heads = np.zeros((0, *embedding.grid.shape), np.float32)
    return HeadsRow(
        encoder.title,
        encoder.name,
        heads if embedding.attention is None else embedding.attention,
        embedding.grid,
        embedding.attention_kind or "",
        embedding.prefix_attention,
    )


def write_run(outcome: RunOutcome, folder: Path) -> RunRecord:
    """Write figure, maps and record into `folder`; maps of an earlier run that lie there go.

    Returns
    -------
    RunRecord
        The record as written to ``run.json``, last of all.

    Raises
    ------
    ExportError
        If something cannot be written.
    """
    earlier = _written_before(folder)
    taken: dict[str, int] = {}
    records = []
    spacing = outcome.image.spacing_um_yx
    for encoder in outcome.encoders:
        name = encoder.name
        taken[name] = taken.get(name, 0) + 1
        part = name if taken[name] == 1 else f"{name}-{taken[name]}"
        outputs = _write_maps(encoder, folder, part, spacing)
        outputs |= _write_basis(encoder, folder, part, outcome.request.options)
        records.append(
            EncoderRecord(
                name=lasting_name(encoder.spec),
                sha256=encoder.spec.sha256,
                precision=encoder.precision,
                overrides=dict(encoder.spec.overrides),
                provenance=encoder.embedding.provenance.to_dict(),
                outputs=outputs,
                control=encoder.choice.control,
            )
        )
    for kind, result in outcome.differences.items():
        write_map(folder / "difference" / f"{kind}.tif", result, spacing_um_yx=spacing)
    draw_run(outcome, folder / "figure.png")
    if outcome.frames:
        draw_frames(outcome, folder)
    if outcome.request.options.heads:
        draw_heads(outcome, folder / "heads.png")
    record = record_of(outcome, records, _write_bases(outcome.request.bases, folder))
    record.write(folder / "run.json")
    remove_own(folder, earlier - _names_of(record, outcome.differences))
    return record


def _written_before(folder: Path) -> set[str]:
    """Return the names of the maps and figures that the run whose record lies in a folder wrote."""
    try:
        record = RunRecord.read(folder / "run.json")
    except RecordError:  # none, or none that can be understood
        return set()
    return set() if record.evaluation else _names_of(record, MAP_TYPES)


def _names_of(record: RunRecord, differences: Iterable[str]) -> set[str]:
    """Return what a run writes beside its figure, bases and record, as names in its folder."""
    options = record.options
    return {
        *(escape(name) for entry in record.encoders for name in entry.outputs.values()),
        *(f"difference/{kind}.tif" for kind in differences if options.difference),
        *(("heads.png",) if options.heads else ()),
        *(("frames.png", "frames.webp") if options.frames else ()),
    }


def record_of(
    outcome: RunOutcome, encoders: Sequence[EncoderRecord], bases: tuple[FileRecord, ...]
) -> RunRecord:
    """Return the record of a run whose maps and bases are written."""
    request = outcome.request
    lasting = {
        encoder.name: lasting_name(encoder.spec) for encoder in outcome.encoders if _is_encoder(encoder)
    }
    pair = tuple(lasting.get(name, name) for name in request.options.difference)
    other = request.reference
    reference = None
    if other is not None and outcome.reference is not None:
        hidden = _called(other.mask, 2) if request.anonymous else other.mask
        reference = ReferenceRecord(outcome.reference, other.region, hidden)
    return RunRecord(
        image=outcome.image,
        encoders=tuple(encoders),
        region=request.region,
        anchors=request.anchors,
        negative=request.negative,
        options=replace(request.options, difference=pair),
        figure="figure.png",
        package_version=version("napari-sslmaps"),
        groups=request.groups,
        bases=bases,
        mask=_called(request.mask, 1) if request.anonymous else request.mask,
        reference=reference,
    )


def _called(mask: MaskRecord | None, number: int) -> MaskRecord | None:
    return None if mask is None else replace(mask, path=numbered("mask", number, mask.path))


def write_key(request: RunRequest, outcome: RunOutcome, key: Key) -> None:
    """Write which files the numbers of an anonymous run stand for, to be kept apart from it.

    Raises
    ------
    ExportError
        If it cannot be written.
    """
    other = request.reference
    key.files[outcome.image.path] = readable(request.image)
    if other is not None and outcome.reference is not None:
        key.files[outcome.reference.path] = readable(other.image)
    for number, mask in ((1, request.mask), (2, None if other is None else other.mask)):
        if mask is not None:
            key.files[numbered("mask", number, mask.path)] = readable(mask.path)
    key.write()


def _is_encoder(outcome: EncoderOutcome) -> bool:
    return not outcome.choice.control


def _write_bases(bases: Sequence[ComponentBasis], folder: Path) -> tuple[FileRecord, ...]:
    """Write the bases that were applied beside the record."""
    written = []
    for basis in bases:
        path = f"bases/{basis.encoder.replace('/', '-')}.json"
        save_basis(basis, folder / path)
        written.append(FileRecord(path, hash_path(folder / path)))
    return tuple(written)


def _write_basis(encoder: EncoderOutcome, folder: Path, part: str, options: RunOptions) -> dict[str, str]:
    components = encoder.maps.get("pca")
    if not options.save_basis or not isinstance(components, ComponentMap):
        return {}
    save_basis(components.basis, folder / part / "basis.json")
    return {"basis": f"{part}/basis.json"}


def request_from_record(record: RunRecord, folder: Path, images: Path | None = None) -> RunRequest:
    """Return the request that a record describes, after checking that nothing has changed.

    Parameters
    ----------
    record
        Record from ``run.json``.
    folder
        Folder of the record; the image is looked for there if it is no longer at its path.
    images
        A folder to look for it in by its hash.

    Raises
    ------
    RecordError
        If the image or a weight file is gone or has another content.
    """
    places = Places(folder, images)
    name = recorded_image("image", record.image, places)
    checked = [checked_encoder(encoder, places) for encoder in record.encoders]
    choices = tuple(
        EncoderChoice(encoder.name, encoder.overrides, encoder.precision, encoder.control)
        for encoder in checked
    )
    names = {old.name: now.name for old, now in zip(record.encoders, checked, strict=True)}
    reference, other, pair = None, record.reference, record.options.difference
    if other is not None:
        there = recorded_image("image with the anchors", other.image, places)
        reference = Reference(there, other.region, checked_mask(other.mask, places))
    return RunRequest(
        name,
        choices,
        record.anchors,
        record.negative,
        record.region,
        replace(record.options, difference=tuple(names.get(name, name) for name in pair)),
        groups=record.groups,
        bases=tuple(_checked_basis(basis, folder) for basis in record.bases),
        mask=checked_mask(record.mask, places),
        reference=reference,
    )


def _checked_basis(basis: FileRecord, folder: Path) -> ComponentBasis:
    path = folder / basis.path
    check_unchanged("PCA basis", path, basis.sha256)
    return load_basis(path)


def warnings_of(outcome: RunOutcome) -> list[str]:
    """Sentences that belong beside the maps of a run."""
    sentences = _of_empty(outcome)
    for encoder in outcome.encoders:
        read_at = encoder.embedding.provenance.resolution
        if read_at:
            as_trained = ", as it was trained" if read_at == str(encoder.spec.trained) else ""
            sentences.append(f"{encoder.name}: the image was read at {in_words(read_at)}{as_trained}.")
        depth = encoder.embedding.provenance.depth
        if depth:
            sentences.append(f"{encoder.name}: depth of its tokens: {depth}.")
        stride = encoder.embedding.provenance.stride or encoder.spec.constraint.token_stride
        pixel = encoder.embedding.grid.stride_yx[0] / stride
        image = outcome.image
        far = far_from_trained(pixel, encoder.spec.trained, image.shape_yx, image.spacing_um_yx)
        if far:
            sentences.append(f"{encoder.name}: {far} --resolution trained reads it as it learned.")
        if "activation" in encoder.maps:
            sentences.append(f"{encoder.name}: a CNN has no attention; activation is shown instead.")
        said = [map_type_of(result).facts(result).get("caution") for result in encoder.maps.values()]
        sentences += [f"{encoder.name}: {caution}" for caution in said if caution]
        asked, stack = outcome.request.options.maps.attention.block, encoder.stack
        if asked is not None and stack is not None and abs(asked) > stack.depth:
            sentences.append(f"{encoder.name}: there are {stack.depth} blocks; block {stack.block} is shown.")
    return sentences


def _of_empty(outcome: RunOutcome) -> list[str]:
    """Say how to leave out what is around a sector or tissue, where that is much."""
    request = outcome.request
    found = next((each.embedding.foreground for each in outcome.encoders), None)
    share = 0.0 if found is None else float(1 - found.mean())
    if share < MUCH_EMPTY or request.mask is not None or request.options.mask:
        return []
    left_out = "--mask auto leaves out what of that lies around tissue or a field of view"
    return [f"In {100 * share:.0f} % of the region nothing varies; {left_out}."]


def _write_maps(
    encoder: EncoderOutcome, folder: Path, part: str, spacing: tuple[float, float] | None
) -> dict[str, str]:
    maps: dict[str, TokenMap] = dict(encoder.maps)
    for number, (name, result) in enumerate(encoder.group_similarity.items(), start=1):
        maps[f"similarity-{number}-{_slug(name)}"] = result
    outputs = {}
    for kind, made in maps.items():
        outputs[kind] = f"{part}/{kind}.tif"
        write_map(folder / outputs[kind], made, spacing_um_yx=spacing)
    for key, frames in encoder.frames.items():
        outputs[f"{key}_frames"] = f"{part}/{key}_frames.tif"
        write_frames(folder / outputs[f"{key}_frames"], frames, spacing_um_yx=spacing)
    if encoder.heads is not None:
        outputs["attention_heads"] = f"{part}/attention_heads.tif"
        write_heads(folder / outputs["attention_heads"], encoder.heads, spacing_um_yx=spacing)
    return outputs


def _slug(name: str) -> str:
    """Return a name as a part of a file's name."""
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "group"


def _title(outcome: RunOutcome) -> str:
    if outcome.image.sample:
        return find_sample(outcome.image.sample).title
    return readable(Path(outcome.image.path).name)
