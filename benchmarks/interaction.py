"""What a click, and principal components after the last tile, cost; and what an import costs."""

import subprocess
import sys
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from measure import Outcome, ratio, seconds
from sklearn.decomposition import PCA

from napari_sslmaps.core.moments import MomentAccumulator
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map


def tokens(side: int, dim: int) -> Embedding:
    values = np.random.default_rng(0).standard_normal((side, side, dim), dtype=np.float32)
    return Embedding.from_tokens(values, stride=8)


def click(side: int, dim: int) -> Outcome:
    """A click's map over the time to read all tokens once, the memory-bandwidth floor."""
    embedding = tokens(side, dim)
    flat = torch.from_numpy(embedding.flat)
    middle = [(4.0 * side, 4.0 * side)]
    similarity_map(
        embedding, middle, centred=False
    )  # lengths are computed once per embedding, before the first click
    found, ours, floor = ratio(lambda: similarity_map(embedding, middle, centred=False), flat.sum, 15)
    rate = embedding.tokens.nbytes / floor / 1e9
    detail = f"{1e3 * ours:.1f} ms over {1e3 * floor:.1f} ms ({rate:.0f} GB/s), {side * side} × {dim} float32"
    return Outcome("click → map / bandwidth floor", found, "×", 1.3, detail)


def half_click(side: int, dim: int) -> Outcome:
    """A click on tokens of a large region, kept in half precision, over one on the same in single."""
    single, middle = tokens(side, dim), [(4.0 * side, 4.0 * side)]
    half = replace(single, tokens=HalfTokens(single.tokens.astype(np.float16)))
    for embedding in (half, single):
        similarity_map(embedding, middle)
    found, ours, theirs = ratio(
        lambda: similarity_map(half, middle), lambda: similarity_map(single, middle), 15
    )
    detail = f"{1e3 * ours:.1f} ms over {1e3 * theirs:.1f} ms, {side * side} × {dim}"
    return Outcome("click on tokens in half precision / in single", found, "×", 1.2, detail)


def components(side: int, dim: int) -> list[Outcome]:
    """PCA of tokens whose moments were taken while they came, over scikit-learn's of the same tokens."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.5  # as of natural images: no gap to converge by
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    values = (rng.standard_normal((side * side, dim), dtype=np.float32) * spread) @ turn + 2
    embedding = Embedding.from_tokens(values.reshape(side, side, dim), stride=8)
    accumulator = MomentAccumulator(dim)
    accumulating = seconds(lambda: accumulator.update(embedding.flat))
    embedding = replace(embedding, moments=accumulator.moments())
    fit, ours, theirs = ratio(lambda: embedding.moments.axes(3), lambda: PCA(3).fit(values), 3)
    shown, map_ours, map_theirs = ratio(lambda: pca_map(embedding), lambda: PCA(3).fit_transform(values), 3)
    exact = PCA(3, svd_solver="covariance_eigh").fit(values.astype(np.float64)).components_
    found = pca_map(embedding).basis.components
    beside = found - np.vecdot(found, exact)[:, None] * exact  # its length is the sine
    angles = np.degrees(np.arcsin(np.linalg.norm(beside, axis=1)))
    size = f"{side * side} × {dim}"
    per_token = f"{accumulating / side**2 * 1e6:.1f} µs a token beforehand"
    return [
        Outcome(
            f"PCA after the last tile, fit / scikit-learn, {size}",
            fit,
            "×",
            0.02,
            f"{1e3 * ours:.1f} ms over {1e3 * theirs:.0f} ms; {per_token}",
        ),
        Outcome(
            "PCA after the last tile, shown / fit_transform",
            shown,
            "×",
            0.1,
            f"{1e3 * map_ours:.0f} ms over {1e3 * map_theirs:.0f} ms",
        ),
        Outcome("angle of its components to the exact ones", float(angles.max()), "°", 0.05),
    ]


def import_time() -> Outcome:
    """Importing the package over starting Python, without torch or napari."""
    loaded = "import sys, napari_sslmaps; assert not {'torch', 'timm', 'napari'} & set(sys.modules)"

    def start(code: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))

    bare = median(start("pass") for _ in range(9))
    ours = median(start(loaded) for _ in range(9))
    return Outcome(
        "import napari_sslmaps", 1e3 * (ours - bare), "ms", 100, f"Python alone {1e3 * bare:.0f} ms"
    )


def outcomes() -> list[Outcome]:
    return [
        click(256, 768),
        click(512, 128),
        click(64, 384),
        half_click(512, 384),
        *components(512, 384),
        import_time(),
    ]
