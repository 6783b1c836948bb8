"""Model of the Compare page: what is to be compared, what was found, and how a probe is doing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from psygnal import SignalGroupDescriptor

from napari_sslmaps.compare.scores import DEFAULT_CONTROLS, DEFAULT_SCORES
from napari_sslmaps.core.findings import Finding
from napari_sslmaps.encoders.controls import ControlKind

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Shapes

ADVICE = "what speaks for which"
"""Key of the sentences of evidence, which are shown like a finding."""
ProbeKind = Literal["logistic", "knn"]


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Options of the probe that learns from scribbles: its kind, and whose tokens.

    Parameters
    ----------
    encoder
        Name of the encoder; empty for the one in front.
    kind
        Logistic regression, or nearest neighbours.
    """

    encoder: str = ""
    kind: ProbeKind = "logistic"


@dataclass(eq=False)
class ComparisonModel:
    """Choices of a user for a comparison, and its results.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    offered
        Layers of which each could be the annotation.
    annotation
        The layer or file that says where the classes lie; None for none.
    classes, chosen_class
        Classes of the annotation by number and name; the one that is scored, or None for each.
    scores, controls
        Scores that are computed, and controls that every encoder is measured against.
    findings
        Tables and plots, best first.
    shown
        Key of the finding in view.
    outdated
        A sentence on what the findings are of, where something else is chosen by now; empty otherwise.
    advice
        Sentences of evidence on which method fits the region.
    image
        Name of the image that the findings are of; empty while there are none.
    scribbling
        Whether a user paints classes for a probe.
    brush
        The class that is painted, 0 to rub out.
    probe, probe_text
        Options of the probe, and a text on how well it does.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    offered: "tuple[Labels | Shapes | Image, ...]" = ()
    annotation: "Labels | Shapes | Image | Path | None" = None
    classes: tuple[tuple[int, str], ...] = ()
    chosen_class: int | None = None
    scores: tuple[str, ...] = DEFAULT_SCORES
    controls: tuple[ControlKind, ...] = DEFAULT_CONTROLS
    findings: tuple[Finding, ...] = ()
    shown: str = ""
    outdated: str = ""
    advice: tuple[str, ...] = ()
    image: str = ""
    scribbling: bool = False
    brush: int = 1
    probe: ProbeOptions = ProbeOptions()
    probe_text: str = ""

    @property
    def finding(self) -> Finding | None:
        """The table or plot in view."""
        return next((item for item in self.findings if item.key == self.shown), None)

    def put(self, finding: Finding) -> None:
        """Add a finding, in place of an older one of its key."""
        others = [item for item in self.findings if item.key != finding.key]
        self.findings = (*others, finding)
