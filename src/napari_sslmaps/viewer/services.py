"""Services that compute, read and fetch on behalf of the window; tests hand in their own."""

from collections.abc import Callable
from dataclasses import dataclass, field

from napari_sslmaps.viewer.compare.build import ComparisonServices, real_comparison_services
from napari_sslmaps.viewer.encoders.library import FileLibrary, Library
from napari_sslmaps.viewer.maps.attention_controller import Attender, PipelineAttender
from napari_sslmaps.viewer.maps.embedding_job import Embedder, PipelineEmbedder
from napari_sslmaps.viewer.maps.throughput import MeasuredPaces, ThroughputStore
from napari_sslmaps.viewer.pretext.job import EncoderPretext, Pretext
from napari_sslmaps.viewer.readers.new_study import StudyMaker, make_study
from napari_sslmaps.viewer.search.jobs import Searcher, StoreSearcher
from napari_sslmaps.viewer.state.loaded_encoders import LoadedEncoders


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Services:
    """Services of the packages below that a controller asks.

    Parameters
    ----------
    embedder
        Service that computes tokens.
    pretext
        Function that computes pretext views.
    library
        Library of the user's files and the published encoders.
    throughputs
        Store of how quickly encoders run.
    attender
        Function that computes the attention that embeddings do not hold.
    comparison
        Services that compare, learn from scribbles, and write what was found.
    prepare
        Function that loads what encoders need, ahead of the first run; on a thread.
    release
        Function that lets the memory of what was closed be given back.
    hold
        Function to call when another layer goes: collections are quick again after it.
    searcher
        Service that knows archives of tokens.
    study_maker
        Function that makes reader studies.
    """

    embedder: Embedder
    pretext: Pretext
    library: Library
    throughputs: ThroughputStore
    attender: Attender
    comparison: ComparisonServices
    prepare: Callable[[], None] = _nothing
    release: Callable[[], None] = _nothing
    hold: Callable[[], None] = _nothing
    searcher: Searcher = field(default_factory=StoreSearcher)
    study_maker: StudyMaker = make_study


def real_services(precision: str = "auto") -> Services:
    """Return services that share the encoders they load, in a precision that `load_encoder` takes."""
    encoders = LoadedEncoders(precision)
    return Services(
        PipelineEmbedder(encoders),
        EncoderPretext(encoders),
        FileLibrary(),
        MeasuredPaces(encoders),
        PipelineAttender(encoders),
        real_comparison_services(encoders),
        encoders.prepare,
        encoders.release,
        encoders.hold,
    )
