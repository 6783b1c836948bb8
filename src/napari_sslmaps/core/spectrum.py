"""How many directions features use."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from napari_sslmaps.core.results import as_numpy

if TYPE_CHECKING:
    from torch import Tensor


def effective_rank(features: "ArrayLike | Tensor") -> float:
    """Return RankMe of features: how many directions they use, softly counted (arXiv 2210.02885).

    It is the exponential of the entropy of the centred features' singular values.

    Parameters
    ----------
    features
        (…, D) array or tensor, finite; preferably several times D of them.

    Returns
    -------
    float
        Between 1 (collapsed) and D.
    """
    flat = np.asarray(as_numpy(features), np.float64)
    flat = flat.reshape(-1, flat.shape[-1])
    flat = flat - flat.mean(axis=0)
    singular = np.sqrt(np.linalg.eigvalsh(flat.T @ flat).clip(min=0))
    share = singular / max(float(singular.sum()), 1e-12)
    return float(np.exp(-(share * np.log(share + 1e-12)).sum()))
