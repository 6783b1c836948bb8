"""``panel.png``: what the encoder makes of a few fields that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from napari_sslmaps.core.pca import pca_map
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.similarity import similarity_map

_INCHES, _DPI = 1.7, 110
_TITLES = ("image", "components", "similarity to ×")


def draw_panel(path: Path, images: Tensor, tokens: Tensor, title: str) -> None:
    """Draw each image with its PCA map (one basis for all) and its similarity to the centre.

    Parameters
    ----------
    path
        PNG to write; a kill leaves the old one or the new one whole.
    images
        (B, 3, H, H) in [0, 1].
    tokens
        (B, N, D) of a square grid.
    title
        Written above.
    """
    side, grid = images.shape[-1], round(tokens.shape[1] ** 0.5)
    embeddings = [
        Embedding.from_tokens(one.reshape(grid, grid, -1).cpu(), stride=side // grid) for one in tokens
    ]
    components = pca_map(embeddings)
    figure = Figure(figsize=(3 * _INCHES, len(images) * _INCHES + 0.5), layout="constrained")
    axes = figure.subplots(len(images), 3, squeeze=False)
    centre = (side / 2, side / 2)
    for row, image, embedding, component in zip(axes, images, embeddings, components, strict=True):
        row[0].imshow(np.clip(image.permute(1, 2, 0).cpu().numpy(), 0, 1))
        row[1].imshow(component.values, interpolation="nearest")
        similar = similarity_map(embedding, [centre]).values
        row[2].imshow(similar, cmap="magma", vmin=-1, vmax=1, interpolation="nearest")
        row[0].plot(side / 2, side / 2, "x", color="#e3001b", markersize=6)
        row[2].plot(grid / 2, grid / 2, "x", color="#e3001b", markersize=6)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, name in zip(axes[0], _TITLES, strict=True):
        axis.set_title(name, fontsize=8)
    figure.suptitle(title, fontsize=8)
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=_DPI, metadata={"Software": None})
    partial.replace(path)
