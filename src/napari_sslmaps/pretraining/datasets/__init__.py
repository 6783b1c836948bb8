"""Where fields come from: simulated banks, folders of images, clips and slides."""

from napari_sslmaps.pretraining.datasets.opening import open_fields
from napari_sslmaps.pretraining.datasets.protocol import ArrayFields, FieldSource

__all__ = ["ArrayFields", "FieldSource", "open_fields"]
