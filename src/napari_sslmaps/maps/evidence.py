"""Map of where an image speaks for a class, from labels of whole images alone."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.maps.map_type import MapType

EvidenceKind = Literal["token", "grad-cam"]


@dataclass(frozen=True, eq=False, kw_only=True)
class EvidenceMap(TokenMap):
    """Evidence for one class.

    Parameters
    ----------
    kind
        ``token``: the class score of each token, a logit of either sign; their mean is `logit`.
        ``grad-cam``: rectified, at least 0, of arbitrary scale.
    label
        Name of the class.
    logit
        Score of the class for the whole region.
    stage
        Stage of the network whose features a ``grad-cam`` is drawn on.
    """

    kind: EvidenceKind
    label: str
    logit: float
    stage: str = ""


def _facts(result: EvidenceMap) -> dict[str, Any]:
    return {"of": result.kind, "label": result.label, "logit": result.logit, "stage": result.stage}


def _variant(result: EvidenceMap) -> MapType:
    """Return the entry of signed evidence, or of Grad-CAM, which has none against the class."""
    if result.kind == "token":
        return replace(EVIDENCE, title=f"evidence of {result.label}")
    return replace(EVIDENCE, title=f"Grad-CAM of {result.label}", rule="zero", colormap="inferno")


EVIDENCE = MapType(
    key="evidence",
    result=EvidenceMap,
    colormap="RdBu_r",
    rule="symmetric",
    selectable=False,
    facts=_facts,
    variant=_variant,
)
