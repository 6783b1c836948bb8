"""Embeddings kept on disk: found again by what decided their numbers, resumed where they were stopped."""

from napari_sslmaps.cache.store import Cache

__all__ = ["Cache"]
