"""The use-cases without a viewer: plan and embed a region of an image by an encoder."""

from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import EmbeddingPlan, RegionLike, plan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress

__all__ = ["EmbeddingPlan", "EmbeddingProgress", "OnProgress", "RegionLike", "embed", "plan"]
