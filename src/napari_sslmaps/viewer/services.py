"""What computes, reads and fetches on behalf of the window; tests hand in their own."""

from dataclasses import dataclass

from napari_sslmaps.viewer.jobs import Embedder, PipelineEmbedder
from napari_sslmaps.viewer.library import FileLibrary, Library
from napari_sslmaps.viewer.loaded import LoadedEncoders


@dataclass(frozen=True, slots=True)
class Services:
    """What a controller asks of the rooms below.

    Parameters
    ----------
    embedder
        Computes tokens.
    library
        Knows the user's files and the published encoders.
    """

    embedder: Embedder
    library: Library


def real_services() -> Services:
    """Return services that share the encoders they load."""
    encoders = LoadedEncoders()
    return Services(PipelineEmbedder(encoders), FileLibrary())
