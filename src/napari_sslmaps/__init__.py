"""See what self-supervised encoders see in medical images.

Importing this package loads neither torch nor napari; each name below is fetched when first used.
"""

from importlib import import_module
from inspect import isfunction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sslmaps.core.region import Region
    from napari_sslmaps.core.results import Embedding
    from napari_sslmaps.core.scale import at_scale
    from napari_sslmaps.core.tiling import Tiling
    from napari_sslmaps.encoders.controls import controls_of
    from napari_sslmaps.encoders.published.fetch import download_encoder
    from napari_sslmaps.encoders.registry import list_encoders, load_encoder
    from napari_sslmaps.evaluation.anchor_scores import score_anchors
    from napari_sslmaps.evaluation.annotation import Annotation
    from napari_sslmaps.evaluation.boundaries import boundary_f1
    from napari_sslmaps.evaluation.cross_validation import cross_validate
    from napari_sslmaps.evaluation.image_labels import cross_validate_heads, fit_image_head, pooled
    from napari_sslmaps.evaluation.label_efficiency import LabelledFeatures, label_efficiency
    from napari_sslmaps.evaluation.localisation import score_localisation, token_evidence
    from napari_sslmaps.evaluation.map_scores import score_map
    from napari_sslmaps.evaluation.robustness import RobustnessOptions, robustness
    from napari_sslmaps.evaluation.scribbles import labels_on_grid
    from napari_sslmaps.evaluation.token_probe import fit_token_probe
    from napari_sslmaps.maps.agreement import linear_cka, mutual_neighbours, neighbour_agreement
    from napari_sslmaps.maps.attention import activation_map, attention_map
    from napari_sslmaps.maps.clusters import cluster_map
    from napari_sslmaps.maps.difference import difference_map
    from napari_sslmaps.maps.frames import frame_maps
    from napari_sslmaps.maps.groups import AnchorGroup, group_map
    from napari_sslmaps.maps.pca import align_colours, pca_map
    from napari_sslmaps.maps.similarity import similarity_map
    from napari_sslmaps.maps.token_length import token_length_map
    from napari_sslmaps.pipeline.attention import attend
    from napari_sslmaps.pipeline.class_activation import class_activation
    from napari_sslmaps.pipeline.controls import embed_control
    from napari_sslmaps.pipeline.embedding import embed
    from napari_sslmaps.pretext.view import pretext_view
    from napari_sslmaps.records.anchors import AnchorSet, load_anchors, save_anchors
    from napari_sslmaps.records.basis import load_basis, save_basis
    from napari_sslmaps.records.linear_head import load_head, save_head
    from napari_sslmaps.sources.open import open_image

__all__ = [
    "AnchorGroup",
    "AnchorSet",
    "Annotation",
    "Embedding",
    "LabelledFeatures",
    "Region",
    "RobustnessOptions",
    "Tiling",
    "activation_map",
    "align_colours",
    "at_scale",
    "attend",
    "attention_map",
    "boundary_f1",
    "class_activation",
    "cluster_map",
    "controls_of",
    "cross_validate",
    "cross_validate_heads",
    "difference_map",
    "download_encoder",
    "embed",
    "embed_control",
    "fit_image_head",
    "fit_token_probe",
    "frame_maps",
    "group_map",
    "label_efficiency",
    "labels_on_grid",
    "linear_cka",
    "list_encoders",
    "load_anchors",
    "load_basis",
    "load_encoder",
    "load_head",
    "mutual_neighbours",
    "neighbour_agreement",
    "open_image",
    "pca_map",
    "pooled",
    "pretext_view",
    "robustness",
    "save_anchors",
    "save_basis",
    "save_head",
    "score_anchors",
    "score_localisation",
    "score_map",
    "similarity_map",
    "token_evidence",
    "token_length_map",
]

_HOMES = {
    "AnchorGroup": "maps.groups",
    "AnchorSet": "records.anchors",
    "Annotation": "evaluation.annotation",
    "Embedding": "core.results",
    "LabelledFeatures": "evaluation.label_efficiency",
    "Region": "core.region",
    "RobustnessOptions": "evaluation.robustness",
    "Tiling": "core.tiling",
    "activation_map": "maps.attention",
    "align_colours": "maps.pca",
    "at_scale": "core.scale",
    "attend": "pipeline.attention",
    "attention_map": "maps.attention",
    "class_activation": "pipeline.class_activation",
    "controls_of": "encoders.controls",
    "cross_validate": "evaluation.cross_validation",
    "cross_validate_heads": "evaluation.image_labels",
    "difference_map": "maps.difference",
    "download_encoder": "encoders.published.fetch",
    "embed": "pipeline.embedding",
    "embed_control": "pipeline.controls",
    "fit_image_head": "evaluation.image_labels",
    "fit_token_probe": "evaluation.token_probe",
    "cluster_map": "maps.clusters",
    "frame_maps": "maps.frames",
    "group_map": "maps.groups",
    "label_efficiency": "evaluation.label_efficiency",
    "labels_on_grid": "evaluation.scribbles",
    "linear_cka": "maps.agreement",
    "list_encoders": "encoders.registry",
    "load_anchors": "records.anchors",
    "load_basis": "records.basis",
    "load_encoder": "encoders.registry",
    "load_head": "records.linear_head",
    "mutual_neighbours": "maps.agreement",
    "neighbour_agreement": "maps.agreement",
    "open_image": "sources.open",
    "pca_map": "maps.pca",
    "pooled": "evaluation.image_labels",
    "pretext_view": "pretext.view",
    "robustness": "evaluation.robustness",
    "save_anchors": "records.anchors",
    "save_basis": "records.basis",
    "save_head": "records.linear_head",
    "boundary_f1": "evaluation.boundaries",
    "score_anchors": "evaluation.anchor_scores",
    "score_localisation": "evaluation.localisation",
    "score_map": "evaluation.map_scores",
    "similarity_map": "maps.similarity",
    "token_length_map": "maps.token_length",
    "token_evidence": "evaluation.localisation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if isfunction(value):
        value = import_module(f"{__name__}.core.arguments").checked(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
