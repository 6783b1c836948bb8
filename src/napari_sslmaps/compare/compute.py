"""Request → comparison: each image embedded once by each method, then scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from napari_sslmaps.compare.images import OpenedImage, opened
from napari_sslmaps.compare.maps import maps_of
from napari_sslmaps.compare.methods import Lane, lanes_of
from napari_sslmaps.compare.progress import ComparisonProgress, OnComparison
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import Comparison, ScoredImage
from napari_sslmaps.compare.scoring import EmbeddedImage, score_image
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.pipeline import EmbeddingProgress

Embeddings = Mapping[tuple[str, str], Embedding]
"""(image's name, method's name) → embedding."""
_SCORING = 0.25
"""Share of a method's work that is scoring, for progress alone."""


def compare(
    request: ComparisonRequest,
    on_progress: OnComparison | None = None,
    *,
    embeddings: Embeddings | None = None,
    encoders: Mapping[str, Encoder] | None = None,
    keep: bool = False,
) -> Comparison:
    """Compare encoders on images: embed, make maps, score them, beside controls.

    Parameters
    ----------
    request
        What to compare.
    on_progress
        Called often, on this thread; may raise `Cancelled` to stop.
    embeddings
        What has been embedded already, whole and of the same region, by the names of image and method.
    encoders
        What has been loaded already, by the name in its choice.
    keep
        Whether the result holds embeddings and maps; of many images they are large.

    Returns
    -------
    Comparison
        Whose tables are `compare.tables.tables_of`, and whose plots `plots_of`.

    Raises
    ------
    SSLMapsError
        If an image, mask, encoder or option cannot be used.
    """
    lanes = lanes_of(request, encoders)
    images: list[ScoredImage] = []
    kept: list[EmbeddedImage] = []
    for number, asked in enumerate(request.images):
        teller = _Teller(on_progress, asked.name, number, len(request.images), len(lanes))
        with opened(asked, request) as image:
            embedded = _embed_all(image, lanes, request, embeddings or {}, teller)
            images.append(score_image(embedded, request, teller.scoring))
        kept += [embedded] if keep else []
    names = [(image.image.name, name) for image in kept for name in image.embeddings]
    found = {image.image.name: image for image in kept}
    return Comparison(
        request=request,
        methods=tuple(lane.method for lane in lanes),
        images=tuple(images),
        embeddings={(image, name): found[image].embeddings[name] for image, name in names},
        maps={(image, name): found[image].maps[name] for image, name in names},
    )


def _embed_all(
    image: OpenedImage,
    lanes: Sequence[Lane],
    request: ComparisonRequest,
    known: Embeddings,
    teller: "_Teller",
) -> EmbeddedImage:
    embeddings: dict[str, Embedding] = {}
    maps = {}
    for at, lane in enumerate(lanes):
        name = lane.method.name
        teller.begin(name, at)
        found = known.get((image.name, name))
        embeddings[name] = lane.embed(image, request.options.run, teller.tiles) if found is None else found
        maps[name] = maps_of(embeddings[name], image.asked, request.options.run)
    encoders = tuple(lane.method.name for lane in lanes if lane.control is None)
    return EmbeddedImage(image, embeddings, maps, encoders)


@dataclass(slots=True)
class _Teller:
    """Turns what happens into progress."""

    on_progress: OnComparison | None
    image: str
    done: int
    total: int
    methods: int
    method: str = ""
    at: int = 0

    def begin(self, method: str, at: int) -> None:
        """Begin to embed by a method."""
        self.method, self.at = method, at
        self._tell(at * (1 - _SCORING))

    def tiles(self, progress: EmbeddingProgress) -> None:
        """Tell how far an embedding is."""
        self._tell((self.at + progress.done / progress.total) * (1 - _SCORING))

    def scoring(self, method: str) -> None:
        """Begin to score a method; the first begins where embedding ended."""
        self.at = self.at + 1 if self.method == "" else 0
        self.method = ""
        self._tell(self.methods * (1 - _SCORING) + self.at * _SCORING, method)

    def _tell(self, methods_done: float, method: str | None = None) -> None:
        if self.on_progress is not None:
            share = (self.done + min(1.0, methods_done / self.methods)) / self.total
            name = self.method if method is None else method
            self.on_progress(ComparisonProgress(self.image, name, self.done, self.total, share))
