"""Request → comparison: each image embedded once by each method, then scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from napari_sslmaps.compare.across_images import findings_across
from napari_sslmaps.compare.depth_profiles import depths_of
from napari_sslmaps.compare.entrants import Entrant, entrants_of
from napari_sslmaps.compare.images import OpenedImage, check_anchors, opened, why_unscorable
from napari_sslmaps.compare.localisation import fitted_heads
from napari_sslmaps.compare.progress import OnComparison, ProgressReporter
from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest, MaskFile
from napari_sslmaps.compare.results import Comparison, ScoredImage
from napari_sslmaps.compare.scale_profiles import profiles_of
from napari_sslmaps.compare.scoring import ImageEmbeddings, robustness_of, score_image
from napari_sslmaps.compare.store import ComparisonFolder, Tokens, image_key, keeps_tokens
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.scale import at_scale
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.errors import AnnotationError, Cancelled, SSLMapsError
from napari_sslmaps.files import hash_path
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import MapRequest, make_maps, similarity_to_groups
from napari_sslmaps.maps.registry import MAP_TYPES
from napari_sslmaps.pipeline.attention import attention_stack
from napari_sslmaps.pipeline.planning import at_working_resolution
from napari_sslmaps.records.run import RunOptions

Embeddings = Mapping[tuple[str, str], Embedding]
"""(image's name, method's name) → embedding."""
OnImage = Callable[[ImageEmbeddings, ScoredImage], None]


def compare(
    request: ComparisonRequest,
    on_progress: OnComparison | None = None,
    *,
    embeddings: Embeddings | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    keep: bool = False,
    folder: Path | None = None,
    on_image: OnImage | None = None,
) -> Comparison:
    """Compare encoders on images: embed, make maps, score them, beside controls.

    Parameters
    ----------
    request
        Images, encoders, controls and scores to compare.
    on_progress
        Callback, called often, on this thread; may raise `Cancelled` to stop.
    embeddings
        Embeddings that exist already, by the names of image and method; used where region and weights are
        those of the request.
    encoders
        Encoders that are loaded already, by the name in their choice.
    keep
        Whether the result holds embeddings and maps; of many images they are large.
    folder
        Folder in which finished images are kept: a second call finds them there, and one that was stopped is
        resumed. Images without a file are not kept.
    on_image
        Callback, called with each image that was scored now, before it counts as finished.

    Returns
    -------
    Comparison
        Results, of which `compare.tables.tables_of` makes tables and `plots_of` plots.

    Raises
    ------
    SSLMapsError
        If an image, mask, encoder or option cannot be used.
    """
    entrants = entrants_of(request, encoders)
    work = _ComparisonState(
        request, entrants, embeddings or {}, None if folder is None else ComparisonFolder(folder)
    )
    reporter = ProgressReporter(on_progress, len(request.images), len(entrants))
    for requested in request.images:
        reporter.image(requested.name, work.kept)
        try:
            work.do(requested, reporter, on_image, keep=keep)
        except Cancelled:
            raise
        except SSLMapsError as error:
            if len(request.images) == 1 or requested.name in str(error):
                raise
            raise type(error)(f"{requested.name}: {error}") from error
    if all(image.notes for image in work.scored):
        raise AnnotationError(
            f"Expected at least one image that can be scored; none of {len(work.scored)} can. "
            f"{work.scored[0].notes[0]}"
        )
    names = [(image.image.name, name) for image in work.embedded for name in image.embeddings]
    found = {image.image.name: image for image in work.embedded}
    comparison = Comparison(
        request=replace(request, images=tuple(map(work.as_scored, request.images))),
        methods=tuple(entrant.method for entrant in entrants),
        images=tuple(work.scored),
        embeddings={(image, name): found[image].embeddings[name] for image, name in names},
        maps={(image, name): found[image].maps[name] for image, name in names},
        specs={entrant.method.name: entrant.spec for entrant in entrants if entrant.spec is not None},
    )
    across = findings_across(comparison, entrants, work.tokens, reporter.comparing)
    heads = fitted_heads(comparison, work.tokens) if request.wants("localisation") else {}
    return replace(comparison, across=across, heads=heads)


class _ComparisonState:
    """Results so far, image by image."""

    def __init__(
        self,
        request: ComparisonRequest,
        entrants: Sequence[Entrant],
        known: Embeddings,
        folder: ComparisonFolder | None,
    ) -> None:
        self.request, self.entrants, self.known, self.folder = request, entrants, known, folder
        self.tokens = Tokens(folder)
        self.scored: list[ScoredImage] = []
        self.embedded: list[ImageEmbeddings] = []
        self.masks: dict[str, str] = {}
        self.kept = 0

    def as_scored(self, requested: ComparedImage) -> ComparedImage:
        """Return an image with the hash of the mask that it was scored against, whatever is there now."""
        mask = requested.annotation
        if not isinstance(mask, MaskFile):
            return requested
        return replace(requested, annotation=replace(mask, sha256=self.masks[requested.name]))

    def do(
        self, requested: ComparedImage, reporter: ProgressReporter, on_image: OnImage | None, *, keep: bool
    ) -> None:
        """Score an image, or find its scores."""
        with opened(requested, self.request) as image:
            if isinstance(requested.annotation, MaskFile):
                self.masks[requested.name] = hash_path(requested.annotation.path)
            folder = self.folder if image.record.sha256 else None
            key = "" if folder is None else image_key(image, self.entrants, self.request)
            found = None if folder is None or keep else folder.load(requested.name, key)
            if found is not None:
                self.kept += 1
                self.scored.append(replace(found, record=image.record))  # where it is now
                return
            check_anchors(image)
            entrant = next(entrant for entrant in self.entrants if entrant.spec)
            unscorable = why_unscorable(image, entrant.grid(image, self.request.options.run), self.request)
            embedded = replace(self._embed(image, reporter), unscorable=unscorable)
            scored = score_image(embedded, self.request, reporter.scoring)
            if self.request.wants("robustness"):
                found_robust = robustness_of(embedded, self.entrants, self.request, reporter.perturbing)
                scored = replace(scored, robustness=found_robust)
            if self.request.wants("scale"):
                profiles = profiles_of(embedded, self.entrants, self.request, reporter.scoring)
                scored = replace(scored, measured={**scored.measured, "scale": profiles})
            if self.request.wants("depth"):
                depths = depths_of(embedded, self.entrants, self.request, reporter.scoring)
                scored = replace(scored, measured={**scored.measured, "depth": depths})
            if folder is not None:
                folder.forget(requested.name)
            if keeps_tokens(self.request):
                self.tokens.put(requested.name, embedded.embeddings)
            if on_image is not None:
                on_image(embedded, scored)
            if folder is not None:
                folder.keep(scored, key)
        self.scored.append(scored)
        self.embedded += [embedded] if keep else []

    def _embed(self, image: OpenedImage, reporter: ProgressReporter) -> ImageEmbeddings:
        run = self.request.options.run
        embeddings: dict[str, Embedding] = {}
        maps: dict[str, dict[str, TokenMap]] = {}
        for entrant in self.entrants:
            name = entrant.method.name
            reporter.embedding(name)
            known = self.known.get((image.name, name))
            embeddings[name] = (
                known
                if known is not None and _fits(known, image, entrant, run.resolution)
                else entrant.embed(image, run, reporter.tiles)
            )
            encoder = entrant.encoder if entrant.has_network else None
            maps[name] = maps_of(embeddings[name], image.requested, run, encoder)
        averaged = {name: at_scale(found, run.maps.scale) for name, found in embeddings.items()}
        encoders = tuple(entrant.method.name for entrant in self.entrants if entrant.control is None)
        return ImageEmbeddings(image, averaged, maps, encoders, patches=embeddings, options=run)


def maps_of(
    embedding: Embedding, image: ComparedImage, options: RunOptions, encoder: Encoder | None
) -> dict[str, TokenMap]:
    """Make every map of values that an embedding has, by key; labels have no order to be scored by.

    Parameters
    ----------
    embedding
        Tokens of an encoder or a control; the latter may have neither attention nor activation.
    image
        Image with the anchors that similarity is measured to.
    options
        Options of the maps.
    encoder
        Encoder of the embedding, for attention that it does not hold; None for a control.
    """
    name, query = embedding.provenance.encoder, options.maps.attention
    stack = None if encoder is None else attention_stack(embedding, encoder, query, image.anchors)
    request = MapRequest(
        tuple(key for key in options.keys if not MAP_TYPES[key].labels),
        options.maps,
        AnchorGroup("anchors", anchors=image.anchors, negative=image.negative),
        image.groups,
    )
    maps = make_maps({name: embedding}, request, stacks={} if stack is None else {name: stack})[name]
    to_groups = similarity_to_groups(embedding, request) if "similarity" in request.wanted else {}
    to_anchors = {"similarity": maps.pop("similarity")} if "similarity" in maps else {}
    return {**maps, **{f"similarity, {group}": found for group, found in to_groups.items()}, **to_anchors}


def _fits(known: Embedding, image: OpenedImage, entrant: Entrant, resolution: str) -> bool:
    """Whether an embedding is what would be computed, as far as it says itself."""
    provenance = known.provenance
    encoder = entrant.loadable
    weights = "" if encoder is None else encoder.spec.sha256
    _, region = at_working_resolution(image.source, image.region, resolution, entrant.trained)
    depth = ("", True)
    if encoder is not None:
        depth = encoder.token_block, encoder.spec.architecture.token_norm
    return (
        provenance.region in (None, region)
        and provenance.weights_sha256 in ("", weights)
        and (provenance.token_block, provenance.token_norm) == depth
    )
