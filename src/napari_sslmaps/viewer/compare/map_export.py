"""The maps that the window shows as files, with the record that makes them again without a window."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tiling import ONE_PASS, Tiling
from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.controls import Control, controls_of
from napari_sslmaps.encoders.registry import attention_size, get_spec
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import ExportError
from napari_sslmaps.maps.attention import check_attention
from napari_sslmaps.maps.pca import COMPONENTS, ComponentBasis, pca_map
from napari_sslmaps.pipeline.planning import plan_at
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.open import SOURCES
from napari_sslmaps.viewer.compare.jobs import Shown, ShownImage, run_options
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders

if TYPE_CHECKING:
    from napari_sslmaps.inputs.encoders import EncoderChoice
    from napari_sslmaps.records.run import ImageRecord, MaskRecord, RunOptions, RunRecord
    from napari_sslmaps.run.outcome import EncoderOutcome
    from napari_sslmaps.run.request import RunRequest


def write_maps(shown: Shown, folder: Path, encoders: LoadedEncoders) -> "RunRecord":
    """Write every map as the window shows it, a figure, and the record.

    Parameters
    ----------
    shown
        Maps in the window.
    folder
        Folder to write into, made if needed. An image that has no file is saved in it.
    encoders
        Attention that embeddings do not hold is computed again.

    Raises
    ------
    SSLMapsError
        If the image cannot be saved, or something cannot be written.
    """
    from napari_sslmaps.figures.picture import picture_of
    from napari_sslmaps.pipeline.attention import attention_stack
    from napari_sslmaps.run.outcome import RunOutcome, differences_of, fit_outcomes, outcome_of
    from napari_sslmaps.run.write import write_run

    request = _request_of(shown, folder)
    elsewhere = request.reference is not None
    options = request.options.maps.attention
    check_attention(options, depth=0, heads=0, anchors=request.anchors, elsewhere=elsewhere)
    reference = shown.maps.reference or {}
    outcomes: list[EncoderOutcome] = []
    for method, choice in _choices(shown):
        embedding = shown.embeddings[method.name]
        encoder = encoders.get(get_spec(choice.name))
        stack = None if choice.control else attention_stack(embedding, encoder, options, request.anchors)
        lasting = replace(choice, name=_lasting(encoder.spec))
        there = reference.get(method.name)
        outcomes.append(outcome_of(lasting, encoder, embedding, request, stack=stack, reference=there))
    done = fit_outcomes(outcomes, request)
    with_heads = any(outcome.heads is not None for outcome in done)
    request = replace(request, options=replace(request.options, heads=with_heads))
    window = done[0].embedding.provenance.window or (0.0, 1.0)
    outcome = RunOutcome(
        request,
        _record_of(request.image),
        picture_of(shown.image.source, shown.image.region, window),
        done,
        differences_of(done, request.options.difference),
        None if request.reference is None else _record_of(request.reference.image),
    )
    return write_run(outcome, folder)


def _record_of(image: str) -> "ImageRecord":
    from napari_sslmaps.inputs.images import open_named, record_of

    with open_named(image) as source:
        return record_of(image, source)


def _lasting(spec: EncoderSpec) -> str:
    from napari_sslmaps.records.verify import lasting_name

    return lasting_name(spec)


def _choices(shown: Shown) -> "list[tuple[EncoderSpec | Control, EncoderChoice]]":
    """Say what the command line runs for each method that has tokens."""
    from napari_sslmaps.inputs.encoders import EncoderChoice

    specs = [method for method in shown.methods if isinstance(method, EncoderSpec)]
    chosen: list[tuple[EncoderSpec | Control, EncoderChoice]] = []
    for method in shown.methods:
        if method.name not in shown.embeddings:
            continue
        if isinstance(method, EncoderSpec) or method.name in NAMES:
            chosen.append((method, EncoderChoice(method.name)))
        else:
            owner = next(spec for spec in specs if method in controls_of(spec))
            chosen.append((method, EncoderChoice(owner.name, control=method.kind)))
    if not chosen:
        raise ExportError("Expected maps to write; there are none. Press Run first, then export.")
    return chosen


def _request_of(shown: Shown, folder: Path) -> "RunRequest":
    from napari_sslmaps.run.request import Reference, RunRequest

    maps, there = shown.maps, shown.reference
    image, region = _image_file(shown.image, folder)
    reference = None
    if there is not None:
        other, part = _image_file(replace(there, name=f"{there.name}-anchors"), folder)
        reference = Reference(str(other), part, _mask_file(there.mask, folder / SOURCES / "anchors-mask.tif"))
    return RunRequest(
        image=str(image),
        encoders=tuple(choice for _, choice in _choices(shown)),
        anchors=tuple(maps.anchors.anchors),
        negative=tuple(maps.anchors.negative) if maps.anchors.anchors else (),
        region=region,
        options=_options_of(shown),
        groups=maps.groups,
        bases=_bases_of(shown),
        mask=_mask_file(shown.image.mask, folder / SOURCES / "mask.tif"),
        reference=reference,
    )


def _options_of(shown: Shown) -> "RunOptions":
    maps, tiling = shown.maps, _tiling_of(shown)
    specs = [method for method in shown.methods if isinstance(method, EncoderSpec)]
    blocks, heads = attention_size(spec.architecture for spec in specs)
    anchored = bool(maps.anchors.anchors)
    made = run_options(maps, tiling, shown.resolution, shown.depth, anchored=anchored)
    attention = made.maps.attention
    there = replace(
        attention,
        head=min(attention.head, heads - 1) if attention.head is not None and heads else None,
        block=min(attention.block, blocks) if attention.block is not None and blocks else None,
    )
    return replace(
        made,
        maps=replace(made.maps, attention=there),
        stride=_stride_of(shown),
        difference=shown.difference if set(shown.difference) <= set(shown.embeddings) else (),
        save_basis=True,
    )


def _tiling_of(shown: Shown) -> Tiling:
    """Return how all embeddings were cut, which need not be what is chosen by now.

    Raises
    ------
    ExportError
        If no one tiling gives them all.
    """
    block, norm = shown.depth
    made = [
        (method.at_block(block, norm=norm), shown.embeddings[method.name].provenance)
        for method in shown.methods
        if isinstance(method, EncoderSpec) and method.name in shown.embeddings
    ]
    first = made[0][1]
    cut = Tiling(first.tile or ONE_PASS.tile, first.overlap, first.stitching)  # type: ignore[arg-type]  # written by `embed`
    for tiling in (shown.tiling, cut):
        planned = [
            (
                plan_at(shown.image.source, spec, shown.image.region, tiling, resolution=shown.resolution),
                found,
            )
            for spec, found in made
        ]
        if all((one.side, one.tiling.overlap) == (found.tile, found.overlap) for one, found in planned):
            return tiling
    raise ExportError(
        "Expected embeddings of all methods to be cut into tiles alike; these were made with several choices "
        "of context. Press Run to embed them anew."
    )


def _stride_of(shown: Shown) -> int | None:
    """Return the pixels per token of all embeddings; None for one token per patch.

    Raises
    ------
    ExportError
        If they differ.
    """
    strides = {
        shown.embeddings[method.name].provenance.stride
        for method in shown.methods
        if isinstance(method, EncoderSpec) and method.name in shown.embeddings
    }
    if len(strides) > 1:
        raise ExportError(
            f"Expected embeddings of one detail, to be made again alike; got strides of "
            f"{', '.join(map(str, sorted(strides)))} px (0 for whole patches). Press Run to embed them anew, "
            "or show encoders of one patch size."
        )
    return next(iter(strides), 0) or None


def _bases_of(shown: Shown) -> tuple[ComponentBasis, ...]:
    """Return the bases that components are shown by, unless they are fitted to the region alone."""
    choice = shown.maps.options.pca.basis
    if choice == "kept":
        return tuple(basis for name, basis in shown.maps.bases.items() if name in shown.embeddings)
    if choice == "region":
        return ()
    found = []
    for method in shown.methods:
        embedding, others = shown.embeddings.get(method.name), shown.elsewhere.get(method.name, ())
        if embedding is not None and others and embedding.tokens.shape[-1] >= COMPONENTS:
            found.append(_joint_basis(embedding, *others))
    return tuple(found)


def _joint_basis(embedding: Embedding, *others: Embedding) -> ComponentBasis:
    weights = embedding.provenance.weights_sha256
    alike = [other for other in others if other.provenance.weights_sha256 == weights]
    return pca_map([embedding, *alike], foreground="auto")[0].basis


def _image_file(image: ShownImage, folder: Path) -> tuple[Path, Region]:
    """Return the file of an image and the region in it; one that has none is saved, the frame alone."""
    from napari_sslmaps.compare.saved import save_image

    name, source, region = image.name, image.source, image.region
    known = FileIdentity.of(source)
    if known is not None and "channel" not in known.reading:  # else its path alone gives other pixels
        return Path(known.path), region
    path = (folder / SOURCES / f"{name.replace('/', '-')}.ome.tif").absolute()
    save_image(name, source, region, path, region.frame)
    return path, replace(region, frame=0)


def _mask_file(mask: PlacedMask | None, path: Path) -> "MaskRecord | None":
    from napari_sslmaps.compare.saved import save_mask

    return None if mask is None else save_mask(mask, path)
