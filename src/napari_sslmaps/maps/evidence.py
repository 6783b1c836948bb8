"""Where an image speaks for a class, from labels of whole images alone."""

from dataclasses import dataclass
from typing import Literal

from napari_sslmaps.core.results import TokenMap

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
        Of ``grad-cam``: the stage of the network whose features it is drawn on.
    """

    kind: EvidenceKind
    label: str
    logit: float
    stage: str = ""
