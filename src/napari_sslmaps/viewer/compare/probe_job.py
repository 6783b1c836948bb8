"""Learning of a probe from scribbles, captured as work, and its service."""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.findings import Table, cell_text
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import TokenScale, at_scale
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.classes import LabelMap
from napari_sslmaps.viewer.compare.model import ProbeKind
from napari_sslmaps.viewer.state.tasks import TaskContext


@dataclass(frozen=True, eq=False, slots=True)
class Scribbled:
    """Painted pixels, captured when work is submitted.

    Parameters
    ----------
    labels
        (H, W) uint8 classes, 0 where nothing is painted.
    place
        Grid of these pixels on level 0.
    """

    labels: NDArray[np.uint8]
    place: TokenGrid


@dataclass(frozen=True, slots=True)
class Validation:
    """Result of a probe on strokes that it was not fitted to: a sentence, and a table per class."""

    text: str
    table: Table | None = None


class Prober(Protocol):
    """Learns from scribbles."""

    def prepare(self) -> None:
        """Load what the others need, before the first stroke asks for it; to be called on a thread."""
        ...

    def predict(self, embedding: Embedding, scribbled: Scribbled, kind: ProbeKind) -> LabelMap:
        """Fit to what is painted, and label every token; on the calling thread."""
        ...

    def validate(self, embedding: Embedding, scribbled: Scribbled, kind: ProbeKind) -> Validation:
        """Say how good such a probe is, strokes held out one after another."""
        ...


class TokenProber:
    """Fits scikit-learn's classifiers to tokens."""

    def prepare(self) -> None:
        """Load scikit-learn, which takes seconds."""
        for name in ("token_probe", "cross_validation", "scribbles"):
            import_module(f"napari_sslmaps.evaluation.{name}")
        import_module("sklearn.linear_model")

    def predict(self, embedding: Embedding, scribbled: Scribbled, kind: ProbeKind) -> LabelMap:
        """Fit, and label every token."""
        from napari_sslmaps.evaluation.scribbles import labels_on_grid
        from napari_sslmaps.evaluation.token_probe import fit_token_probe

        painted = labels_on_grid(scribbled.labels, embedding.grid, scribbled.place)
        return fit_token_probe(embedding, painted, kind=kind).predict(embedding)

    def validate(self, embedding: Embedding, scribbled: Scribbled, kind: ProbeKind) -> Validation:
        """Cross-validate by stroke; where there are too few, say what to paint."""
        from napari_sslmaps.evaluation.cross_validation import cross_validate
        from napari_sslmaps.evaluation.scribbles import labels_on_grid

        painted = labels_on_grid(scribbled.labels, embedding.grid, scribbled.place)
        try:
            found = cross_validate(embedding, painted, kind=kind)
        except InvalidOptionError as error:
            return Validation(str(error))
        chance = 1 / len(found.classes)
        return Validation(
            f"Balanced accuracy on held-out strokes {cell_text(found.accuracy)}; chance {chance:.2f}.",
            found.table(f"Probe of {embedding.provenance.encoder}"),
        )


@dataclass(frozen=True, eq=False, slots=True)
class ProbeJob:
    """All that one prediction needs, captured when it is submitted."""

    embedding: Embedding
    scribbled: Scribbled
    kind: ProbeKind
    prober: Prober
    scale: TokenScale = field(default_factory=TokenScale)

    def __call__(self, context: TaskContext) -> LabelMap:
        """Fit and predict."""
        context.token.check()
        averaged = at_scale(self.embedding, self.scale)
        return self.prober.predict(averaged, self.scribbled, self.kind)


@dataclass(frozen=True, eq=False, slots=True)
class ValidationJob:
    """All that one cross-validation needs, captured when it is submitted."""

    embedding: Embedding
    scribbled: Scribbled
    kind: ProbeKind
    prober: Prober
    scale: TokenScale = field(default_factory=TokenScale)

    def __call__(self, context: TaskContext) -> Validation:
        """Cross-validate the probe, on the calling thread."""
        context.token.check()
        averaged = at_scale(self.embedding, self.scale)
        return self.prober.validate(averaged, self.scribbled, self.kind)
