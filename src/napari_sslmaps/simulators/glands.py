"""Glands of simulated histology: an epithelium with basal nuclei around an empty lumen."""

from __future__ import annotations

import numpy as np

from napari_sslmaps.simulators.fields import (
    Ellipses,
    FloatArray,
    jittered_points,
    smooth_field,
    stamp,
)
from napari_sslmaps.simulators.tissue import GLAND, GLASS, Field, spread


def paint_glands(rng: np.random.Generator, field: Field) -> None:
    """Round or branching glands: columnar nuclei at the base of an epithelium around an empty lumen."""
    if rng.random() > 0.62:
        return
    size = field.size
    y, x = np.mgrid[:size, :size].astype(np.float32)
    outer, thickness = rng.uniform(26, 52), rng.uniform(15, 22)
    centres = jittered_points(rng, 2 * size, 2.3 * outer) - 0.5 * size
    kept = rng.random(len(centres)) < rng.uniform(0.45, 1.0)
    wobble = smooth_field(rng, size, 45)
    for centre in centres[kept]:
        stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
        dy, dx = y - centre[0], x - centre[1]
        across = -np.sin(turn) * dx + np.cos(turn) * dy
        along = np.cos(turn) * dx + np.sin(turn) * dy
        radius = np.hypot(along * stretch, across / stretch) + 2.6 * wobble
        if float(radius.min()) < outer:
            _one_gland(rng, field, outer * rng.uniform(0.75, 1.05) - radius, thickness)


def _one_gland(rng: np.random.Generator, field: Field, depth: FloatArray, thickness: float) -> None:
    """Paint one gland; `depth` is the distance from its outer border in pixels, positive inside."""
    inside, lumen = depth > 0, depth > thickness
    field.labels[inside], field.labels[lumen] = GLAND, GLASS
    field.nuclei[inside] = 0.04
    cup = np.clip(0.34 - 0.010 * depth + 0.04 * smooth_field(rng, field.size, 6), 0.05, None)
    field.cytoplasm[inside] = cup[inside]
    field.cytoplasm[lumen] = np.where(smooth_field(rng, field.size, 18) > 1.1, 0.10, 0.0)[lumen]
    field.cytoplasm[inside & (depth < 1.4)] = 0.5
    grid = jittered_points(rng, field.size, 6.4)
    index = np.clip(np.round(grid), 1, field.size - 2).astype(np.intp)
    at = depth[index[:, 0], index[:, 1]]
    basal = (at > 3.2) & (at < rng.uniform(8.5, 11.5))
    grid, index = grid[basal], index[basal]
    slope_y = depth[index[:, 0] + 1, index[:, 1]] - depth[index[:, 0] - 1, index[:, 1]]
    slope_x = depth[index[:, 0], index[:, 1] + 1] - depth[index[:, 0], index[:, 1] - 1]
    angle = np.arctan2(slope_y, slope_x) + rng.normal(0, 0.15, len(grid))
    short = spread(rng, 2.2, 0.12, len(grid))
    columnar = Ellipses(grid, short * spread(rng, 1.9, 0.12, len(grid)), short, angle.astype(np.float32))
    stamp(field.nuclei, columnar, spread(rng, 0.66, 0.13, len(grid)), rim=0.3)
