"""Networks that a pretext task needs beside the encoder: decoders, predictors, heads, judges."""

from napari_sslmaps.encoders.companions.reading import companions_of

__all__ = ["companions_of"]
