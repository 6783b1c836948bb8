"""Outcome → figure, maps and record; record → request."""

from importlib.metadata import version
from pathlib import Path

from napari_sslmaps.core.results import ActivationMap, TokenMap
from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.hashes import hash_path
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.registry import get_spec, hash_encoder
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import RecordError
from napari_sslmaps.export.figure import compose_figure, save_figure
from napari_sslmaps.export.map_files import write_heads, write_map
from napari_sslmaps.export.record import EncoderRecord, RunRecord
from napari_sslmaps.run.request import (
    SAMPLE_PREFIX,
    EncoderChoice,
    EncoderOutcome,
    RunOutcome,
    RunRequest,
    find_sample,
)


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
    )
    save_figure(figure, path)


def write_run(outcome: RunOutcome, folder: Path) -> RunRecord:
    """Write figure, maps and record into `folder`.

    Returns
    -------
    RunRecord
        As written to ``run.json``, last of all.

    Raises
    ------
    ExportError
        If something cannot be written.
    """
    taken: dict[str, int] = {}
    records = []
    for encoder in outcome.encoders:
        name = encoder.spec.name
        taken[name] = taken.get(name, 0) + 1
        part = name if taken[name] == 1 else f"{name}-{taken[name]}"
        outputs = _write_maps(encoder, folder, part, outcome.image.spacing_um_yx)
        records.append(
            EncoderRecord(
                name=lasting_name(encoder.spec),
                sha256=encoder.spec.sha256,
                precision=encoder.precision,
                overrides=dict(encoder.spec.overrides),
                provenance=encoder.embedding.provenance.to_dict(),
                outputs=outputs,
            )
        )
    draw_run(outcome, folder / "figure.png")
    request = outcome.request
    record = RunRecord(
        image=outcome.image,
        encoders=tuple(records),
        region=request.region,
        anchors=request.anchors,
        negative=request.negative,
        options=request.options,
        figure="figure.png",
        package_version=version("napari-sslmaps"),
    )
    record.write(folder / "run.json")
    return record


def request_from_record(record: RunRecord, folder: Path) -> RunRequest:
    """Return the request that a record describes, after checking that nothing has changed.

    Parameters
    ----------
    record
        Read from ``run.json``.
    folder
        Of the record; the image is looked for there if it is no longer at its path.

    Raises
    ------
    RecordError
        If the image or a weight file is gone or has another content.
    """
    image = record.image
    if image.sample:
        path, name = find_sample(image.sample).path, SAMPLE_PREFIX + image.sample
    else:
        path = Path(image.path)
        path = path if path.exists() else folder / path.name
        name = str(path)
    check_unchanged("image", path, image.sha256)
    for encoder in record.encoders:
        check_weights(encoder)
    choices = tuple(
        EncoderChoice(encoder.name, encoder.overrides, encoder.precision) for encoder in record.encoders
    )
    return RunRequest(name, choices, record.anchors, record.negative, record.region, record.options)


def cautions(outcome: RunOutcome) -> list[str]:
    """Sentences that belong beside the maps of a run."""
    sentences = []
    for encoder in outcome.encoders:
        if isinstance(encoder.attention, ActivationMap):
            sentences.append(f"{encoder.spec.name}: a CNN has no attention; activation is shown instead.")
        elif encoder.attention.caution:
            sentences.append(f"{encoder.spec.name}: {encoder.attention.caution}")
    return sentences


def _write_maps(
    encoder: EncoderOutcome, folder: Path, part: str, spacing: tuple[float, float] | None
) -> dict[str, str]:
    attention = "activation" if isinstance(encoder.attention, ActivationMap) else "attention"
    maps: dict[str, TokenMap | None] = {
        attention: encoder.attention,
        "pca": encoder.components,
        "similarity": encoder.similarity,
    }
    outputs = {}
    for kind, result in maps.items():
        if result is not None:
            outputs[kind] = f"{part}/{kind}.tif"
            write_map(folder / outputs[kind], result, spacing_um_yx=spacing)
    if attention == "attention":
        outputs["attention_heads"] = f"{part}/attention_heads.tif"
        heads = folder / outputs["attention_heads"]
        write_heads(heads, encoder.embedding, spacing_um_yx=spacing)
    return outputs


def _title(outcome: RunOutcome) -> str:
    if outcome.image.sample:
        return find_sample(outcome.image.sample).title
    return Path(outcome.image.path).name


def lasting_name(spec: EncoderSpec) -> str:
    """Return a name that means the same elsewhere: of a user's file its path, not what it is called here."""
    if spec.origin == "file" and spec.path is not None:
        return str(spec.path.absolute())
    return spec.name


def check_weights(encoder: EncoderRecord) -> None:
    """Refuse to go on where the weights of a record have changed, or are gone.

    Raises
    ------
    RecordError
        With what has changed.
    """
    listed = encoder.name in NAMES or encoder.name in PUBLISHED
    spec = get_spec(encoder.name) if listed else None
    if spec is not None and spec.trouble:
        raise RecordError(spec.trouble)
    path = Path(encoder.name) if spec is None else spec.path
    if path is not None:
        check_unchanged(f"weight file of {encoder.name}", path, encoder.sha256)
    elif (drawn := hash_encoder(encoder.name)) != encoder.sha256:
        raise RecordError(
            f"Expected the weights of {encoder.name} of this record (sha256 {encoder.sha256[:12]}…); this "
            f"torch and processor draw others (sha256 {drawn[:12]}…). Run again without --from."
        )


def check_unchanged(what: str, path: Path, sha256: str) -> None:
    """Refuse to go on where a file of a record has changed, or is gone.

    Raises
    ------
    RecordError
        With what has changed.
    """
    if not path.exists():
        raise RecordError(
            f"Expected the {what} of this record at {path}; there is nothing. Put it back, or run again "
            "without --from."
        )
    now = hash_path(path)
    if now != sha256:
        raise RecordError(
            f"Expected the {what} of this record (sha256 {sha256[:12]}…); {path} has changed "
            f"(sha256 {now[:12]}…). Restore it, or run again without --from."
        )
