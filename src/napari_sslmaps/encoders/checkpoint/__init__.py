"""Reading weight files: unwrap, translate key names, identify, report."""

from napari_sslmaps.encoders.checkpoint.read import (
    Checkpoint,
    inspect_checkpoint,
    read_checkpoint,
    read_companions,
)
from napari_sslmaps.encoders.checkpoint.report import RecognitionReport
from napari_sslmaps.encoders.checkpoint.sanity import check_forward
from napari_sslmaps.encoders.checkpoint.translated import Companions

__all__ = [
    "Checkpoint",
    "Companions",
    "RecognitionReport",
    "check_forward",
    "inspect_checkpoint",
    "read_checkpoint",
    "read_companions",
]
