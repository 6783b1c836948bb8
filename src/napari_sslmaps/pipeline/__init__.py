"""The use-cases without a viewer: plan and embed a region of an image by an encoder."""

from napari_sslmaps.pipeline.attending import attend, attend_blocks, attention_field
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.field import AttentionField
from napari_sslmaps.pipeline.planning import EmbeddingPlan, RegionLike, plan
from napari_sslmaps.pipeline.progress import EmbeddingProgress, OnProgress

__all__ = [
    "AttentionField",
    "EmbeddingPlan",
    "EmbeddingProgress",
    "OnProgress",
    "RegionLike",
    "attend",
    "attend_blocks",
    "attention_field",
    "embed",
    "plan",
]
