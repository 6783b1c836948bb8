"""Does a probe follow the brush? From painted pixels to a label for each of 64 × 64 tokens."""

import numpy as np
from measure import Outcome, seconds

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.evaluation.scribbles import labels_on_grid
from napari_sslmaps.evaluation.token_probe import ProbeKind, fit_token_probe

SIDE, DIM, STRIDE = 64, 384, 16
BUDGETS: dict[ProbeKind, float] = {"logistic": 50, "knn": 100}


def outcomes() -> list[Outcome]:
    return [_stroke(kind, budget) for kind, budget in BUDGETS.items()]


def _stroke(kind: ProbeKind, budget: float) -> Outcome:
    embedding, painted = _scene()

    def follow() -> None:
        labels = labels_on_grid(painted, embedding.grid)
        fit_token_probe(embedding, labels, kind=kind).predict(embedding)

    follow()
    best = min(seconds(follow) for _ in range(9))
    count = int((labels_on_grid(painted, embedding.grid) > 0).sum())
    name = f"{kind} probe: a stroke to a label for each of {SIDE}² tokens"
    return Outcome(name, 1e3 * best, "ms", budget, f"{count} painted tokens of three classes, {DIM} channels")


def _scene() -> tuple[Embedding, np.ndarray]:
    """Three classes that overlap, a stroke or two of each."""
    rng = np.random.default_rng(0)
    kinds = np.minimum(np.arange(SIDE) // 22, 2)
    tokens = rng.normal(size=(SIDE, SIDE, DIM)) + 0.3 * rng.normal(size=(3, DIM))[kinds]
    painted = np.zeros((SIDE * STRIDE, SIDE * STRIDE), np.int32)
    for row in (100, 600):
        for kind in range(3):
            left = 352 * kind + 40
            painted[row : row + 130, left : left + 200] = kind + 1
    return Embedding.from_tokens(tokens, STRIDE), painted
