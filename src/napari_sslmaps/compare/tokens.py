"""Tokens of all images and methods, for what is found only over all images together."""

from collections.abc import Mapping

from napari_sslmaps.compare.folder import ComparisonFolder
from napari_sslmaps.core.results import Embedding


class Tokens:
    """Tokens of all images and methods: in memory, or in the folder of the comparison.

    Parameters
    ----------
    folder
        None to keep them in memory.
    """

    def __init__(self, folder: ComparisonFolder | None) -> None:
        self._folder = folder
        self._here: dict[tuple[str, str], Embedding] = {}

    def put(self, image: str, embeddings: Mapping[str, Embedding]) -> None:
        """Keep the tokens of an image by every method.

        Raises
        ------
        ExportError
            If the folder cannot be written to.
        """
        for method, embedding in embeddings.items():
            if self._folder is None:
                self._here[image, method] = embedding
            else:
                self._folder.keep_tokens(image, method, embedding)

    def get(self, image: str, method: str) -> Embedding:
        """Return the tokens of an image by a method."""
        if self._folder is None:
            return self._here[image, method]
        return self._folder.load_tokens(image, method)
