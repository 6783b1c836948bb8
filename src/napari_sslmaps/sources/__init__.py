"""Files and arrays → `ImageSource`; one format per file."""

from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import ImageSource, Level
from napari_sslmaps.sources.samples import SAMPLES, Sample

__all__ = ["SAMPLES", "ArraySource", "ImageSource", "Level", "Sample", "open_image"]
