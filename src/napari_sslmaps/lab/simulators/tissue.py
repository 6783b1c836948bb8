"""Tissue of simulated histology, glands included, painted as stain concentrations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_sslmaps.lab.simulators.fields import (
    Ellipses,
    FloatArray,
    fibre_field,
    jittered_points,
    smooth_field,
    stamp,
)

#: Label values of `simulate_histology`, in order.
TISSUE_CLASSES = ("glass", "stroma", "gland", "tumour", "lymphoid", "fat")
GLASS, STROMA, GLAND, TUMOUR, LYMPHOID, FAT = range(6)


@dataclass(slots=True)
class TissueField:
    """A field under construction: labels, stain concentrations and the orientation of its fibres."""

    labels: NDArray[np.uint8]
    nuclei: FloatArray
    cytoplasm: FloatArray
    angle: FloatArray

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.labels.shape[0])


def _populate(rng: np.random.Generator, field: TissueField, kind: int, spacing: float) -> FloatArray:
    """Nucleus centres of one compartment, (n, 2) yx pixels."""
    points = jittered_points(rng, field.size, spacing)
    index = np.clip(np.round(points), 0, field.size - 1).astype(np.intp)
    kept: FloatArray = points[field.labels[index[:, 0], index[:, 1]] == kind]
    return kept


def spread(rng: np.random.Generator, mean: float, spread: float, count: int) -> FloatArray:
    """Positive values around a mean, log-normal with relative width `spread`."""
    values: FloatArray = (mean * np.exp(rng.normal(0, spread, count))).astype(np.float32)
    return values


def paint_stroma(rng: np.random.Generator, field: TissueField) -> None:
    """Collagen fibres with spindle nuclei that lie along them; bare glass is cleared."""
    fibres = fibre_field(rng, field.angle, rng.uniform(2.2, 4.5))
    gaps = fibre_field(rng, field.angle, rng.uniform(7, 12))
    texture = np.clip(0.42 + 0.10 * fibres - 0.16 * np.clip(gaps - 0.7, 0, None) * 2, 0.04, None)
    field.cytoplasm = np.where(field.labels == STROMA, texture, 0).astype(np.float32)
    centre = _populate(rng, field, STROMA, rng.uniform(13, 19))
    angle = _along_fibres(rng, field, centre)
    short = spread(rng, 1.7, 0.2, len(centre))
    spindles = Ellipses(centre, short * spread(rng, 3.4, 0.2, len(centre)), short, angle)
    stamp(field.nuclei, spindles, spread(rng, 0.62, 0.15, len(centre)))


def paint_nests(rng: np.random.Generator, field: TissueField) -> None:
    """Tumour: large, pleomorphic, vesicular nuclei with a nucleolus in a dense amphophilic cytoplasm."""
    inside = field.labels == TUMOUR
    if not inside.any():
        return
    spacing = rng.uniform(10.5, 13.5)
    centre = _populate(rng, field, TUMOUR, spacing)
    columnar = rng.random() < 0.4
    short = np.minimum(spread(rng, 2.6 if columnar else 3.9, 0.18, len(centre)), 0.5 * spacing)
    long = short * (rng.uniform(1.6, 2.4, len(centre)) if columnar else rng.uniform(1.0, 1.5, len(centre)))
    angle = _along_fibres(rng, field, centre) if columnar else _angles(rng, len(centre))
    shape = Ellipses(centre, long.astype(np.float32), short.astype(np.float32), angle)
    field.cytoplasm[inside] = 0.36 + 0.04 * np.clip(smooth_field(rng, field.size, 5), -1, 1)[inside]
    if rng.random() < 0.6 and len(centre) > 1:
        _membranes(field, centre, rng.uniform(0.25, 0.8), stretch=1.9 if columnar else 1.0)
    field.nuclei[inside] = np.maximum(field.nuclei, 0.11)[inside]
    stamp(field.nuclei, shape, spread(rng, 0.62, 0.2, len(centre)), rim=0.75)
    one = np.ones(len(centre), dtype=np.float32)
    spot = Ellipses(
        centre + rng.normal(0, 0.9, centre.shape).astype(np.float32), 1.1 * one, 1.1 * one, 0 * one
    )
    stamp(field.nuclei, spot, spread(rng, 0.75, 0.1, len(centre)))


def _along_fibres(rng: np.random.Generator, field: TissueField, centre: FloatArray) -> FloatArray:
    """(n,) angles in radians that follow the local orientation, with some disorder."""
    index = np.clip(np.round(centre), 0, field.size - 1).astype(np.intp)
    angles = field.angle[index[:, 0], index[:, 1]] + rng.normal(0, 0.2, len(centre))
    along: FloatArray = angles.astype(np.float32)
    return along


def _membranes(field: TissueField, centre: FloatArray, strength: float, *, stretch: float) -> None:
    """Cell borders of a nest: pixels as near to one nucleus as to the next, in stretched coordinates."""
    turn = float(field.angle.mean())
    axes = np.array([[np.sin(turn), np.cos(turn)], [np.cos(turn), -np.sin(turn)]], dtype=np.float32)
    axes[0] /= stretch
    pixels = np.argwhere(field.labels == TUMOUR)
    distance, _ = cKDTree(centre @ axes.T).query(pixels.astype(np.float32) @ axes.T, k=2)
    border = strength * np.exp(-(((distance[:, 1] - distance[:, 0]) / 1.6) ** 2))
    field.cytoplasm[pixels[:, 0], pixels[:, 1]] += border.astype(np.float32)


def paint_lymphoid(rng: np.random.Generator, field: TissueField) -> None:
    """Lymphocytes: small, round, dark nuclei, packed, with hardly any cytoplasm."""
    inside = field.labels == LYMPHOID
    if not inside.any():
        return
    centre = _populate(rng, field, LYMPHOID, rng.uniform(7.6, 9.4))
    short = spread(rng, 3.1, 0.1, len(centre))
    shape = Ellipses(
        centre,
        short * rng.uniform(1, 1.2, len(centre)).astype(np.float32),
        short,
        _angles(rng, len(centre)),
    )
    field.cytoplasm[inside] = np.clip(0.16 + 0.07 * smooth_field(rng, field.size, 6), 0.02, None)[inside]
    stamp(field.nuclei, shape, spread(rng, 0.85, 0.12, len(centre)))


def paint_fat(rng: np.random.Generator, field: TissueField) -> None:
    """Adipocytes: empty polygons between thin membranes, with a rare flat nucleus at the edge."""
    inside = field.labels == FAT
    if not inside.any():
        return
    cells = jittered_points(rng, 2 * field.size, rng.uniform(26, 40)) - 0.5 * field.size
    pixels = np.argwhere(inside)
    distance, owner = cKDTree(cells).query(pixels, k=2)
    width = distance[:, 1] - distance[:, 0]
    membrane = 0.42 * np.exp(-((width / rng.uniform(2.4, 3.6)) ** 2))
    field.cytoplasm[inside] = membrane.astype(np.float32)
    edge = np.flatnonzero(width < 0.8)
    chosen = rng.permutation(edge)[: max(1, len(pixels) // 1400)]
    gap = cells[owner[chosen, 1]] - cells[owner[chosen, 0]]
    angle = (np.arctan2(gap[:, 0], gap[:, 1]) + np.pi / 2).astype(np.float32)
    one = np.ones(len(chosen), dtype=np.float32)
    stamp(
        field.nuclei,
        Ellipses(pixels[chosen].astype(np.float32), 4.2 * one, 1.5 * one, angle),
        0.6 * one,
    )


def _angles(rng: np.random.Generator, count: int) -> FloatArray:
    return rng.uniform(0, np.pi, count).astype(np.float32)


def paint_glands(rng: np.random.Generator, field: TissueField) -> None:
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


def _one_gland(rng: np.random.Generator, field: TissueField, depth: FloatArray, thickness: float) -> None:
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
