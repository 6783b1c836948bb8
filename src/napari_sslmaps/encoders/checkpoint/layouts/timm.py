"""timm's names, which are this package's own: nothing to rename, only to tell what is beside the encoder."""

from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.checkpoint.layouts import dino, dinov3, mae
from napari_sslmaps.encoders.checkpoint.layouts.common import separate
from napari_sslmaps.encoders.checkpoint.translated import Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped

BESIDE: Mapping[str, str] = {
    **dino.BESIDE,
    **dinov3.BESIDE,
    **mae.BESIDE,
    "head_dist.": "classification head",
    "predictor.": "predictor",
    "context.": "the other branch",
}


def translate_timm(file: Unwrapped) -> Translated:
    """Translate a transformer in timm's names: timm's own files, this package's and many trainings'."""
    return replace(separate(file, "timm", BESIDE), facts=mae.mae_facts(file))
