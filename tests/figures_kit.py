"""Embeddings and maps that need no network."""

import numpy as np

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.figures.panels import Extent
from napari_sslmaps.figures.run_figure import FigureRow, Picture
from napari_sslmaps.maps.attention import activation_map, attention_map
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.maps.similarity import similarity_map

REGION = Region(40, 16, 60, 90)
ANCHOR = (60.0, 50.0)


def embedding(name: str = "mae-test", *, cnn: bool = False, seed: int = 0) -> Embedding:
    """Make 8 × 12 tokens of stride 8 over 60 × 90 px, so that the last ones reach into padding."""
    rng = np.random.default_rng(seed)
    grid = TokenGrid.covering(REGION, 8)
    attention = rng.random((2, *grid.shape), dtype=np.float32)
    return Embedding(
        tokens=rng.normal(size=(*grid.shape, 16)).astype(np.float32),
        grid=grid,
        provenance=Provenance(encoder=name, method="mae", region=REGION, window=(0.0, 255.0)),
        attention=None if cnn else attention,
        prefix_attention=None if cnn else attention.mean(axis=(1, 2)),
        attention_kind=None if cnn else "cls",
        activation=attention[0] if cnn else None,
    )


def row(name: str = "mae-test", *, cnn: bool = False) -> FigureRow:
    """Make a full row of a figure."""
    made = embedding(name, cnn=cnn)
    attention = activation_map(made) if cnn else attention_map(made)
    return FigureRow(
        "MAE",
        name,
        {"attention": attention, "pca": pca_map(made), "similarity": similarity_map(made, [ANCHOR])},
    )


def picture() -> Picture:
    """Make the pixels of the region, white."""
    extent = Extent(REGION.y, REGION.x, REGION.height, REGION.width)
    return Picture(np.ones((60, 90, 3), np.float32), extent, (0.5, 0.5))
