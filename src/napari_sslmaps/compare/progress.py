"""Progress of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass

from napari_sslmaps.pipeline.progress import EmbeddingProgress


@dataclass(frozen=True, slots=True)
class ComparisonProgress:
    """Progress of a comparison.

    Parameters
    ----------
    image, method
        Image and method that are being worked on; empty where all images or methods are.
    doing
        ``embedding``, ``scoring``, ``perturbing`` or ``comparing``.
    done, total
        Number of images that are finished, and of all.
    share
        Share of all the work that is done, about, in [0, 1]; it never falls.
    kept
        Number of images that were finished before.
    """

    image: str
    method: str
    doing: str
    done: int
    total: int
    share: float
    kept: int = 0


OnComparison = Callable[[ComparisonProgress], None]
"""Called after every batch of tiles and before every score; may raise `Cancelled` to stop."""
Tell = Callable[[str], None]
"""Called with the name of a method before something is done with it; may raise `Cancelled` to stop."""
_EMBEDDED, _SCORED = 0.7, 0.85
"""Share of an image's work that is done when all methods have embedded it, and when they are scored."""


class ProgressReporter:
    """Turns what happens into progress.

    Parameters
    ----------
    on_progress
        Callback for each step; None for nobody.
    total, methods
        Number of images, and of methods of each.
    """

    def __init__(self, on_progress: OnComparison | None, total: int, methods: int) -> None:
        self._on_progress, self._total, self._methods = on_progress, total, methods
        self._number, self._kept, self._at, self._share = -1, 0, 0, 0.0
        self._image = self._method = ""

    def image(self, name: str, kept: int) -> None:
        """Begin with an image."""
        self._number, self._kept, self._image, self._at = self._number + 1, kept, name, -1
        self._tell("", "embedding", 0.0)

    def embedding(self, method: str) -> None:
        """Begin to embed by a method."""
        self._method, self._at = method, self._at + 1
        self._tell(method, "embedding", _EMBEDDED * self._at / self._methods)

    def tiles(self, progress: EmbeddingProgress) -> None:
        """Tell how far an embedding is."""
        done = self._at + progress.done / progress.total
        self._tell(self._method, "embedding", _EMBEDDED * done / self._methods)

    def scoring(self, method: str) -> None:
        """Begin to score a method."""
        self._tell(method, "scoring", _EMBEDDED)

    def perturbing(self, method: str, share: float) -> None:
        """Tell how far a method's robustness is."""
        self._tell(method, "perturbing", _SCORED + 0.1 * share)

    def comparing(self, method: str) -> None:
        """Tell that all images are compared by a method."""
        self._number, self._image = self._total, ""
        self._tell(method, "comparing", 0.0)

    def _tell(self, method: str, doing: str, of_image: float) -> None:
        self._share = min(1.0, max(self._share, (self._number + of_image) / self._total))
        if self._on_progress is not None:
            done = min(self._number, self._total)
            self._on_progress(
                ComparisonProgress(self._image, method, doing, done, self._total, self._share, self._kept)
            )
