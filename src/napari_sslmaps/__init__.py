"""See what self-supervised encoders see in medical images.

Importing this package loads neither torch nor napari; each name below is fetched when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sslmaps.core.attention import activation_map, attention_map
    from napari_sslmaps.core.pca import pca_map
    from napari_sslmaps.core.region import Region
    from napari_sslmaps.core.results import Embedding
    from napari_sslmaps.core.similarity import similarity_map
    from napari_sslmaps.core.tiling import Tiling
    from napari_sslmaps.encoders.baselines import controls_of
    from napari_sslmaps.encoders.published.fetch import download_encoder
    from napari_sslmaps.encoders.registry import list_encoders, load_encoder
    from napari_sslmaps.pipeline import embed
    from napari_sslmaps.pipeline.controls import embed_control
    from napari_sslmaps.pretext import pretext_view
    from napari_sslmaps.sources.open import open_image

__all__ = [
    "Embedding",
    "Region",
    "Tiling",
    "activation_map",
    "attention_map",
    "controls_of",
    "download_encoder",
    "embed",
    "embed_control",
    "list_encoders",
    "load_encoder",
    "open_image",
    "pca_map",
    "pretext_view",
    "similarity_map",
]

_HOMES = {
    "Embedding": "core.results",
    "Region": "core.region",
    "Tiling": "core.tiling",
    "activation_map": "core.attention",
    "attention_map": "core.attention",
    "controls_of": "encoders.baselines",
    "download_encoder": "encoders.published.fetch",
    "embed": "pipeline",
    "embed_control": "pipeline.controls",
    "list_encoders": "encoders.registry",
    "load_encoder": "encoders.registry",
    "open_image": "sources.open",
    "pca_map": "core.pca",
    "pretext_view": "pretext",
    "similarity_map": "core.similarity",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
