"""Each method's pretext task on one region of an image."""

from napari_sslmaps.pretext.view import pretext_view

__all__ = ["pretext_view"]
