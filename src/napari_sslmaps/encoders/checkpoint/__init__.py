"""Reading weight files: unwrap, translate key names, identify, report."""

from napari_sslmaps.encoders.checkpoint.identify import Overrides
from napari_sslmaps.encoders.checkpoint.read import (
    Checkpoint,
    inspect_checkpoint,
    read_checkpoint,
)
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport

__all__ = [
    "Checkpoint",
    "Overrides",
    "RecognitionReport",
    "inspect_checkpoint",
    "read_checkpoint",
]
